//! The two sides of a program with a client: the client's ends, and those that the program gets.

use super::account::Account;
use super::descriptors::above_fixed;
use super::spawn::pipe;
use crate::plan::IdMap;
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;

/// The standard streams of a program that has a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Pipes; without `stdin` standard input is /dev/null.
    Pipes {
        /// Standard input is a pipe.
        stdin: bool,
    },
    /// One terminal of the jail's own.
    Terminal(Size),
    /// None: all three are /dev/null.
    Nothing,
}

/// Of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl Size {
    /// Before anybody is at it.
    pub(super) const USUAL: Self = Self { rows: 24, columns: 80 };
}

/// The client's ends.
#[derive(Debug)]
pub struct Ends {
    /// The session's socket.
    pub session: OwnedFd,
    /// Write end of standard input.
    pub stdin: Option<OwnedFd>,
    /// Read end of standard output.
    pub stdout: Option<OwnedFd>,
    /// Read end of standard error.
    pub stderr: Option<OwnedFd>,
}

/// The program's ends.
#[derive(Debug)]
pub struct Inside {
    pub(super) session: OwnedFd,
    /// /dev/null each, where there is no pipe.
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) streams: Streams,
}

/// Makes both.
///
/// # Errors
/// When there are no more descriptors.
pub fn make(streams: Streams) -> io::Result<(Ends, Inside)> {
    let flags = SocketFlags::CLOEXEC;
    let (session, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let null = || -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        above_fixed(rustix::fs::open(c"/dev/null", flags, Mode::empty())?)
    };
    let mut ends = Ends { session, stdin: None, stdout: None, stderr: None };
    let (stdin, stdout, stderr) = (null()?, null()?, null()?);
    let session = above_fixed(theirs)?;
    let mut inside = Inside { session, stdin, stdout, stderr, streams };
    if let Streams::Pipes { stdin } = streams {
        if stdin {
            let (read, write) = pipe()?;
            (inside.stdin, ends.stdin) = (read, Some(write));
        }
        let (read, write) = pipe()?;
        (ends.stdout, inside.stdout) = (Some(read), write);
        let (read, write) = pipe()?;
        (ends.stderr, inside.stderr) = (Some(read), write);
    }
    Ok((ends, inside))
}

impl Inside {
    /// Makes the pipes the program's user's, who could not open /dev/stdout otherwise.
    pub(super) fn give_to(&self, account: &Account, ids: &IdMap) -> io::Result<()> {
        let Streams::Pipes { .. } = self.streams else { return Ok(()) };
        let owner = ids.host_user(account.uid).map(Uid::from_raw);
        let group = ids.host_group(account.gid).map(Gid::from_raw);
        for pipe in [&self.stdout, &self.stderr] {
            rustix::fs::fchown(pipe, owner, group)?;
        }
        Ok(())
    }
}
