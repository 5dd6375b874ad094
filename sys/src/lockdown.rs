//! The last walls before exec: seccomp filters and the session keyring, which rustix and nix lack.

use std::io;

/// One classic BPF instruction, in the kernel's layout (`struct sock_filter`, linux/filter.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump distance if true.
    pub jt: u8,
    /// Jump distance if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs a seccomp filter for this process and all it will ever execute (seccomp(2)).
/// The process must have `no_new_privs` set or be capable in its user namespace. With `log` the kernel logs what the
/// program does not allow (`SECCOMP_FILTER_FLAG_LOG`).
///
/// # Errors
/// The errno of seccomp(2); `EINVAL` for an empty or malformed program.
pub fn set_seccomp_filter(program: &[Instruction], log: bool) -> io::Result<()> {
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let fprog = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let flags = if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    // SAFETY: `fprog` points to `length` instructions in the kernel's own layout (`repr(C)` above);
    // the kernel only reads them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What any program of ours calls that has one thread and opens nothing: it reads, writes, has memory, knows the time, and ends, be it by a
/// panic.
pub const BASIC_CALLS: [i64; 20] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// A filter (linux/filter.h) that allows these system calls, at most 255, of the 64-bit x86 table. Whatever else is
/// called, and by whatever other architecture's numbers, is the end of the process.
#[must_use]
pub fn allow_only(calls: &[i64]) -> Vec<Instruction> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    const KILL_PROCESS: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let plain = |code, k| Instruction { code, jt: 0, jf: 0, k };
    // Offsets of `struct seccomp_data`.
    let (number, architecture) = (plain(LOAD, 0), plain(LOAD, 4));
    let is_ours = Instruction { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: AUDIT_ARCH_X86_64 };
    let mut program = vec![architecture, is_ours, plain(RETURN, KILL_PROCESS), number];
    for (index, call) in calls.iter().enumerate() {
        let jt = u8::try_from(calls.len() - index).unwrap_or(0);
        let k = u32::try_from(*call).unwrap_or(u32::MAX);
        program.push(Instruction { code: JUMP_IF_EQUAL, jt, jf: 0, k });
    }
    program.extend([plain(RETURN, KILL_PROCESS), plain(RETURN, ALLOW)]);
    program
}

/// Leaves the inherited session keyring for a new anonymous one (keyctl(2),
/// `KEYCTL_JOIN_SESSION_KEYRING`).
///
/// # Errors
/// The errno of keyctl(2); `ENOSYS` on a kernel without keys.
pub fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
