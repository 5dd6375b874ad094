//! File descriptors by number: what a child does to its table before it executes something.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `CLOSE_RANGE_UNSHARE` of linux/close_range.h.
const UNSHARE: u32 = 1 << 1;

/// Closes every descriptor whose number is not in `keep`, which must be sorted ascending. From then on the
/// table is the caller's own: one that it shared (`CLONE_FILES`) is copied as far as the last of `keep`, and
/// loses nothing.
///
/// close_range(2); rustix and nix lack it, and a loop over /proc/self/fd would allocate.
///
/// # Errors
/// The errno of close_range(2) (`ENOMEM` for the copy); `EINVAL` when `keep` is not sorted. In both cases nothing was closed.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    if !keep.is_sorted_by_key(AsRawFd::as_raw_fd) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let after = |fd: &BorrowedFd<'_>| fd.as_raw_fd().unsigned_abs() + 1;
    close_range(keep.last().map_or(0, after), u32::MAX, UNSHARE)?;
    let mut first = 0u32;
    for fd in keep {
        let next = after(fd);
        if next - 1 > first {
            close_range(first, next - 2, 0)?;
        }
        first = next;
    }
    Ok(())
}

/// Has a table of its own from then on, with all that is in the one that was shared (`CLONE_FILES`).
///
/// # Errors
/// The errno of unshare(2).
pub fn unshare() -> io::Result<()> {
    // SAFETY: plain integers; no descriptor is opened or closed.
    check(unsafe { libc::unshare(libc::CLONE_FILES) }.into())
}

/// Closes every descriptor from number `first` on.
///
/// # Errors
/// The errno of close_range(2).
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: no memory is passed. Descriptors that someone in this process still owns are closed
    // under them: callers are children that are about to execute and own nothing else.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    check(result)
}

/// Duplicates `fd` to exactly `number` without close-on-exec, so that the next program finds it there.
///
/// dup2(2), or fcntl(2) `F_SETFD` when it is already there. rustix's `dup2` wants to own the target.
///
/// # Errors
/// The errno of dup2(2) or fcntl(2).
pub fn place(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: plain integers; `fd` is open as long as it is borrowed.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into());
    }
    // SAFETY: plain integers; whatever was open at `number` is closed, as the caller wants.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes ownership of the descriptor that a parent left at `number`, and sets close-on-exec.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub fn inherit(number: i32) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: plain integers; fails with EBADF when nothing is open there.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open (checked), and by contract of the program's start nobody else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) })
}

/// Closes every descriptor from number `first` on but `keep`.
///
/// # Errors
/// The errno of close_range(2).
pub fn close_from_except(first: u32, keep: BorrowedFd<'_>) -> io::Result<()> {
    let number = keep.as_raw_fd().unsigned_abs();
    if number < first {
        return close_range(first, u32::MAX, 0);
    }
    if number > first {
        close_range(first, number - 1, 0)?;
    }
    close_range(number + 1, u32::MAX, 0)
}

/// Sets or clears close-on-exec of a descriptor that is open, by its number: of all that a program hands
/// to the one that it executes in its own place.
///
/// fcntl(2) `F_SETFD`; rustix's wants a borrowed descriptor, and these are owned in many places.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub fn set_close_on_exec(number: i32, on: bool) -> io::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: plain integers; no descriptor is opened or closed.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_kept_out_of_order_is_refused_and_nothing_is_closed() {
        let files = ["/dev/null", "/dev/zero"].map(|path| std::fs::File::open(path).unwrap());
        let [one, other] = files.each_ref().map(std::os::fd::AsFd::as_fd);
        let keep = if one.as_raw_fd() < other.as_raw_fd() { [other, one] } else { [one, other] };
        let error = close_all_except(&keep).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(rustix::io::fcntl_getfd(one).is_ok() && rustix::io::fcntl_getfd(other).is_ok());
    }
}
