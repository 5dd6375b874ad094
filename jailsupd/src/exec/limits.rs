//! A jail's limits: its cgroup's files, and the disks that `io.max` names by number.

use super::cgroup::Cgroup;
use super::{Error, Layout};
use crate::plan::{DiskLimit, HostStep, Limit};
use crate::unit::IoDevice;
use rustix::fs::{FileType, major, makedev, minor};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Only the root of the cgroup tree has this file: which disks are shared by weight.
const IO_COST: &str = "/sys/fs/cgroup/io.cost.qos";

/// Whether a step asks for nothing but what a new cgroup has.
#[must_use]
pub fn is_default(step: &HostStep) -> bool {
    match step {
        HostStep::SetLimit(limit) => limit.is_default,
        HostStep::LimitDisks(limits) => limits.is_empty(),
        _ => true,
    }
}

/// Writes the limit, or the limits, of one step of a plan; other steps are none of its business.
///
/// # Errors
/// When the kernel has no such limit, or refuses the value, or there is no such disk.
pub fn apply(step: &HostStep, cgroup: &Cgroup, layout: &Layout) -> Result<(), Error> {
    match step {
        HostStep::SetLimit(limit) if limit.value.is_empty() => all_numbers(limit, cgroup),
        HostStep::SetLimit(limit) => {
            cgroup.set(limit)?;
            if limit.file == "io.weight" && !limit.is_default {
                share_by_weight(layout);
            }
            Ok(())
        }
        HostStep::LimitDisks(limits) => limit_disks(limits, cgroup, layout),
        _ => Ok(()),
    }
}

/// The kernel refuses to empty a set that processes run in, so a set that was narrow becomes all of them.
fn all_numbers(limit: &Limit, cgroup: &Cgroup) -> Result<(), Error> {
    let now = std::fs::read_to_string(cgroup.path().join(limit.file)).unwrap_or_default();
    if now.trim().is_empty() {
        return Ok(());
    }
    let above = cgroup.path().join("..").join(format!("{}.effective", limit.file));
    let all = std::fs::read_to_string(above).unwrap_or_default();
    cgroup.write(limit.file, all.trim(), limit.key)
}

/// Weights mean nothing to a disk until the kernel's cost model is on for it. A host that cannot have it
/// (no data partition, another controller) shares as it does.
fn share_by_weight(layout: &Layout) {
    let Ok(Some(disk)) = number(&IoDevice::Data, &layout.data) else { return };
    let line = format!("{}:{} enable=1", major(disk), minor(disk));
    if let Err(error) = std::fs::write(IO_COST, line) {
        log::warn!("the data partition's disk is not shared by weight: {error}");
    }
}

/// Disks that had a limit and have none any more lose it.
fn limit_disks(limits: &[DiskLimit], cgroup: &Cgroup, layout: &Layout) -> Result<(), Error> {
    let mut wanted: Vec<(u64, &DiskLimit)> = Vec::new();
    for limit in limits {
        let disk = number(&limit.device, &layout.data);
        let disk = disk.map_err(|source| Error::Disk {
            key: limit.key,
            name: limit.device.to_string(),
            source,
        })?;
        match disk {
            Some(disk) => wanted.push((disk, limit)),
            None => log::warn!("the data partition is in memory: {} is not kept", limit.key),
        }
    }
    let file = cgroup.path().join("io.max");
    let now = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.is_empty() => return Ok(()),
        now => now.unwrap_or_default(),
    };
    let limited = now.lines().filter_map(|line| line.split_once(' ').map(|(disk, _)| disk));
    for disk in limited {
        if !wanted.iter().any(|(number, _)| show(*number) == disk) {
            let value = format!("{disk} rbps=max wbps=max riops=max wiops=max");
            cgroup.write("io.max", &value, "resources.io_write_bandwidth_max")?;
        }
    }
    for (number, limit) in wanted {
        let mut value = show(number);
        for (name, most) in DiskLimit::NAMES.iter().zip(limit.most) {
            let most = most.map_or_else(|| "max".to_owned(), |most| most.to_string());
            let _ = write!(value, " {name}={most}");
        }
        cgroup.write("io.max", &value, limit.key)?;
    }
    Ok(())
}

fn show(disk: u64) -> String {
    format!("{}:{}", major(disk), minor(disk))
}

/// The number of the whole disk; none when the data partition is in memory.
fn number(device: &IoDevice, data: &Path) -> io::Result<Option<u64>> {
    let path = match device {
        IoDevice::Path(path) => path.clone(),
        IoDevice::Data => {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
            match source_of(&mounts, data) {
                Some(source) if source.starts_with("/dev/") => source.to_owned(),
                _ => return Ok(None),
            }
        }
    };
    let stat = rustix::fs::stat(&path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(io::Error::from_raw_os_error(libc::ENOTBLK));
    }
    whole(stat.st_rdev).map(Some)
}

/// The kernel limits disks, not partitions.
fn whole(number: u64) -> io::Result<u64> {
    let device = std::fs::canonicalize(format!("/sys/dev/block/{}", show(number)))?;
    if !device.join("partition").exists() {
        return Ok(number);
    }
    let disk = device.parent().unwrap_or(&device).join("dev");
    let text = std::fs::read_to_string(disk)?;
    let parsed = text
        .trim()
        .split_once(':')
        .and_then(|(major, minor)| Some(makedev(major.parse().ok()?, minor.parse().ok()?)));
    parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The source of the file system that `path` is in (proc_pid_mountinfo(5)).
fn source_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let Some(point) = mount.split(' ').nth(4) else { continue };
        let Some(source) = file_system.split(' ').nth(1) else { continue };
        // A later mount at the same point hides the earlier one.
        if path.starts_with(point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), source));
        }
    }
    best.map(|(_, source)| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:20 / / ro - erofs /dev/dm-0 ro
30 22 0:33 / /data rw,nosuid shared:4 - btrfs /dev/vda3 rw,discard
31 22 0:34 / /data/x rw - tmpfs tmpfs rw
";

    #[test]
    fn source_is_that_of_the_nearest_mount() {
        assert_eq!(source_of(MOUNTS, Path::new("/data")), Some("/dev/vda3"));
        assert_eq!(source_of(MOUNTS, Path::new("/data/jails/web")), Some("/dev/vda3"));
        assert_eq!(source_of(MOUNTS, Path::new("/data/x/y")), Some("tmpfs"));
        assert_eq!(source_of(MOUNTS, Path::new("/database")), Some("/dev/dm-0"));
    }
}
