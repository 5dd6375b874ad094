//! The GUID partition table: finding partitions by UUID, and growing the last one to the disk's end.
//! Parsing and encoding are pure; [`Table::read`] and [`Table::write`] do the input and output.
//!
//! Source: UEFI specification 2.10, chapter 5. Our own because the initrd needs the reading half without
//! allocation-happy dependencies (kernels before 6.15 name no PARTUUID in uevents), and the writing half is
//! two checksums more; the `gpt` crate would bring uuid, crc, bitflags and a random source into PID 1.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::le;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const MIN_HEADER: usize = 92;
const MIN_ENTRY: usize = 128;
/// More than any tool writes (128 entries of 128 bytes); a bound against a hostile table.
const MAX_ARRAY: usize = 256 * 1024;
/// Partitions end on a multiple of this many bytes.
const ALIGN: u64 = 1 << 20;

/// A table whose checksums are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    block_size: u64,
    /// The primary header's block as read; fields are changed in place so that unknown ones survive.
    header: Vec<u8>,
    entries: Vec<u8>,
}

/// Where a partition lies now, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Table {
    /// Reads the primary table of an open disk with the given logical block size.
    ///
    /// # Errors
    /// `InvalidData` with the reason when it is no table or a checksum is wrong; else the disk's error.
    pub(crate) fn read(disk: &File, block_size: u64) -> io::Result<Self> {
        let mut header = vec![0; usize::try_from(block_size).unwrap_or(512)];
        disk.read_exact_at(&mut header, block_size)?;
        let array = check_header(&header).map_err(invalid)?;
        let mut entries = vec![0; array];
        disk.read_exact_at(&mut entries, le::u64_at(&header, 72).saturating_mul(block_size))?;
        Self::new(block_size, header, entries).map_err(invalid)
    }

    fn new(block_size: u64, header: Vec<u8>, entries: Vec<u8>) -> Result<Self, &'static str> {
        if check_header(&header)? != entries.len() {
            return Err("partition array has another length than its header says");
        }
        if crc32(&entries) != le::u32_at(&header, 88) {
            return Err("checksum of the partition array is wrong");
        }
        Ok(Self { block_size, header, entries })
    }

    /// The UUID of partition `number` (from 1) as 32 lower-case hexadecimal digits; `None` for an unused entry.
    pub(crate) fn partition_uuid(&self, number: u32) -> Option<String> {
        let entry = self.entry(number)?;
        // The first three fields are little-endian, the rest is in order.
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        Some(ORDER.iter().map(|i| format!("{:02x}", entry[16 + i])).collect())
    }

    /// Moves the backup table to the end of a disk of `disk_blocks` and stretches partition `number` to it.
    /// Returns the partition's new range, or `None` when there is less than one alignment unit to gain.
    ///
    /// # Errors
    /// The reason in words: the partition is not there or not the last, or the disk is smaller than its table says.
    pub(crate) fn grow_last(
        &mut self,
        number: u32,
        disk_blocks: u64,
    ) -> Result<Option<Range>, &'static str> {
        let (start, end) = self.blocks(number).ok_or("no such partition in the table")?;
        let others = (1..=le::u32_at(&self.header, 80)).filter(|n| *n != number);
        if others.filter_map(|n| self.blocks(n)).any(|(_, other_end)| other_end > start) {
            return Err("it is not the last partition of the disk");
        }
        let array_blocks = (self.entries.len() as u64).div_ceil(self.block_size);
        let last = disk_blocks.checked_sub(1).ok_or("the disk is empty")?;
        let usable = last.checked_sub(array_blocks + 1).ok_or("the disk is too small")?;
        let unit = (ALIGN / self.block_size).max(1);
        let new_end = ((usable + 1) / unit * unit).saturating_sub(1);
        if new_end <= end || new_end - end < unit {
            return Ok(None);
        }
        let size = usize::try_from(le::u32_at(&self.header, 84)).unwrap_or(MIN_ENTRY);
        let at = (number as usize - 1) * size + 40;
        le::put(&mut self.entries, at, &new_end.to_le_bytes());
        le::put(&mut self.header, 32, &last.to_le_bytes());
        le::put(&mut self.header, 48, &usable.to_le_bytes());
        let checksum = crc32(&self.entries);
        le::put(&mut self.header, 88, &checksum.to_le_bytes());
        seal(&mut self.header);
        let length = (new_end - start + 1) * self.block_size;
        Ok(Some(Range { start: start * self.block_size, length }))
    }

    /// Writes the backup, then the primary table, each synced: at every moment one of them is whole.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, disk: &File) -> io::Result<()> {
        let last = le::u64_at(&self.header, 32);
        let array_at = le::u64_at(&self.header, 48) + 1;
        disk.write_all_at(&self.entries, array_at * self.block_size)?;
        disk.write_all_at(&self.backup_header(), last * self.block_size)?;
        disk.sync_data()?;
        disk.write_all_at(&self.entries, le::u64_at(&self.header, 72) * self.block_size)?;
        disk.write_all_at(&self.header, self.block_size)?;
        // The protective record in block 0 ends with the disk, or at 2 TiB.
        let covered = u32::try_from(last).unwrap_or(u32::MAX);
        disk.write_all_at(&covered.to_le_bytes(), 446 + 12)?;
        disk.sync_data()
    }

    fn backup_header(&self) -> Vec<u8> {
        let mut backup = self.header.clone();
        let array_at = le::u64_at(&self.header, 48) + 1;
        le::put(&mut backup, 24, &self.header[32..40]);
        le::put(&mut backup, 32, &self.header[24..32]);
        le::put(&mut backup, 72, &array_at.to_le_bytes());
        seal(&mut backup);
        backup
    }

    /// First and last block of a used entry.
    fn blocks(&self, number: u32) -> Option<(u64, u64)> {
        let entry = self.entry(number)?;
        Some((le::u64_at(entry, 32), le::u64_at(entry, 40)))
    }

    fn entry(&self, number: u32) -> Option<&[u8]> {
        let size = usize::try_from(le::u32_at(&self.header, 84)).ok()?;
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let entry = self.entries.chunks_exact(size).nth(index)?;
        entry[..16].iter().any(|b| *b != 0).then_some(entry)
    }
}

/// Checks a header's block and returns the partition array's length in bytes.
fn check_header(header: &[u8]) -> Result<usize, &'static str> {
    if !header.starts_with(SIGNATURE) {
        return Err("no GUID partition table");
    }
    let len = le::u32_at(header, 12) as usize;
    if len < MIN_HEADER || len > header.len() {
        return Err("header length of the partition table is wrong");
    }
    if header_crc(header, len) != le::u32_at(header, 16) {
        return Err("checksum of the partition table's header is wrong");
    }
    let (count, size) = (le::u32_at(header, 80) as usize, le::u32_at(header, 84) as usize);
    match count.checked_mul(size) {
        Some(bytes) if size >= MIN_ENTRY && (1..=MAX_ARRAY).contains(&bytes) => Ok(bytes),
        _ => Err("size of the partition array is wrong"),
    }
}

/// Puts the header's own checksum in.
fn seal(header: &mut [u8]) {
    let crc = header_crc(header, le::u32_at(header, 12) as usize);
    le::put(header, 16, &crc.to_le_bytes());
}

/// The checksum over the header with its own field as zeros.
fn header_crc(header: &[u8], len: usize) -> u32 {
    let mut copy = header.get(..len).unwrap_or(header).to_vec();
    le::put(&mut copy, 16, &[0; 4]);
    crc32(&copy)
}

/// CRC-32 as in IEEE 802.3. Without a table: a boot checks some 16 KiB.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0xedb8_8320 * (c & 1)))
    })
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
