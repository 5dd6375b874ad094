//! The data partition: found by label, made when it is blank, grown to its disk's end, mounted at `/data`. One
//! that does not mount is never written to: the host then runs with `/data` in memory and says so.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::block::{self, Partition};
use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::stage::Outcome;
use crate::state;
use crate::uevent::Events;

mod blank;
mod grow;

/// PARTLABEL and file system label.
const LABEL: &str = "warder-data";
pub(crate) const MOUNT_POINT: &str = "/data";
const MKFS: &str = "/usr/sbin/mkfs.btrfs";
/// Says to others where `/data` is: `disk` or `memory: REASON`.
const STATE_FILE: &str = "/run/warder/data";
/// The root's disk is there already; another one may still be on its way.
const TIMEOUT: Duration = Duration::from_secs(5);
const FLAGS: MountFlags = MountFlags::NODEV.union(MountFlags::NOSUID).union(MountFlags::NOATIME);
/// Present between an orderly shutdown and the next boot.
pub(crate) const CLEAN_MARKER: &str = "clean";

/// Mounts `/data`, from the disk or else in memory.
pub(crate) fn bring_up(boot: &mut Boot) -> Result<Outcome, Error> {
    let on_disk = mount_from_disk();
    let outcome = match on_disk {
        Ok(outcome) => {
            write_state("disk")?;
            outcome
        }
        Err(e) => {
            let reason = e.to_string();
            mount_in_memory()?;
            write_state(&format!("memory: {reason}"))?;
            let message = format!("{reason}; /data is in memory, what is written there is lost");
            boot.data_in_memory = Some(reason);
            Outcome::Degraded(message)
        }
    };
    fs::create_dir_all(state::DIRECTORY).doing(|| format!("make {}", state::DIRECTORY))?;
    Ok(outcome)
}

fn mount_from_disk() -> Result<Outcome, Error> {
    let partition = find()?;
    let node = partition.node();
    let content = blank::examine(&node).doing(|| format!("read {}", node.display()))?;
    let fresh = matches!(content, blank::Content::Zeros | blank::Content::HalfMade);
    if fresh {
        make(&node)?;
    }
    mount(&node)?;
    // Only now: around a partition that does not mount nothing is changed, not even its table. Both steps are
    // repeated at every boot, so that a crash between them is caught up with.
    let grown = grow::partition(&partition).and_then(|()| grow::file_system(MOUNT_POINT));
    if !fresh {
        report_last_shutdown();
    }
    // A partition that stays small is no reason to run from memory.
    Ok(grown
        .map_or_else(|e| Outcome::Degraded(format!("{e}; it keeps its size")), |()| Outcome::Done))
}

/// The one on the root's disk, else the first by name.
fn find() -> Result<Partition, Error> {
    let events = Events::listen().doing(|| "listen for device events".to_owned())?;
    let root = block::root_disk();
    let found = events.wait_for(TIMEOUT, || choose(block::partitions().ok()?, root.as_deref()));
    found.ok_or_else(|| {
        let why =
            format!("no partition labelled {LABEL}; make one of all zeros on the root's disk");
        Error::refused("find the data partition", why)
    })
}

fn choose(partitions: Vec<Partition>, root_disk: Option<&str>) -> Option<Partition> {
    let mut labelled: Vec<_> = partitions.into_iter().filter(|p| p.label == LABEL).collect();
    let preferred = labelled.iter().position(|p| Some(p.disk.as_str()) == root_disk).unwrap_or(0);
    (preferred < labelled.len()).then(|| labelled.swap_remove(preferred))
}

fn make(node: &Path) -> Result<(), Error> {
    log::info!("data: {} is blank, making btrfs", node.display());
    // No discard of the whole device: it takes minutes on some disks.
    let output = Command::new(MKFS)
        .args(["--quiet", "--force", "--nodiscard", "--label", LABEL])
        .args(["--metadata", "dup", "--data", "single"])
        .arg(node)
        .output()
        .doing(|| format!("execute {MKFS}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(Error::refused(
        format!("make btrfs on {}", node.display()),
        format!("{} ({last})", output.status),
    ))
}

fn mount(node: &Path) -> Result<(), Error> {
    rustix::mount::mount(node, MOUNT_POINT, "btrfs", FLAGS, None).doing(|| {
        format!(
            "mount {} at {MOUNT_POINT} (it is neither blank nor a sound btrfs; nothing was changed: run btrfs \
             check on it, or zero it to start afresh)",
            node.display()
        )
    })
}

fn mount_in_memory() -> Result<(), Error> {
    rustix::mount::mount("tmpfs", MOUNT_POINT, "tmpfs", FLAGS, Some(c"mode=0755,size=50%"))
        .doing(|| format!("mount tmpfs at {MOUNT_POINT}"))
}

fn write_state(line: &str) -> Result<(), Error> {
    let line = line.replace('\n', " ") + "\n";
    fs::write(STATE_FILE, line).doing(|| format!("write {STATE_FILE}"))
}

/// Reads the marker and removes it, so that it speaks of one shutdown only.
fn report_last_shutdown() {
    match state::take_away(CLEAN_MARKER) {
        Ok(true) => log::info!("previous shutdown: clean"),
        Ok(false) => log::warn!("previous shutdown: unclean"),
        Err(e) => log::warn!("previous shutdown: unknown ({e})"),
    }
}

#[cfg(test)]
mod tests;
