//! btrfs: subvolumes and quota groups (btrfs-ioctl(2), linux/btrfs.h). Neither rustix nor nix has them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of the name in `btrfs_ioctl_vol_args`, its NUL included.
const NAME_LEN: usize = 4088;
/// Bytes of the name in `btrfs_ioctl_vol_args_v2`, its NUL included.
const NAME_V2_LEN: usize = 4040;
/// `BTRFS_FIRST_FREE_OBJECTID`: the root directory of every subvolume, and its inode number.
pub const ROOT_INODE: u64 = 256;
const QUOTA_ENABLE_SIMPLE: u64 = 4;
const LIMIT_MAX_RFER: u64 = 1;

const SUBVOL_CREATE: u64 = request(WRITE, 14, 4096);
const SNAP_DESTROY: u64 = request(WRITE, 15, 4096);
const INO_LOOKUP: u64 = request(READ | WRITE, 18, 4096);
const SNAP_CREATE_V2: u64 = request(WRITE, 23, 4096);
const FS_INFO: u64 = request(READ, 31, 1024);
const QUOTA_CTL: u64 = request(READ | WRITE, 40, 16);
// The kernel's header calls it a read, though it writes.
const QGROUP_LIMIT: u64 = request(READ, 43, 48);

const WRITE: u64 = 1;
const READ: u64 = 2;

/// `_IOC(direction, BTRFS_IOCTL_MAGIC, number, size)`.
const fn request(direction: u64, number: u64, size: u64) -> u64 {
    direction << 30 | size << 16 | 0x94 << 8 | number
}

#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; NAME_LEN],
}

#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; NAME_V2_LEN],
}

#[repr(C)]
struct InoLookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

#[repr(C)]
struct FsInfo {
    max_id: u64,
    devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

#[repr(C)]
struct QuotaCtl {
    cmd: u64,
    status: u64,
}

#[repr(C)]
struct QgroupLimit {
    id: u64,
    flags: u64,
    max_rfer: u64,
    max_excl: u64,
    rsv_rfer: u64,
    rsv_excl: u64,
}

/// Makes an empty subvolume `name` in the directory.
///
/// # Errors
/// `ENOTTY` when the file system is not btrfs, `EEXIST`, `ENAMETOOLONG`.
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: padded(name)? };
    call(parent, SUBVOL_CREATE, &mut args)
}

/// Makes a snapshot `name` in the directory: a subvolume that shares all of `source`'s files until one of
/// the two changes them.
///
/// # Errors
/// `EINVAL` when `source` is not the root of a subvolume; else as for [`create_subvolume`].
pub fn snapshot(parent: BorrowedFd<'_>, name: &CStr, source: BorrowedFd<'_>) -> io::Result<()> {
    let (fd, name) = (source.as_raw_fd().into(), padded(name)?);
    let mut args = VolArgsV2 { fd, transid: 0, flags: 0, unused: [0; 4], name };
    call(parent, SNAP_CREATE_V2, &mut args)
}

/// Removes a subvolume with all that is in it, whatever its size: the kernel frees its blocks later.
/// Allocates nothing.
///
/// # Errors
/// `EINVAL` when `name` is no subvolume, `ENOTEMPTY` when another one is in it, `ENOTTY` when the file
/// system is not btrfs.
pub fn destroy_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: padded(name)? };
    call(parent, SNAP_DESTROY, &mut args)
}

/// The number of the subvolume that a file is in; that of its quota group at level 0, too.
///
/// # Errors
/// `ENOTTY` when the file system is not btrfs.
pub fn subvolume_id(file: BorrowedFd<'_>) -> io::Result<u64> {
    let mut args = InoLookup { tree: 0, object: ROOT_INODE, name: [0; 4080] };
    call(file, INO_LOOKUP, &mut args)?;
    Ok(args.tree)
}

/// The file system's UUID, as `/sys/fs/btrfs/UUID` has it.
///
/// # Errors
/// `ENOTTY` when the file system is not btrfs.
pub fn file_system_id(file: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    let mut args = FsInfo { max_id: 0, devices: 0, fsid: [0; 16], rest: [0; 992] };
    call(file, FS_INFO, &mut args)?;
    Ok(args.fsid)
}

/// Has the file system count what each subvolume holds: simple quotas (Linux 6.7), in which an extent counts
/// for the subvolume that wrote it. Nothing happens when quotas are on already.
///
/// # Errors
/// `ENOTTY` when the file system is not btrfs; `EINVAL` when the kernel has no simple quotas.
pub fn enable_simple_quotas(file: BorrowedFd<'_>) -> io::Result<()> {
    let mut args = QuotaCtl { cmd: QUOTA_ENABLE_SIMPLE, status: 0 };
    call(file, QUOTA_CTL, &mut args)
}

/// Limits what the subvolume may hold, in bytes; none takes the limit away. Beyond it a write is `EDQUOT`.
///
/// # Errors
/// `ENOTCONN` when quotas are off, `ENOENT` for an unknown subvolume.
pub fn limit(file: BorrowedFd<'_>, subvolume: u64, bytes: Option<u64>) -> io::Result<()> {
    // All ones is the kernel's `CLEAR_VALUE`.
    let max_rfer = bytes.unwrap_or(u64::MAX);
    let mut args = QgroupLimit {
        id: subvolume,
        flags: LIMIT_MAX_RFER,
        max_rfer,
        max_excl: 0,
        rsv_rfer: 0,
        rsv_excl: 0,
    };
    call(file, QGROUP_LIMIT, &mut args)
}

/// The name in a field of the kernel's, the rest of it zeros.
fn padded<const LEN: usize>(name: &CStr) -> io::Result<[u8; LEN]> {
    let mut field = [0; LEN];
    let bytes = name.to_bytes();
    match field.get_mut(..bytes.len()) {
        Some(start) if bytes.len() < LEN => start.copy_from_slice(bytes),
        _ => return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
    }
    Ok(field)
}

fn call<T>(file: BorrowedFd<'_>, request: u64, args: &mut T) -> io::Result<()> {
    // SAFETY: every request of this file is called with the `repr(C)` structure of the size that is part of
    // the request's number (tested below), in which every bit pattern is valid; the descriptor is open as
    // long as it is borrowed.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, &raw mut *args) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    #[test]
    fn each_request_has_the_size_of_its_structure() {
        for (request, size) in [
            (SUBVOL_CREATE, size_of::<VolArgs>()),
            (SNAP_DESTROY, size_of::<VolArgs>()),
            (INO_LOOKUP, size_of::<InoLookup>()),
            (SNAP_CREATE_V2, size_of::<VolArgsV2>()),
            (FS_INFO, size_of::<FsInfo>()),
            (QUOTA_CTL, size_of::<QuotaCtl>()),
            (QGROUP_LIMIT, size_of::<QgroupLimit>()),
        ] {
            assert_eq!((request >> 16 & 0x3fff) as usize, size, "{request:x}");
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let long = std::ffi::CString::new("x".repeat(NAME_LEN)).unwrap();
        assert!(padded::<NAME_LEN>(&long).is_err());
        assert!(padded::<NAME_LEN>(c"x").is_ok());
    }
}
