//! mount_setattr(2), which rustix and nix lack.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What changes on a mount: bits of `MOUNT_ATTR_*` and a propagation (`MS_PRIVATE`, ...).
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// One of `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave it.
    pub propagation: u64,
    /// The user namespace whose maps the mount's owners go through (`MOUNT_ATTR_IDMAP`).
    pub id_map: Option<BorrowedFd<'a>>,
}

/// Changes the mount behind `mount` and, with `recursive`, all below it.
///
/// # Errors
/// The errno of mount_setattr(2); `EINVAL` for a file system without id-mapped mounts.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: Attributes<'_>,
) -> io::Result<()> {
    let mut set = attributes.set;
    let mut userns_fd = 0;
    if let Some(namespace) = attributes.id_map {
        set |= libc::MOUNT_ATTR_IDMAP;
        userns_fd = u64::from(namespace.as_raw_fd().unsigned_abs());
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a valid structure of the given size, and the
    // descriptors are open as long as they are borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves this process into a copy of its mount namespace (unshare(2), `CLONE_NEWNS`).
///
/// rustix marks its `unshare` unsafe for the sake of other flags.
///
/// # Errors
/// The errno of unshare(2).
pub fn own_namespace() -> io::Result<()> {
    // SAFETY: plain integers; only the mount namespace changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
