//! How the intermediate process hands the jail's first process over: its id and its pidfd.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::Signal;
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

/// Waits for it. `UnexpectedEof` when the process `intermediate`, a pidfd, has ended without it; `TimedOut` when nothing
/// comes, and it was killed then: it must not go on with descriptors that are something else by now.
pub(super) fn receive(socket: &OwnedFd, intermediate: &OwnedFd) -> io::Result<(i32, OwnedFd)> {
    receive_within(socket, intermediate, &LIMIT)
}

fn receive_within(
    socket: &OwnedFd,
    intermediate: &OwnedFd,
    limit: &Timespec,
) -> io::Result<(i32, OwnedFd)> {
    let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(intermediate, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(limit)));
    if !matches!(ready, Ok(1..)) {
        let _ = rustix::process::pidfd_send_signal(intermediate, Signal::KILL);
        ready?;
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut bytes = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    // When it has ended: what it sent before that is there by now, or will never be.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, flags)
    });
    match received {
        Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::UnexpectedEof.into()),
        received => received?,
    };
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
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    const SHORT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

    fn sockets() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    /// A process that waits to be killed, and its pidfd.
    fn process() -> (Child, OwnedFd) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        (child, pidfd)
    }

    #[test]
    fn process_is_handed_over() {
        let (ours, theirs) = sockets();
        let (mut child, pidfd) = process();
        send(&theirs, 42, &theirs).unwrap();
        assert_eq!(receive(&ours, &pidfd).unwrap().0, 42);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_never_comes_ends_the_wait_and_the_process() {
        let (ours, _theirs) = sockets();
        let (mut child, pidfd) = process();
        let error = receive_within(&ours, &pidfd, &SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn end_of_the_process_ends_the_wait_though_the_socket_stays_open() {
        let (ours, _theirs) = sockets();
        let (mut child, pidfd) = process();
        child.kill().unwrap();
        let error = receive(&ours, &pidfd).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        child.wait().unwrap();
    }
}
