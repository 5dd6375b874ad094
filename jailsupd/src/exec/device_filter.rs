//! Which device nodes a jail's processes may open, as the program that the kernel runs at each opening
//! (`BPF_PROG_TYPE_CGROUP_DEVICE`, Documentation/admin-guide/cgroup-v2.rst). What no rule allows is refused.

use crate::unit::Access;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::io;
use sys::bpf::Instruction;

/// More would be a host of many jails with devices of their own; they are loaded anew at each start.
const PROGRAMS_MAX: usize = 64;

/// Programs that the kernel has verified and translated, which takes it longer than any other part of a start but
/// the seccomp filter's: most jails may open the same nodes, and a jail's next start what its last one could.
#[derive(Debug, Default)]
pub struct Programs {
    loaded: Vec<(Vec<Rule>, OwnedFd)>,
}

impl Programs {
    /// The program that allows what one of `rules` allows.
    ///
    /// # Errors
    /// As [`sys::bpf::load_device_program`].
    pub(super) fn of(&mut self, rules: &[Rule]) -> io::Result<BorrowedFd<'_>> {
        let known = self.loaded.iter().position(|(of, _)| of == rules);
        let at = if let Some(at) = known {
            at
        } else {
            let new = sys::bpf::load_device_program(&program(rules))?;
            if self.loaded.len() == PROGRAMS_MAX {
                // A cgroup that has it keeps it.
                self.loaded.remove(0);
            }
            self.loaded.push((rules.to_vec(), new));
            self.loaded.len() - 1
        };
        Ok(self.loaded[at].1.as_fd())
    }
}

/// Allows some access to one device, or to all of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Character or block.
    pub(super) kind: Kind,
    /// Major number.
    pub(super) major: u32,
    /// Minor number; none is all.
    pub(super) minor: Option<u32>,
    /// What is allowed.
    pub(super) access: Access,
}

/// The two kinds of device nodes, as the kernel numbers them for the program (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `BPF_DEVCG_DEV_BLOCK`.
    Block = 1,
    /// `BPF_DEVCG_DEV_CHAR`.
    Character = 2,
}

const READ_WRITE: Access = Access { read: true, write: true, make: false };

const fn terminal(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major, minor, access: READ_WRITE }
}

/// /dev/tty, /dev/ptmx and the terminals behind it (Documentation/admin-guide/devices.txt).
pub(super) const TERMINALS: [Rule; 3] =
    [terminal(5, Some(0)), terminal(5, Some(2)), terminal(136, None)];

/// linux/bpf.h: `BPF_DEVCG_ACC_*`.
fn bits(access: Access) -> i32 {
    i32::from(access.make) | i32::from(access.read) << 1 | i32::from(access.write) << 2
}

/// All bits that the kernel has.
const ALL: i32 = 0b111;

// Operations, and what the registers hold.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
/// At the start the context: `struct bpf_cgroup_dev_ctx`.
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// The program that allows what one of `rules` allows.
#[must_use]
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        // access_type: the access in the upper half, the kind in the lower.
        load(ACCESS, 0),
        operation(MOVE_REGISTER, KIND, ACCESS, 0),
        operation(AND, KIND, 0, 0xffff),
        operation(SHIFT_RIGHT, ACCESS, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules {
        program.extend(one(rule));
    }
    program.extend(answer(0));
    program
}

/// The same bits.
fn word(number: u32) -> i32 {
    i32::from_ne_bytes(number.to_ne_bytes())
}

fn one(rule: &Rule) -> Vec<Instruction> {
    let mut tests = vec![(KIND, rule.kind as i32), (MAJOR, word(rule.major))];
    tests.extend(rule.minor.map(|minor| (MINOR, word(minor))));
    // Asked for and not allowed: nothing may be left.
    let refused = ALL & !bits(rule.access);
    let masked = [
        operation(MOVE_REGISTER, SCRATCH, ACCESS, 0),
        operation(AND, SCRATCH, 0, refused),
        jump(SCRATCH, 0, 2),
    ];
    let rest = masked.len() + 2;
    let count = tests.len();
    let mut instructions: Vec<Instruction> = tests
        .into_iter()
        .enumerate()
        .map(|(at, (register, value))| jump(register, value, count - at - 1 + rest))
        .collect();
    instructions.extend(masked);
    instructions.extend(answer(1));
    instructions
}

fn answer(result: i32) -> [Instruction; 2] {
    [operation(MOVE, RESULT, 0, result), operation(EXIT, 0, 0, 0)]
}

fn operation(code: u8, to: u8, from: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset: 0, immediate }
}

fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: to | CONTEXT << 4, offset, immediate: 0 }
}

/// Over so many instructions, when the register is not `value`.
fn jump(register: u8, value: i32, over: usize) -> Instruction {
    let offset = i16::try_from(over).unwrap_or(i16::MAX);
    Instruction { code: JUMP_UNLESS_EQUAL, registers: register, offset, immediate: value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the program answers, by an interpreter of the operations that it is made of.
    fn run(program: &[Instruction], kind: i32, major: u32, minor: u32, access: i32) -> i64 {
        let context = [u32::try_from(access << 16 | kind).unwrap(), major, minor];
        let mut registers = [0i64; 11];
        let mut at = 0usize;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[usize::try_from(offset / 4).unwrap()].into();
                }
                MOVE => registers[to] = immediate.into(),
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= i64::from(immediate),
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_UNLESS_EQUAL if registers[to] != i64::from(immediate) => {
                    at += usize::try_from(offset).unwrap();
                }
                JUMP_UNLESS_EQUAL => {}
                EXIT => return registers[0],
                other => panic!("{other:#x}"),
            }
        }
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let kind = prop_oneof![Just(Kind::Block), Just(Kind::Character)];
        let access = (any::<bool>(), any::<bool>(), any::<bool>());
        let rule = (kind, 0u32..3, prop::option::of(0u32..3), access);
        let rule = rule.prop_map(|(kind, major, minor, (read, write, make))| Rule {
            kind,
            major,
            minor,
            access: Access { read, write, make },
        });
        prop::collection::vec(rule, 0..6)
    }

    proptest! {
        #[test]
        fn program_allows_what_one_rule_allows(
            rules in rules(), kind in 1i32..3, major in 0u32..3, minor in 0u32..3, access in 1i32..8
        ) {
            let allowed = rules.iter().any(|rule| {
                rule.kind as i32 == kind
                    && rule.major == major
                    && rule.minor.is_none_or(|own| own == minor)
                    && access & !bits(rule.access) == 0
            });
            prop_assert_eq!(run(&program(&rules), kind, major, minor, access), i64::from(allowed));
        }
    }

    #[test]
    fn without_a_rule_nothing_is_allowed() {
        assert_eq!(run(&program(&[]), 2, 1, 3, 2), 0);
    }
}
