//! A jail's image: opened, mounted read-only by descriptor, its owners shifted into the jail's ids.

use super::store::Store;
use super::{Error, Layout, mounts};
use crate::unit::{Digest, ImageKind, ImageSource};
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use sys::mount::Attributes;

/// What a jail's root never has: the image's set-user-id bits and device nodes mean nothing in it.
pub(super) const ROOT_ATTRIBUTES: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NODEV.union(MountAttrFlags::MOUNT_ATTR_NOSUID);

/// Mounts the image, read-only and attached nowhere.
///
/// # Errors
/// When it is missing, or not of the kind that the unit says.
pub fn open(source: &ImageSource, layout: &Layout) -> Result<OwnedFd, Error> {
    let ImageSource::Path { kind, path } = source else { return open_stored(source, layout) };
    if taken_in(source).is_some() {
        return open_stored(source, layout);
    }
    match kind.format() {
        Some(format) => open_file(path.as_path(), format),
        None => open_directory(path.as_path()),
    }
}

/// The file of the host that is taken into the store before a jail is made from it: an archive, and a file system that
/// could be written to while it is mounted.
#[must_use]
pub fn taken_in(source: &ImageSource) -> Option<&Path> {
    let ImageSource::Path { kind, path } = source else { return None };
    let path = path.as_path();
    match kind {
        ImageKind::Tar => Some(path),
        ImageKind::Erofs | ImageKind::Squashfs => can_be_written(path).then_some(path),
        ImageKind::Directory => None,
    }
}

/// Whether somebody could write to a file on a disk: whether its file system is not mounted read-only (statvfs(3)). What is in
/// memory is used as it is: on a host that has nothing else, there is no store that could seal it.
fn can_be_written(path: &Path) -> bool {
    let is_in_memory = || rustix::fs::statfs(path).is_ok_and(|at| at.f_type == TMPFS_MAGIC);
    let is_writable =
        rustix::fs::statvfs(path).is_ok_and(|at| !at.f_flag.contains(StatVfsMountFlags::RDONLY));
    is_writable && !is_in_memory()
}

/// linux/magic.h.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

impl ImageKind {
    /// Of a file with a file system.
    pub(super) const fn format(self) -> Option<&'static Format> {
        match self {
            Self::Erofs => Some(&EROFS),
            Self::Squashfs => Some(&SQUASHFS),
            Self::Tar | Self::Directory => None,
        }
    }
}

/// Which image of the store is meant, if there is one.
#[must_use]
pub fn digest(source: &ImageSource, layout: &Layout) -> Option<Digest> {
    let store = Store::of(layout);
    match source {
        ImageSource::Stored { digest: Some(digest), .. } => Some(digest.clone()),
        ImageSource::Stored { name: Some(name), digest: None } => store.named(name),
        ImageSource::Stored { name: None, digest: None } => None,
        ImageSource::Path { .. } => store.archive(&archive_key(taken_in(source)?)?),
    }
}

/// The file that is mounted: of one that is taken in, the store's.
pub(super) fn file(source: &ImageSource, layout: &Layout) -> Option<PathBuf> {
    match source {
        ImageSource::Path { kind, path } if taken_in(source).is_none() => {
            kind.format().map(|_| path.as_path().to_owned())
        }
        _ => Some(Store::of(layout).path(&digest(source, layout)?)),
    }
}

/// What a file that is taken in is known by, without reading it: another file there, or other contents, have another.
#[must_use]
pub fn archive_key(path: &Path) -> Option<String> {
    use sha2::{Digest as _, Sha256};
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(path).ok()?;
    let (inode, size, modified) = (file.ino(), file.len(), (file.mtime(), file.mtime_nsec()));
    // What sets the time of modification, as `cp -p` does, cannot set this one.
    let changed = (file.ctime(), file.ctime_nsec());
    let text = format!("{} {inode} {size} {modified:?} {changed:?}", path.display());
    Some(super::store::hex(&Sha256::digest(text)))
}

fn open_stored(source: &ImageSource, layout: &Layout) -> Result<OwnedFd, Error> {
    let store = Store::of(layout);
    let missing = || Error::NoStoredImage { what: source.to_string() };
    let digest = &digest(source, layout).ok_or_else(missing)?;
    let (file, kind) = store.open(digest)?;
    let format = kind.format().unwrap_or(&EROFS);
    (format.mount)(&file).map_err(|source| Error::Image {
        what: "mount",
        path: store.path(digest),
        source,
    })
}

/// What an image is, in words: another text means that it is another image.
#[must_use]
pub fn identity(source: &ImageSource, layout: &Layout) -> String {
    use std::os::unix::fs::MetadataExt as _;
    if let Some(digest) = digest(source, layout) {
        return match source {
            ImageSource::Stored { name: Some(name), .. } => format!("image:{name} ({digest})"),
            _ => format!("{source} ({digest})"),
        };
    }
    let ImageSource::Path { kind: ImageKind::Erofs | ImageKind::Squashfs, path } = source else {
        return source.to_string();
    };
    match std::fs::metadata(path.as_path()) {
        Ok(file) => {
            let (seconds, nanos) = (file.mtime(), file.mtime_nsec());
            format!("{source} ({} bytes of {seconds}.{nanos:09})", file.len())
        }
        Err(_) => source.to_string(),
    }
}

/// A file system in a file.
pub(super) struct Format {
    /// After "is not".
    pub(super) what: &'static str,
    /// Where its magic number is, and the number.
    pub(super) magic: (u64, u32),
    mount: fn(&OwnedFd) -> io::Result<OwnedFd>,
}

/// `EROFS_SUPER_MAGIC_V1` at byte 1024 (fs/erofs/erofs_fs.h).
pub(super) const EROFS: Format =
    Format { what: "an erofs file system", magic: (1024, 0xe0f5_e1e2), mount: mount_erofs };
/// `SQUASHFS_MAGIC` (fs/squashfs/squashfs_fs.h).
pub(super) const SQUASHFS: Format =
    Format { what: "a squashfs file system", magic: (0, 0x7371_7368), mount: mount_squashfs };

fn open_file(path: &Path, format: &Format) -> Result<OwnedFd, Error> {
    // Looked at before it is really opened: the open alone would wait at a FIFO and start a device.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| open_error(path, errno))?;
    let not_one = Error::NotAnImage { path: path.into(), what: format.what };
    let error = |what, errno: io::Error| Error::Image { what, path: path.into(), source: errno };
    let stat = rustix::fs::fstat(&place).map_err(|e| error("open", e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_one);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(by_descriptor(&place), flags, Mode::empty())
        .map_err(|errno| error("open", errno.into()))?;
    if !has_magic(&file, format.magic) {
        return Err(not_one);
    }
    (format.mount)(&file).map_err(|errno| match errno.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => not_one,
        _ => error("mount", errno),
    })
}

/// Looked at first, since the kernel's own refusal is the same EINVAL as for a damaged image.
pub(super) fn has_magic(file: &OwnedFd, (at, number): (u64, u32)) -> bool {
    let mut magic = [0; 4];
    matches!(rustix::io::pread(file, &mut magic, at), Ok(4)) && u32::from_le_bytes(magic) == number
}

/// The same file again, whatever its path may lead to by now: what was checked is what is used.
pub(super) fn by_descriptor(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn mount_erofs(file: &OwnedFd) -> io::Result<OwnedFd> {
    mount_from(c"erofs", &by_descriptor(file))
}

/// squashfs wants a block device: a loop device, which goes with the last mount of it.
fn mount_squashfs(file: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open(c"/dev/loop-control", flags, Mode::empty())?;
    for _ in 0..LOOP_TRIES {
        let path = format!("/dev/loop{}", sys::loopback::free(control.as_fd())?);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let device = rustix::fs::open(&path, flags, Mode::empty())?;
        match sys::loopback::configure(device.as_fd(), file.as_fd()) {
            // Somebody else was faster.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            result => {
                result?;
                return mount_from(c"squashfs", &path);
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

const LOOP_TRIES: u32 = 16;

fn mount_from(file_system: &CStr, source: &str) -> io::Result<OwnedFd> {
    let context = fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", source)?;
    fsconfig_set_flag(context.as_fd(), c"ro")?;
    fsconfig_create(context.as_fd())?;
    let attributes = ROOT_ATTRIBUTES | MountAttrFlags::MOUNT_ATTR_RDONLY;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOTDIR => Error::NotAnImage { path: path.into(), what: "a directory" },
        errno => open_error(path, errno),
    })?;
    let error = |what, source| Error::Image { what, path: path.into(), source };
    let tree = mounts::copy(&directory, c"", OpenTreeFlags::empty())
        .map_err(|errno| error("clone the mount of", errno.into()))?;
    let attributes = ROOT_ATTRIBUTES | MountAttrFlags::MOUNT_ATTR_RDONLY;
    // Private: else what is mounted below it on the host later would appear in the jail.
    let attributes = Attributes {
        set: attributes.bits().into(),
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    sys::mount::set_attributes(tree.as_fd(), false, attributes)
        .map_err(|source| error("make read-only", source))?;
    Ok(tree)
}

pub(super) fn open_error(path: &Path, errno: rustix::io::Errno) -> Error {
    match errno {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => {
            Error::NoImage { path: path.into() }
        }
        errno => Error::Image { what: "open", path: path.into(), source: errno.into() },
    }
}

/// Maps the owners of the image's files through the jail's user namespace: never a chown.
///
/// # Errors
/// `EINVAL` for a file system without id-mapped mounts.
pub fn shift_ids(
    image: &OwnedFd,
    users: BorrowedFd<'_>,
    source: &ImageSource,
) -> Result<(), Error> {
    let attributes = Attributes { id_map: Some(users), ..Attributes::default() };
    sys::mount::set_attributes(image.as_fd(), false, attributes).map_err(|errno| Error::Image {
        what: "shift the owners of",
        path: source.to_string().into(),
        source: errno,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mknodat};

    #[test]
    fn what_is_not_a_file_is_refused_without_being_opened() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("fifo");
        // An open for reading would wait for a writer for ever.
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();

        for path in [fifo.as_path(), root.path(), Path::new("/dev/zero")] {
            assert!(matches!(open_file(path, &EROFS), Err(Error::NotAnImage { .. })), "{path:?}");
        }
    }

    #[test]
    fn link_to_an_image_leads_to_it() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        std::fs::write(&file, [0; 2048]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();

        assert!(matches!(open_file(&link, &EROFS), Err(Error::NotAnImage { .. })));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(open_file(&link, &EROFS), Err(Error::NoImage { .. })));
    }
}
