//! Limits of processes (setrlimit(2)) beyond what a jail's own processes may set: before they join the
//! jail's user namespace, and before it is made.

use crate::plan::JailStep;
use crate::unit::UlimitName;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The kernel's number of a limit.
pub(super) fn of(name: UlimitName) -> Resource {
    match name {
        UlimitName::As => Resource::As,
        UlimitName::Core => Resource::Core,
        UlimitName::Cpu => Resource::Cpu,
        UlimitName::Data => Resource::Data,
        UlimitName::Fsize => Resource::Fsize,
        UlimitName::Locks => Resource::Locks,
        UlimitName::Memlock => Resource::Memlock,
        UlimitName::Msgqueue => Resource::Msgqueue,
        UlimitName::Nice => Resource::Nice,
        UlimitName::Nofile => Resource::Nofile,
        UlimitName::Nproc => Resource::Nproc,
        UlimitName::Rss => Resource::Rss,
        UlimitName::Rtprio => Resource::Rtprio,
        UlimitName::Rttime => Resource::Rttime,
        UlimitName::Sigpending => Resource::Sigpending,
        UlimitName::Stack => Resource::Stack,
    }
}

/// Raises the hard limits to those that `steps` are going to set: in the jail's user namespace, a process
/// has no privilege to raise them. Neither allocates nor locks.
pub(super) fn make_room(steps: &[JailStep]) -> rustix::io::Result<()> {
    for step in steps {
        let JailStep::SetLimits(limits) = step else { continue };
        for limit in limits {
            let resource = of(limit.name);
            let now = getrlimit(resource);
            let enough = match (now.maximum, limit.hard) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(now), Some(wanted)) => now >= wanted,
            };
            if !enough {
                setrlimit(resource, Rlimit { current: now.current, maximum: limit.hard })?;
            }
        }
    }
    Ok(())
}

/// Counted for each user and, over all user namespaces below, for the user who made them: root. A
/// namespace keeps the limits of its maker, so with those of a service, jails would use up each other's.
const COUNTED: [Resource; 3] = [Resource::Memlock, Resource::Msgqueue, Resource::Sigpending];

/// Runs `make` without the limits that a new user namespace would take over.
pub(super) fn without_limits<T>(make: impl FnOnce() -> T) -> T {
    let before = COUNTED.map(getrlimit);
    for (resource, limit) in COUNTED.into_iter().zip(&before) {
        // Refused, the limits stay as they are: shared, as on any other host.
        let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let _ = setrlimit(resource, Rlimit { current: None, maximum: None });
    }
    let made = make();
    for (resource, limit) in COUNTED.into_iter().zip(before) {
        let _ = setrlimit(resource, limit);
    }
    made
}
