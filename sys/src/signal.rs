//! Signal masks and dispositions of a process as a whole.
//!
//! nix covers them piecewise and marks `signal` and `sigaction` unsafe; what is needed here is three
//! fixed, safe combinations.

use std::io;

/// Highest signal number on Linux (`_NSIG`, asm-generic/signal.h).
const LAST: i32 = 64;

/// What woke [`wait_any`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
}

/// Blocks every signal that can be blocked.
///
/// # Errors
/// The errno of sigprocmask(2), which cannot happen with valid arguments.
pub fn block_all() -> io::Result<()> {
    mask(libc::SIG_SETMASK, &full_set())
}

/// Takes back, once at a program's start, what it has inherited: a signal that its parent ignores. Its
/// children need [`reset`] only then.
pub fn heed_all() {
    for signal in (1..=LAST).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: all zeros is a valid structure.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the new disposition is null, so that the old one is only read, into `old`.
        let read = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) };
        if read == 0 && old.sa_sigaction == libc::SIG_IGN {
            // SAFETY: plain integers.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Gives a child that is about to execute the state that a program expects at its start: nothing
/// blocked, and SIGPIPE, which Rust's start-up code ignores, as it was. The kernel itself takes handlers
/// back at an exec (signal(7)), and other ignored signals are the business of [`heed_all`].
///
/// # Errors
/// The errno of sigprocmask(2), which cannot happen with valid arguments.
pub fn reset() -> io::Result<()> {
    // SAFETY: plain integers.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: an empty set is a valid one; `sigemptyset` only writes to it.
    let mut empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::sigemptyset(&raw mut empty) };
    mask(libc::SIG_SETMASK, &empty)
}

/// Waits for any blocked signal (sigwaitinfo(2)).
///
/// # Errors
/// `EINTR` after a stop and continue.
pub fn wait_any() -> io::Result<Received> {
    let set = full_set();
    // SAFETY: `set` is valid for reads; a null pointer says that no details are wanted.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
    if signal < 0 { Err(io::Error::last_os_error()) } else { Ok(Received { signal }) }
}

/// Sends `signal` to the process `pid`; `pid` must be positive (kill(2)).
///
/// # Errors
/// `ESRCH` when it has ended, `EINVAL` for a pid that would mean a group.
pub fn send(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: plain integers.
    if unsafe { libc::kill(pid, signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn full_set() -> libc::sigset_t {
    // SAFETY: all zeros is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `sigfillset` only writes to it.
    unsafe { libc::sigfillset(&raw mut set) };
    set
}

fn mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is valid for reads; the old mask is not wanted.
    if unsafe { libc::sigprocmask(how, set, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
