//! System calls by number: what attacks and probes are made of, and no safe wrapper offers. Shared by
//! both programs; the only unsafe code outside `sys`, and in no product.
#![allow(unsafe_code, reason = "system calls by number")]
#![allow(dead_code, reason = "each program uses a part")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "words of the machine")]

use std::arch::asm;
use std::fmt;
use std::os::fd::AsRawFd;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(number, _)| *number == self.0);
        match name {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

const NAMES: [(i32, &str); 22] = [
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EBADF, "EBADF"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENXIO, "ENXIO"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ELOOP, "ELOOP"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
    (libc::ECONNREFUSED, "ECONNREFUSED"),
];

/// A system call with up to six arguments. What they point to is the caller's, who passes addresses of
/// its own memory or ones that are meant to be bad.
pub(crate) fn call(number: i64, arguments: &[usize]) -> Result<usize, Errno> {
    let mut six = [0usize; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = six;
    // SAFETY: a program made to be attacked with: a call that harms it harms nobody else.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    }
    Ok(result.unsigned_abs() as usize)
}

/// getpid(2) by the 32-bit entry, past a filter that looks at 64-bit numbers alone.
pub(crate) fn getpid_by_i386() -> i32 {
    let result: i32;
    // SAFETY: int 0x80 with call 20 (getpid) takes no argument and changes eax, and r8 to r11.
    unsafe {
        asm!("int 0x80", inlateout("eax") 20 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, options(nostack));
    }
    result
}

/// An integer as a register holds it, with its sign.
pub(crate) fn word(value: impl Into<i128>) -> usize {
    value.into() as usize
}

/// An open file's number.
pub(crate) fn number(file: &impl AsRawFd) -> usize {
    word(file.as_raw_fd())
}

/// The address of something that a call reads or writes.
pub(crate) fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).cast::<u8>() as usize
}

/// The address of something that a call writes.
pub(crate) fn address_mut<T: ?Sized>(of: &mut T) -> usize {
    std::ptr::from_mut(of).cast::<u8>() as usize
}

/// fork(2): 0 in the child. Only for programs of one thread.
pub(crate) fn fork() -> Result<i32, Errno> {
    // SAFETY: the program has one thread, so the child may do whatever the parent may.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    }
    Ok(pid)
}

/// The end of a child: its wait status.
pub(crate) fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is an integer that waitpid(2) writes.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status
}

/// The end of a child, if it has come.
pub(crate) fn ended(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is an integer that waitpid(2) writes.
    let found = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    (found == pid).then_some(status)
}

/// _exit(2): without the handlers that a forked child shares with its parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
