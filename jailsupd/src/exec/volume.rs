//! A jail's volumes: made when they are first used, opened by descriptor, their owners shifted into the
//! jail's ids. Nothing below the top of a volume is ever changed here.

use super::account::Account;
use super::walls::{self, Wall};
use super::worker::{Doing as _, Worker, spawn};
use super::{Error, Layout, copy, mounts, private_directory, subvolume, trash};
use crate::plan::IdRange;
use crate::unit::{HostPath, Volume, VolumeName, VolumeSource};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;
use sys::mount::Attributes;

/// The volume itself, in a directory that only root can enter.
const DATA: &str = "data";
/// The same while it is made.
const NEW: &str = "data.new";

/// Which volume, and for whom.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the unit says.
    pub volume: &'a Volume,
    /// The jail's user namespace.
    pub users: BorrowedFd<'a>,
    /// The jail's root.
    pub root: &'a OwnedFd,
    /// The user that the jail's program runs as.
    pub account: &'a Account,
    /// The jail's ids.
    pub ids: IdRange,
}

/// Mounts a volume, attached nowhere.
///
/// # Errors
/// When there is no such directory of the host, or the data partition refuses.
pub fn open(request: &Request<'_>, layout: &Layout) -> Result<OwnedFd, Error> {
    let volume = request.volume;
    let (tree, what) = match &volume.source {
        VolumeSource::Named(name) => (named(name, request, layout)?, name.to_string()),
        VolumeSource::Bind(path) => (bind(path)?, path.to_string()),
        // The jail's own process mounts it, so that it counts as the jail's.
        VolumeSource::Tmpfs => {
            return Err(error("open", "tmpfs", io::ErrorKind::Unsupported.into()));
        }
    };
    let mut set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mut clear = MountAttrFlags::empty();
    if walls::is_down(Wall::NoSetuid) {
        // The data partition's own mount has it, too.
        set.remove(MountAttrFlags::MOUNT_ATTR_NOSUID);
        clear |= MountAttrFlags::MOUNT_ATTR_NOSUID;
    }
    set.set(MountAttrFlags::MOUNT_ATTR_RDONLY, volume.read_only);
    set.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, volume.noexec);
    let attributes = Attributes {
        set: set.bits().into(),
        clear: clear.bits().into(),
        propagation: libc::MS_PRIVATE,
        id_map: Some(request.users),
    };
    // All that is mounted below it, too: else a read-only volume had writable parts.
    sys::mount::set_attributes(tree.as_fd(), true, attributes)
        .map_err(|source| error("shift the owners of", &what, source))?;
    Ok(tree)
}

fn error(what: &'static str, name: &str, source: io::Error) -> Error {
    Error::Volume { what, name: name.to_owned(), source }
}

fn bind(path: &HostPath) -> Result<OwnedFd, Error> {
    let refused = |what| move |errno: Errno| error(what, path.as_str(), errno.into());
    // A link could lead out of what the host's policy allows.
    let mut resolve = ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, !walls::is_down(Wall::VolumeLinks));
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = match rustix::fs::openat2(CWD, path.as_path(), flags, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR) => {
            return Err(Error::NoVolumeSource { path: path.as_path().into() });
        }
        result => result.map_err(refused("open"))?,
    };
    let stat = rustix::fs::fstat(&place).map_err(refused("open"))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory | FileType::RegularFile => {}
        _ => return Err(Error::NoVolumeSource { path: path.as_path().into() }),
    }
    mounts::copy(&place, c"", OpenTreeFlags::AT_RECURSIVE).map_err(refused("clone the mount of"))
}

fn named(name: &VolumeName, request: &Request<'_>, layout: &Layout) -> Result<OwnedFd, Error> {
    let failed = |what| move |source: io::Error| error(what, name.as_str(), source);
    let home = layout.volume(name.as_str());
    private_directory(&home).map_err(failed("make"))?;
    let parent = subvolume::open(CWD, &home).map_err(failed("open"))?;
    let data = match subvolume::open_if_there(&parent, DATA).map_err(failed("open"))? {
        Some(data) => data,
        None => make(&parent, request, layout, &home.join(NEW)).map_err(failed("make"))?,
    };
    subvolume::limit(&data, request.volume.size_max).map_err(failed("limit"))?;
    let mount = mounts::copy(&data, c"", OpenTreeFlags::empty());
    mount.map_err(|errno| error("open", name.as_str(), errno.into()))
}

/// Starts to fill a fresh volume with what the image has where the volume is to be; none when there is
/// nothing, or the volume is there.
///
/// # Errors
/// When the data partition refuses.
pub fn fill(request: &Request<'_>, layout: &Layout) -> Result<Option<Worker>, Error> {
    let VolumeSource::Named(name) = &request.volume.source else { return Ok(None) };
    let home = layout.volume(name.as_str());
    if home.join(DATA).is_dir() {
        return Ok(None);
    }
    let failed = |source: io::Error| error("fill", name.as_str(), source);
    let Some(content) = content(request).map_err(failed)? else { return Ok(None) };
    private_directory(&home).map_err(failed)?;
    trash::put(layout, &home.join(NEW)).map_err(failed)?;
    let parent = subvolume::open(CWD, &home).map_err(failed)?;
    let data = subvolume::create(parent.as_fd(), c"data.new").map_err(failed)?;
    subvolume::limit(&data, request.volume.size_max).map_err(failed)?;
    let keep = [content.as_fd(), parent.as_fd(), data.as_fd()];
    let base = request.ids.base();
    let worker = spawn(&keep, &mut |progress| {
        copy::tree_shifted(content.as_fd(), data.as_fd(), base, progress)?;
        // All of it is on the disk before it has its name.
        rustix::fs::syncfs(&parent).doing(|| "sync the volume".to_owned())?;
        rustix::fs::renameat(&parent, NEW, &parent, DATA).doing(|| "name it".to_owned())?;
        rustix::fs::syncfs(&parent).doing(|| "sync the volume".to_owned())?;
        Ok(String::new())
    });
    worker.map(Some).map_err(failed)
}

/// The directory that the volume covers, when something is in it.
fn content(request: &Request<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = request.volume.path.as_str();
    let opened = rustix::fs::openat2(request.root, path, flags, Mode::empty(), resolve);
    let directory = match opened {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        result => result?,
    };
    for entry in Dir::read_from(&directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// Makes an empty volume under another name first, so that what is there is whole.
fn make(
    parent: &OwnedFd,
    request: &Request<'_>,
    layout: &Layout,
    new: &std::path::Path,
) -> io::Result<OwnedFd> {
    trash::put(layout, new)?;
    let data = subvolume::create(parent.as_fd(), c"data.new")?;
    let top = Top::of(request);
    rustix::fs::fchown(&data, Some(Uid::from_raw(top.uid)), Some(Gid::from_raw(top.gid)))?;
    rustix::fs::fchmod(&data, Mode::from_raw_mode(top.mode))?;
    rustix::fs::renameat(parent, NEW, parent, DATA)?;
    Ok(data)
}

/// Owner and mode of a fresh volume's top, in the jail's own numbers.
#[derive(Debug, PartialEq, Eq)]
struct Top {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Top {
    /// Those of the directory that the volume covers, so that the image's program finds what it expects.
    fn of(request: &Request<'_>) -> Self {
        let Account { uid, gid, .. } = *request.account;
        covered(request).unwrap_or(Self { uid, gid, mode: 0o755 })
    }
}

fn covered(request: &Request<'_>) -> Option<Top> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = request.volume.path.as_str();
    let place = rustix::fs::openat2(request.root, path, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&place).ok()?;
    let id = |host: u32| host.checked_sub(request.ids.base()).filter(|id| *id < 65536);
    Some(Top { uid: id(stat.st_uid)?, gid: id(stat.st_gid)?, mode: stat.st_mode & 0o7777 })
}

/// A volume of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// What it holds; nothing when nobody counts.
    pub usage: Option<subvolume::Usage>,
    /// Where it is on the host.
    pub path: PathBuf,
}

/// All volumes of the host by name.
///
/// # Errors
/// When their directory cannot be read.
pub fn list(layout: &Layout) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(layout.volumes()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut all: Vec<Kept> = names.filter_map(|name| find(layout, &name)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The volume of this name, if there is one.
#[must_use]
pub fn find(layout: &Layout, name: &str) -> Option<Kept> {
    use crate::unit::value::FromText as _;
    VolumeName::from_text(name).ok()?;
    let path = layout.volume(name).join(DATA);
    let data = subvolume::open(CWD, &path).ok()?;
    let created = std::fs::metadata(&path).and_then(|data| data.created()).ok();
    let since = created.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let created = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    Some(Kept { name: name.to_owned(), created, usage: subvolume::usage(&data), path })
}

/// Moves a volume with all that is in it into the [`trash`].
///
/// # Errors
/// When the file system refuses.
pub fn remove(layout: &Layout, name: &VolumeName) -> io::Result<()> {
    trash::put(layout, &layout.volume(name.as_str()))
}
