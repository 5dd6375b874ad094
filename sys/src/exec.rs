//! Executing a program without allocation.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A null-terminated vector of C strings, made before the clone so that the child needs no memory.
#[derive(Debug)]
pub struct Vector {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Vector {
    /// Takes the strings over; the pointers stay valid because a `CString`'s bytes do not move.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<*const c_char> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { pointers, _strings: strings }
    }
}

/// Executes the file behind `program` (execveat(2) with `AT_EMPTY_PATH`). Returns only on failure.
///
/// rustix has execveat only in its unstable runtime module; nix's takes slices and allocates.
pub fn execute_fd(program: BorrowedFd<'_>, argv: &Vector, envp: &Vector) -> io::Error {
    // SAFETY: the path is an empty C string, both vectors are null-terminated arrays of C strings
    // that live until the call returns, and the descriptor is open.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Executes the file at `path` (execve(2)). Returns only on failure.
///
/// nix's `execve` allocates its vectors after the fork; ours were made before.
pub fn execute(path: &CStr, argv: &Vector, envp: &Vector) -> io::Error {
    // SAFETY: `path` is a C string and both vectors are null-terminated arrays of C strings.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    io::Error::last_os_error()
}
