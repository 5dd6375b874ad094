//! Files of the jail's own proc and sysfs: hidden, made read-only, written. And paths of the rest of the jail that its
//! unit hides or makes read-only: these are found from the jail's root, where links are followed, but not out.
//!
//! Each of the kernel's is found below the very mount that was made for this jail, never by a path through the jail's root;
//! no link is followed and no mount crossed on the way. What is found must be of that file system, what
//! covers it must be what it was meant to be, and afterwards the path must lead to the cover. So nothing
//! that an image, a volume or another jail puts or swaps somewhere can turn a mask into a gift, or a write
//! into one elsewhere (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

use super::{KernelMounts, attach, is_directory, new_mount, pin};
use crate::exec::mounts;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::ffi::CStr;
use std::io;
use sys::mount::Attributes;

/// linux/magic.h.
const PROC: i64 = 0x9fa0;
const SYSFS: i64 = 0x6265_6572;
const TMPFS: i64 = 0x0102_1994;
/// statfs(2), `f_flags`.
const ST_RDONLY: i64 = 1;
/// Something else is there than was put there.
const SWAPPED: Errno = Errno::STALE;

/// A path in one of the two file systems, or in the rest of the jail.
struct Place<'a> {
    tree: Tree<'a>,
    /// Below the tree.
    path: &'a CStr,
}

enum Tree<'a> {
    /// One of the kernel's, and its magic number.
    Kernel(BorrowedFd<'a>, i64),
    /// The jail's root. Links in it are followed, but not out of it.
    Root(OwnedFd),
}

impl<'a> Place<'a> {
    fn of(kernel: &'a KernelMounts, path: &'a CStr) -> rustix::io::Result<Self> {
        let trees = [(c"/proc/", &kernel.proc, PROC), (c"/sys/", &kernel.sys, SYSFS)];
        for (prefix, tree, magic) in trees {
            let rest = path.to_bytes_with_nul().strip_prefix(prefix.to_bytes());
            let rest = rest.and_then(|rest| CStr::from_bytes_with_nul(rest).ok());
            if let (Some(path), Some(tree)) = (rest, tree) {
                let tree = Tree::Kernel(tree.as_fd(), magic);
                tree.check(tree.as_fd())?;
                return Ok(Self { tree, path });
            }
        }
        Ok(Self { tree: Tree::Root(pin(c"/", OFlags::DIRECTORY)?), path })
    }

    /// One that only a kernel file system can have.
    fn of_kernel(kernel: &'a KernelMounts, path: &'a CStr) -> rustix::io::Result<Self> {
        let place = Self::of(kernel, path)?;
        if matches!(place.tree, Tree::Root(_)) { Err(Errno::BADF) } else { Ok(place) }
    }

    /// What is there before anything covers it; `None` when this kernel, or image, does not have it.
    fn find(&self, flags: OFlags) -> rustix::io::Result<Option<OwnedFd>> {
        let (resolve, nofollow) = match self.tree {
            Tree::Kernel(..) => {
                let resolve = ResolveFlags::BENEATH
                    | ResolveFlags::NO_SYMLINKS
                    | ResolveFlags::NO_MAGICLINKS
                    | ResolveFlags::NO_XDEV;
                (resolve, OFlags::NOFOLLOW)
            }
            Tree::Root(_) => (IN_ROOT, OFlags::empty()),
        };
        let flags = flags | OFlags::CLOEXEC | nofollow;
        match rustix::fs::openat2(self.tree.as_fd(), self.path, flags, Mode::empty(), resolve) {
            Ok(found) => {
                self.tree.check(found.as_fd())?;
                Ok(Some(found))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Attaches `cover` there, and gives what the path leads to now.
    fn cover(&self, found: &OwnedFd, cover: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        attach(cover, found, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
        let (resolve, nofollow) = match self.tree {
            Tree::Kernel(..) => {
                (ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS, OFlags::NOFOLLOW)
            }
            Tree::Root(_) => (IN_ROOT, OFlags::empty()),
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
        rustix::fs::openat2(self.tree.as_fd(), self.path, flags, Mode::empty(), resolve)
    }
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Tree<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kernel(fd, _) => *fd,
            Self::Root(fd) => fd.as_fd(),
        }
    }

    /// Whether `fd` is of the tree's file system; of the jail's rest all is.
    fn check(&self, fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
        match self {
            Self::Kernel(_, magic) => check(fd, *magic),
            Self::Root(_) => Ok(()),
        }
    }
}

/// Whether it is of that file system.
fn check(fd: BorrowedFd<'_>, magic: i64) -> rustix::io::Result<()> {
    if rustix::fs::fstatfs(fd)?.f_type == magic { Ok(()) } else { Err(SWAPPED) }
}

/// Hides a file behind `null`, the pinned node, and a directory behind an empty read-only tmpfs. What does
/// not exist needs no hiding.
pub(super) fn mask(
    kernel: &KernelMounts,
    path: &CStr,
    null: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let place = Place::of(kernel, path)?;
    let Some(found) = place.find(OFlags::PATH)? else { return Ok(()) };
    if is_directory(&found)? {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let empty = new_mount(c"tmpfs", [(c"mode", c"0555"), (c"size", c"4k")], attributes)?;
        let seen = place.cover(&found, &empty)?;
        check(seen.as_fd(), TMPFS)
    } else {
        let copy = mounts::copy(null, c"", OpenTreeFlags::empty())?;
        let seen = place.cover(&found, &copy)?;
        is_null(&seen)
    }
}

/// Character device 1:3 (Documentation/admin-guide/devices.txt).
fn is_null(fd: &OwnedFd) -> rustix::io::Result<()> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    let is_null =
        kind == FileType::CharacterDevice && (stat.stx_rdev_major, stat.stx_rdev_minor) == (1, 3);
    if is_null { Ok(()) } else { Err(SWAPPED) }
}

/// Puts a read-only copy of a path's mount over the path itself.
pub(super) fn make_read_only(kernel: &KernelMounts, path: &CStr) -> io::Result<()> {
    let place = Place::of(kernel, path)?;
    let Some(found) = place.find(OFlags::PATH)? else { return Ok(()) };
    let copy = mounts::copy(&found, c"", OpenTreeFlags::AT_RECURSIVE)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    // Of the rest, device nodes and programs stay what they are.
    if matches!(place.tree, Tree::Kernel(..)) {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    let read_only = Attributes {
        set: attributes.bits().into(),
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    sys::mount::set_attributes(copy.as_fd(), true, read_only)?;
    let seen = place.cover(&found, &copy)?;
    place.tree.check(seen.as_fd())?;
    if rustix::fs::fstatfs(&seen)?.f_flags & ST_RDONLY == 0 {
        return Err(SWAPPED.into());
    }
    Ok(())
}

/// No user namespace can be made in the jail's own: in one, a process would have all capabilities
/// again, and with them the reach of much more of the kernel.
pub(super) fn forbid_user_namespaces(kernel: &KernelMounts) -> rustix::io::Result<()> {
    let place = Place::of_kernel(kernel, c"/proc/sys/user/max_user_namespaces")?;
    match place.find(OFlags::WRONLY)? {
        Some(file) => rustix::io::write(&file, b"0").map(drop),
        // A kernel without user namespaces' limits; the filter forbids them too.
        None => Ok(()),
    }
}

/// Sets a kernel setting of the jail's own namespaces, which their root may write.
pub(super) fn set_sysctl(
    kernel: &KernelMounts,
    path: &CStr,
    value: &CStr,
) -> rustix::io::Result<()> {
    let file = Place::of_kernel(kernel, path)?.find(OFlags::WRONLY)?.ok_or(Errno::NOENT)?;
    rustix::io::write(&file, value.to_bytes()).map(drop)
}
