//! Packets and descriptors over a SEQPACKET socket.

use crate::wire::{PACKET_LEN, Packet, Slot};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Most descriptors in one packet.
const FDS_MAX: usize = Slot::ALL.len();

/// Sends one packet with `fds` beside it.
pub(crate) fn send(
    socket: impl AsFd,
    packet: &Packet,
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let bytes = packet.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMSGSIZE)) }
}

/// What came in.
pub(crate) enum Received {
    /// A packet and the descriptors beside it (close-on-exec).
    Packet(Packet, Vec<OwnedFd>),
    /// The other end is gone.
    Closed,
}

/// Receives one packet. A malformed one is `EBADMSG`.
pub(crate) fn receive(socket: impl AsFd, flags: RecvFlags) -> io::Result<Received> {
    // One byte more than a packet, so that a longer message is seen as malformed.
    let mut bytes = [0; PACKET_LEN + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let result = recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags);
    let received = match result {
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
        Err(errno) => return Err(errno.into()),
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(Received::Closed);
    }
    match Packet::decode(&bytes[..received.bytes]) {
        Some(packet) => Ok(Received::Packet(packet, fds)),
        None => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}
