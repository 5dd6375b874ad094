//! A tmpfs in the place of sysfs, with copies of the few parts that the jail sees.
//!
//! A copy can be made of an attached mount only (open_tree(2) on Linux 6.12), so sysfs is at /sys for a
//! moment. What is found is found below its own mount, where nothing but the kernel has put anything.

use super::{KernelMounts, attach, directory, is_directory, new_mount};
use crate::plan::PartOfSys;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, open_tree, unmount,
};
use std::io;
use sys::mount::Attributes;

/// Whatever unit shows more parts than this is refused when it is read.
const PARTS_MAX: usize = 40;

pub(super) fn narrow(kernel: &mut KernelMounts, parts: &[PartOfSys]) -> io::Result<()> {
    let sysfs = kernel.sys.take().ok_or(Errno::BADF)?;
    let mut copies: [Option<OwnedFd>; PARTS_MAX] = [const { None }; PARTS_MAX];
    if parts.len() > copies.len() {
        return Err(Errno::TOOBIG.into());
    }
    for (copy, part) in copies.iter_mut().zip(parts).filter(|(_, part)| !part.is_place) {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        *copy = match open_tree(&sysfs, &part.path, flags) {
            // This kernel has not got it.
            Err(Errno::NOENT) => None,
            result => Some(result?),
        };
    }
    unmount(c"/sys", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let narrow = new_mount(c"tmpfs", [(c"mode", c"0755"), (c"size", c"64k")], attributes)?;
    let place = directory(c"/sys")?;
    attach(&narrow, &place, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
    for (copy, part) in copies.iter().zip(parts) {
        part.parents.iter().try_for_each(|parent| make_directory(&narrow, parent))?;
        match copy {
            Some(copy) if is_directory(copy)? => make_directory(&narrow, &part.path)?,
            Some(_) => make_file(&narrow, &part.path)?,
            None if part.is_place => make_directory(&narrow, &part.path)?,
            None => continue,
        }
        if let Some(copy) = copy {
            attach(copy, &narrow, &part.path, MoveMountFlags::empty())?;
        }
    }
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into();
    let read_only = Attributes { set: read_only, ..Attributes::default() };
    sys::mount::set_attributes(std::os::fd::AsFd::as_fd(&narrow), false, read_only)
}

fn make_directory(narrow: &OwnedFd, path: &std::ffi::CStr) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(narrow, path, Mode::from_raw_mode(0o755))
}

fn make_file(narrow: &OwnedFd, path: &std::ffi::CStr) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(narrow, path, flags, Mode::from_raw_mode(0o444)).map(drop)
}
