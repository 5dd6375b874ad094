//! Growing the data partition and its file system to the end of the disk, which an image written to a larger disk,
//! or a virtual disk made larger, leaves unused.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::block::{self, Partition};
use crate::error::{Context, Error};

/// Stretches the last partition of a disk in its table, then in the kernel. Nothing happens when it reaches the
/// end already.
pub(super) fn partition(partition: &Partition) -> Result<(), Error> {
    let node = Path::new("/dev").join(&partition.disk);
    let doing = || format!("grow {}", partition.name);
    let block_size = block::block_size(&partition.disk).doing(doing)?;
    let blocks = block::disk_size(&partition.disk).doing(doing)? / block_size;
    let mut table = block::read_table(&partition.disk).doing(doing)?;
    let grown =
        table.grow_last(partition.number, blocks).map_err(|why| Error::refused(doing(), why))?;
    let Some(range) = grown else { return Ok(()) };
    let disk = File::options().read(true).write(true).open(node).doing(doing)?;
    table.write(&disk).doing(doing)?;
    let number = i32::try_from(partition.number);
    let (start, length) = (i64::try_from(range.start), i64::try_from(range.length));
    let (Ok(number), Ok(start), Ok(length)) = (number, start, length) else {
        return Err(Error::refused(doing(), "out of range"));
    };
    sys::disk::resize_partition(disk.as_fd(), number, start, length).doing(doing)?;
    log::info!("data: {} now has {} MiB", partition.name, range.length >> 20);
    Ok(())
}

/// Stretches the mounted btrfs to its partition's end.
pub(super) fn file_system(mount_point: &str) -> Result<(), Error> {
    let doing = || format!("grow the file system at {mount_point}");
    let directory = File::open(mount_point).doing(doing)?;
    sys::disk::grow_btrfs(directory.as_fd()).doing(doing)
}
