//! From answers to a BPF program: a binary search for the call's number, then its cases. A list of three hundred
//! calls, looked through one by one, costs each start more than half of what its filter takes: the kernel runs a new
//! program once for each call number (`seccomp_cache_prepare`).
//!
//! All jumps go forward, over code that is complete when the jump is made, so nothing needs a label.

use super::Error;
use super::answers::{Answers, Case, Test};
use crate::unit::seccomp::{Action, Compare, Condition};
use sys::lockdown::Instruction;

/// BPF_MAXINSNS, linux/bpf_common.h.
const MOST: usize = 4096;

// linux/bpf_common.h and linux/filter.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const GO: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const ABOVE: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const NOT_BELOW: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// struct seccomp_data, linux/seccomp.h: nr, arch, instruction_pointer, args.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// AUDIT_ARCH_X86_64, linux/audit.h.
const X86_64: u32 = 0xc000_003e;

/// A run of call numbers, from `start` to the next one's, with the same answer.
struct Run<'a> {
    start: u32,
    leaf: Leaf<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf<'a> {
    Always(Action),
    Cases(&'a [Case]),
}

pub(super) fn assemble(answers: &Answers) -> Result<Vec<Instruction>, Error> {
    let mut program =
        vec![load(ARCHITECTURE), jump(EQUAL, X86_64, 1, 0), ret(Action::KillProcess), load(NUMBER)];
    program.extend(search(&runs(answers), answers.default));
    match program.len() {
        length if length > MOST => Err(Error::TooLong(length)),
        _ => Ok(program),
    }
}

fn runs(answers: &Answers) -> Vec<Run<'_>> {
    let default = Leaf::Always(answers.default);
    let mut runs = vec![Run { start: 0, leaf: default }];
    let mut add = |start: u32, leaf| match runs.last_mut() {
        Some(last) if last.leaf == leaf => {}
        Some(last) if last.start == start => last.leaf = leaf,
        _ => runs.push(Run { start, leaf }),
    };
    let below = |call: u32| answers.beyond.is_none_or(|(from, _)| call < from);
    for (call, cases) in answers.calls.iter().filter(|(call, _)| below(**call)) {
        let leaf = match cases.first() {
            Some(case) if case.tests.is_empty() => Leaf::Always(case.action),
            _ => Leaf::Cases(cases),
        };
        add(*call, leaf);
        if let Some(next) = call.checked_add(1) {
            add(next, default);
        }
    }
    if let Some((from, action)) = answers.beyond {
        add(from, Leaf::Always(action));
    }
    // What was replaced may have become the same as the one before it.
    runs.dedup_by(|next, before| next.leaf == before.leaf);
    runs
}

/// The number is loaded; goes to the run that it is in. At most as deep as there are bits in their count.
fn search(runs: &[Run<'_>], default: Action) -> Vec<Instruction> {
    let (left, right) = match runs {
        [] => return vec![ret(default)],
        [run] => return leaf(run.leaf, default),
        _ => runs.split_at(runs.len() / 2),
    };
    let first = right.first().map_or(0, |run| run.start);
    let (left, right) = (search(left, default), search(right, default));
    let mut code = match u8::try_from(left.len()) {
        Ok(over) => vec![jump(NOT_BELOW, first, over, 0)],
        Err(_) => vec![jump(NOT_BELOW, first, 0, 1), go(left.len())],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(leaf: Leaf<'_>, default: Action) -> Vec<Instruction> {
    let cases = match leaf {
        Leaf::Always(action) => return vec![ret(action)],
        Leaf::Cases(cases) => cases,
    };
    let mut code = Vec::new();
    for case in cases {
        // From its end: where each test goes when it fails is behind all that follows it.
        let mut tail = vec![ret(case.action)];
        for test in case.tests.iter().rev() {
            let mut whole = look(test, tail.len());
            whole.append(&mut tail);
            tail = whole;
        }
        code.append(&mut tail);
        if case.tests.is_empty() {
            return code;
        }
    }
    code.push(ret(default));
    code
}

/// Goes on when the test holds, and else over `more` instructions behind its own.
fn look(test: &Test, more: usize) -> Vec<Instruction> {
    match test {
        Test::Is(condition) => compare(condition, more),
        Test::Other(index, values) => {
            let mut code = vec![load(low(*index))];
            for (at, value) in values.iter().enumerate() {
                code.push(jump(EQUAL, *value, short(values.len() - 1 - at + more), 0));
            }
            code
        }
        Test::One(index, values) => {
            let mut code = vec![load(low(*index))];
            for (at, value) in values.iter().enumerate() {
                let rest = values.len() - 1 - at;
                let other = if rest == 0 { short(more) } else { 0 };
                code.push(jump(EQUAL, *value, short(rest), other));
            }
            code
        }
    }
}

/// 64 bits are compared as two halves, the upper one first.
fn compare(condition: &Condition, more: usize) -> Vec<Instruction> {
    let (low, high) = (low(condition.index), high(condition.index));
    let (value_low, value_high) = halves(condition.value);
    // `no` leads behind the case from the last instruction; from earlier ones it is so many further.
    let no = |left: usize| short(left + more);
    match condition.compare {
        Compare::Equal => vec![
            load(high),
            jump(EQUAL, value_high, 0, no(2)),
            load(low),
            jump(EQUAL, value_low, 0, no(0)),
        ],
        Compare::NotEqual => vec![
            load(high),
            jump(EQUAL, value_high, 0, 2),
            load(low),
            jump(EQUAL, value_low, no(0), 0),
        ],
        Compare::Masked(mask) => {
            let (mask_low, mask_high) = halves(mask);
            vec![
                load(high),
                and(mask_high),
                jump(EQUAL, value_high, 0, no(3)),
                load(low),
                and(mask_low),
                jump(EQUAL, value_low, 0, no(0)),
            ]
        }
        Compare::Greater => above(condition, ABOVE, no(2), no(0)),
        Compare::GreaterOrEqual => above(condition, NOT_BELOW, no(2), no(0)),
        Compare::Less => below(condition, NOT_BELOW, no(3), no(0)),
        Compare::LessOrEqual => below(condition, ABOVE, no(3), no(0)),
    }
}

fn above(condition: &Condition, last: u16, no_high: u8, no_low: u8) -> Vec<Instruction> {
    let (value_low, value_high) = halves(condition.value);
    vec![
        load(high(condition.index)),
        jump(ABOVE, value_high, 3, 0),
        jump(EQUAL, value_high, 0, no_high),
        load(low(condition.index)),
        jump(last, value_low, 0, no_low),
    ]
}

fn below(condition: &Condition, last: u16, no_high: u8, no_low: u8) -> Vec<Instruction> {
    let (value_low, value_high) = halves(condition.value);
    vec![
        load(high(condition.index)),
        jump(ABOVE, value_high, no_high, 0),
        jump(EQUAL, value_high, 0, 2),
        load(low(condition.index)),
        jump(last, value_low, no_low, 0),
    ]
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn low(index: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(index)
}

fn high(index: u8) -> u32 {
    low(index) + 4
}

/// A case has at most six comparisons of seven instructions, and our own lists are short.
fn short(distance: usize) -> u8 {
    u8::try_from(distance).unwrap_or(u8::MAX)
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn and(mask: u32) -> Instruction {
    Instruction { code: AND, jt: 0, jf: 0, k: mask }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn go(over: usize) -> Instruction {
    // More than the longest program is refused at the end.
    Instruction { code: GO, jt: 0, jf: 0, k: u32::try_from(over).unwrap_or(u32::MAX) }
}

fn ret(action: Action) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: value(action) }
}

/// SECCOMP_RET_*, linux/seccomp.h.
pub(super) fn value(action: Action) -> u32 {
    match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(number) => 0x0005_0000 | u32::from(number),
        Action::Trace(number) => 0x7ff0_0000 | u32::from(number),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}
