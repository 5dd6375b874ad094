//! `start_container`: a program that must succeed before the service is executed. The jail's PID 1 runs it; so it
//! is behind every wall that the service is behind, and jailsupd need not be there.
//!
//! ```text
//! jail-init-hook STATE TIMEOUT_MS COUNT HOOK [ARGUMENT...] PROGRAM [ARGUMENT...]
//! ```

/// `argv[0]` of a jail's PID 1 that has a hook to run first.
pub const INIT: &str = "jail-init-hook";

/// How a hook failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was not executed: errno(3).
    NotExecuted(i32),
    /// It exited with another code than 0.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
    /// It took too long.
    TimedOut,
}

const EXITED: i32 = 1 << 16;
const KILLED: i32 = 2 << 16;
const TIMED_OUT: i32 = 3 << 16;

impl Failure {
    /// In the place of an errno in a [`super::StartError`].
    #[must_use]
    pub const fn encode(self) -> i32 {
        match self {
            Self::NotExecuted(errno) => errno,
            Self::Exited(code) => EXITED | code,
            Self::Killed(signal) => KILLED | signal,
            Self::TimedOut => TIMED_OUT,
        }
    }

    /// What was in the place of an errno.
    #[must_use]
    pub const fn decode(number: i32) -> Self {
        let low = number & 0xffff;
        match number & !0xffff {
            EXITED => Self::Exited(low),
            KILLED => Self::Killed(low),
            TIMED_OUT => Self::TimedOut,
            _ => Self::NotExecuted(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_place_of_an_errno() {
        let all =
            [Failure::NotExecuted(2), Failure::Exited(255), Failure::Killed(9), Failure::TimedOut];
        for failure in all {
            assert_eq!(Failure::decode(failure.encode()), failure);
        }
    }
}
