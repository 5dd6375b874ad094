//! Is a partition blank? The only thing that allows PID 1 to make a file system.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, SeekFrom};

const CHUNK: usize = 1 << 20;
/// What direct reads ask of addresses, at most.
const ALIGN: usize = 4096;
/// Read whole from the start. A fresh image's partition is smaller, and so read whole.
const HEAD: u64 = 1 << 30;
/// Beyond it, so much is read at every multiple of [`HEAD`]...
const SAMPLE: u64 = 64 * 1024;
/// ...and so much at the end, where RAID and partition tables keep their copies.
const TAIL: u64 = 16 << 20;
/// Where btrfs has its first superblock, and the magic number in it.
const SUPERBLOCK: u64 = 64 * 1024;
const MAGIC: usize = 64;
/// What mkfs.btrfs writes there until it has finished (btrfs-progs, `BTRFS_MAGIC_TEMPORARY`).
const UNFINISHED: &[u8; 8] = b"!BHRfS_M";
const FS_LABEL: usize = 299;

/// What is on a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing but zeros, in all that was read.
    Zeros,
    /// Our own mkfs.btrfs, interrupted: no file has ever been in it.
    HalfMade,
    /// Anything else.
    Other,
}

/// Reads as much as it takes to tell.
///
/// # Errors
/// The device's.
pub(super) fn examine(node: &Path) -> io::Result<Content> {
    let device = File::open(node)?;
    let size = rustix::fs::seek(&device, SeekFrom::End(0))?;
    let mut superblock = [0; 512];
    if size > SUPERBLOCK + 512 {
        device.read_exact_at(&mut superblock, SUPERBLOCK)?;
    }
    if half_made(&superblock) {
        return Ok(Content::HalfMade);
    }
    Ok(if all_zeros(node, size)? { Content::Zeros } else { Content::Other })
}

fn all_zeros(node: &Path, size: u64) -> io::Result<bool> {
    // Past the page cache: half the time, and nothing that the boot needs is pushed out.
    let direct = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT;
    let device = File::from(rustix::fs::open(node, direct, Mode::empty())?);
    let mut memory = vec![0u8; CHUNK + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    let buffer = &mut memory[start..start + CHUNK];
    for range in ranges(size) {
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
            device.read_exact_at(&mut buffer[..len], at)?;
            if !is_zero(&buffer[..len]) {
                return Ok(false);
            }
            at += len as u64;
        }
    }
    Ok(true)
}

/// Word by word: the compiler makes vectors of it.
fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().fold(0, |acc, b| acc | b);
    let word = |w: &[u8]| w.try_into().map_or(1, u64::from_ne_bytes);
    rest == 0 && words.fold(0, |acc, w| acc | word(w)) == 0
}

/// What is read of a device of `size` bytes, in order.
fn ranges(size: u64) -> impl Iterator<Item = Range<u64>> {
    let samples = (1..size.div_ceil(HEAD)).map(move |n| n * HEAD..(n * HEAD + SAMPLE).min(size));
    let tail = (size > HEAD).then(|| size.saturating_sub(TAIL).max(HEAD)..size);
    std::iter::once(0..size.min(HEAD)).chain(samples).chain(tail)
}

fn half_made(superblock: &[u8; 512]) -> bool {
    superblock[MAGIC..MAGIC + 8] == *UNFINISHED
        && superblock[FS_LABEL..].starts_with(super::LABEL.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::{Content, HEAD, SAMPLE, TAIL, examine, ranges};

    #[test]
    fn a_partition_of_an_image_is_read_whole() {
        for size in [128 << 20, HEAD] {
            let mut read = ranges(size);
            assert_eq!((read.next(), read.next()), (Some(0..size), None));
        }
        assert_eq!(ranges(0).map(|r| r.end).sum::<u64>(), 0);
    }

    #[test]
    fn of_a_large_one_head_samples_and_tail_are_read() {
        let size = 3 * HEAD + 4096;
        assert_eq!(
            ranges(size).collect::<Vec<_>>(),
            [
                0..HEAD,
                HEAD..HEAD + SAMPLE,
                2 * HEAD..2 * HEAD + SAMPLE,
                3 * HEAD..size,
                size - TAIL..size
            ]
        );
    }

    #[test]
    fn one_byte_anywhere_is_enough() {
        let path = std::env::temp_dir().join(format!("warder-blank-{}", std::process::id()));
        let file = File::options().write(true).create(true).truncate(true).open(&path).unwrap();
        let size = 8 << 20;
        file.set_len(size).unwrap();
        assert_eq!(examine(&path).unwrap(), Content::Zeros);
        for at in [0, 65_536 + 64, size - 1] {
            file.write_all_at(b"!", at).unwrap();
            assert_eq!(examine(&path).unwrap(), Content::Other, "byte {at}");
            file.write_all_at(b"\0", at).unwrap();
        }
        file.write_all_at(b"!BHRfS_M", 65_536 + 64).unwrap();
        assert_eq!(examine(&path).unwrap(), Content::Other, "somebody else's");
        file.write_all_at(b"warder-data", 65_536 + 299).unwrap();
        assert_eq!(examine(&path).unwrap(), Content::HalfMade);
        std::fs::remove_file(path).unwrap();
    }
}
