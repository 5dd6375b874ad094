//! Disk images on the build machine: copies to play with, their partitions, damage on purpose.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use serde::Deserialize;

use crate::{Error, Result};

/// The size of a block of dm-verity and of erofs.
pub const BLOCK: u64 = 4096;
/// What sfdisk counts in (mkosi is told to make disks of this sector size).
const SECTOR: u64 = 512;

const SFDISK: &str = "/usr/sbin/sfdisk";

/// A partition of a GPT disk image, in bytes.
#[derive(Debug, Clone)]
pub struct Partition {
    /// GPT name, the guest's PARTLABEL.
    pub name: String,
    /// PARTUUID in lower case.
    pub uuid: String,
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

/// Copies `from` to `to` quickly: shared blocks where the file system can, holes kept.
///
/// # Errors
/// `cp` failed.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    tool(Command::new("cp").args(["--reflink=auto", "--sparse=always"]).arg(from).arg(to)).map(drop)
}

/// All partitions of a disk image, in the order of the table.
///
/// # Errors
/// `sfdisk` cannot read it.
pub fn partitions(disk: &Path) -> Result<Vec<Partition>> {
    #[derive(Deserialize)]
    struct Listing {
        partitiontable: Table,
    }
    #[derive(Deserialize)]
    struct Table {
        partitions: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(default)]
        name: String,
        uuid: String,
        start: u64,
        size: u64,
    }
    let text = tool(Command::new(SFDISK).arg("--json").arg(disk))?;
    let listing: Listing = serde_json::from_str(&text)
        .map_err(|error| Error::Answer { peer: "sfdisk", answer: error.to_string() })?;
    let bytes = |row: Row| Partition {
        name: row.name,
        uuid: row.uuid.to_lowercase(),
        start: row.start * SECTOR,
        size: row.size * SECTOR,
    };
    Ok(listing.partitiontable.partitions.into_iter().map(bytes).collect())
}

/// The partition of that name.
///
/// # Errors
/// There is none.
pub fn partition(disk: &Path, name: &str) -> Result<Partition> {
    find(disk, name, |partition| partition.name == name)
}

/// The root's partition: its PARTUUID is the first half of the verity root hash (Discoverable
/// Partitions Specification).
///
/// # Errors
/// There is none.
pub fn root_partition(disk: &Path, roothash: &str) -> Result<Partition> {
    find(disk, "of the root hash", |partition| {
        roothash.get(..32) == Some(partition.uuid.replace('-', "").as_str())
    })
}

fn find(disk: &Path, what: &str, wanted: impl Fn(&Partition) -> bool) -> Result<Partition> {
    partitions(disk)?.into_iter().find(wanted).ok_or_else(|| missing(disk, what))
}

fn missing(disk: &Path, what: &str) -> Error {
    let answer = format!("no partition {what} in {}", disk.display());
    Error::Answer { peer: "sfdisk", answer }
}

/// Gives a partition another size in the table, and moves the table's backup to the disk's end.
///
/// # Errors
/// `sfdisk` failed, or there is no partition of that name.
pub fn resize(disk: &Path, name: &str, size: u64) -> Result<()> {
    let table = partitions(disk)?;
    let index = table.iter().position(|partition| partition.name == name);
    let index = index.ok_or_else(|| missing(disk, name))?;
    tool(Command::new(SFDISK).args(["--quiet", "--relocate", "gpt-bak-std"]).arg(disk))?;
    let script = format!("printf ', {}\\n' | exec \"$@\"", size / SECTOR);
    let number = (index + 1).to_string();
    let sh = ["-c", &script, "sh", SFDISK, "--quiet", "--partno", &number];
    tool(Command::new("sh").args(sh).arg(disk)).map(drop)
}

/// Copies one partition's bytes into a file of its own.
///
/// # Errors
/// `dd` failed.
pub fn extract(disk: &Path, partition: &Partition, to: &Path) -> Result<()> {
    transplant(disk, partition, to, 0, partition.size).map(drop)
}

/// Copies `size` bytes of `partition` into the file `to` at `at`, zeros as holes.
///
/// # Errors
/// `dd` failed.
pub fn transplant(disk: &Path, partition: &Partition, to: &Path, at: u64, size: u64) -> Result<()> {
    tool(
        Command::new("dd")
            .arg(format!("if={}", disk.display()))
            .arg(format!("of={}", to.display()))
            .arg(format!("skip={}", partition.start))
            .arg(format!("seek={at}"))
            .arg(format!("count={size}"))
            .args(["bs=1M", "iflag=skip_bytes,count_bytes", "oflag=seek_bytes"])
            .args(["conv=sparse,notrunc", "status=none"]),
    )
    .map(drop)
}

/// Inverts one byte.
///
/// # Errors
/// The file cannot be read or written there.
pub fn flip_byte(disk: &Path, at: u64) -> Result<()> {
    let flip = || {
        let file = File::options().read(true).write(true).open(disk)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[!byte[0]], at)
    };
    flip().map_err(Error::io(format!("change byte {at} of {}", disk.display())))
}

/// Overwrites a piece of a disk.
///
/// # Errors
/// The file cannot be written there.
pub fn write_at(disk: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    let write = || File::options().write(true).open(disk)?.write_all_at(bytes, at);
    write().map_err(Error::io(format!("write at {at} of {}", disk.display())))
}

/// A piece of a disk.
///
/// # Errors
/// The file cannot be read there.
pub fn read_at(disk: &Path, at: u64, size: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let read = File::open(disk).and_then(|file| file.read_exact_at(&mut bytes, at));
    read.map_err(Error::io(format!("read at {at} of {}", disk.display())))?;
    Ok(bytes)
}

/// Makes an erofs file system of a directory, everything owned by root.
///
/// # Errors
/// `mkfs.erofs` failed.
pub fn make_erofs(from: &Path, to: &Path) -> Result<()> {
    tool(Command::new("mkfs.erofs").args(["--quiet", "--all-root"]).arg(to).arg(from)).map(drop)
}

/// Unpacks an erofs file system into a new directory.
///
/// # Errors
/// `fsck.erofs` failed.
pub fn extract_erofs(from: &Path, to: &Path) -> Result<()> {
    let extract = format!("--extract={}", to.display());
    tool(Command::new("fsck.erofs").arg(extract).arg(from)).map(drop)
}

/// Makes a squashfs file system of a directory, everything owned by root.
///
/// # Errors
/// `mksquashfs` failed.
pub fn make_squashfs(from: &Path, to: &Path) -> Result<()> {
    let options = ["-all-root", "-noappend", "-no-progress", "-quiet", "-comp", "zstd"];
    tool(Command::new("mksquashfs").arg(from).arg(to).args(options)).map(drop)
}

/// Makes a jails disk at `to` from a directory with `jails.d/` and `images/`, as the build makes
/// `jails.raw`: GPT, one erofs partition named `warder-jails`.
///
/// # Errors
/// A host tool failed.
pub fn make_jails_disk(from: &Path, to: &Path) -> Result<()> {
    /// Where the partition begins, and what the second table at the end needs.
    const MARGIN: u64 = 1 << 20;
    let erofs = to.with_extension("erofs");
    make_erofs(from, &erofs)?;
    let size = fs::metadata(&erofs).map_err(Error::io("see the size of the erofs"))?.len();
    let file = File::create(to).map_err(Error::io(format!("make {}", to.display())))?;
    file.set_len(MARGIN + size + MARGIN).map_err(Error::io("size the jails disk"))?;
    let script = format!(
        "label: gpt\nstart={}, size={}, type=linux, name=warder-jails\n",
        MARGIN / SECTOR,
        size.div_ceil(SECTOR)
    );
    let table = to.with_extension("sfdisk");
    fs::write(&table, script).map_err(Error::io("write sfdisk's script"))?;
    let script = File::open(&table).map_err(Error::io("open sfdisk's script"))?;
    tool(Command::new(SFDISK).arg("--quiet").arg(to).stdin(script))?;
    let whole = Partition { name: String::new(), uuid: String::new(), start: 0, size };
    transplant(&erofs, &whole, to, MARGIN, size)
}

/// Blocks of `path` inside an erofs image, counted from the image's start.
///
/// # Errors
/// `dump.erofs` failed, or lists no extent.
pub fn erofs_blocks(image: &Path, path: &str) -> Result<std::ops::Range<u64>> {
    let text = tool(Command::new("dump.erofs").arg("-e").arg(format!("--path={path}")).arg(image))?;
    let mut ranges = text.lines().filter_map(physical_range);
    let first = ranges.next().ok_or_else(|| Error::Answer {
        peer: "dump.erofs",
        answer: format!("no extent of {path}: {text}"),
    })?;
    let last = ranges.next_back().unwrap_or_else(|| first.clone());
    Ok(first.start / BLOCK..last.end.div_ceil(BLOCK))
}

/// The physical range of an extent line, in bytes:
/// `   0:        0..    4096 |    4096 :   12288..   16384 |    4096`.
fn physical_range(line: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) =
        line.split_once('|')?.1.split_once(':')?.1.split_once('|')?.0.split_once("..")?;
    Some(start.trim().parse().ok()?..end.trim().parse().ok()?)
}

/// Runs a host tool that must succeed and gives its standard output.
///
/// # Errors
/// It cannot be started, or fails.
pub fn tool(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(Error::io(format!("start {name}")))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(Error::Tool {
        command: format!("{command:?}"),
        status: output.status.to_string(),
        output: stdout + &String::from_utf8_lossy(&output.stderr),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extent_line_of_dump_erofs_is_read() {
        let line = "   0:        0..   16384 |   16384 :   12288..   16384 |    4096";
        assert_eq!(physical_range(line), Some(12288..16384));
        assert_eq!(physical_range(" Ext:   logical offset   |  length :     physical"), None);
    }
}
