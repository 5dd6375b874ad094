//! What the kernel says of a process: proc_pid_status(5).

use crate::unit::Capabilities;

/// The privileges of one process, as they are, whatever was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// What it may do now.
    pub effective: Capabilities,
    /// What it could have at most after executing something.
    pub bounding: Capabilities,
    /// The mode of seccomp(2): 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Whether it can gain no privileges by executing something.
    pub no_new_privs: bool,
}

impl Privileges {
    /// Of a jail's init.
    #[must_use]
    pub fn of_init(init: i32) -> Option<Self> {
        Self::of(&init.to_string())
    }

    /// Of the init's first child, the service; none while there is none.
    #[must_use]
    pub fn of_service(init: i32) -> Option<Self> {
        let children =
            std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
        Self::of(children.split_whitespace().next()?)
    }

    fn of(pid: &str) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let set = |name| u64::from_str_radix(field(name)?, 16).ok().map(Capabilities::from_bits);
        Some(Self {
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            seccomp: field("Seccomp")?.parse().ok()?,
            no_new_privs: field("NoNewPrivs")? == "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tnginx\nCapEff:\t0000000000000400\nCapBnd:\t0000000000002400\n\
                      NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let found = Privileges::parse(status).unwrap();
        assert_eq!(found.effective.names(), ["NET_BIND_SERVICE"]);
        assert_eq!(found.bounding.names(), ["NET_BIND_SERVICE", "NET_RAW"]);
        assert_eq!((found.seccomp, found.no_new_privs), (2, true));
    }

    #[test]
    fn our_own_are_found() {
        assert!(Privileges::of("self").is_some());
    }
}
