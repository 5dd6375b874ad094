//! Copies of mounts: by descriptor, and attached nowhere.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::path::Arg;
use std::io;
use sys::mount::Attributes;

/// A copy of what is mounted at `path` in `directory`, or with an empty path at `directory` itself; of what is mounted
/// below it, too, with `AT_RECURSIVE`. Allocates nothing for a path that ends in NUL, as it is in a jail's processes.
pub(super) fn copy(
    directory: impl AsFd,
    path: impl Arg,
    more: OpenTreeFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(directory, path, flags | more)
}

/// A copy of a directory of the host for a jail: with these attributes, the owners of its files shifted into
/// `users`, and without a part in what the host mounts later.
pub(super) fn shifted(
    directory: &OwnedFd,
    set: MountAttrFlags,
    users: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let mount = copy(directory, c"", OpenTreeFlags::empty())?;
    let attributes = Attributes {
        set: set.bits().into(),
        propagation: libc::MS_PRIVATE,
        id_map: Some(users),
        ..Attributes::default()
    };
    sys::mount::set_attributes(mount.as_fd(), false, attributes)?;
    Ok(mount)
}
