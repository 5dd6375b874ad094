//! Growing a disk's last partition and the btrfs on it, while both are in use.
//!
//! rustix and nix have neither BLKPG nor the btrfs ioctls.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `struct blkpg_partition` of `linux/blkpg.h`; the names are not used by the kernel.
#[repr(C)]
struct PartitionRange {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArg {
    op: i32,
    flags: i32,
    data_len: i32,
    data: *mut c_void,
}

const BLKPG: Opcode = opcode::none(0x12, 105);
const BLKPG_RESIZE_PARTITION: i32 = 3;

/// `struct btrfs_ioctl_vol_args` of `linux/btrfs.h`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    name: [u8; 4088],
}

const BTRFS_IOC_RESIZE: Opcode = opcode::write::<VolumeArgs>(0x94, 3);

/// Tells the kernel that partition `number` of the open `disk` now has `length` bytes from byte `start`.
/// The partition table on the disk is not touched.
///
/// # Errors
/// `EBUSY` when the range overlaps another partition, `EINVAL` when it is not what the kernel has as start.
pub fn resize_partition(
    disk: BorrowedFd<'_>,
    number: i32,
    start: i64,
    length: i64,
) -> io::Result<()> {
    let mut range =
        PartitionRange { start, length, number, device_name: [0; 64], volume_name: [0; 64] };
    let data_len = i32::try_from(size_of::<PartitionRange>()).unwrap_or(0);
    let data = (&raw mut range).cast();
    let arg = BlkpgArg { op: BLKPG_RESIZE_PARTITION, flags: 0, data_len, data };
    // SAFETY: BLKPG takes a pointer to `struct blkpg_ioctl_arg`, which `BlkpgArg` mirrors.
    let set = unsafe { Setter::<BLKPG, BlkpgArg>::new(arg) };
    // SAFETY: `data` points to `range`, which lives until after the call and has the size given.
    unsafe { ioctl(disk, set) }?;
    Ok(())
}

/// Grows the btrfs that `mounted` (any file on it) belongs to, on its only device, to the device's end.
///
/// # Errors
/// `ENOTTY` when it is not btrfs, `EROFS` when it is mounted read-only.
pub fn grow_btrfs(mounted: BorrowedFd<'_>) -> io::Result<()> {
    let mut args = VolumeArgs { fd: 0, name: [0; 4088] };
    args.name[..3].copy_from_slice(b"max");
    // SAFETY: BTRFS_IOC_RESIZE takes a pointer to `struct btrfs_ioctl_vol_args`, which `VolumeArgs` mirrors.
    let set = unsafe { Setter::<BTRFS_IOC_RESIZE, VolumeArgs>::new(args) };
    // SAFETY: the kernel only reads the structure, whose name ends with a zero byte.
    unsafe { ioctl(mounted, set) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BTRFS_IOC_RESIZE, BlkpgArg, PartitionRange};

    #[test]
    fn structures_and_numbers_are_the_kernels() {
        assert_eq!(size_of::<PartitionRange>(), 152);
        assert_eq!(size_of::<BlkpgArg>(), 24);
        assert_eq!(BTRFS_IOC_RESIZE, 0x5000_9403);
    }
}
