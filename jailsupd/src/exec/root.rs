//! The roots of persistent jails: a copy of the image in a subvolume of the jail's own, made before its
//! first start and kept until someone removes it. Owners on disk are counted from 0 and shifted by the mount.

use super::image::{self, ROOT_ATTRIBUTES};
use super::worker::{Doing as _, Worker, spawn};
use super::{Error, Layout, copy, mounts, private_directory, subvolume, trash};
use crate::unit::{Bytes, ImageSource, JailName};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use std::io;
use std::path::PathBuf;

const ROOT: &str = "root";
/// The same while it is made.
const NEW: &str = "root.new";
/// What it was made from, in words.
const ORIGIN: &str = "root.image";

/// Which root.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The jail's name.
    pub jail: &'a str,
    /// What it is made from.
    pub source: &'a ImageSource,
    /// The most that it may hold.
    pub size_max: Option<Bytes>,
}

/// Starts to make the root; none when it is there.
///
/// # Errors
/// When there is no such image, or the data partition refuses.
pub fn make(request: &Request<'_>, layout: &Layout) -> Result<Option<Worker>, Error> {
    let home = layout.jail(request.jail);
    if home.join(ROOT).is_dir() {
        return Ok(None);
    }
    let image = image::open(request.source, layout)?;
    let failed = |what| move |source: io::Error| Error::Root { what, source };
    private_directory(&home).map_err(failed("make"))?;
    trash::put(layout, &home.join(NEW)).map_err(failed("make"))?;
    let parent = subvolume::open(CWD, &home).map_err(failed("make"))?;
    let new = subvolume::create(parent.as_fd(), c"root.new").map_err(failed("make"))?;
    subvolume::limit(&new, request.size_max).map_err(failed("limit"))?;
    let origin = image::identity(request.source, layout);
    let keep = [image.as_fd(), parent.as_fd(), new.as_fd()];
    let worker = spawn(&keep, &mut |progress| {
        copy::tree(image.as_fd(), new.as_fd(), progress)?;
        let (path, new_path) = (home.join(ORIGIN), home.join("root.image.new"));
        std::fs::write(&new_path, &origin).doing(|| "write root.image".to_owned())?;
        std::fs::rename(&new_path, &path).doing(|| "write root.image".to_owned())?;
        // All of it is on the disk before it has its name.
        rustix::fs::syncfs(&parent).doing(|| "sync the root".to_owned())?;
        rustix::fs::renameat(&parent, NEW, &parent, ROOT).doing(|| "name the root".to_owned())?;
        rustix::fs::syncfs(&parent).doing(|| "sync the root".to_owned())?;
        Ok(String::new())
    });
    worker.map(Some).map_err(failed("make"))
}

/// Mounts the root, attached nowhere, with its owners shifted.
///
/// # Errors
/// When it is not there, or the data partition refuses.
pub fn open(
    request: &Request<'_>,
    users: BorrowedFd<'_>,
    layout: &Layout,
) -> Result<OwnedFd, Error> {
    let failed = |what| move |source: io::Error| Error::Root { what, source };
    let root =
        subvolume::open(CWD, layout.jail(request.jail).join(ROOT)).map_err(failed("open"))?;
    subvolume::limit(&root, request.size_max).map_err(failed("limit"))?;
    mounts::shifted(&root, ROOT_ATTRIBUTES, users).map_err(failed("mount"))
}

/// A root that the host keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The jail's name.
    pub jail: String,
    /// What it was made from, in words.
    pub origin: String,
    /// What it holds; nothing when nobody counts.
    pub usage: Option<subvolume::Usage>,
    /// Where it is on the host.
    pub path: PathBuf,
}

/// All roots of the host by name.
///
/// # Errors
/// When the jails' directory cannot be read.
pub fn list(layout: &Layout) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(layout.jail("")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut all: Vec<Kept> = names.filter_map(|name| find(layout, &name)).collect();
    all.sort_by(|a, b| a.jail.cmp(&b.jail));
    Ok(all)
}

/// The root of this jail, if it has one.
#[must_use]
pub fn find(layout: &Layout, jail: &str) -> Option<Kept> {
    JailName::new(jail).ok()?;
    let path = layout.jail(jail).join(ROOT);
    let root = subvolume::open(CWD, &path).ok()?;
    let origin = std::fs::read_to_string(layout.jail(jail).join(ORIGIN)).unwrap_or_default();
    Some(Kept { jail: jail.to_owned(), origin, usage: subvolume::usage(&root), path })
}

/// Moves the root of this jail into the [`trash`]: its next start makes another.
///
/// # Errors
/// When the file system refuses.
pub fn remove(layout: &Layout, jail: &JailName) -> io::Result<()> {
    let home = layout.jail(jail.as_str());
    trash::put(layout, &home.join(ROOT))?;
    match std::fs::remove_file(home.join(ORIGIN)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nothing else is in it when the jail is gone, too.
    let _ = std::fs::remove_dir(home);
    Ok(())
}

/// Moves what was not made whole into the [`trash`].
///
/// # Errors
/// When the file system refuses.
pub fn discard_unfinished(layout: &Layout, jail: &str) -> io::Result<()> {
    trash::put(layout, &layout.jail(jail).join(NEW))
}
