//! The writable layer of an ephemeral jail: an overlay of a fresh directory above the image.

use super::image::ROOT_ATTRIBUTES;
use super::{Error, Layout, private_directory, subvolume, trash};
use crate::plan::IdRange;
use crate::unit::{Backing, Bytes};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use std::io;
use std::path::{Path, PathBuf};

/// What holds the writes, and for whom.
#[derive(Debug)]
pub struct Request<'a> {
    /// Disk or memory.
    pub backing: Backing,
    /// The most that it may hold.
    pub size_max: Option<Bytes>,
    /// The jail's name.
    pub jail: &'a str,
    /// The jail's ids.
    pub ids: IdRange,
}

/// Makes the overlay above `image`, attached nowhere.
///
/// On Linux 6.12 overlayfs takes its layers by path only, so they are attached for a moment below the
/// run directory, in jailsupd's own mount namespace.
///
/// # Errors
/// When the layer cannot be made on the data partition.
pub fn mount(image: &OwnedFd, request: &Request<'_>, layout: &Layout) -> Result<OwnedFd, Error> {
    let lower = Attached::new(image, layout.run.join("lower"))
        .map_err(|source| error("attach the image below", &layout.run, source))?;
    let (layer, _tmpfs) = match request.backing {
        Backing::Disk => (fresh_directory(layout, request.jail, request.size_max)?, None),
        Backing::Memory => {
            let tmpfs = memory(layout, request.size_max)
                .map_err(|source| error("make in memory", &layout.run, source))?;
            (tmpfs.path.clone(), Some(tmpfs))
        }
    };
    build(&lower.path, &layer, request.ids).map_err(|source| error("mount", &layer, source))
}

/// Moves what the jail has written on disk into the [`trash`].
///
/// # Errors
/// When the file system refuses; the next start tries again.
pub fn discard(layout: &Layout, jail: &str) -> Result<(), Error> {
    let path = layout.jail(jail).join("ephemeral");
    trash::put(layout, &path).map_err(|source| error("throw away", &path, source))
}

fn error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Overlay { what, path: path.into(), source }
}

fn fresh_directory(layout: &Layout, jail: &str, size: Option<Bytes>) -> Result<PathBuf, Error> {
    discard(layout, jail)?;
    let path = layout.jail(jail).join("ephemeral");
    let made = match size {
        // What can be limited is a subvolume.
        Some(_) => limited_directory(&layout.jail(jail), size),
        None => private_directory(&path),
    };
    made.map_err(|source| error("make", &path, source))?;
    Ok(path)
}

fn limited_directory(home: &Path, size: Option<Bytes>) -> io::Result<()> {
    private_directory(home)?;
    let made = subvolume::create(subvolume::open(CWD, home)?.as_fd(), c"ephemeral")?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o700))?;
    subvolume::limit(&made, size)
}

fn memory(layout: &Layout, size: Option<Bytes>) -> io::Result<Attached> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"mode", c"0700")?;
    if let Some(size) = size {
        fsconfig_set_string(context.as_fd(), c"size", size.get().to_string())?;
    }
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, ROOT_ATTRIBUTES)?;
    Attached::new(&mount, layout.run.join("layer"))
}

fn build(lower: &Path, layer: &Path, ids: IdRange) -> io::Result<OwnedFd> {
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    std::fs::create_dir(&upper)?;
    std::fs::create_dir(&work)?;
    // The upper directory's mode and owner are those of the jail's `/`.
    rustix::fs::chmod(&upper, Mode::from_raw_mode(0o755))?;
    let (uid, gid) = (Uid::from_raw(ids.host_id(0)), Gid::from_raw(ids.host_id(0)));
    rustix::fs::chown(&upper, Some(uid), Some(gid))?;
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"lowerdir+", lower)?;
    fsconfig_set_string(context.as_fd(), c"upperdir", &upper)?;
    fsconfig_set_string(context.as_fd(), c"workdir", &work)?;
    // A changed owner or mode copies no data.
    fsconfig_set_string(context.as_fd(), c"metacopy", c"on")?;
    // Nothing of it outlives the jail, so nothing has to reach the disk; a used layer is never
    // mounted again.
    fsconfig_set_flag(context.as_fd(), c"volatile")?;
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, ROOT_ATTRIBUTES)?)
}

/// A mount that is attached at a path for as long as this lives.
pub(super) struct Attached {
    path: PathBuf,
}

impl Attached {
    pub(super) fn new(mount: &OwnedFd, path: PathBuf) -> io::Result<Self> {
        private_directory(&path)?;
        move_mount(mount, c"", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(Self { path })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Err(errno) = unmount(&self.path, UnmountFlags::DETACH) {
            ::log::warn!("cannot detach {}: {errno}", self.path.display());
        }
    }
}
