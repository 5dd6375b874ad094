//! Core dumps: a store for each jail whose unit allows them, on the data partition and bounded.
//!
//! The kernel has one pattern for all core dumps of the host. Warder's is a path, never a pipe, which the
//! kernel would make a program of the host's root out of; and it leads into a directory that exists in
//! jails with a store, and nowhere else. So a process of the host, or of any other jail, dumps none. The
//! kernel writes the dump as the process that dies and in its own namespace: what a jail can do to its store
//! is to fill it, and it is a subvolume with a limit.

use super::devices::Pinned;
use super::{Error, Layout, mounts, private_directory, subvolume, trash};
use crate::unit::Bytes;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode};
use rustix::mount::MountAttrFlags;
use std::io;
use std::path::PathBuf;

/// `kernel.core_pattern` (core(5)) as init sets it.
const PATTERN: &str = "/dev/cores/core.%e.%p.%t";
const PATTERN_FILE: &str = "/proc/sys/kernel/core_pattern";
/// The store of this life, and that of the last one that has left a dump.
const STORES: [&str; 2] = ["cores", "cores.old"];
/// What files need beside their bytes.
const SLACK: u64 = 1 << 20;
/// Dumps that are listed of each store: a jail can make as many files as fit.
const LISTED: usize = 8;

/// Mounts an empty store, attached nowhere. Dumps of an earlier life are kept beside it, in the place of
/// those that were there.
///
/// # Errors
/// When the host's pattern is another, or the data partition cannot be limited.
pub fn open(
    jail: &str,
    size: Bytes,
    users: BorrowedFd<'_>,
    layout: &Layout,
) -> Result<OwnedFd, Error> {
    let pattern = std::fs::read_to_string(PATTERN_FILE).unwrap_or_default();
    if pattern.trim_end() != PATTERN {
        return Err(Error::CorePattern { found: pattern.trim_end().to_owned(), wanted: PATTERN });
    }
    let store = make(jail, size, layout).and_then(|store| {
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        mounts::shifted(&store, set, users)
    });
    store.map_err(Error::Cores)
}

/// The store, as it is bound into the jail's /dev.
#[must_use]
pub fn pinned(mount: OwnedFd) -> Pinned {
    Pinned { parents: Vec::new(), name: c"cores".to_owned(), mount, is_directory: true }
}

fn make(jail: &str, size: Bytes, layout: &Layout) -> io::Result<OwnedFd> {
    let home = layout.jail(jail);
    private_directory(&home)?;
    let [now, old] = STORES.map(|store| home.join(store));
    let is_used = std::fs::read_dir(&now).is_ok_and(|mut files| files.next().is_some());
    if is_used {
        trash::put(layout, &old)?;
        std::fs::rename(&now, &old)?;
    } else {
        trash::put(layout, &now)?;
    }
    let parent = subvolume::open(CWD, &home)?;
    let store = subvolume::create(parent.as_fd(), c"cores")?;
    subvolume::limit(&store, Some(Bytes::new(size.get().saturating_add(SLACK))))?;
    // Of whatever user the process is that dies.
    rustix::fs::fchmod(&store, Mode::from_raw_mode(0o1777))?;
    Ok(store)
}

/// Moves all dumps of a jail that is gone into the trash.
///
/// # Errors
/// When the file system refuses.
pub fn discard(jail: &str, layout: &Layout) -> io::Result<()> {
    STORES.iter().try_for_each(|store| trash::put(layout, &layout.jail(jail).join(store)))
}

/// A jail's dumps: the files and their sizes.
#[must_use]
pub fn list(jail: &str, layout: &Layout) -> Vec<(PathBuf, u64)> {
    let mut dumps = Vec::new();
    for store in STORES {
        let Ok(files) = std::fs::read_dir(layout.jail(jail).join(store)) else { continue };
        for file in files.take(LISTED).flatten() {
            let is_file = file.metadata().ok().filter(std::fs::Metadata::is_file);
            dumps.extend(is_file.map(|meta| (file.path(), meta.len())));
        }
    }
    dumps
}
