//! The sockets that this program was given.

use dhcp_worker::packet::Frame;
use dhcp_worker::wire::{MESSAGE_MAX, Order, Report, SOCKET};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg};
use std::io;
use std::mem::MaybeUninit;
use sys::packet::Head;

/// The socket to jailsupd.
pub(crate) struct Control(OwnedFd);

/// What jailsupd has said, and what came with it.
pub(crate) struct Heard {
    pub(crate) order: Order,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Control {
    /// Takes it from where jailsupd has left it.
    ///
    /// # Errors
    /// `EBADF` when nothing is there.
    pub(crate) fn take() -> io::Result<Self> {
        sys::fd::inherit(SOCKET).map(Self)
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next order. None when jailsupd is gone; `Some(None)` when there is none yet.
    pub(crate) fn receive(&self) -> Option<Option<Heard>> {
        let mut bytes = [0; MESSAGE_MAX];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
        });
        let length = match received {
            Ok(message) if message.bytes > 0 => message.bytes,
            Err(Errno::AGAIN) => return Some(None),
            _ => return None,
        };
        let descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let descriptors = descriptors.collect();
        let order = serde_json::from_slice(&bytes[..length]).ok()?;
        Some(Some(Heard { order, descriptors }))
    }

    /// Says something. None when jailsupd is gone, or has not listened for very long.
    pub(crate) fn send(&self, report: &Report) -> Option<()> {
        let text = serde_json::to_vec(report).ok()?;
        retry_on_intr(|| rustix::net::send(&self.0, &text, SendFlags::NOSIGNAL)).ok().map(drop)
    }
}

/// The sockets of a link.
pub(crate) struct Wire {
    pub(crate) packets: OwnedFd,
    /// Nothing is read from it: while it is open, the kernel does not answer servers that nobody listens.
    pub(crate) _shield: Option<OwnedFd>,
    /// The link's number in its network namespace.
    pub(crate) index: u32,
}

impl Wire {
    pub(crate) fn send(&self, frame: &Frame) -> io::Result<()> {
        let head = Head { protocol: frame.protocol, peer: frame.to };
        sys::packet::send(&self.packets, self.index, head, &frame.bytes)
    }

    pub(crate) fn receive(&self, room: &mut [u8]) -> Result<(Head, usize), Errno> {
        sys::packet::receive(&self.packets, room)
    }
}
