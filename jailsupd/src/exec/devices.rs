//! The device nodes that every jail gets, bound from the host's own after they were verified.

use super::Error;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CStr;
use std::io;
use sys::mount::Attributes;

/// Name in /dev, major and minor (Documentation/admin-guide/devices.txt).
const NODES: [(&str, &CStr, u32, u32); 6] = [
    ("null", c"null", 1, 3),
    ("zero", c"zero", 1, 5),
    ("full", c"full", 1, 7),
    ("random", c"random", 1, 8),
    ("urandom", c"urandom", 1, 9),
    ("tty", c"tty", 5, 0),
];

/// A device node, cloned as a mount of its own that is attached nowhere.
#[derive(Debug)]
pub struct Pinned {
    /// Its name in the jail's /dev.
    pub name: &'static CStr,
    /// The mount.
    pub mount: OwnedFd,
}

/// Opens each node, checks that it is what its name says, and clones it as a mount.
///
/// # Errors
/// When one is missing or is something else: then /dev is not what it should be, and no jail starts.
pub fn pin() -> Result<Vec<Pinned>, Error> {
    NODES
        .into_iter()
        .map(|(path, name, major, minor)| {
            let pinned = pin_one(path, major, minor);
            pinned
                .map(|mount| Pinned { name, mount })
                .map_err(|source| Error::Device { name: path, source })
        })
        .collect()
}

fn pin_one(name: &str, major: u32, minor: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&node)?;
    let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_character || stat.st_rdev != makedev(major, minor) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(&node, c"", flags)?;
    // A copy of a shared mount would take part in what happens to it on the host.
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    sys::mount::set_attributes(mount.as_fd(), false, private)?;
    Ok(mount)
}
