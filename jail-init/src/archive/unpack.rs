//! From a stream to files.

use super::{DEPTH_MAX, Entry, Time, malformed};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Which symbolic links are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// All: the place is a jail, and where they lead is in it.
    All,
    /// Those that lead to something else in the copy. For a host: whoever follows one that leads out
    /// later on would be where the stream's sender wants him to be.
    Inside,
}

/// A name beside the file's own until it is complete.
const PART: &[u8] = b".jailctl-cp.part";

/// Unpacks to `path`: into it under `name` when it is a directory, else in its place. Tells `problem` of what
/// cannot be made; false when there was any such.
///
/// # Errors
/// When `path` or the stream cannot be used.
pub fn unpack(
    from: &mut impl Read,
    path: &Path,
    name: &OsStr,
    links: Links,
    problem: &mut dyn FnMut(String),
) -> io::Result<bool> {
    let (directory, name) = place(path, name)?;
    let top = Level { fd: directory, name: Vec::new(), mode: 0, time: Time::default() };
    let mut unpacker = Unpacker { levels: vec![top], links, problem, whole: true };
    // The top entry's name is ours to give.
    let first = match Entry::read(from)? {
        Entry::Directory { mode, time, .. } => Entry::Directory { name, mode, time },
        Entry::File { mode, time, size, .. } => Entry::File { name, mode, time, size },
        _ => return Err(malformed("it begins with neither a file nor a directory")),
    };
    unpacker.entry(first, from)?;
    while unpacker.levels.len() > 1 {
        let entry = Entry::read(from)?;
        unpacker.entry(entry, from)?;
    }
    match Entry::read(from)? {
        Entry::End => Ok(unpacker.whole),
        _ => Err(malformed("it goes on after its end")),
    }
}

/// The directory to make it in, and what to call it there. The user's own path: its links are followed.
fn place(path: &Path, name: &OsStr) -> io::Result<(OwnedFd, Vec<u8>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(directory) => Ok((directory, super::checked(name.as_bytes().to_vec())?)),
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
            let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
            Ok((directory, name.as_bytes().to_vec()))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// A directory that is being filled.
struct Level {
    fd: OwnedFd,
    name: Vec<u8>,
    mode: u32,
    time: Time,
}

struct Unpacker<'a> {
    levels: Vec<Level>,
    links: Links,
    problem: &'a mut dyn FnMut(String),
    whole: bool,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: Entry, from: &mut impl Read) -> io::Result<()> {
        match entry {
            Entry::Directory { .. } if self.levels.len() > DEPTH_MAX + 1 => {
                Err(malformed("too many directories in each other"))
            }
            Entry::Directory { name, mode, time } => {
                // Without it there is no place for all that follows: not to be gone on with.
                let fd = self.directory(&name).map_err(|error| self.wrong(&name, &error))?;
                self.levels.push(Level { fd, name, mode, time });
                Ok(())
            }
            Entry::File { name, mode, time, size } => self.file(&name, (mode, time), size, from),
            Entry::Link { name, target } => {
                if self.links == Links::Inside && !self.is_inside(&target) {
                    let target = Path::new(OsStr::from_bytes(&target)).display().to_string();
                    self.complain(
                        &name,
                        &format!("it links to {target}, out of the copy: left out"),
                    );
                    return Ok(());
                }
                if let Err(error) = self.link(&name, &target) {
                    self.complain(&name, &error.to_string());
                }
                Ok(())
            }
            Entry::Up => {
                self.leave();
                Ok(())
            }
            Entry::End => Err(malformed("it ends in a directory")),
        }
    }

    fn here(&self) -> io::Result<&OwnedFd> {
        self.levels.last().map(|level| &level.fd).ok_or_else(|| malformed("it leaves its top"))
    }

    /// Made, or one that is there already; never what a link leads to.
    fn directory(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let here = self.here()?;
        match rustix::fs::mkdirat(here, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(here, name, flags, Mode::empty())?)
    }

    /// Its mode and time come when nothing more is put into it.
    fn leave(&mut self) {
        if self.levels.len() < 2 {
            return;
        }
        let Some(level) = self.levels.pop() else { return };
        let done = rustix::fs::fchmod(&level.fd, Mode::from_raw_mode(level.mode))
            .and_then(|()| set_time(&level.fd, level.time));
        if let Err(errno) = done {
            self.complain(&level.name, &io::Error::from(errno).to_string());
        }
    }

    /// Written beside its place and moved there when it is whole: a link, a device or another's file that
    /// is there is replaced, and never written to.
    fn file(
        &mut self,
        name: &[u8],
        (mode, time): (u32, Time),
        size: u64,
        from: &mut impl Read,
    ) -> io::Result<()> {
        let mut contents = from.take(size);
        let made = self.make_part().and_then(|file| {
            copy(&mut contents, &file, size)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            set_time(&file, time)?;
            let here = self.here()?;
            Ok(rustix::fs::renameat(here, PART, here, name)?)
        });
        if let Err(error) = made {
            let _ = self.here().map(|here| rustix::fs::unlinkat(here, PART, AtFlags::empty()));
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            self.complain(name, &error.to_string());
            // What follows is still of use.
            io::copy(&mut contents, &mut io::sink())?;
            if contents.limit() > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn make_part(&self) -> io::Result<File> {
        let here = self.here()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(here, PART, flags, Mode::RUSR | Mode::WUSR);
        let made = match make() {
            // What an earlier copy has left.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(here, PART, AtFlags::empty())?;
                make()
            }
            result => result,
        };
        Ok(File::from(made?))
    }

    fn link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let here = self.here()?;
        let target = OsStr::from_bytes(target);
        match rustix::fs::symlinkat(target, here.as_fd(), name) {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(here, name, AtFlags::empty())?;
                Ok(rustix::fs::symlinkat(target, here.as_fd(), name)?)
            }
            result => Ok(result?),
        }
    }

    /// Whether a link made here stays below the top entry, read as text. Another link on its way leads
    /// inside as well; but from there a `..` may lead out, so those come first or not at all.
    fn is_inside(&self, target: &[u8]) -> bool {
        if target.starts_with(b"/") {
            return false;
        }
        let parts = target.split(|byte| *byte == b'/');
        let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
        let ups = parts.clone().take_while(|part| *part == b"..").count();
        // The top entry itself may be named, but not what it is in.
        let is_below = self.levels.len().checked_sub(2).is_some_and(|depth| ups <= depth);
        is_below && !parts.skip(ups).any(|part| part == b"..")
    }

    fn shown(&self, name: &[u8]) -> String {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_slice());
        let path: Vec<&[u8]> = names.chain([name]).collect();
        Path::new(OsStr::from_bytes(&path.join(&b'/'))).display().to_string()
    }

    fn complain(&mut self, name: &[u8], what: &str) {
        self.whole = false;
        let shown = self.shown(name);
        (self.problem)(format!("{shown}: {what}"));
    }

    fn wrong(&self, name: &[u8], error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown(name)))
    }
}

/// All of it or an error: `UnexpectedEof` when the stream has no more.
fn copy(from: &mut impl Read, mut to: &File, size: u64) -> io::Result<()> {
    let copied = io::copy(from, &mut to)?;
    to.flush()?;
    if copied < size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn set_time(fd: impl rustix::fd::AsFd, time: Time) -> rustix::io::Result<()> {
    let last_modification = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    rustix::fs::futimens(fd, &Timestamps { last_access, last_modification })
}
