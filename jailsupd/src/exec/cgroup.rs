//! A jail's cgroup: Documentation/admin-guide/cgroup-v2.rst.

use super::descriptors::of_jail;
use super::{Error, kernel_file};
use crate::plan::Limit;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The cgroup of one jail. It outlives its processes, so that what happened can be read from it.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// What the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory now.
    pub memory: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
}

impl Cgroup {
    /// The cgroup of the jail `name` below `parent`, made or not.
    #[must_use]
    pub fn of(parent: &Path, name: &str) -> Self {
        Self { path: parent.join(name) }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it; false when it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self) -> Result<bool, Error> {
        match std::fs::create_dir(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.error("make", error)),
        }
    }

    /// Its directory as a descriptor, to be born into (clone3(2), `CLONE_INTO_CGROUP`).
    ///
    /// # Errors
    /// When it does not exist.
    pub fn open(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|e| self.error("open", e.into()))
    }

    /// Writes one limit.
    ///
    /// # Errors
    /// When the kernel refuses the value. A file that is not there is fine as long as its value is the
    /// kernel's own default: `memory.swap.max` is missing on a kernel without swap accounting.
    pub fn set(&self, limit: &Limit) -> Result<(), Error> {
        match self.write(limit.file, &limit.value, limit.key) {
            Err(Error::NoLimit { .. }) if limit.is_default => Ok(()),
            result => result,
        }
    }

    /// Writes to one file; `key` is the unit's that asks for it.
    ///
    /// # Errors
    /// [`Error::NoLimit`] when the file is not there, [`Error::Limit`] when the kernel refuses the value.
    pub fn write(&self, file: &'static str, value: &str, key: &'static str) -> Result<(), Error> {
        // Not made when it is missing: the kernel would say "permission denied". A lone line end empties a
        // file that an empty write would leave as it is.
        let opened = std::fs::OpenOptions::new().write(true).open(self.path.join(file));
        match opened.and_then(|mut opened| opened.write_all(format!("{value}\n").as_bytes())) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NoLimit { key, file })
            }
            Err(source) => Err(Error::Limit { key, file, value: value.to_owned(), source }),
        }
    }

    /// Kills everything in it. Works on a frozen cgroup too.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn kill(&self) -> Result<(), Error> {
        std::fs::write(self.path.join("cgroup.kill"), "1").map_err(|e| self.error("kill", e))
    }

    /// Freezes or thaws it.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn freeze(&self, frozen: bool) -> Result<(), Error> {
        let value = if frozen { "1" } else { "0" };
        std::fs::write(self.path.join("cgroup.freeze"), value).map_err(|e| self.error("freeze", e))
    }

    /// Its cgroup.events, on which the kernel raises `POLLPRI` when it is frozen, thawed or empty.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn events(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = self.path.join("cgroup.events");
        let opened = rustix::fs::open(file, flags, Mode::empty());
        opened.map(of_jail).map_err(|e| self.error("watch", e.into()))
    }

    /// What the kernel counted.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let number = |file: &str| self.read(file)?.trim().parse().ok();
        Usage { memory: number("memory.current"), pids: number("pids.current") }
    }

    /// Processes that were killed for want of memory, since the cgroup was made.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.read("memory.events").map_or(0, |events| oom_kills(&events))
    }

    fn read(&self, file: &str) -> Option<String> {
        kernel_file(&self.path.join(file)).ok()
    }

    /// Removes it, with whatever cgroups the jail made below it.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it.
    pub fn remove(&self) -> Result<(), Error> {
        // Few jails make any, and to list its many files takes longer than to remove it.
        let removed = std::fs::remove_dir(&self.path).or_else(|_| remove_tree(&self.path));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", error))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, what: &'static str, source: io::Error) -> Error {
        Error::Cgroup { what, path: self.path.clone(), source }
    }
}

/// Whether everything in the cgroup of this cgroup.events is frozen. Reading from this very descriptor
/// is what takes its `POLLPRI` back.
#[must_use]
pub fn is_frozen(events: &OwnedFd) -> bool {
    says(events, b"frozen 1")
}

/// Whether a process is in the cgroup of this cgroup.events, or below it.
#[must_use]
pub fn is_populated(events: &OwnedFd) -> bool {
    says(events, b"populated 1")
}

fn says(events: &OwnedFd, wanted: &[u8]) -> bool {
    let mut bytes = [0; 256];
    let length = rustix::io::pread(events, &mut bytes, 0).unwrap_or(0);
    bytes[..length].split(|byte| *byte == b'\n').any(|line| line == wanted)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}

fn oom_kills(events: &str) -> u64 {
    let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_told_from_other_memory_events() {
        let events = "low 0\nhigh 12\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(oom_kills(events), 2);
        assert_eq!(oom_kills(""), 0);
    }
}
