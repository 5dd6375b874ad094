//! The socket on which a service says how it is (sd_notify(3)).
//!
//! jailsupd makes it, and the jail's first process binds it at [`PATH`] in the jail's own /dev before any program of
//! the jail runs ([`super::child`]): the name is the jail's, so nobody else can send anything there, and
//! nothing of the host is in the jail. The socket itself is here and in the keeper's vault; what was sent while
//! jailsupd was dead waits in it.
//!
//! A message is looked at before it is taken, so that a jailsupd that dies over it leaves it for the next one.
//! Descriptors that come with a message are never received: the kernel closes them when the message is taken,
//! which is what `BARRIER=1` asks for.

mod message;

pub use message::{DATAGRAM_MAX, Message, STATUS_MAX, Watchdog, one_line};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, socket_with,
};
use std::ffi::CStr;
use std::io;

/// Where it is in the jail: `NOTIFY_SOCKET`.
pub const PATH: &CStr = c"/dev/notify";

/// A service's socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// One that was made earlier.
    #[must_use]
    pub const fn of(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The oldest message, which stays; `None` when there is none.
    #[must_use]
    pub fn peek(&self) -> Option<Message> {
        let mut bytes = [0; DATAGRAM_MAX];
        let length = self.receive(&mut bytes, RecvFlags::PEEK)?;
        Some(Message::parse(bytes.get(..length)?))
    }

    /// Forgets the oldest message.
    pub fn take(&self) {
        let _ = self.receive(&mut [0; 0], RecvFlags::empty());
    }

    fn receive(&self, bytes: &mut [u8], flags: RecvFlags) -> Option<usize> {
        let flags = flags | RecvFlags::DONTWAIT;
        let received = rustix::io::retry_on_intr(|| recv(&self.0, &mut *bytes, flags));
        received.ok().map(|(length, _)| length)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the socket, of no name yet.
///
/// # Errors
/// When there are no more descriptors.
pub fn make() -> io::Result<OwnedFd> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let made = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    super::descriptors::above_fixed(made)
}

/// Gives it its name, in the jail. For whoever is between clone and exec: nothing is allocated.
pub(super) fn bind_in_jail(socket: BorrowedFd<'_>) -> rustix::io::Result<()> {
    bind(socket, &SocketAddrUnix::new(PATH)?)?;
    // The kernel has taken the umask off; whatever user the service is may write.
    rustix::fs::chmod(PATH, Mode::from_raw_mode(0o666))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sendto};
    use std::io::IoSlice;

    fn pair() -> (Socket, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        (Socket::of(ours), theirs)
    }

    #[test]
    fn a_message_stays_until_it_is_taken() {
        let (ours, theirs) = pair();
        assert_eq!(ours.peek(), None);
        for text in ["READY=1", "STOPPING=1"] {
            rustix::net::send(&theirs, text.as_bytes(), SendFlags::empty()).unwrap();
        }
        assert!(ours.peek().unwrap().ready && ours.peek().unwrap().ready);
        ours.take();
        assert!(ours.peek().unwrap().stopping);
        ours.take();
        assert_eq!(ours.peek(), None);
        // Also one that is longer than what is read of it, and an empty one.
        rustix::net::send(&theirs, &[b'x'; 9000], SendFlags::empty()).unwrap();
        rustix::net::send(&theirs, &[], SendFlags::empty()).unwrap();
        assert_eq!(ours.peek(), Some(Message::default()));
        ours.take();
        assert_eq!(ours.peek(), Some(Message::default()));
        ours.take();
        assert_eq!(ours.peek(), None);
    }

    #[test]
    fn descriptors_of_a_message_are_closed_when_it_is_taken_and_never_ours() {
        let (ours, theirs) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [write.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg(&theirs, &text, &mut control, SendFlags::empty()).unwrap();
        drop(write);
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        let hung_up = || rustix::io::read(&read, &mut [0u8; 1]) == Ok(0);
        assert_eq!(ours.peek(), Some(Message::default()));
        assert!(!hung_up());
        ours.take();
        assert!(hung_up());
    }

    #[test]
    fn a_bound_socket_can_be_sent_to() {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddrUnix::new(directory.path().join("notify")).unwrap();
        let ours = Socket::of(make().unwrap());
        bind(&ours, &address).unwrap();
        let theirs = make().unwrap();
        sendto(&theirs, b"READY=1", SendFlags::empty(), &address).unwrap();
        assert!(ours.peek().unwrap().ready);
    }
}
