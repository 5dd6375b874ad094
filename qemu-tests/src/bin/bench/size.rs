//! Sizes of what is shipped.

use std::{fs, os::unix::fs::MetadataExt};

use qemu_tests::{Error, Image, Result, disk};

use crate::{figure::Figures, memory::to_float};

/// `struct erofs_super_block` (fs/erofs/erofs_fs.h) begins here; `blocks` is at 36.
const EROFS_SUPERBLOCK: u64 = 1024;

/// Adds the figures of the production image.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let disk = Image::Production.file("warder.raw")?;
    let meta = |name: &str| -> Result<fs::Metadata> {
        let path = Image::Production.file(name)?;
        fs::metadata(&path).map_err(Error::io(format!("see {}", path.display())))
    };
    let root = disk::root_partition(&disk, &Image::Production.text("roothash")?)?;
    let blocks = disk::read_at(&disk, root.start + EROFS_SUPERBLOCK + 36, 4)?;
    let blocks = blocks.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let executables = Image::Production.text("executables.txt")?;
    let mut add = |name: &str, bytes: u64| figures.add(name, "KiB", to_float(bytes) / 1024.0);
    add("UKI", meta("uki.efi")?.len());
    add("root (erofs)", blocks * disk::BLOCK);
    add("disk image", meta("warder.raw")?.len());
    add("disk image, without holes", meta("warder.raw")?.blocks() * 512);
    figures.add("executables in the root", "", to_float(count(&executables)));
    Ok(())
}

fn count(text: &str) -> u64 {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|_| 1).sum()
}
