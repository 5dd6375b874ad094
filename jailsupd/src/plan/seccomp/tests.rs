//! Programs run by a small model of the kernel's own machine, against what was asked for.

use super::answers::{Answers, Case, Test};
use super::assemble::{assemble, value};
use super::groups::{GROUPS, When};
use super::{Error, Request, compile, name, own, walls};
use crate::unit::Capabilities;
use crate::unit::capability::Capability;
use crate::unit::seccomp::{Action, Compare, Condition, Profile, Rule, Scope, Seccomp};
use crate::unit::value::FromText as _;
use proptest::prelude::*;
use sys::lockdown::Instruction;

const X86_64: u32 = 0xc000_003e;
const KERNEL: (u32, u32) = (6, 12);
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const EAFNOSUPPORT: u32 = 0x0005_0061;
const KILL: u32 = 0x8000_0000;

/// Runs a program as Documentation/networking/filter.rst says; the answer.
fn run(program: &[Instruction], architecture: u32, call: u32, arguments: &[u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(call.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1;
        match code {
            0x20 => {
                let word = data[k as usize..k as usize + 4].try_into().unwrap();
                accumulator = u32::from_le_bytes(word);
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}

fn capabilities(names: &[&str]) -> Capabilities {
    let bit = |name: &&str| 1 << Capability::from_text(name).unwrap().number();
    Capabilities::from_bits(names.iter().map(bit).fold(0, |all, one: u64| all | one))
}

fn request(seccomp: &Seccomp) -> Request<'_> {
    let (capabilities, kernel) = (Capabilities::NONE, KERNEL);
    Request { seccomp, profile: None, capabilities, kernel, log: false }
}

fn program(seccomp: &Seccomp, caps: &[&str]) -> Vec<Instruction> {
    let request = Request { capabilities: capabilities(caps), ..request(seccomp) };
    compile(request).unwrap().unwrap().program
}

fn ask(program: &[Instruction], call: i64, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    run(program, X86_64, u32::try_from(call).unwrap(), &all)
}

#[test]
fn the_own_profiles_answer_each_call_as_its_group_says() {
    for (seccomp, strict) in [(Seccomp::Default, false), (Seccomp::Strict, true)] {
        let program = program(&seccomp, &[]);
        assert!(program.len() < 1000, "{}", program.len());
        for group in GROUPS {
            let allowed = match group.when {
                When::Always => true,
                When::NotStrict => !strict,
                When::With(_) | When::Never | When::Wall => false,
            };
            for call in group.calls {
                let wanted = if allowed { ALLOW } else { EPERM };
                assert_eq!(ask(&program, *call, &[]), wanted, "{:?}", name(*call));
            }
        }
    }
}

#[test]
fn a_call_is_in_one_group_and_has_a_name() {
    let mut calls: Vec<i64> = GROUPS.iter().flat_map(|group| group.calls).copied().collect();
    assert!(calls.iter().all(|call| name(*call).is_some()));
    let count = calls.len();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls.len(), count);
}

/// Denied to a container that was given nothing by at least one of Docker, podman and systemd-nspawn: the calls
/// that a default is easily tempted to allow.
#[test]
fn what_one_of_the_others_denies_is_denied() {
    let program = program(&Seccomp::Default, &[]);
    for call in [
        libc::SYS_memfd_secret,
        libc::SYS_mlock,
        libc::SYS_mlock2,
        libc::SYS_mlockall,
        libc::SYS_mseal,
        libc::SYS_pkey_alloc,
        libc::SYS_pkey_free,
        libc::SYS_pkey_mprotect,
        libc::SYS_process_madvise,
        libc::SYS_process_mrelease,
        libc::SYS_vmsplice,
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_io_uring_setup,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_clone3,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_ptrace,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
    ] {
        assert_ne!(ask(&program, call, &[]), ALLOW, "{:?}", name(call));
    }
}

#[test]
fn arguments_that_reach_the_host_are_refused() {
    let program = program(&Seccomp::Default, &[]);
    let socket = |family: i32, protocol| {
        ask(&program, libc::SYS_socket, &[u64::from(family.unsigned_abs()), 1, protocol])
    };
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(socket(family, 0), ALLOW, "{family}");
    }
    for family in [libc::AF_ALG, libc::AF_VSOCK, libc::AF_PACKET, libc::AF_BLUETOOTH, 0, 45] {
        assert_eq!(socket(family, 0), EPERM, "{family}");
    }
    assert_eq!(socket(libc::AF_NETLINK, 9), EAFNOSUPPORT);
    // The kernel does not look at the upper half of an int's register.
    let hidden = |value: i32| 1 << 32 | u64::from(value.unsigned_abs());
    assert_eq!(ask(&program, libc::SYS_socket, &[hidden(libc::AF_ALG), 5]), EPERM);
    assert_eq!(ask(&program, libc::SYS_clone, &[0x11]), ALLOW);
    assert_eq!(ask(&program, libc::SYS_clone, &[0x1000_0011]), EPERM);
    assert_eq!(ask(&program, libc::SYS_clone3, &[]), ENOSYS);
    assert_eq!(ask(&program, libc::SYS_ioctl, &[0, 0x5401]), ALLOW);
    assert_eq!(ask(&program, libc::SYS_ioctl, &[0, 0x5412]), EPERM);
    assert_eq!(ask(&program, libc::SYS_personality, &[0xffff_ffff]), ALLOW);
    assert_eq!(ask(&program, libc::SYS_personality, &[0x4_0000]), EPERM);
}

#[test]
fn calls_of_another_architecture_kill_and_unknown_ones_are_not_there() {
    let program = program(&Seccomp::Default, &[]);
    assert_eq!(run(&program, 0x4000_0003, 1, &[0; 6]), KILL, "i386");
    assert_eq!(ask(&program, 0x4000_0000 + libc::SYS_mount, &[]), ENOSYS, "x32");
    assert_eq!(ask(&program, 100_000, &[]), ENOSYS);
}

#[test]
fn some_calls_go_with_a_capability() {
    let with = [
        ("IPC_LOCK", libc::SYS_mlock),
        ("SYS_CHROOT", libc::SYS_chroot),
        ("SYS_PTRACE", libc::SYS_ptrace),
        ("SYS_NICE", libc::SYS_mbind),
    ];
    for (capability, call) in with {
        assert_eq!(ask(&program(&Seccomp::Default, &[]), call, &[]), EPERM);
        assert_eq!(ask(&program(&Seccomp::Default, &[capability]), call, &[]), ALLOW);
    }
    let packet = [u64::from(libc::AF_PACKET.unsigned_abs()), 3];
    let program = program(&Seccomp::Default, &["NET_RAW"]);
    assert_eq!(ask(&program, libc::SYS_socket, &packet), ALLOW);
}

fn permissive() -> Profile {
    Profile { default: Action::Allow, log: false, rules: Vec::new() }
}

fn rule(call: i64, action: Action) -> Rule {
    Rule { calls: vec![call], action, alternatives: Vec::new(), scope: Scope::default() }
}

fn file() -> Seccomp {
    Seccomp::from_text("/etc/warder/seccomp/x.json").unwrap()
}

#[test]
fn walls_stand_before_any_file_and_what_is_no_wall_can_be_opened() {
    let (seccomp, profile) = (file(), permissive());
    let request = Request { profile: Some(&profile), ..request(&seccomp) };
    let program = compile(request).unwrap().unwrap().program;
    for group in GROUPS {
        for call in group.calls {
            let wanted = if group.when == When::Wall { EPERM } else { ALLOW };
            assert_eq!(ask(&program, *call, &[]), wanted, "{:?}", name(*call));
        }
    }
    assert_eq!(ask(&program, libc::SYS_clone3, &[]), ENOSYS);
    assert_eq!(ask(&program, libc::SYS_clone, &[0x1000_0011]), EPERM);
    assert_eq!(ask(&program, libc::SYS_socket, &[38]), EPERM);
    assert_eq!(ask(&program, 0x4000_0000 + libc::SYS_mount, &[]), ENOSYS);
}

#[test]
fn a_profile_with_which_no_jail_could_start_is_refused() {
    let seccomp = file();
    let mut profile = permissive();
    profile.rules.push(rule(libc::SYS_waitid, Action::Errno(1)));
    let request = Request { profile: Some(&profile), ..request(&seccomp) };
    assert_eq!(compile(request), Err(Error::Start("waitid")));
    let closed = Profile { default: Action::KillProcess, ..permissive() };
    let request = Request { profile: Some(&closed), ..request };
    assert_eq!(compile(request), Err(Error::Start("execveat")));
}

#[test]
fn a_profile_that_is_too_long_for_the_kernel_is_refused() {
    let seccomp = file();
    let mut profile = permissive();
    for value in 0..2000 {
        let compare = Condition { index: 0, compare: Compare::Equal, value };
        let mut rule = rule(libc::SYS_read, Action::Errno(1));
        rule.alternatives.push(vec![compare]);
        profile.rules.push(rule);
    }
    let request = Request { profile: Some(&profile), ..request(&seccomp) };
    assert!(matches!(compile(request), Err(Error::TooLong(_))));
}

#[test]
fn of_two_rules_the_stricter_one_counts_and_scopes_are_kept() {
    let seccomp = file();
    let mut profile = permissive();
    profile.rules.push(rule(libc::SYS_getpid, Action::Allow));
    profile.rules.push(rule(libc::SYS_getpid, Action::Errno(5)));
    let mut with = rule(libc::SYS_getppid, Action::Errno(6));
    with.scope.without = capabilities(&["SYS_ADMIN"]);
    profile.rules.push(with);
    let mut later = rule(libc::SYS_gettid, Action::Errno(7));
    later.scope.min_kernel = Some((6, 13));
    profile.rules.push(later);
    let ask_with = |caps: &[&str], call| {
        let capabilities = capabilities(caps);
        let request = Request { profile: Some(&profile), capabilities, ..request(&seccomp) };
        ask(&compile(request).unwrap().unwrap().program, call, &[])
    };
    assert_eq!(ask_with(&[], libc::SYS_getpid), 0x0005_0005);
    assert_eq!(ask_with(&[], libc::SYS_getppid), 0x0005_0006);
    assert_eq!(ask_with(&["SYS_ADMIN"], libc::SYS_getppid), ALLOW);
    assert_eq!(ask_with(&[], libc::SYS_gettid), ALLOW);
}

#[test]
fn none_has_no_program_and_what_is_logged_says_so() {
    assert_eq!(compile(request(&Seccomp::None)), Ok(None));
    let request = Request { log: true, ..request(&Seccomp::Default) };
    assert!(compile(request).unwrap().unwrap().log);
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Log),
        (0..4096_u16).prop_map(Action::Errno),
        (0..4096_u16).prop_map(Action::Trace),
        Just(Action::Trap),
        Just(Action::KillThread),
        Just(Action::KillProcess),
    ]
}

/// Values that are near each other, in both halves.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        (0..3_u64, 0..3_u64).prop_map(|(high, low)| high << 32 | low),
        any::<u64>()
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let compare = prop_oneof![
        Just(Compare::NotEqual),
        Just(Compare::Less),
        Just(Compare::LessOrEqual),
        Just(Compare::Equal),
        Just(Compare::GreaterOrEqual),
        Just(Compare::Greater),
        word().prop_map(Compare::Masked),
    ];
    let values = || prop::collection::vec(0..4_u32, 1..4);
    prop_oneof![
        4 => (0..6_u8, compare, word())
            .prop_map(|(index, compare, value)| Test::Is(Condition { index, compare, value })),
        1 => (0..6_u8, values()).prop_map(|(index, values)| Test::Other(index, values)),
        1 => (0..6_u8, values()).prop_map(|(index, values)| Test::One(index, values)),
    ]
}

fn answers() -> impl Strategy<Value = Answers> {
    let case = (prop::collection::vec(test(), 0..5), action())
        .prop_map(|(tests, action)| Case { tests, action });
    let call = prop_oneof![0..8_u32, 0..500_u32, Just(0x4000_0000_u32), Just(u32::MAX)];
    let calls = prop::collection::btree_map(call, prop::collection::vec(case, 1..4), 0..60);
    let beyond = prop::option::of((400..600_u32, action()));
    (action(), calls, beyond).prop_map(|(default, calls, beyond)| Answers {
        default,
        calls,
        beyond,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_program_answers_as_its_answers_say(
        answers in answers(),
        asked in prop::collection::vec((0..510_u32, prop::array::uniform6(word())), 40),
    ) {
        let program = assemble(&answers).unwrap();
        let known = answers.calls.keys().copied();
        let arguments = asked[0].1;
        for (call, arguments) in asked.iter().copied().chain(known.map(|call| (call, arguments))) {
            let wanted = value(answers.answer(call, &arguments));
            prop_assert_eq!(run(&program, X86_64, call, &arguments), wanted, "call {}", call);
        }
    }

    #[test]
    fn no_answers_open_a_wall(answers in answers(), flags in any::<u64>(), family in any::<u64>()) {
        let mut answers = answers;
        walls::add(&mut answers, Capabilities::NONE);
        let program = assemble(&answers).unwrap();
        for call in GROUPS.iter().filter(|group| group.when == When::Wall).flat_map(|g| g.calls) {
            prop_assert_eq!(ask(&program, *call, &[flags]), EPERM);
        }
        let namespaces = flags | 0x1000_0000;
        prop_assert_eq!(ask(&program, libc::SYS_clone, &[namespaces]), EPERM);
        let family = family & !0xffff_ffff | 38;
        prop_assert_eq!(ask(&program, libc::SYS_socket, &[family]), EPERM);
    }
}

#[test]
fn own_answers_let_a_jail_start() {
    for strict in [false, true] {
        let mut answers = own::answers(Capabilities::NONE, strict);
        walls::add(&mut answers, Capabilities::NONE);
        assert_eq!(answers.check_start(), Ok(()));
    }
}
