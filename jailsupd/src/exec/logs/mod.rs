//! What jails print, on the data partition.
//!
//! ```text
//!   jail's pipe ──splice──► staging pipe ──tee──► store (NAME.log, NAME.log.1) ──► cursors ──► clients
//!                           (in the vault)         │ then staging is emptied
//!                                                  └ fdatasync by a process of its own
//! ```
//!
//! `staging` moves bytes so that each is stored once, whenever jailsupd is killed; `store` keeps them as
//! lines of text (`record`), bounded, each with a checksum; `cursor` reads them while they grow; `sync` has the
//! disk keep them. docs/logs.md tells people what they find there.

mod cursor;
mod record;
mod rotation;
mod staging;
mod stamp;
mod store;
mod sync;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Seen};
pub use record::LINE_MAX;
pub use staging::{Batch, Filled, Staging, stored_of};
pub use store::Log;
pub use sync::{Outcome, Syncer};

use rustix::fd::OwnedFd;
use std::fmt;

/// Bytes read from one terminal at a turn, so that a jail that prints without end leaves time for others.
const TURN_MAX: usize = 256 << 10;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// jailsupd itself.
    Warder,
    /// The kernel's log, with what the host's own programs say there.
    Kernel,
}

impl Stream {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Stdout, "stdout"),
        (Self::Stderr, "stderr"),
        (Self::Warder, "warder"),
        (Self::Kernel, "kernel"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(stream, _)| *stream == self).map_or("", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, other)| *other == word).map(|(stream, _)| stream)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read, in milliseconds since 1970.
    pub time: u64,
    /// Where from.
    pub stream: Stream,
    /// Without its line feed.
    pub text: String,
}

/// Whether a pipe has more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// Nothing for now, or more at the next turn.
    Open,
    /// All its writers are gone.
    Closed,
}

/// Reads what there is, a turn's worth at most.
pub fn read_some(pipe: &OwnedFd, bytes: &mut Vec<u8>) -> Pipe {
    let mut buffer = vec![0; 64 << 10];
    let mut taken = 0;
    while taken < TURN_MAX {
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => return Pipe::Closed,
            Ok(length) => {
                bytes.extend_from_slice(&buffer[..length]);
                taken += length;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Pipe::Open,
            Err(_) => return Pipe::Closed,
        }
    }
    Pipe::Open
}

/// How many lines end in these bytes.
#[must_use]
pub fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
