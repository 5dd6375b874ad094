//! Bytes on their way to and from a program.

use std::io;

use crate::keys::Detach;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// Bytes taken at once.
const BLOCK: usize = 64 << 10;

/// What a reader of a terminal takes for the end of input, at the beginning of a line: control-D.
const END_OF_INPUT: u8 = 4;

/// From the program to us.
pub(super) struct Output {
    from: OwnedFd,
    to: BorrowedFd<'static>,
    open: bool,
    /// Nobody takes what we show.
    refused: bool,
}

impl Output {
    pub(super) fn new(from: OwnedFd, to: BorrowedFd<'static>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&from, true)?;
        Ok(Self { from, to, open: true, refused: false })
    }

    pub(super) fn from(&self) -> &OwnedFd {
        &self.from
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Passes on what is there. Nobody who takes it is the same to the program as a closed pipe.
    pub(super) fn pass(&mut self) {
        let mut bytes = [0; BLOCK];
        self.open = match rustix::io::read(&self.from, &mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.refused = !write_all(self.to, &bytes[..length]);
                !self.refused
            }
            // A terminal without processes says EIO.
            Err(errno) => matches!(errno, Errno::AGAIN | Errno::INTR),
        };
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            // Our own output may be set so by whoever shares it.
            Err(Errno::AGAIN) => {
                let mut fds = [rustix::event::PollFd::new(&to, rustix::event::PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, None);
            }
            Err(_) => return false,
        }
    }
    true
}

/// From us to the program.
pub(super) struct Input {
    /// Our own input is wanted, and not at its end.
    open: bool,
    pending: Vec<u8>,
    sink: Option<OwnedFd>,
    terminal: bool,
    /// Which of our keys are not the program's.
    detach: Option<Detach>,
}

impl Input {
    pub(super) fn new(sink: Option<OwnedFd>, wanted: bool) -> io::Result<Self> {
        if let Some(sink) = &sink {
            rustix::io::ioctl_fionbio(sink, true)?;
        }
        let pending = Vec::new();
        Ok(Self { open: wanted, pending, sink, terminal: false, detach: None })
    }

    /// Ours until the keys come that detach; its end is nobody's.
    pub(super) fn of_console(sink: OwnedFd, detach: Detach) -> io::Result<Self> {
        let input = Self::new(Some(sink), true)?;
        Ok(Self { detach: Some(detach), ..input })
    }

    /// Whether the keys that detach have come.
    pub(super) fn is_detached(&self) -> bool {
        self.detach.as_ref().is_some_and(Detach::is_complete)
    }

    /// The same keys for another terminal.
    pub(super) fn replace(&mut self, sink: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&sink, true)?;
        self.sink = Some(sink);
        Ok(())
    }

    pub(super) fn connect_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        self.sink = Some(master);
        self.terminal = true;
        Ok(())
    }

    pub(super) fn wants_more(&self) -> bool {
        self.open && self.pending.is_empty() && self.sink.is_some()
    }

    pub(super) fn has_more_for(&self) -> Option<&OwnedFd> {
        self.sink.as_ref().filter(|_| !self.pending.is_empty())
    }

    /// Takes what we can read.
    pub(super) fn fill(&mut self) {
        let mut bytes = vec![0; BLOCK];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(length) if length > 0 => {
                bytes.truncate(length);
                self.pending = match &mut self.detach {
                    Some(detach) => detach.pass(&bytes),
                    None => bytes,
                };
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The end, or what is as good as it.
            _ => {
                self.open = false;
                if self.terminal {
                    self.pending = vec![END_OF_INPUT];
                } else if self.detach.is_none() {
                    self.sink = None;
                }
            }
        }
    }

    /// Writes what the program takes.
    pub(super) fn drain(&mut self) {
        let Some(sink) = self.sink.as_ref().filter(|_| !self.pending.is_empty()) else { return };
        match rustix::io::write(sink, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It reads no more.
            Err(_) => {
                (self.open, self.sink) = (false, None);
                self.pending.clear();
            }
        }
    }
}
