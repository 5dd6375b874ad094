//! The weak build: which walls are left out is read from a file at each start of a jail.
//!
//! One name a line. An unknown name stops the start: a test with a misspelt wall must not pass because
//! nothing was left out. What is left out is logged.

use super::Wall;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::mount::MountAttrFlags;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use sys::mount::Attributes;

/// Written by a test.
const SELECTOR: &str = "/run/warder/weaken";
/// Where a leaked descriptor of the host's root is, for tests to name it.
const LEAKED: i32 = 500;

/// Every wall, by the name that the selector knows it by.
const WALLS: [(&str, Wall); 25] = [
    ("seccomp", Wall::Seccomp),
    ("landlock", Wall::Landlock),
    ("no-new-privs", Wall::NoNewPrivs),
    ("bounding-set", Wall::BoundingSet),
    ("capabilities", Wall::Capabilities),
    ("user-namespace-limit", Wall::UserNamespaceLimit),
    ("masks", Wall::Masks),
    ("read-only-paths", Wall::ReadOnlyPaths),
    ("private-mounts", Wall::PrivateMounts),
    ("pinned-paths", Wall::PinnedPaths),
    ("resolve-in-root", Wall::ResolveInRoot),
    ("cgroup-read-only", Wall::CgroupReadOnly),
    ("cgroup-owner", Wall::CgroupOwner),
    ("sys-read-only", Wall::SysReadOnly),
    ("nosuid", Wall::NoSetuid),
    ("nodev", Wall::NoDevices),
    ("device-filter", Wall::DeviceFilter),
    ("working-dir", Wall::WorkingDir),
    ("close-files", Wall::CloseFiles),
    ("close-on-exec", Wall::CloseOnExec),
    ("helper-mode", Wall::HelperMode),
    ("helper-seals", Wall::HelperSeals),
    ("keyring", Wall::Keyring),
    ("narrow-sys", Wall::NarrowSys),
    ("volume-links", Wall::VolumeLinks),
];

/// A bit for each wall that is down.
static DOWN: AtomicU32 = AtomicU32::new(0);

/// Whether a wall is left out. Neither allocates nor locks: it is asked between clone and exec.
#[must_use]
pub fn is_down(wall: Wall) -> bool {
    DOWN.load(Ordering::Relaxed) & (1 << wall as u32) != 0
}

/// Reads the selector.
///
/// # Errors
/// It cannot be read, or names a wall that there is not.
pub fn read() -> io::Result<()> {
    let text = match std::fs::read_to_string(SELECTOR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut down = 0;
    for name in text.split_whitespace() {
        let Some((_, wall)) = WALLS.iter().find(|(known, _)| *known == name) else {
            return Err(io::Error::other(format!("{SELECTOR}: there is no wall {name}")));
        };
        down |= 1 << *wall as u32;
    }
    DOWN.store(down, Ordering::Relaxed);
    log::warn!("weak build: left out: {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Takes back what jailsupd has done to root and cgroup.
///
/// # Errors
/// When the kernel refuses.
pub fn before_spawn(root: &OwnedFd, cgroup: &OwnedFd, root_uid: u32) -> io::Result<()> {
    let mut clear = MountAttrFlags::empty();
    if is_down(Wall::NoSetuid) {
        clear |= MountAttrFlags::MOUNT_ATTR_NOSUID;
    }
    if is_down(Wall::NoDevices) {
        clear |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if !clear.is_empty() {
        let attributes = Attributes { clear: clear.bits().into(), ..Attributes::default() };
        sys::mount::set_attributes(root.as_fd(), false, attributes)?;
    }
    if is_down(Wall::CgroupOwner) {
        let (uid, gid) = (Uid::from_raw(root_uid), Gid::from_raw(root_uid));
        for file in ["", "cgroup.procs", "memory.max", "pids.max"] {
            let flags = AtFlags::EMPTY_PATH;
            rustix::fs::chownat(cgroup, file, Some(uid), Some(gid), flags)?;
        }
    }
    Ok(())
}

/// Leaves a descriptor of the host's root open across exec, as a bug once did (CVE-2024-21626).
pub fn leak() {
    if is_down(Wall::CloseOnExec) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(root) = rustix::fs::open(c"/", flags, Mode::empty()) {
            let _ = sys::fd::place(root.as_fd(), LEAKED);
        }
    }
}
