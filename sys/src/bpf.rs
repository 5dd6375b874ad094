//! bpf(2), as far as the device filter of a cgroup needs it: load one program, attach it. rustix and nix
//! have no bpf; libbpf would bring an ELF loader for a program of some 40 instructions.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction, in the kernel's layout (`struct bpf_insn`, linux/bpf.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Offset of a load, or distance of a jump.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// The fields of `union bpf_attr` that `BPF_PROG_LOAD` reads; the kernel takes a shorter one for zeros.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The same of `BPF_PROG_ATTACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program that decides on each opening and making of a device node by a cgroup's processes
/// (`BPF_PROG_TYPE_CGROUP_DEVICE`): 1 allows, 0 is `EPERM`.
///
/// # Errors
/// The errno of bpf(2): `EPERM` without `CAP_BPF`, `EINVAL` or `EACCES` when the kernel's verifier refuses it.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: program.as_ptr() as u64,
        // Calls no helper that would ask for another.
        license: c"Proprietary".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: `attributes` is a valid structure of the given size; the program and the licence that it points
    // to live until the call returns, and the kernel only reads them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            std::mem::size_of::<Load>(),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor (close-on-exec) for us; nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Attaches a device program to a cgroup, in the place of one that an earlier call has attached there. It
/// holds for all cgroups below too, and lasts as long as the cgroup.
///
/// # Errors
/// The errno of bpf(2).
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = Attach {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
    };
    // SAFETY: `attributes` is a valid structure of the given size, without pointers; the descriptors are open as
    // long as they are borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attributes,
            std::mem::size_of::<Attach>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
