//! How the intermediate process hands the jail's first process over: its id and its pidfd.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// It takes a millisecond; a process that is frozen, or gets no processor, must not hold all others.
const LIMIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

pub(super) fn send(socket: &OwnedFd, pid: i32, pidfd: &OwnedFd) -> rustix::io::Result<()> {
    let fds = [pidfd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = pid.to_ne_bytes();
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
}

/// Waits for it. `TimedOut` when nothing comes.
pub(super) fn receive(socket: &OwnedFd) -> io::Result<(i32, OwnedFd)> {
    receive_within(socket, &LIMIT)
}

fn receive_within(socket: &OwnedFd, limit: &Timespec) -> io::Result<(i32, OwnedFd)> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| poll(&mut fds, Some(limit)))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut bytes = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, flags)
    })?;
    let mut received = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            received = fds.next();
        }
    }
    let pidfd = received.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((i32::from_ne_bytes(bytes), pidfd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    const SHORT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

    fn sockets() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn process_is_handed_over() {
        let (ours, theirs) = sockets();
        send(&theirs, 42, &theirs).unwrap();
        assert_eq!(receive(&ours).unwrap().0, 42);
    }

    #[test]
    fn one_that_never_comes_ends_the_wait() {
        let (ours, _theirs) = sockets();
        let error = receive_within(&ours, &SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn one_that_is_gone_is_no_time_out() {
        let (ours, theirs) = sockets();
        drop(theirs);
        let error = receive_within(&ours, &SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
