//! What the kernel tells of a jail that comes to its limits: counters of its cgroup that change, and
//! triggers on its pressure files (Documentation/accounting/psi.rst). Nobody looks at a clock or asks
//! again and again: each is a descriptor on which the kernel raises `POLLPRI`.

use super::cgroup::Cgroup;
use super::descriptors::of_jail;
use super::kernel_file;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::time::Duration;

/// The time of which a threshold is a part: systemd's, and long enough that the kernel's own work for it is
/// not felt.
pub const WINDOW: Duration = Duration::from_secs(2);

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.events` has changed.
    Memory,
    /// `pids.events` has changed.
    Pids,
    /// Processes have waited for memory.
    MemoryPressure,
    /// Processes have waited for a processor.
    CpuPressure,
    /// Processes have waited for a disk.
    IoPressure,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Memory, Self::Pids, Self::MemoryPressure, Self::CpuPressure, Self::IoPressure];

    /// The cgroup's file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory.events",
            Self::Pids => "pids.events",
            Self::MemoryPressure => "memory.pressure",
            Self::CpuPressure => "cpu.pressure",
            Self::IoPressure => "io.pressure",
        }
    }
}

/// Opens the file of `signal`. For pressure, `threshold` is how long processes wait within [`WINDOW`] until
/// the kernel tells; it tells once a window. For counters the kernel signals until [`read`].
///
/// # Errors
/// When the kernel has no such file (`psi=0`), or refuses the threshold.
pub fn open(cgroup: &Cgroup, signal: Signal, threshold: Option<Duration>) -> io::Result<OwnedFd> {
    let path = cgroup.path().join(signal.file());
    let access = if threshold.is_some() { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = of_jail(rustix::fs::open(path, flags, Mode::empty())?);
    if let Some(threshold) = threshold {
        let trigger = format!("some {} {}\0", threshold.as_micros(), WINDOW.as_micros());
        rustix::io::write(&file, trigger.as_bytes())?;
    }
    Ok(file)
}

/// The counters of one file, each key with its number. Reading is what takes its `POLLPRI` back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(String);

impl Counters {
    /// The count of `key`, 0 when there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// How much more than in `before`.
    #[must_use]
    pub fn more(&self, before: &Self, key: &str) -> u64 {
        self.get(key).saturating_sub(before.get(key))
    }
}

/// Reads a file of counters from its beginning.
#[must_use]
pub fn read(file: &OwnedFd) -> Counters {
    let mut bytes = [0; 512];
    let length = rustix::io::pread(file, &mut bytes, 0).unwrap_or(0);
    Counters(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The counters of a file by its name; empty when it is not there.
#[must_use]
pub fn read_named(cgroup: &Cgroup, file: &str) -> Counters {
    Counters(kernel_file(&cgroup.path().join(file)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_apart() {
        let before = Counters("low 0\nhigh 12\nmax 3\noom 1\noom_kill 2\n".into());
        let after = Counters("low 0\nhigh 15\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n".into());
        assert_eq!((after.get("oom"), after.get("oom_kill"), after.get("nothing")), (1, 2, 0));
        assert_eq!((after.more(&before, "high"), after.more(&before, "oom_group_kill")), (3, 1));
    }
}
