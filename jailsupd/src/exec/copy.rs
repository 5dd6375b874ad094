//! Copying a tree of files: what is in an image into a directory of the host's data partition, owners
//! counted from 0 on both sides. Runs in a worker.
//!
//! Every step is by descriptor and follows no link. Device nodes and sockets are left out: they mean
//! nothing in a jail. So are file capabilities and all other attributes but the user's own (`user.*`).

use super::worker::{Doing as _, Failure, Progress};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;

/// Directories in directories; each level holds two descriptors.
const DEPTH_MAX: usize = 400;
const BUFFER: usize = 1 << 20;

/// Copies all that is in `from` into `to`, which is empty, and makes `to` itself like `from`.
///
/// # Errors
/// The first thing that cannot be copied; what was copied before stays.
pub(super) fn tree(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    tree_shifted(from, to, 0, progress)
}

/// The same of a tree whose owners are seen from `base` on, through the mount of a jail.
///
/// # Errors
/// As for [`tree`].
pub(super) fn tree_shifted(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    base: u32,
    progress: &mut Progress,
) -> Result<(), Failure> {
    // A mount that is attached nowhere can be looked through, but not be read itself.
    let opened = super::subvolume::open(from, c".").doing(|| "open the image".to_owned())?;
    let from = opened.as_fd();
    let mut copy = Copy { top: to, base, links: HashMap::new(), path: Vec::new(), progress };
    let stat = rustix::fs::fstat(from).doing(|| copy.doing("look at"))?;
    copy.directory(from, to)?;
    copy.finish(from, to, &stat)
}

struct Copy<'a> {
    top: BorrowedFd<'a>,
    base: u32,
    /// Where the first name of a file with several is, below the top.
    links: HashMap<u64, CString>,
    /// The names that lead to where we are.
    path: Vec<u8>,
    progress: &'a mut Progress,
}

impl Copy<'_> {
    fn doing(&self, what: &str) -> String {
        format!("{what} /{}", String::from_utf8_lossy(&self.path))
    }

    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failure> {
        if self.path.iter().filter(|byte| **byte == b'/').count() > DEPTH_MAX {
            return Err(Failure { what: self.doing("copy: too deep"), errno: 0 });
        }
        let entries = Dir::read_from(from).doing(|| self.doing("read"))?;
        for entry in entries {
            let entry = entry.doing(|| self.doing("read"))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let before = self.path.len();
            if before > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            self.entry(from, to, name)?;
            self.path.truncate(before);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<(), Failure> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
            .doing(|| self.doing("look at"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && self.link(to, name, &stat)? {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source = rustix::fs::openat(from, name, flags, Mode::empty())
                    .doing(|| self.doing("open"))?;
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))
                    .doing(|| self.doing("make"))?;
                let target = rustix::fs::openat(to, name, flags, Mode::empty())
                    .doing(|| self.doing("make"))?;
                self.directory(source.as_fd(), target.as_fd())?;
                self.finish(source.as_fd(), target.as_fd(), &stat)
            }
            FileType::RegularFile => self.file(from, to, name, &stat),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(from, name, Vec::new()).doing(|| self.doing("read"))?;
                rustix::fs::symlinkat(&target, to, name).doing(|| self.doing("make"))?;
                self.own(to, name, &stat).doing(|| self.doing("give the owner to"))
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)
                    .doing(|| self.doing("make"))?;
                self.own(to, name, &stat).doing(|| self.doing("give the owner to"))
            }
            _ => Ok(()),
        }
    }

    /// Makes a further name of a file that was copied. False when this is its first.
    fn link(&mut self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<bool, Failure> {
        match self.links.get(&stat.st_ino) {
            Some(first) => {
                rustix::fs::linkat(self.top, first, to, name, AtFlags::empty())
                    .doing(|| self.doing("link"))?;
                Ok(true)
            }
            None => {
                let path = CString::new(self.path.clone()).unwrap_or_default();
                self.links.insert(stat.st_ino, path);
                Ok(false)
            }
        }
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source =
            rustix::fs::openat(from, name, flags, Mode::empty()).doing(|| self.doing("open"))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))
            .doing(|| self.doing("make"))?;
        self.content(&source, &target, stat.st_size.unsigned_abs()).doing(|| self.doing("copy"))?;
        self.finish(source.as_fd(), target.as_fd(), stat)
    }

    /// Copies the bytes; what is all zeros stays a hole.
    fn content(&mut self, source: &OwnedFd, target: &OwnedFd, size: u64) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER).max(1))];
        let mut at = 0;
        loop {
            let length = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut buffer, at))?;
            if length == 0 {
                break;
            }
            let bytes = &buffer[..length];
            if bytes.iter().any(|byte| *byte != 0) {
                let mut written = 0;
                while written < length {
                    let offset = at + written as u64;
                    let rest = &bytes[written..];
                    written +=
                        rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, offset))?;
                }
            }
            at += length as u64;
            self.progress.add(length as u64);
        }
        rustix::fs::ftruncate(target, at)?;
        Ok(())
    }

    /// Gives a link or fifo its owner.
    fn own(&self, directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> rustix::io::Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Counted from 0. What is nobody's in the jail is root's.
    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let id = |id: u32| id.checked_sub(self.base).filter(|id| *id < 65536).unwrap_or(0);
        (Uid::from_raw(id(stat.st_uid)), Gid::from_raw(id(stat.st_gid)))
    }

    /// Owner, attributes, mode and time, in the order in which none undoes another.
    fn finish(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<(), Failure> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(to, Some(uid), Some(gid)).doing(|| self.doing("give the owner to"))?;
        attributes(from, to).doing(|| self.doing("give the attributes to"))?;
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))
            .doing(|| self.doing("give the mode to"))?;
        let time = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(to, &times).doing(|| self.doing("give the time to"))
    }
}

/// Copies the extended attributes `user.*`; a file system without any has none to copy.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        Err(Errno::NOTSUP | Errno::RANGE) => return Ok(()),
        result => result?,
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|n| n.starts_with(b"user."));
    for name in names {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::subvolume::open;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn a_copy_is_like_its_original_and_reaches_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(root.path().join("outside"), "precious").unwrap();
        fs::write(from.join("a/file"), "text").unwrap();
        fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("a/file"), from.join("a/b/same")).unwrap();
        symlink("../outside", from.join("link")).unwrap();
        symlink("..", from.join("up")).unwrap();
        let hole = fs::File::create(from.join("hole")).unwrap();
        hole.set_len(64 << 20).unwrap();
        fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();

        let (source, target) =
            (open(rustix::fs::CWD, &from).unwrap(), open(rustix::fs::CWD, &to).unwrap());
        tree(source.as_fd(), target.as_fd(), &mut Progress::silent()).unwrap();

        assert_eq!(fs::read_to_string(to.join("a/b/same")).unwrap(), "text");
        let (file, same) =
            (to.join("a/file").metadata().unwrap(), to.join("a/b/same").metadata().unwrap());
        assert_eq!(file.ino(), same.ino());
        assert_eq!(file.mode() & 0o7777, 0o4751);
        assert_eq!(to.join("a/b").metadata().unwrap().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_link(to.join("link")).unwrap().to_str(), Some("../outside"));
        let hole = to.join("hole").metadata().unwrap();
        assert_eq!((hole.len(), hole.blocks() < 100), (64 << 20, true));
        assert_eq!(fs::read_to_string(root.path().join("outside")).unwrap(), "precious");
        assert_eq!(
            file.mtime_nsec(),
            from.join("a/file").metadata().unwrap().mtime_nsec(),
            "the time is another"
        );
    }
}
