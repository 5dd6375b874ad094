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
    // Looked at before it is really opened: the open alone would wait at a FIFO and start a device.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| open_error(path, errno))?;
    let not_erofs = Error::NotAnImage { path: path.into(), what: "an erofs file system" };
    let error = |what, errno: io::Error| Error::Image { what, path: path.into(), source: errno };
    let stat = rustix::fs::fstat(&place).map_err(|e| error("open", e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_erofs);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(by_descriptor(&place), flags, Mode::empty())
        .map_err(|errno| error("open", errno.into()))?;
    if !has_erofs_magic(&file) {
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

/// The same file again, whatever its path may lead to by now: what was checked is what is used.
fn by_descriptor(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn mount_erofs(file: &OwnedFd) -> io::Result<OwnedFd> {
    let context = fsopen(c"erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", by_descriptor(file))?;
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
            assert!(matches!(open_erofs(path), Err(Error::NotAnImage { .. })), "{path:?}");
        }
    }

    #[test]
    fn link_to_an_image_leads_to_it() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        std::fs::write(&file, [0; 2048]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();

        assert!(matches!(open_erofs(&link), Err(Error::NotAnImage { .. })));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(open_erofs(&link), Err(Error::NoImage { .. })));
    }
}
