//! The last of what this program gives up: all system calls but those of its loop. jailsupd has taken the rest from it
//! before it was executed.

use sys::lockdown::{BASIC_CALLS, allow_only, set_seccomp_filter};

/// Besides those of any program.
const CALLS: [i64; 8] = [
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_rt_sigaction,
    libc::SYS_restart_syscall,
];

/// From here on no other call is possible.
///
/// # Errors
/// The errno of seccomp(2).
pub(crate) fn enter() -> std::io::Result<()> {
    set_seccomp_filter(&allow_only(&[&BASIC_CALLS[..], &CALLS].concat()), false)
}
