//! A jail's image: opened, mounted read-only by descriptor, its owners shifted into the jail's ids.

use super::Error;
use crate::unit::{ImageKind, ImageSource};
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};
use std::io;
use std::path::Path;
use sys::mount::Attributes;

/// What a jail's root never has: the image's set-user-id bits and device nodes mean nothing in it.
pub(super) const ROOT_ATTRIBUTES: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NODEV.union(MountAttrFlags::MOUNT_ATTR_NOSUID);

/// Mounts the image, read-only and attached nowhere.
///
/// # Errors
/// When it is missing, or not of the kind that the unit says.
pub fn open(source: &ImageSource) -> Result<OwnedFd, Error> {
    let path = source.path.as_path();
    match source.kind {
        ImageKind::Erofs => open_erofs(path),
        ImageKind::Directory => open_directory(path),
    }
}

fn open_erofs(path: &Path) -> Result<OwnedFd, Error> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| open_error(path, errno))?;
    let not_erofs = Error::NotAnImage { path: path.into(), what: "an erofs file system" };
    let error = |what, errno: io::Error| Error::Image { what, path: path.into(), source: errno };
    let stat = rustix::fs::fstat(&file).map_err(|e| error("open", e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !has_erofs_magic(&file) {
        return Err(not_erofs);
    }
    mount_erofs(&file).map_err(|errno| match errno.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => not_erofs,
        _ => error("mount", errno),
    })
}

/// `EROFS_SUPER_MAGIC_V1` at byte 1024 (fs/erofs/erofs_fs.h). Looked at first, since the kernel's own
/// refusal is the same EINVAL as for a damaged image.
fn has_erofs_magic(file: &OwnedFd) -> bool {
    let mut magic = [0; 4];
    matches!(rustix::io::pread(file, &mut magic, 1024), Ok(4))
        && u32::from_le_bytes(magic) == 0xe0f5_e1e2
}

fn mount_erofs(file: &OwnedFd) -> io::Result<OwnedFd> {
    let context = fsopen(c"erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // By descriptor, so that what was checked is what is mounted.
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    fsconfig_set_string(context.as_fd(), c"source", source.as_str())?;
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
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&directory, c"", flags)
        .map_err(|errno| error("clone the mount of", errno.into()))?;
    let attributes = ROOT_ATTRIBUTES | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let attributes = Attributes { set: attributes.bits().into(), ..Attributes::default() };
    sys::mount::set_attributes(tree.as_fd(), false, attributes)
        .map_err(|source| error("make read-only", source))?;
    Ok(tree)
}

fn open_error(path: &Path, errno: rustix::io::Errno) -> Error {
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
        path: source.path.as_path().into(),
        source: errno,
    })
}
