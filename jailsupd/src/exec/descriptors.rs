//! Which numbers jailsupd's descriptors have, so that a start costs the same however many jails run.
//!
//! | numbers | |
//! |---|---|
//! | below [`ABOVE_FIXED`] | never used here: a jail's process places its own there |
//! | from there on | what a start makes and is done with, and what there is once |
//! | from [`OF_JAILS`] on | what is kept as long as a jail lives |
//!
//! The process that a start makes shares this table at first, and copies of it only what is below the last
//! one that it needs (`sys::fd::close_all_except`). With 1000 jails, copying and closing 10,000 others took
//! longer than all else of a start.

use rustix::fd::{AsFd, AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use std::io;

/// Descriptors that a child places at fixed numbers are made above this one, so that placing one never
/// closes another.
pub(super) const ABOVE_FIXED: i32 = 16;

/// Those of jails are from here on.
const OF_JAILS: i32 = 1024;

/// The same file, at a number that no child places anything at.
pub(super) fn above_fixed(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= ABOVE_FIXED { Ok(fd) } else { Ok(near(&fd)?) }
}

/// Another descriptor of the same file, among those that a start is done with soon.
pub(super) fn near(fd: impl AsFd) -> rustix::io::Result<OwnedFd> {
    fcntl_dupfd_cloexec(fd, ABOVE_FIXED)
}

/// The same file, among those that are kept as long as a jail lives. Where there is no room for that, it stays where it is: a start is
/// slower then, and nothing else.
#[must_use]
pub fn of_jail(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() >= OF_JAILS {
        return fd;
    }
    fcntl_dupfd_cloexec(&fd, OF_JAILS).unwrap_or(fd)
}

/// Takes all low numbers for good, so that what is opened later is above them as it is.
///
/// # Errors
/// When /dev/null cannot be opened.
pub fn fill_low_numbers() -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut filled = Vec::new();
    loop {
        let fd = rustix::fs::open(c"/dev/null", flags, Mode::empty())?;
        if fd.as_raw_fd() >= ABOVE_FIXED {
            return Ok(filled);
        }
        filled.push(fd);
    }
}
