//! The kernel's own file systems, and binding one path over another.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::error::{Context, Error};

/// One file system of the kernel's.
struct Api {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: Option<&'static CStr>,
}

const NOSUID: MountFlags = MountFlags::NOSUID;
const NOEXEC: MountFlags = MountFlags::NOEXEC;
const NODEV: MountFlags = MountFlags::NODEV;
const SEALED: MountFlags = NOSUID.union(NOEXEC).union(NODEV);

/// What the initrd needs, and hands over.
const EARLY: [Api; 3] = [
    Api { kind: "proc", target: "/proc", flags: SEALED, options: None },
    Api { kind: "sysfs", target: "/sys", flags: SEALED, options: None },
    Api {
        kind: "devtmpfs",
        target: "/dev",
        flags: NOSUID.union(NOEXEC),
        options: Some(c"mode=0755"),
    },
];

/// What the host needs besides.
const LATE: [Api; 5] = [
    Api {
        kind: "devpts",
        target: "/dev/pts",
        flags: NOSUID.union(NOEXEC),
        options: Some(c"mode=0620,gid=5,ptmxmode=0666"),
    },
    Api { kind: "tmpfs", target: "/dev/shm", flags: SEALED, options: Some(c"mode=1777,size=50%") },
    Api { kind: "tmpfs", target: "/run", flags: SEALED, options: Some(c"mode=0755,size=25%") },
    Api { kind: "tmpfs", target: "/tmp", flags: SEALED, options: Some(c"mode=1777,size=25%") },
    Api {
        kind: "cgroup2",
        target: "/sys/fs/cgroup",
        flags: SEALED,
        options: Some(c"nsdelegate,memory_recursiveprot"),
    },
];

/// The mount points that shutdown leaves alone: nothing in them reaches a disk.
pub(crate) fn is_api(target: &str) -> bool {
    target == "/" || EARLY.iter().chain(&LATE).any(|api| api.target == target)
}

/// The mount points that the initrd hands over.
pub(crate) fn early_targets() -> impl Iterator<Item = &'static str> {
    EARLY.iter().map(|api| api.target)
}

/// Mounts proc, sysfs and devtmpfs; one that is there already stays.
///
/// # Errors
/// The first that fails.
pub(crate) fn mount_early() -> Result<(), Error> {
    EARLY.iter().try_for_each(mount)
}

/// Mounts what the host needs besides, and shares the tree, so that namespaces made as slaves see what is mounted
/// later.
///
/// # Errors
/// The first that fails.
pub(crate) fn mount_late() -> Result<(), Error> {
    LATE.iter().try_for_each(mount)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", shared).doing(|| "share the mount tree".to_owned())
}

fn mount(api: &Api) -> Result<(), Error> {
    // In sysfs the directory is there; on the read-only root it must be; the rest can be made.
    if !Path::new(api.target).is_dir() {
        fs::create_dir(api.target).doing(|| format!("make {}", api.target))?;
    }
    if is_mount_point(api.target).unwrap_or(false) {
        return Ok(());
    }
    rustix::mount::mount(api.kind, api.target, api.kind, api.flags, api.options)
        .doing(|| format!("mount {} at {}", api.kind, api.target))
}

/// On another file system than its parent: the initrd, or the kernel, has mounted it.
fn is_mount_point(target: &str) -> rustix::io::Result<bool> {
    let parent = rustix::fs::stat(format!("{target}/.."))?;
    Ok(rustix::fs::stat(target)?.st_dev != parent.st_dev)
}

/// Binds `source` over `target`, which must exist in the image.
///
/// # Errors
/// When one of them is not there.
pub(crate) fn bind(source: &str, target: &str) -> Result<(), Error> {
    rustix::mount::mount_bind(source, target).doing(|| format!("bind {source} over {target}"))
}
