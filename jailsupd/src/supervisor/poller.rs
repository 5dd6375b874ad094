//! epoll(7) with names instead of numbers.

use crate::control::server::ClientId;
use crate::exec::pressure::Signal;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::time::Duration;

/// Index of a jail in the supervisor's list; never used for another one.
pub(super) type JailId = u32;

/// What woke the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A notice of the keeper.
    Keeper,
    /// A new connection.
    Listener,
    /// A control connection.
    Client(ClientId),
    /// A jail's PID 1 has ended.
    Process(JailId),
    /// A jail's start-error pipe.
    StartError(JailId),
    /// A jail's standard output.
    Stdout(JailId),
    /// A jail's standard error.
    Stderr(JailId),
    /// A jail's terminal.
    Terminal(JailId),
    /// A client at a terminal can take more, or is gone.
    Console(ClientId),
    /// A jail was frozen or thawed.
    Cgroup(JailId),
    /// Something happened in a unit directory.
    Units,
    /// A jail comes to its limits.
    Limit(JailId, Signal),
    /// The process that empties the trash has ended.
    Janitor,
    /// The kernel has logged something.
    KernelLog,
    /// A jail's service says how it is.
    Notify(JailId),
    /// A check of a jail's health has something to say.
    Check(JailId),
    /// A worker that a jail waits for has said something.
    Work(JailId),
    /// An import of an image has said something.
    Import(u32),
    /// A worker that nobody waits for any more has said something, or has ended.
    Discarded,
    /// PID 1 says what came of executing it anew.
    Reexec,
    /// A hook in a jail has said something, or has ended.
    Hook(u32),
    /// The process that syncs the logs has answered.
    Synced,
    /// Links of the host have come, gone or changed.
    Links,
    /// The process that asks DHCP servers for addresses has said something, or has ended.
    Dhcp,
}

/// The kinds of [`Source::Limit`] come after all others.
const LIMITS: u64 = 64;

impl Source {
    fn to_data(self) -> u64 {
        let (kind, id) = match self {
            Self::Keeper => (0u64, 0),
            Self::Listener => (1, 0),
            Self::Client(id) => (2, id),
            Self::Process(id) => (3, id),
            Self::StartError(id) => (4, id),
            Self::Stdout(id) => (5, id),
            Self::Stderr(id) => (6, id),
            Self::Cgroup(id) => (7, id),
            Self::Units => (8, 0),
            Self::Janitor => (9, 0),
            Self::Limit(id, signal) => (LIMITS + signal as u64, id),
            Self::Work(id) => (10, id),
            Self::Import(number) => (11, number),
            Self::KernelLog => (12, 0),
            Self::Terminal(id) => (13, id),
            Self::Console(id) => (14, id),
            Self::Reexec => (15, 0),
            Self::Hook(number) => (20, number),
            Self::Synced => (16, 0),
            Self::Notify(id) => (18, id),
            Self::Check(id) => (19, id),
            Self::Links => (17, 0),
            Self::Dhcp => (21, 0),
            Self::Discarded => (22, 0),
        };
        kind << 32 | u64::from(id)
    }

    fn from_data(data: u64) -> Option<Self> {
        let id = u32::try_from(data & 0xffff_ffff).ok()?;
        Some(match data >> 32 {
            0 => Self::Keeper,
            1 => Self::Listener,
            2 => Self::Client(id),
            3 => Self::Process(id),
            4 => Self::StartError(id),
            5 => Self::Stdout(id),
            6 => Self::Stderr(id),
            7 => Self::Cgroup(id),
            8 => Self::Units,
            9 => Self::Janitor,
            10 => Self::Work(id),
            11 => Self::Import(id),
            12 => Self::KernelLog,
            13 => Self::Terminal(id),
            14 => Self::Console(id),
            15 => Self::Reexec,
            20 => Self::Hook(id),
            16 => Self::Synced,
            17 => Self::Links,
            21 => Self::Dhcp,
            22 => Self::Discarded,
            18 => Self::Notify(id),
            19 => Self::Check(id),
            kind => {
                let signal = Signal::ALL.into_iter().find(|s| kind == LIMITS + *s as u64)?;
                Self::Limit(id, signal)
            }
        })
    }
}

/// Two jails change places: the number that something of one of them has from then on.
pub(super) fn swapped(id: JailId, one: JailId, other: JailId) -> JailId {
    match id {
        id if id == one => other,
        id if id == other => one,
        id => id,
    }
}

/// Most events taken in one turn.
const EVENTS_MAX: usize = 64;

pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches `fd` for input until it is closed or removed.
    pub(super) fn watch(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_data());
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Watches a file of the kernel that signals changes by priority (`POLLPRI`).
    pub(super) fn watch_changes(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_data());
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::PRI)?)
    }

    /// Whether a client is also to be woken for when it can take more output.
    pub(super) fn watch_output(
        &self,
        fd: impl AsFd,
        source: Source,
        wanted: bool,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_data());
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, wanted);
        Ok(epoll::modify(&self.epoll, fd, data, flags)?)
    }

    /// Stops watching. Needed before a close, as the keeper holds copies of the same file.
    pub(super) fn forget(&self, fd: impl AsFd) {
        // It may not be watched any more.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for input, at most for `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let timeout = timeout.map(|duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        });
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(self.events.iter().filter_map(|event| Source::from_data(event.data.u64())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_the_kernel() {
        for source in [
            Source::Keeper,
            Source::Listener,
            Source::Client(u32::MAX),
            Source::Process(1),
            Source::StartError(2),
            Source::Stdout(3),
            Source::Stderr(4),
            Source::Cgroup(5),
            Source::Units,
            Source::Janitor,
            Source::Limit(6, Signal::Memory),
            Source::Limit(7, Signal::IoPressure),
            Source::Work(6),
            Source::Import(7),
            Source::KernelLog,
            Source::Terminal(8),
            Source::Console(9),
            Source::Reexec,
            Source::Hook(10),
            Source::Synced,
            Source::Notify(10),
            Source::Check(11),
            Source::Links,
            Source::Dhcp,
            Source::Discarded,
        ] {
            assert_eq!(Source::from_data(source.to_data()), Some(source));
        }
        assert_eq!(Source::from_data((LIMITS - 1) << 32), None);
    }
}
