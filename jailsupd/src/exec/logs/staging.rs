//! From a jail's pipe to the store so that every byte is stored once, whenever jailsupd is killed.
//!
//! ```text
//!   1  note       whose bytes come next, and the log's position C before them, in a memfd
//!   2  splice     a batch from the jail's pipe into the staging pipe
//!   3  tee, read  look at it without taking it
//!   4  store      the log's position S becomes C + the batch's length
//!   5  splice     the staging pipe into /dev/null
//! ```
//!
//! Memfd and staging pipe are in the keeper's vault. Whoever finds the staging pipe not empty has what the memfd says in
//! his hands, and stores what of it is not stored: S - C bytes are. While 5 is under way S - C is at least what is
//! left, as all was stored before it began; and while 4 is, all of the batch is still there. So each state that a
//! kill leaves is one of these, and no other.
//!
//! Bytes of the jail's pipe alone would not do: between storing and taking them out, the jail may have written
//! more of the same.

use super::Stream;
use crate::exec::descriptors::above_fixed;
use crate::exec::peek::{Peek, Seen};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;

/// Bytes of one batch.
const BATCH: usize = 64 << 10;
/// Room in the pipes: a page for each of the smallest writes.
const ROOM: usize = 1 << 20;
/// Length of the note.
const NOTE: usize = 128;

/// Whose bytes are in the staging pipe, and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The jail.
    pub jail: String,
    /// Its standard output or error.
    pub stream: Stream,
    /// The log's position before them.
    pub position: u64,
}

/// What came of looking for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes are in the staging pipe.
    Bytes(usize),
    /// The jail's pipe has none.
    Nothing,
    /// It has none, and nobody will write any.
    Closed,
}

/// The staging pipe.
#[derive(Debug)]
pub struct Staging {
    read: OwnedFd,
    write: OwnedFd,
    note: OwnedFd,
    peek: Peek,
    null: OwnedFd,
    buffer: Vec<u8>,
}

impl Staging {
    /// A new one, empty.
    ///
    /// # Errors
    /// When the kernel makes no pipe.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe()?;
        let note = rustix::fs::memfd_create(c"log-staging", MemfdFlags::CLOEXEC)?;
        Self::adopt(read, write, above_fixed(note)?)
    }

    /// One that an earlier jailsupd has made.
    ///
    /// # Errors
    /// As [`Staging::new`].
    pub fn adopt(read: OwnedFd, write: OwnedFd, note: OwnedFd) -> io::Result<Self> {
        let peek = Peek::by(pipe()?);
        let null = rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { read, write, note, peek, null: above_fixed(null)?, buffer: Vec::new() })
    }

    /// What must outlive jailsupd: both ends of the pipe, and the note.
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.read.as_fd(), self.write.as_fd(), self.note.as_fd()]
    }

    /// Takes a batch out of a jail's pipe. The staging pipe must be empty.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn fill(&mut self, batch: &Batch, pipe: impl AsFd) -> io::Result<Filled> {
        self.write_note(batch)?;
        let moved = rustix::io::retry_on_intr(|| {
            splice(&pipe, None, &self.write, None, BATCH, SpliceFlags::NONBLOCK)
        });
        match moved {
            Ok(0) => Ok(Filled::Closed),
            Ok(length) => Ok(Filled::Bytes(length)),
            Err(Errno::AGAIN) => Ok(Filled::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What is in the staging pipe; it stays there. To be given back to [`Staging::put_back`], for the next batch.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn look(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.buffer);
        let length = usize::try_from(rustix::io::ioctl_fionread(&self.read)?).unwrap_or(0);
        bytes.resize(length, 0);
        if length == 0 {
            return Ok(bytes);
        }
        // Both pipes have the same room, so that it is all.
        match self.peek.look(&self.read, &mut bytes)? {
            Seen::Bytes(seen) if seen == length => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Takes the buffer of [`Staging::look`] back.
    pub fn put_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    /// Throws away what is in the staging pipe.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn empty(&mut self) -> io::Result<()> {
        loop {
            match splice(&self.read, None, &self.null, None, ROOM, SpliceFlags::NONBLOCK) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whose bytes an earlier jailsupd has left here, and how many.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn left(&self) -> io::Result<Option<(Batch, u64)>> {
        let length = rustix::io::ioctl_fionread(&self.read)?;
        Ok(self.read_note().filter(|_| length > 0).map(|batch| (batch, length)))
    }

    /// One write of less than a page: a kill leaves the former note or this one.
    fn write_note(&self, batch: &Batch) -> io::Result<()> {
        let mut note = format!("{} {} {}\n", batch.position, batch.stream, batch.jail).into_bytes();
        note.resize(NOTE, 0);
        rustix::io::pwrite(&self.note, &note, 0)?;
        Ok(())
    }

    fn read_note(&self) -> Option<Batch> {
        let mut note = [0; NOTE];
        let length = rustix::io::pread(&self.note, &mut note, 0).ok()?;
        let text = std::str::from_utf8(note.get(..length)?).ok()?.split('\n').next()?;
        let mut words = text.splitn(3, ' ');
        let position = words.next()?.parse().ok()?;
        let stream = Stream::from_word(words.next()?)?;
        Some(Batch { position, stream, jail: words.next()?.to_owned() })
    }
}

/// How many of the bytes that were left are stored already. `stored` is the log's position.
#[must_use]
pub fn stored_of(batch: &Batch, left: u64, stored: u64) -> u64 {
    stored.saturating_sub(batch.position).min(left)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&write, ROOM)?;
    Ok((above_fixed(read)?, above_fixed(write)?))
}
