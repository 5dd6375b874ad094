//! Loop devices (loop(4)): a file as a block device. Neither rustix nor nix has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const GET_FREE: u64 = 0x4c82;
const CONFIGURE: u64 = 0x4c0a;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64`, linux/loop.h.
#[repr(C)]
#[derive(Default)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    // Two file names of 64 bytes, a key of 32 and two numbers, none of use here.
    names: [[u8; 32]; 5],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Default)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a device that is free now; somebody else may be faster.
///
/// # Errors
/// The errno of the request; `control` is /dev/loop-control.
pub fn free(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the request takes no argument.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Makes the device show the file, read-only, until nobody has the device open or mounted any more.
///
/// # Errors
/// `EBUSY` when the device has a file already.
pub fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    let info = Info { flags: READ_ONLY | AUTOCLEAR, ..Info::default() };
    let fd = file.as_raw_fd().unsigned_abs();
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the request takes a pointer to this structure, which the kernel only reads, and holds the file
    // by a reference of its own.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(std::mem::size_of::<super::Info>(), 232);
        assert_eq!(std::mem::size_of::<super::Config>(), 304);
    }
}
