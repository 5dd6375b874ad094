//! Files that the host gives to a jail: written on the host, for each of its lives (`key`), and cloned as mounts that are
//! attached nowhere.

use super::{Error, Layout, mounts, private_directory};
use crate::plan::GivenFile;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use sys::mount::Attributes;

/// Opens them, each as a mount that nothing can be written to, in this order; none for what nobody has asked for and
/// the jail's root has not.
///
/// # Errors
/// When /run cannot be written.
pub fn open(
    key: &str,
    files: &[GivenFile],
    root: &OwnedFd,
    layout: &Layout,
) -> Result<Vec<Option<OwnedFd>>, Error> {
    let directory = directory(key, layout);
    let one = |file: &GivenFile| {
        if !file.is_asked_for && !is_there(root, file.name) {
            return Ok(None);
        }
        let own = if file.text.is_empty() { own_text(root, file.name) } else { String::new() };
        let text = if file.text.is_empty() { &own } else { &file.text };
        private_directory(&directory)
            .and_then(|()| open_one(&directory.join(file.name), text).map(Some))
            .map_err(|source| Error::Given { name: file.name, source })
    };
    files.iter().map(one).collect()
}

/// Has those that a running life was given say this from now on, where that is something else. They stay the same files: it
/// has them as mounts.
///
/// # Errors
/// When /run cannot be written.
pub fn renew(key: &str, files: &[GivenFile], layout: &Layout) -> io::Result<()> {
    let directory = directory(key, layout);
    for file in files {
        let path = directory.join(file.name);
        let Ok(former) = std::fs::read(&path) else { continue };
        let text = file.text.as_bytes();
        if former != text && !text.is_empty() {
            // In place, and cut at the end only: who reads it meanwhile does not find it empty.
            let mut opened = std::fs::OpenOptions::new().write(true).open(&path)?;
            opened.write_all(text)?;
            opened.set_len(u64::try_from(text.len()).unwrap_or(0))?;
        }
    }
    Ok(())
}

/// Bytes of a file of the root's own that are taken.
const OWN_MAX: u64 = 64 << 10;

/// What the root's own file says; nothing when it has none that can be read.
fn own_text(root: &OwnedFd, name: &str) -> String {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = Path::new("etc").join(name);
    let opened = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    let opened = opened.map(std::fs::File::from).ok();
    let file = opened.filter(|file| file.metadata().is_ok_and(|found| found.is_file()));
    let mut text = String::new();
    match file.map(|file| file.take(OWN_MAX).read_to_string(&mut text)) {
        Some(Ok(_)) => text,
        _ => String::new(),
    }
}

/// Whether the root has the file, by whatever links of its own.
fn is_there(root: &OwnedFd, name: &str) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, Path::new("etc").join(name), flags, Mode::empty(), resolve).is_ok()
}

/// Removes those of a life that is gone.
///
/// # Errors
/// When the file system refuses.
pub fn discard(key: &str, layout: &Layout) -> io::Result<()> {
    match std::fs::remove_dir_all(directory(key, layout)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn directory(key: &str, layout: &Layout) -> PathBuf {
    layout.run.join("given").join(key)
}

fn open_one(path: &PathBuf, text: &str) -> io::Result<OwnedFd> {
    // Mostly it is as it was at the last start. A changed one is another file: a jail that still runs keeps its own.
    if std::fs::read(path).ok().as_deref() != Some(text.as_bytes()) {
        let new = path.with_extension("new");
        std::fs::write(&new, text)?;
        rustix::fs::chmod(&new, Mode::from_raw_mode(0o644))?;
        std::fs::rename(&new, path)?;
    }
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mount = mounts::copy(&file, c"", OpenTreeFlags::empty())?;
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attributes = Attributes {
        set: set.bits().into(),
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    sys::mount::set_attributes(mount.as_fd(), false, attributes)?;
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_text_is_of_a_file_in_the_root_and_of_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root.path(), flags, Mode::empty()).unwrap();
        assert_eq!(own_text(&fd, "resolv.conf"), "");
        std::fs::write(etc.join("own"), "nameserver 192.0.2.53\n").unwrap();
        std::os::unix::fs::symlink("/etc/own", etc.join("resolv.conf")).unwrap();
        assert_eq!(own_text(&fd, "resolv.conf"), "nameserver 192.0.2.53\n");
        // Nobody writes to it: it is not waited for.
        let fifo = (rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("pipe"), fifo.0, fifo.1, 0).unwrap();
        assert_eq!(own_text(&fd, "pipe"), "");
    }
}
