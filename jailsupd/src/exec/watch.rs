//! Watching the unit directories: inotify(7) as a hint, never as the truth. Whatever it says, the
//! directories are read anew as a whole.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// A watch of some directories and of the drop-in directories in them.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    directories: Vec<PathBuf>,
}

impl Watch {
    /// Watches `directories`; one that does not exist is looked for at each [`Watch::renew`].
    ///
    /// # Errors
    /// When the kernel makes no more inotify instances.
    pub fn new(directories: Vec<PathBuf>) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = Self { inotify: inotify::init(flags)?, directories };
        watch.renew();
        Ok(watch)
    }

    /// Watches what has come since: a directory that was missing or replaced, new drop-in directories.
    /// Called before each reading, so that what changes after it is noticed. Watching a directory again
    /// that is watched already changes nothing.
    pub fn renew(&self) {
        for directory in &self.directories {
            // Its parent tells when it appears or is replaced.
            if let Some(parent) = directory.parent() {
                self.add(parent, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO);
            }
            self.add(directory, changes());
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().ends_with(".toml.d") {
                    self.add(&entry.path(), changes());
                }
            }
        }
    }

    /// Watches the directory of a file that a unit names.
    pub fn add_file(&self, file: &Path) {
        if let Some(directory) = file.parent() {
            self.add(directory, changes());
        }
    }

    fn add(&self, path: &Path, flags: inotify::WatchFlags) {
        let flags = flags | inotify::WatchFlags::ONLYDIR | inotify::WatchFlags::MASK_ADD;
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(errno) => ::log::warn!("cannot watch {}: {errno}", path.display()),
        }
    }

    /// Takes all that was noticed; true if there was anything.
    pub fn drain(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        let mut any = false;
        while reader.next().is_ok() {
            any = true;
        }
        any
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Everything that can change which units there are or what they say. Writing counts when the file is
/// closed, so that a half-written one is rarely read.
fn changes() -> inotify::WatchFlags {
    inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::ATTRIB
        | inotify::WatchFlags::DELETE_SELF
        | inotify::WatchFlags::MOVE_SELF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_drop_ins_and_directories_that_come_later_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("jails.d");
        let watch = Watch::new(vec![units.clone()]).unwrap();
        assert!(!watch.drain());
        std::fs::create_dir(&units).unwrap();
        assert!(watch.drain(), "the directory appeared");
        watch.renew();
        std::fs::write(units.join("a.toml"), "x").unwrap();
        assert!(watch.drain(), "a file was written");
        std::fs::create_dir(units.join("a.toml.d")).unwrap();
        assert!(watch.drain(), "a drop-in directory appeared");
        watch.renew();
        std::fs::write(units.join("a.toml.d/b.toml"), "x").unwrap();
        assert!(watch.drain(), "a drop-in was written");
        std::fs::rename(units.join("a.toml"), units.join("b.toml")).unwrap();
        assert!(watch.drain(), "a file was renamed");
        std::fs::remove_file(units.join("b.toml")).unwrap();
        assert!(watch.drain(), "a file was deleted");
        assert!(!watch.drain());
    }
}
