//! Sources of a shutdown request beside signals and the brain.

use crate::wire::Shutdown;
use rustix::event::PollFlags;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::io;

/// A descriptor that asks for a shutdown when it becomes readable, such as the power button.
#[derive(Debug)]
pub struct Trigger {
    /// Polled for input.
    pub fd: OwnedFd,
    /// Consumes the input and says whether it was a request. An error means that none will come again.
    pub read: fn(BorrowedFd<'_>) -> io::Result<Option<Shutdown>>,
}

impl Trigger {
    /// What `events` of poll(2) mean. After an error it must not be polled again: it would be ready for
    /// ever.
    pub(crate) fn take(&self, events: PollFlags) -> io::Result<Option<Shutdown>> {
        if events.contains(PollFlags::IN) {
            if let Some(kind) = (self.read)(self.fd.as_fd())? {
                return Ok(Some(kind));
            }
        }
        if events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(read: fn(BorrowedFd<'_>) -> io::Result<Option<Shutdown>>) -> Trigger {
        Trigger { fd: rustix::pipe::pipe().unwrap().0, read }
    }

    #[test]
    fn device_that_went_away_is_an_error() {
        let quiet = trigger(|_| Ok(None));
        for events in [PollFlags::HUP, PollFlags::ERR, PollFlags::NVAL] {
            assert!(quiet.take(events).is_err());
            assert!(quiet.take(events | PollFlags::IN).is_err());
        }
        assert_eq!(quiet.take(PollFlags::IN).unwrap(), None);
        let broken = trigger(|_| Err(io::Error::from_raw_os_error(libc::ENODEV)));
        assert!(broken.take(PollFlags::IN).is_err());
    }

    #[test]
    fn last_request_of_a_device_counts() {
        let pressed = trigger(|_| Ok(Some(Shutdown::PowerOff)));
        let events = PollFlags::IN | PollFlags::HUP;
        assert_eq!(pressed.take(events).unwrap(), Some(Shutdown::PowerOff));
    }
}
