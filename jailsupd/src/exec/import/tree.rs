//! From a directory of the host to an erofs image. No link is followed.

use super::erofs::{Builder, Error, Meta, Node, ROOT};
use crate::exec::worker::{Doing as _, Failure, Progress};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Read, Seek, Write};

/// Directories in directories; each level holds two descriptors.
const DEPTH_MAX: usize = 400;

/// Writes the image of all that is in the directory.
///
/// # Errors
/// The first thing that cannot be read, or that no image can have.
pub(super) fn convert<W: Write + Seek>(
    from: &OwnedFd,
    out: W,
    size_max: u64,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let mut builder = Builder::new(out, size_max).doing(|| "write the image".to_owned())?;
    let stat = rustix::fs::fstat(from).doing(|| "look at the directory".to_owned())?;
    builder.set_meta(ROOT, meta(&stat));
    let mut walk = Walk { builder, links: HashMap::new(), path: Vec::new(), progress };
    walk.directory(from.as_fd(), ROOT)?;
    let Walk { builder, .. } = walk;
    let mut out = builder.finish().map_err(|error| failure("write the image".to_owned(), error))?;
    out.flush().doing(|| "write the image".to_owned())
}

fn failure(what: String, error: Error) -> Failure {
    match error {
        Error::Io(error) => Failure::new(what, error),
        Error::Refused(why) => Failure { what: format!("{what}: {why}"), errno: 0 },
    }
}

fn meta(stat: &Stat) -> Meta {
    Meta {
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: u64::try_from(stat.st_mtime).unwrap_or(0),
    }
}

struct Walk<'a, W> {
    builder: Builder<W>,
    /// The first name of a file with several.
    links: HashMap<(u64, u64), Node>,
    path: Vec<u8>,
    progress: &'a mut Progress,
}

impl<W: Write + Seek> Walk<'_, W> {
    fn doing(&self, what: &str) -> String {
        format!("{what} {}", String::from_utf8_lossy(&self.path))
    }

    fn directory(&mut self, from: BorrowedFd<'_>, node: Node) -> Result<(), Failure> {
        if self.path.iter().filter(|byte| **byte == b'/').count() > DEPTH_MAX {
            return Err(Failure { what: self.doing("take: too deep:"), errno: 0 });
        }
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(from).doing(|| self.doing("read"))? {
            let entry = entry.doing(|| self.doing("read"))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        // The same tree is the same image, in whatever order its file system tells the names.
        names.sort();
        for name in names {
            let before = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            self.entry(from, node, &name)?;
            self.path.truncate(before);
        }
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd<'_>, parent: Node, name: &CString) -> Result<(), Failure> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
            .doing(|| self.doing("look at"))?;
        let (kind, meta) = (FileType::from_raw_mode(stat.st_mode), meta(&stat));
        let word = name.to_bytes();
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(from, name, flags, Mode::empty())
                .doing(|| self.doing("open"))?;
            let made = self.builder.directory(parent, word, meta);
            let node = made.map_err(|error| failure(self.doing("take"), error))?;
            return self.directory(below.as_fd(), node);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&inode).copied() {
            let linked = self.builder.hard_link(parent, word, first);
            return linked.map_err(|error| failure(self.doing("take"), error));
        }
        let made = match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(from, name, flags, Mode::empty())
                    .doing(|| self.doing("open"))?;
                let mut content = Counted { file: file.into(), progress: self.progress };
                self.builder.file(parent, word, meta, &mut content)
            }
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(from, name, Vec::new()).doing(|| self.doing("read"))?;
                self.builder.link(parent, word, meta, target.to_bytes())
            }
            FileType::Fifo => self.builder.fifo(parent, word, meta),
            // Device nodes and sockets mean nothing in a jail.
            _ => return Ok(()),
        };
        let node = made.map_err(|error| failure(self.doing("take"), error))?;
        if stat.st_nlink > 1 {
            self.links.insert(inode, node);
        }
        Ok(())
    }
}

struct Counted<'a> {
    file: std::fs::File,
    progress: &'a mut Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.progress.add(length as u64);
        Ok(length)
    }
}
