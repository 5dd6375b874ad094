//! fs-verity: a file that can only be read as it was (Documentation/filesystems/fsverity.rst). Neither
//! rustix nor nix has it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `FS_VERITY_HASH_ALG_SHA256`.
const SHA256: u32 = 1;
const BLOCK: u32 = 4096;
/// `_IOW('f', 133, struct fsverity_enable_arg)`.
const ENABLE: u64 = 0x4080_6685;
/// `_IOWR('f', 134, struct fsverity_digest)`.
const MEASURE: u64 = 0xc004_6686;

#[repr(C)]
struct EnableArg {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    sig_size: u32,
    reserved1: u32,
    sig: u64,
    reserved2: [u64; 11],
}

#[repr(C)]
struct Measurement {
    algorithm: u16,
    size: u16,
    digest: [u8; 32],
}

/// Seals a file: from now on it cannot be written, and each block is checked when it is read. Takes as long
/// as reading all of it.
///
/// # Errors
/// `ETXTBSY` while it is open for writing, `EEXIST` when it is sealed already, `EOPNOTSUPP` or `ENOTTY` when
/// the file system has no fs-verity.
pub fn enable(file: BorrowedFd<'_>) -> io::Result<()> {
    let arg = EnableArg {
        version: 1,
        hash_algorithm: SHA256,
        block_size: BLOCK,
        salt_size: 0,
        salt: 0,
        sig_size: 0,
        reserved1: 0,
        sig: 0,
        reserved2: [0; 11],
    };
    // SAFETY: the request takes a pointer to this structure, which the kernel only reads; no pointer is in it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), ENABLE, &raw const arg) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The digest of a sealed file, at once and whatever its size. It is not the SHA-256 of the bytes, but that of
/// the descriptor above their Merkle tree.
///
/// # Errors
/// `ENODATA` for a file that is not sealed.
pub fn measure(file: BorrowedFd<'_>) -> io::Result<[u8; 32]> {
    let mut arg = Measurement { algorithm: 0, size: 32, digest: [0; 32] };
    // SAFETY: the request takes a pointer to a header of which `size` tells how many bytes of digest fit
    // behind it; they are there, and every bit pattern is valid.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), MEASURE, &raw mut arg) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if u32::from(arg.algorithm) != SHA256 || arg.size != 32 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(arg.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_that_its_request_says() {
        assert_eq!((ENABLE >> 16 & 0x3fff) as usize, std::mem::size_of::<EnableArg>());
    }
}
