//! Making processes: clone3(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// linux/sched.h; libc's own constant is of a type too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the new process gets: see clone3(2), "The flags mask".
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// `CLONE_*` bits. `CLONE_VM`, `CLONE_THREAD` and `CLONE_SETTLS` are refused: the child runs on a
    /// copy of the caller's memory.
    pub flags: u64,
    /// Signal sent to the parent at exit; 0 for none (required with `CLONE_PARENT` by this project,
    /// since the keeper reaps by `waitid`, not by signal number).
    pub exit_signal: i32,
    /// The cgroup v2 directory that the child is born in (`CLONE_INTO_CGROUP`).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A process that was made.
#[derive(Debug)]
pub struct Child {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// Its pidfd (close-on-exec), when `CLONE_PIDFD` was asked for.
    pub pidfd: Option<OwnedFd>,
}

/// Makes a child that runs `body` and then leaves by `_exit` with the status that `body` returned.
///
/// Neither rustix nor nix has clone3, and only clone3 has `CLONE_INTO_CGROUP` and an exit signal of
/// 0. The caller must be single-threaded and `body` must not allocate, log or lock: the copy has
/// only the thread that called.
///
/// # Errors
/// The errno of clone3(2); `EINVAL` for a flag that shares memory.
pub fn spawn(request: &Request<'_>, body: &mut dyn FnMut() -> u8) -> io::Result<Child> {
    let sharing = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SETTLS) as u64;
    if request.flags & sharing != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: `clone_args` is a plain structure of integers, for which all zeros are valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = request.flags;
    args.exit_signal = u64::from(request.exit_signal.unsigned_abs());
    args.pidfd = (&raw mut pidfd) as u64;
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a valid structure of the given size; no memory is shared (checked above), so
    // the child continues on a copy of this stack, and `pidfd` outlives the call.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of::<libc::clone_args>())
    };
    match i32::try_from(pid) {
        Ok(0) => {
            let status = body();
            // SAFETY: `_exit` runs no handler and never returns.
            unsafe { libc::_exit(i32::from(status)) }
        }
        Ok(pid) if pid > 0 => {
            let pidfd = (pidfd >= 0).then(|| {
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                unsafe { OwnedFd::from_raw_fd(pidfd) }
            });
            Ok(Child { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes of the stack of [`vfork`]'s child.
const STACK: usize = 64 << 10;

/// vfork(2), on a stack of its own: the child runs in the caller's memory, which is not copied, and the caller waits until
/// it has executed a program or has ended. So `body` must neither allocate, log nor lock, nor change what the caller
/// needs; as with vfork(2), a signal's handler must not run in it (block all signals before).
///
/// # Errors
/// The errno of clone(2), or of mmap(2) for the stack.
pub fn vfork(body: &mut dyn FnMut() -> u8) -> io::Result<i32> {
    extern "C" fn run(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `argument` is the pointer to `body` below, which the caller, who waits, keeps alive.
        let body = unsafe { &mut *argument.cast::<&mut dyn FnMut() -> u8>() };
        libc::c_int::from(body())
    }
    let stack = Stack::new()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut body = body;
    let argument = (&raw mut body).cast();
    let top = stack.0.wrapping_byte_add(STACK);
    // SAFETY: the stack is of this size and lives until the child has left it, since the caller waits for that; `run` gets
    // the pointer that it expects.
    let pid = unsafe { libc::clone(run, top, flags, argument) };
    if pid > 0 { Ok(pid) } else { Err(io::Error::last_os_error()) }
}

struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses changes nothing that is there.
        let mapped = unsafe {
            mmap_anonymous(std::ptr::null_mut(), STACK, access, MapFlags::PRIVATE | MapFlags::STACK)
        };
        Ok(Self(mapped?.cast()))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nobody uses it any more.
        let _ = unsafe { rustix::mm::munmap(self.0.cast(), STACK) };
    }
}

/// fork(2): as [`spawn`] without anything asked for. Also where a filter hides clone3, as in a jail.
///
/// # Errors
/// The errno of fork(2).
pub fn fork(body: &mut dyn FnMut() -> u8) -> io::Result<i32> {
    // SAFETY: the caller is single-threaded (see `spawn`), so the child may go on as the parent would.
    match unsafe { libc::fork() } {
        0 => {
            let status = body();
            // SAFETY: `_exit` runs no handler and never returns.
            unsafe { libc::_exit(i32::from(status)) }
        }
        pid if pid > 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}
