use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Range, Table, crc32, seal};
use crate::le;

const BLOCK: u64 = 512;
/// 16 MiB.
const DISK_BLOCKS: u64 = 32768;

/// A table with two partitions: 2048..=4095 and 4096..=`end`.
fn table(end: u64) -> Table {
    let mut entries = vec![0u8; 128 * 128];
    for (i, (first, last)) in [(2048, 4095), (4096, end)].into_iter().enumerate() {
        let entry = &mut entries[i * 128..(i + 1) * 128];
        entry[..16].fill(0x55);
        for (k, byte) in (0u8..16).enumerate() {
            entry[16 + k] = byte + 16 * u8::try_from(i).unwrap();
        }
        le::put(entry, 32, &u64::to_le_bytes(first));
        le::put(entry, 40, &end_bytes(last));
    }
    let mut header = vec![0u8; 512];
    le::put(&mut header, 0, b"EFI PART");
    le::put(&mut header, 8, &0x0001_0000u32.to_le_bytes());
    le::put(&mut header, 12, &92u32.to_le_bytes());
    for (at, value) in [(24, 1), (32, DISK_BLOCKS - 1), (40, 34), (48, DISK_BLOCKS - 34), (72, 2)] {
        le::put(&mut header, at, &u64::to_le_bytes(value));
    }
    le::put(&mut header, 80, &128u32.to_le_bytes());
    le::put(&mut header, 84, &128u32.to_le_bytes());
    le::put(&mut header, 88, &crc32(&entries).to_le_bytes());
    seal(&mut header);
    Table::new(BLOCK, header, entries).unwrap()
}

fn end_bytes(last: u64) -> [u8; 8] {
    last.to_le_bytes()
}

#[test]
fn checksum_is_the_usual_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn uuid_is_written_in_the_mixed_order() {
    let table = table(8191);
    assert_eq!(
        table.partition_uuid(1).unwrap(),
        "03020100050407060809 0a0b0c0d0e0f".replace(' ', "")
    );
    assert_eq!(table.partition_uuid(3), None);
    assert_eq!(table.partition_uuid(0), None);
    assert_eq!(table.partition_uuid(4000), None);
}

#[test]
fn last_partition_grows_to_an_aligned_end() {
    let mut table = table(8191);
    let range = table.grow_last(2, 65536).unwrap().unwrap();
    // 65536 blocks less the backup's 33, down to a whole MiB.
    assert_eq!(range, Range { start: 4096 * BLOCK, length: (63488 - 4096) * BLOCK });
    assert_eq!(table.grow_last(2, 65536), Ok(None), "a second time there is nothing to gain");
}

#[test]
fn a_grown_table_reads_back_from_both_ends() {
    let path = std::env::temp_dir().join(format!("warder-gpt-{}", std::process::id()));
    let disk =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    disk.set_len(65536 * BLOCK).unwrap();
    let mut table = table(8191);
    table.grow_last(2, 65536).unwrap();
    table.write(&disk).unwrap();
    assert_eq!(Table::read(&disk, BLOCK).unwrap(), table);
    let mut backup = vec![0; 512];
    disk.read_exact_at(&mut backup, 65535 * BLOCK).unwrap();
    assert_eq!(le::u64_at(&backup, 24), 65535, "it names itself");
    assert_eq!(le::u64_at(&backup, 32), 1, "and the primary");
    let mut entries = vec![0; 128 * 128];
    disk.read_exact_at(&mut entries, le::u64_at(&backup, 72) * BLOCK).unwrap();
    assert!(Table::new(BLOCK, backup, entries).is_ok());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn only_the_last_partition_grows() {
    assert!(table(8191).grow_last(1, 65536).unwrap_err().contains("not the last"));
    assert!(table(8191).grow_last(7, 65536).is_err());
}

#[test]
fn a_disk_smaller_than_its_table_is_left_alone() {
    assert_eq!(table(8191).grow_last(2, 4096), Ok(None));
    assert!(table(8191).grow_last(2, 0).is_err());
    assert!(table(8191).grow_last(2, 10).is_err());
}

#[test]
fn damage_is_noticed() {
    let good = table(8191);
    for at in [0, 13, 30, 85] {
        let mut header = good.header.clone();
        header[at] ^= 1;
        assert!(Table::new(BLOCK, header, good.entries.clone()).is_err(), "header byte {at}");
    }
    let mut entries = good.entries.clone();
    entries[200] ^= 1;
    assert!(Table::new(BLOCK, good.header.clone(), entries).is_err());
}
