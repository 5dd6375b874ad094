//! Disks and partitions as sysfs shows them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::gpt;
use crate::uevent;

/// A partition that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The kernel's name, as in `vda2`.
    pub(crate) name: String,
    /// The disk it is on, as in `vda`.
    pub(crate) disk: String,
    /// Its number in the disk's table, from 1.
    pub(crate) number: u32,
    /// `MAJOR:MINOR`.
    pub(crate) device: String,
    /// PARTLABEL, empty when there is none.
    pub(crate) label: String,
    /// PARTUUID without dashes, from kernels that tell it (6.15 on).
    uuid: Option<String>,
    /// Length in bytes.
    pub(crate) size: u64,
}

impl Partition {
    /// The device node.
    pub(crate) fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// PARTUUID as 32 lower-case digits: what the kernel tells, else what the disk's own table says.
    pub(crate) fn uuid(&self) -> Option<String> {
        self.uuid.clone().or_else(|| read_table(&self.disk).ok()?.partition_uuid(self.number))
    }

    /// A partition with nothing but names.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, disk: &str, label: &str) -> Self {
        let (name, disk, label) = (name.to_owned(), disk.to_owned(), label.to_owned());
        Self { name, disk, number: 1, device: "0:0".to_owned(), label, uuid: None, size: 0 }
    }

    /// Reads a partition's uevent text; `None` when it is no partition.
    fn parse(name: &str, disk: &str, text: &str, sectors: u64) -> Option<Self> {
        let get = |key| uevent::value(text, key);
        Some(Self {
            name: name.to_owned(),
            disk: disk.to_owned(),
            number: get("PARTN")?.parse().ok()?,
            device: format!("{}:{}", get("MAJOR")?, get("MINOR")?),
            label: get("PARTNAME").unwrap_or_default().to_owned(),
            uuid: get("PARTUUID").map(|u| u.replace('-', "").to_ascii_lowercase()),
            size: sectors * 512,
        })
    }
}

/// All partitions of all disks, by name.
///
/// # Errors
/// When sysfs is not there.
pub(crate) fn partitions() -> io::Result<Vec<Partition>> {
    let mut found: Vec<_> = fs::read_dir("/sys/class/block")?
        .flatten()
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let text = fs::read_to_string(entry.path().join("uevent")).ok()?;
            let sectors = number(&entry.path().join("size")).ok()?;
            let disk = link.parent()?.file_name()?.to_str()?;
            Partition::parse(entry.file_name().to_str()?, disk, &text, sectors)
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads the partition table of a disk.
///
/// # Errors
/// As [`gpt::Table::read`].
pub(crate) fn read_table(disk: &str) -> io::Result<gpt::Table> {
    gpt::Table::read(&File::open(Path::new("/dev").join(disk))?, block_size(disk)?)
}

/// A disk's logical block size in bytes.
///
/// # Errors
/// When there is no such disk.
pub(crate) fn block_size(disk: &str) -> io::Result<u64> {
    let size = number(&Path::new("/sys/class/block").join(disk).join("queue/logical_block_size"))?;
    // Bounded, because a buffer of this size is allocated.
    if (512..=65536).contains(&size) { Ok(size) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A disk's length in bytes.
///
/// # Errors
/// When there is no such disk.
pub(crate) fn disk_size(disk: &str) -> io::Result<u64> {
    Ok(number(&Path::new("/sys/class/block").join(disk).join("size"))? * 512)
}

/// The disk that the root file system's partition is on: below the verity device, if there is one.
pub(crate) fn root_disk() -> Option<String> {
    let root = rustix::fs::stat("/").ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(root), rustix::fs::minor(root));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let slave = fs::read_dir(device.join("slaves")).ok().and_then(|mut dir| dir.next()?.ok());
    let partition = fs::canonicalize(slave.map_or(device, |s| s.path())).ok()?;
    Some(partition.parent()?.file_name()?.to_str()?.to_owned())
}

fn number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::Partition;

    #[test]
    fn a_partition_is_read_from_its_uevent() {
        let text = "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nDEVTYPE=partition\nPARTN=3\nPARTNAME=a b\n";
        let p = Partition::parse("vda3", "vda", text, 8).unwrap();
        assert_eq!((p.number, p.device.as_str(), p.label.as_str()), (3, "254:3", "a b"));
        assert_eq!((p.size, p.uuid.clone()), (4096, None));
        assert_eq!(p.node().to_str(), Some("/dev/vda3"));
        let text = format!("{text}PARTUUID=0011-AA\n");
        assert_eq!(Partition::parse("vda3", "vda", &text, 8).unwrap().uuid.unwrap(), "0011aa");
    }

    #[test]
    fn a_whole_disk_is_none() {
        assert_eq!(Partition::parse("vda", "block", "MAJOR=254\nMINOR=0\nDEVTYPE=disk\n", 8), None);
    }
}
