//! Looking into a pipe: what is read there stays there, for a next jailsupd that has to know it, too.

use super::spawn::pipe;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, tee};
use std::io;

/// A pipe of our own, into which the kernel copies what is in others (tee(2)). Empty but for moments.
#[derive(Debug)]
pub struct Peek {
    read: OwnedFd,
    write: OwnedFd,
}

/// What is in a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet.
    Nothing,
    /// So many bytes of it, from its beginning.
    Bytes(usize),
    /// Nothing, and nobody can write to it any more.
    Closed,
}

impl Peek {
    /// By a pipe of the usual room.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self::by(pipe()?))
    }

    /// By an empty pipe that nobody else has. What is looked at must fit into it.
    #[must_use]
    pub fn by((read, write): (OwnedFd, OwnedFd)) -> Self {
        Self { read, write }
    }

    /// Looks for as much as fits into `bytes`.
    ///
    /// # Errors
    /// When it is no pipe.
    pub fn look(&self, pipe: impl AsFd, bytes: &mut [u8]) -> io::Result<Seen> {
        let copied = rustix::io::retry_on_intr(|| {
            tee(&pipe, &self.write, bytes.len(), SpliceFlags::NONBLOCK)
        });
        let copied = match copied {
            Ok(0) => return Ok(Seen::Closed),
            Ok(copied) => copied,
            Err(Errno::AGAIN) => return Ok(Seen::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let mut length = 0;
        while length < copied {
            let part = bytes.get_mut(length..copied).unwrap_or_default();
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.read, &mut *part))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => length += more,
            }
        }
        Ok(Seen::Bytes(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_still_there() {
        let peek = Peek::new().unwrap();
        let (read, write) = pipe().unwrap();
        let mut bytes = [0; 8];
        assert_eq!(peek.look(&read, &mut bytes).unwrap(), Seen::Nothing);
        rustix::io::write(&write, b"first").unwrap();
        rustix::io::write(&write, b"second").unwrap();
        drop(write);
        for _ in 0..2 {
            assert_eq!(peek.look(&read, &mut bytes).unwrap(), Seen::Bytes(8));
            assert_eq!(&bytes, b"firstsec");
        }
        rustix::io::read(&read, &mut [0; 64]).unwrap();
        assert_eq!(peek.look(&read, &mut bytes).unwrap(), Seen::Closed);
    }
}
