//! The initrd's half: find the verity root by its hash, move over to it. Owns nothing afterwards.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::block::{self, Partition};
use crate::cmdline::{Cmdline, RootHash};
use crate::error::{Context, Error};
use crate::modules;
use crate::mounts;
use crate::stage::since_boot;
use crate::uevent::Events;
use crate::verity::{SUPERBLOCK_LEN, Superblock};

/// Its presence tells the initrd from the host.
pub(crate) const MARK: &str = "/etc/initrd-release";
/// Carries "START_US DURATION_US" of this half to the other one's record.
pub(crate) const TIMES_VARIABLE: &str = "WARDER_INITRD";

/// PID 1's file in the verified root.
pub(crate) const INIT: &str = "/usr/lib/warder/init";
const NEW_ROOT: &str = "/sysroot";
const MAPPED_NAME: &str = "warder-root";
/// Slow controllers and disks that spin up answer within it.
const DISK_TIMEOUT: Duration = Duration::from_secs(30);
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Goes from the initramfs to the verified root and executes its init; returns only on failure.
pub(crate) fn run(cmdline: &Cmdline, start: Duration) -> Result<std::convert::Infallible, Error> {
    let root = cmdline.root_hash.as_ref().ok_or_else(|| {
        Error::refused(
            "find the root",
            "no valid roothash=HEX (64 to 128 digits) on the kernel command line; boot an unchanged UKI",
        )
    })?;
    load_modules();
    let events = Events::listen().doing(|| "listen for device events".to_owned())?;
    let pair = find_root(&events, root)?;
    let device = set_up_verity(&events, &pair, root)?;
    mount_root(&device)?;
    log::info!("initrd: root verified, roothash {root}");
    switch_root()?;
    let took = since_boot().saturating_sub(start);
    let times = format!("{} {}", start.as_micros(), took.as_micros());
    let error = Command::new(INIT).env_clear().env(TIMES_VARIABLE, times).exec();
    Err(error).doing(|| format!("execute {INIT}"))
}

/// Loads what `/modules/order` names. One that fails may not be needed: a missing root says so later.
fn load_modules() {
    let order = fs::read_to_string("/modules/order").unwrap_or_default();
    for file in modules::names(&order) {
        if let Err(e) = modules::load(&Path::new("/modules").join(file)) {
            log::warn!("initrd: {e}");
        }
    }
}

/// The root's two partitions.
struct Pair {
    data: Partition,
    hash: Partition,
}

fn find_root(events: &Events, root: &RootHash) -> Result<Pair, Error> {
    let pair = events.wait_for(DISK_TIMEOUT, || {
        let seen = block::partitions().unwrap_or_default();
        let uuids: Vec<_> = seen.iter().map(Partition::uuid).collect();
        choose(&seen, &uuids, root)
    });
    pair.ok_or_else(|| {
        let seen = block::partitions().unwrap_or_default();
        let list: Vec<_> = seen.iter().map(describe).collect();
        let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        Error::refused(
            "find the root",
            format!(
                "no disk has both partitions {} (root) and {} (its verity tree) after {} s; partitions seen: \
                 {list}; attach the disk that this roothash belongs to, or add its driver to the initrd",
                root.data_partition(),
                root.hash_partition(),
                DISK_TIMEOUT.as_secs()
            ),
        )
    })
}

/// The first disk's that has both: halves from two disks (a copy of the system is attached) are not mixed.
fn choose(seen: &[Partition], uuids: &[Option<String>], root: &RootHash) -> Option<Pair> {
    let all = || seen.iter().zip(uuids).filter_map(|(p, u)| Some((p, u.as_deref()?)));
    let data = all().filter(|(_, uuid)| *uuid == root.data_partition());
    data.filter_map(|(data, _)| {
        let hash = all().find(|(p, u)| p.disk == data.disk && *u == root.hash_partition())?.0;
        Some(Pair { data: data.clone(), hash: hash.clone() })
    })
    .next()
}

fn describe(partition: &Partition) -> String {
    let uuid = partition.uuid().unwrap_or_else(|| "no PARTUUID".to_owned());
    format!("{} ({uuid} \"{}\")", partition.name, partition.label)
}

/// Maps the verity device and returns its node.
fn set_up_verity(events: &Events, pair: &Pair, root: &RootHash) -> Result<PathBuf, Error> {
    let node = pair.hash.node();
    let mut block = [0; SUPERBLOCK_LEN];
    File::open(&node)
        .and_then(|mut f| f.read_exact(&mut block))
        .doing(|| format!("read the verity superblock of {}", node.display()))?;
    let superblock = Superblock::parse(&block, root, pair.data.size).map_err(|why| {
        let remedy = "write the image again, or boot the other slot";
        Error::refused(format!("set up verity from {}", node.display()), format!("{why}; {remedy}"))
    })?;
    let target = superblock.target(&pair.data.device, &pair.hash.device, root);
    let map = || -> std::io::Result<u64> {
        let control = sys::dm::control()?;
        sys::dm::create(control.as_fd(), MAPPED_NAME)?;
        let sectors = superblock.sectors();
        sys::dm::load_read_only(control.as_fd(), MAPPED_NAME, sectors, "verity", &target)?;
        sys::dm::resume(control.as_fd(), MAPPED_NAME)
    };
    let device = map().doing(|| format!("map verity ({target}); the kernel log says more"))?;
    let node = PathBuf::from(format!("/dev/dm-{}", rustix::fs::minor(device)));
    let there = events.wait_for(NODE_TIMEOUT, || node.exists().then_some(()));
    there.ok_or_else(|| Error::refused("map verity", format!("{} never came", node.display())))?;
    Ok(node)
}

fn mount_root(device: &Path) -> Result<(), Error> {
    fs::create_dir_all(NEW_ROOT).doing(|| format!("make {NEW_ROOT}"))?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    rustix::mount::mount(device, NEW_ROOT, "erofs", flags, None)
        .doing(|| format!("mount {} as erofs", device.display()))
}

/// Takes the mounts along, frees the initramfs, and makes the new root the root.
fn switch_root() -> Result<(), Error> {
    for mount in mounts::early_targets() {
        let target = format!("{NEW_ROOT}{mount}");
        rustix::mount::mount_move(mount, &target).doing(|| format!("move {mount} to {target}"))?;
    }
    free_initramfs();
    std::env::set_current_dir(NEW_ROOT).doing(|| format!("enter {NEW_ROOT}"))?;
    rustix::mount::mount_move(".", "/").doing(|| "move the new root".to_owned())?;
    rustix::process::chroot(".").doing(|| "enter the new root".to_owned())?;
    std::env::set_current_dir("/").doing(|| "enter /".to_owned())
}

/// Removes the files of the initramfs, which else hold memory for ever. Never leaves its file system.
fn free_initramfs() {
    let Ok(root) = fs::symlink_metadata("/") else { return };
    for entry in fs::read_dir("/").into_iter().flatten().flatten() {
        let Ok(kind) = fs::symlink_metadata(entry.path()) else { continue };
        if kind.dev() != root.dev() {
            continue;
        }
        let removed = if kind.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        if let Err(e) = removed {
            log::warn!("initrd: free {}: {e}", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::block::Partition;
    use crate::cmdline::Cmdline;

    const DATA: &str = "00112233445566778899aabbccddeeff";
    const HASH: &str = "ffeeddccbbaa99887766554433221100";

    /// The names of the pair chosen from partitions `(name, disk, PARTUUID)`.
    fn chosen(seen: &[(&str, &str, &str)]) -> Option<(String, String)> {
        let root = Cmdline::parse(&format!("roothash={DATA}{HASH}")).root_hash.unwrap();
        let uuids: Vec<_> = seen.iter().map(|(_, _, uuid)| Some((*uuid).to_owned())).collect();
        let seen: Vec<_> =
            seen.iter().map(|(name, disk, _)| Partition::for_test(name, disk, "")).collect();
        choose(&seen, &uuids, &root).map(|pair| (pair.data.name, pair.hash.name))
    }

    #[test]
    fn halves_of_two_disks_are_not_mixed() {
        assert_eq!(chosen(&[("a1", "a", DATA), ("b2", "b", HASH)]), None);
        let copies = [("a1", "a", DATA), ("b1", "b", DATA), ("b2", "b", HASH)];
        assert_eq!(chosen(&copies), Some(("b1".to_owned(), "b2".to_owned())));
    }

    #[test]
    fn one_half_is_not_enough() {
        assert_eq!(chosen(&[("a1", "a", DATA), ("a2", "a", DATA)]), None);
        assert_eq!(chosen(&[]), None);
    }
}
