//! From files to a stream.

use super::{DEPTH_MAX, Entry, MODE_MASK, Time};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Writes what is at `path`, a link followed there but nowhere below, and tells `problem` of what cannot be
/// read, or is neither file, directory nor link; the rest is packed. False when there was any such.
///
/// # Errors
/// When `path` itself cannot be read, or nothing can be written.
pub fn pack(
    path: &Path,
    out: &mut impl Write,
    problem: &mut dyn FnMut(String),
) -> io::Result<bool> {
    let mut packer = Packer { out, problem, whole: true };
    let top = open(CWD, path.as_os_str(), OFlags::empty())?;
    let stat = rustix::fs::fstat(&top)?;
    // How it is called is the receiver's business.
    packer.one(&top, &stat, b"it", path.as_os_str(), 0)?;
    Entry::End.write(packer.out)?;
    packer.out.flush()?;
    Ok(packer.whole)
}

struct Packer<'a, W> {
    out: &'a mut W,
    problem: &'a mut dyn FnMut(String),
    whole: bool,
}

fn open(directory: impl AsFd, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    // What would wait for another end is opened without, and found out afterwards.
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

impl<W: Write> Packer<'_, W> {
    fn complain(&mut self, shown: &OsStr, what: &str) {
        self.whole = false;
        (self.problem)(format!("{}: {what}", Path::new(shown).display()));
    }

    /// An open file or directory; `shown` is for messages.
    fn one(
        &mut self,
        fd: &OwnedFd,
        stat: &Stat,
        name: &[u8],
        shown: &OsStr,
        depth: usize,
    ) -> io::Result<()> {
        let (mode, time) = (stat.st_mode & MODE_MASK, time(stat));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                Entry::File { name: name.to_vec(), mode, time, size }.write(self.out)?;
                self.contents(fd, size, shown)
            }
            FileType::Directory if depth >= DEPTH_MAX => {
                self.complain(shown, "too many directories in each other: left out");
                Ok(())
            }
            FileType::Directory => {
                Entry::Directory { name: name.to_vec(), mode, time }.write(self.out)?;
                self.directory(fd, shown, depth)?;
                Entry::Up.write(self.out)
            }
            _ => {
                self.complain(shown, "neither a file, a directory nor a link: left out");
                Ok(())
            }
        }
    }

    fn directory(&mut self, fd: &OwnedFd, shown: &OsStr, depth: usize) -> io::Result<()> {
        let entries = match Dir::read_from(fd) {
            Ok(entries) => entries,
            Err(errno) => {
                self.complain(shown, &cannot_read(errno));
                return Ok(());
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.complain(shown, &cannot_read(errno));
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let inner = Path::new(shown).join(OsStr::from_bytes(name));
            self.below(fd.as_fd(), name, inner.as_os_str(), depth + 1)?;
        }
        Ok(())
    }

    fn below(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        shown: &OsStr,
        depth: usize,
    ) -> io::Result<()> {
        let opened = open(directory, OsStr::from_bytes(name), OFlags::NOFOLLOW);
        let opened = opened.and_then(|fd| rustix::fs::fstat(&fd).map(|stat| (fd, stat)));
        match opened {
            Ok((fd, stat)) => self.one(&fd, &stat, name, shown, depth),
            Err(Errno::LOOP) => self.link(directory, name, shown),
            // A socket.
            Err(Errno::NXIO) => {
                self.complain(shown, "neither a file, a directory nor a link: left out");
                Ok(())
            }
            Err(errno) => {
                self.complain(shown, &cannot_read(errno));
                Ok(())
            }
        }
    }

    fn link(&mut self, directory: BorrowedFd<'_>, name: &[u8], shown: &OsStr) -> io::Result<()> {
        match rustix::fs::readlinkat(directory, name, Vec::new()) {
            Ok(target) => {
                Entry::Link { name: name.to_vec(), target: target.into_bytes() }.write(self.out)
            }
            Err(errno) => {
                self.complain(shown, &cannot_read(errno));
                Ok(())
            }
        }
    }

    /// As many bytes as were promised, whatever becomes of the file meanwhile.
    fn contents(&mut self, fd: &OwnedFd, size: u64, shown: &OsStr) -> io::Result<()> {
        let mut file = File::from(fd.try_clone()?);
        let mut bytes = vec![0; 64 << 10];
        let mut left = size;
        while left > 0 {
            let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let length = match file.read(&mut bytes[..most]) {
                Ok(0) => 0,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if length == 0 {
                self.complain(shown, "it could not be read to its end: zeros stand for the rest");
                return self.zeros(left);
            }
            self.out.write_all(&bytes[..length])?;
            left -= length as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count), self.out).map(drop)
    }
}

fn cannot_read(errno: Errno) -> String {
    format!("cannot be read: {}", io::Error::from(errno))
}

fn time(stat: &Stat) -> Time {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Time { seconds: stat.st_mtime, nanoseconds }
}
