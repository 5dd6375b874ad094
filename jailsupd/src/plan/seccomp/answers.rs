//! What a filter answers, call by call: what a program is assembled from.

use super::Error;
use crate::unit::Capabilities;
use crate::unit::seccomp::{Action, Condition, Profile};
use std::collections::BTreeMap;

/// The answers to all calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// To calls that are not in `calls`, and where no case of theirs holds.
    pub(super) default: Action,
    /// The first case that holds counts.
    pub(super) calls: BTreeMap<u32, Vec<Case>>,
    /// To calls from this number on, whatever is said of them in `calls`.
    pub(super) beyond: Option<(u32, Action)>,
}

/// An answer and when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// All must hold; none is always.
    pub(super) tests: Vec<Test>,
    pub(super) action: Action,
}

/// A look at one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// As profiles say it.
    Is(Condition),
    /// Its lower 32 bits, which are all that the kernel takes of an int, are none of these.
    Other(u8, Vec<u32>),
    /// Its lower 32 bits are one of these.
    One(u8, Vec<u32>),
}

impl Test {
    fn holds(&self, arguments: &[u64; 6]) -> bool {
        let low = |index: u8| arguments.get(usize::from(index)).map(|value| value & 0xffff_ffff);
        let known =
            |index, values: &[u32]| values.iter().any(|v| Some(u64::from(*v)) == low(index));
        match self {
            Self::Is(condition) => condition.holds(arguments),
            Self::Other(index, values) => !known(*index, values),
            Self::One(index, values) => known(*index, values),
        }
    }
}

impl Answers {
    pub(super) fn new(default: Action) -> Self {
        Self { default, calls: BTreeMap::new(), beyond: None }
    }

    /// `action` for these calls, whatever their arguments are, after the cases that they have.
    pub(super) fn set(&mut self, calls: &[i64], action: Action) {
        calls.iter().for_each(|call| self.case(*call, Vec::new(), action));
    }

    /// One more case of a call, after those that it has.
    pub(super) fn case(&mut self, call: i64, tests: Vec<Test>, action: Action) {
        if let Ok(call) = u32::try_from(call) {
            self.calls.entry(call).or_default().push(Case { tests, action });
        }
    }

    /// What a file says to a jail with these capabilities, on this kernel: of all rules for a call the strictest that
    /// holds counts.
    pub(super) fn of(profile: &Profile, capabilities: Capabilities, kernel: (u32, u32)) -> Self {
        let mut answers = Self::new(profile.default);
        for rule in profile.rules.iter().filter(|rule| rule.scope.holds(capabilities, kernel)) {
            for call in &rule.calls {
                if rule.alternatives.is_empty() {
                    answers.case(*call, Vec::new(), rule.action);
                }
                for all in &rule.alternatives {
                    let tests = all.iter().copied().map(Test::Is).collect();
                    answers.case(*call, tests, rule.action);
                }
            }
        }
        for cases in answers.calls.values_mut() {
            cases.sort_by_key(|case| std::cmp::Reverse(case.action.rank()));
        }
        answers
    }

    /// Puts `first` in front: its cases are looked at before these, and its default counts for nothing.
    pub(super) fn behind(&mut self, first: Self) {
        self.beyond = first.beyond;
        for (call, mut cases) in first.calls {
            let own = self.calls.entry(call).or_default();
            cases.append(own);
            *own = cases;
        }
    }

    pub(super) fn answer(&self, call: u32, arguments: &[u64; 6]) -> Action {
        if let Some((_, action)) = self.beyond.filter(|(from, _)| call >= *from) {
            return action;
        }
        let cases = self.calls.get(&call).map(Vec::as_slice).unwrap_or_default();
        let found = cases.iter().find(|case| case.tests.iter().all(|test| test.holds(arguments)));
        found.map_or(self.default, |case| case.action)
    }

    /// Whether a jail with these answers could start and end.
    pub(super) fn check_start(&self) -> Result<(), Error> {
        let denied = START.iter().find(|(call, _, first)| {
            let call = u32::try_from(*call).unwrap_or(u32::MAX);
            !self.answer(call, &[*first, 0, 0, 0, 0, 0]).passes()
        });
        denied.map_or(Ok(()), |(_, name, _)| Err(Error::Start(name)))
    }
}

/// What the in-jail init, and the exec of it and of the program, cannot do without; each with a first argument that
/// it has.
const START: [(i64, &str, u64); 12] = [
    (libc::SYS_execveat, "execveat", 0),
    (libc::SYS_execve, "execve", 0),
    // fork(3): CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD.
    (libc::SYS_clone, "clone", 0x0120_0011),
    (libc::SYS_exit_group, "exit_group", 0),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask", 0),
    (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait", 0),
    (libc::SYS_waitid, "waitid", 0),
    (libc::SYS_kill, "kill", 2),
    (libc::SYS_write, "write", 4),
    (libc::SYS_close, "close", 3),
    (libc::SYS_mmap, "mmap", 0),
    (libc::SYS_brk, "brk", 0),
];
