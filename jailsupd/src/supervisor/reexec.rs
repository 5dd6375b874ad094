//! PID 1 is executed anew: the keeper does it, a client waits to hear how it went.

use super::Supervisor;
use super::poller::Source;
use crate::control::server::ClientId;
use crate::control::wire::{Reply, WireError};
use keeper::wire::REEXECUTED;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;

/// Longest reason that is passed on.
const REASON_MAX: usize = 1 << 10;

/// One that is under way.
#[derive(Debug)]
pub(super) struct Reexec {
    pub(super) client: ClientId,
    /// Read end: what came of it.
    report: OwnedFd,
}

fn refusal(reason: impl Into<String>) -> Reply {
    Reply::refusal(&WireError::NotReexecuted { reason: reason.into() })
}

impl Supervisor {
    pub(super) fn reexec(&mut self, client: ClientId) {
        match self.begin_reexec(client) {
            Ok(reexec) => self.reexec = Some(reexec),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                self.reply(client, &refusal("that is under way, or the host goes down"));
            }
            Err(error) => self.reply(client, &refusal(format!("the keeper refuses: {error}"))),
        }
    }

    fn begin_reexec(&mut self, client: ClientId) -> io::Result<Reexec> {
        let (report, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        self.poller.watch(&report, Source::Reexec)?;
        self.keeper.reexec(theirs.as_fd())?;
        Ok(Reexec { client, report })
    }

    /// The keeper, whichever program it is now, has said it.
    pub(super) fn on_reexec(&mut self) {
        let Some(Reexec { client, report }) = self.reexec.take() else { return };
        let mut bytes = [0; REASON_MAX];
        let length = match rustix::io::read(&report, &mut bytes) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                self.reexec = Some(Reexec { client, report });
                return;
            }
            result => result.unwrap_or(0),
        };
        self.poller.forget(&report);
        let said = String::from_utf8_lossy(&bytes[..length]);
        let reply = match &*said {
            REEXECUTED => Reply::empty(),
            "" => refusal("it has not said why"),
            why => refusal(why),
        };
        if self.server.socket(client).is_some() {
            self.reply(client, &reply);
            self.answer_calls(client);
        }
    }
}
