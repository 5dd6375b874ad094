//! What the calls are for: the groups of Warder's own profiles, and what they answer for each.
//!
//! The default allows no call that one of Docker (moby), podman (containers/common) and systemd-nspawn denies in their
//! default containers; `docs/security.md` has the table, made from this one. Checked against moby/profiles of 2026-06,
//! containers/container-libs of 2026-04 and systemd 257.

mod closed;
mod usual;

use crate::unit::Capabilities;
use std::fmt::Write as _;

/// When a group's calls are allowed by Warder's own profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// By `default`, not by `strict`.
    NotStrict,
    /// To a jail with the capability of that number.
    With(u8),
    /// Never; a profile from a file may allow them.
    Never,
    /// Never, whatever a file says.
    Wall,
}

/// Calls that go together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// For people.
    pub(super) name: &'static str,
    pub(super) when: When,
    pub(super) calls: &'static [i64],
    /// Why they are allowed, or not.
    pub(super) why: &'static str,
    /// Which of them Docker, podman and systemd-nspawn allow a container that was given nothing.
    pub(super) peers: [&'static str; 3],
}

/// All groups.
pub(super) const GROUPS: &[Group] = &[
    usual::FILES,
    usual::MEMORY,
    usual::PROCESSES,
    usual::SANDBOX,
    usual::SIGNALS,
    usual::TIME,
    usual::WAITING,
    usual::NETWORK,
    usual::OWNERS,
    usual::NODES,
    usual::IDENTITY,
    usual::PRIORITIES,
    closed::PIPES,
    closed::MEMORY_FILES,
    closed::IPC,
    closed::AIO,
    closed::LOCKS,
    closed::CHROOT,
    closed::OTHERS,
    closed::NUMA,
    closed::NAMES,
    closed::LEGACY,
    closed::MOUNTS,
    closed::NAMESPACES,
    closed::KERNEL,
    closed::URING,
    closed::KEYS,
    closed::FAULTS,
    closed::HANDLES,
    closed::CLOCK,
    closed::HOST,
];

/// The calls by number, group by group, as a table in Markdown for `docs/security.md`.
pub fn table() -> String {
    let mut out = String::from(
        "| calls | Warder | why | Docker | podman | nspawn |\n|---|---|---|---|---|---|\n",
    );
    for group in GROUPS {
        let when = match group.when {
            When::Always => "yes".to_owned(),
            When::NotStrict => "yes; `strict`: no".to_owned(),
            When::With(number) => {
                format!("with {}", Capabilities::from_bits(1 << number).names().join(" "))
            }
            When::Never => "no; a file may".to_owned(),
            When::Wall => "**no**".to_owned(),
        };
        let mut names: Vec<&str> = group.calls.iter().filter_map(|call| name(*call)).collect();
        names.sort_unstable();
        let names = names.join(" ");
        let [docker, podman, nspawn] = group.peers;
        let _ = writeln!(
            out,
            "| **{}**: {names} | {when} | {} | {docker} | {podman} | {nspawn} |",
            group.name, group.why
        );
    }
    out
}

/// The name of a system call of this machine.
pub fn name(call: i64) -> Option<&'static str> {
    let number = usize::try_from(call).ok()?;
    syscalls::x86_64::Sysno::new(number).map(|call| call.name())
}
