//! Reaping with resource usage: the raw waitid(2), whose fifth argument glibc, rustix and nix hide.

use std::io;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED` (sigaction(2)).
    pub code: i32,
    /// The exit status or the signal's number, as `code` says.
    pub status: i32,
    /// User and system time of the process and its waited-for children, in microseconds.
    pub user_us: u64,
    /// See `user_us`.
    pub system_us: u64,
    /// Largest resident set of one process, in KiB.
    pub max_rss_kib: u64,
}

/// Reaps one child that has ended, if there is one (`P_ALL`, `WEXITED | WNOHANG | __WALL`).
///
/// # Errors
/// `ECHILD` when there are no children at all.
pub fn reap_any() -> io::Result<Option<Exit>> {
    // SAFETY: both are plain structures for which all zeros are valid.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    // SAFETY: both out-pointers are valid for writes during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_ALL,
            0,
            &raw mut info,
            // __WALL: children made by clone with an exit signal of 0 are "clone children" otherwise unseen.
            libc::WEXITED | libc::WNOHANG | libc::__WALL,
            &raw mut usage,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid filled `info` as a SIGCHLD record, or left it zeroed when nothing had ended.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok(Some(Exit {
        pid,
        code: info.si_code,
        status,
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_rss_kib: usage.ru_maxrss.unsigned_abs(),
    }))
}

fn microseconds(time: libc::timeval) -> u64 {
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs()
}
