//! The brain's end of the wire.

use crate::socket::{Received, receive, send};
use crate::wire::{ExitRecord, Name, Op, Packet, Shutdown, Slot, VERSION};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::io;

/// A connection to the keeper. Each call waits for its answer, which takes microseconds: the keeper
/// does nothing that blocks.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    notices: VecDeque<Shutdown>,
}

/// What the keeper holds of one jail.
#[derive(Debug)]
pub struct Held {
    /// The jail's name.
    pub jail: String,
    /// Copies of its descriptors.
    pub fds: Vec<(Slot, OwnedFd)>,
    /// How it ended, if it has and nobody has acknowledged it.
    pub exit: Option<ExitRecord>,
}

impl Client {
    /// Takes the socket that the keeper left at [`crate::WIRE_FD`] and greets it.
    ///
    /// # Errors
    /// When there is no socket, or a keeper of another version.
    pub fn inherit() -> io::Result<Self> {
        Self::new(sys::fd::inherit(crate::WIRE_FD)?)
    }

    /// Greets the keeper at the other end of `socket`.
    ///
    /// # Errors
    /// `EPROTO` when the keeper speaks another version.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let mut client = Self { socket, notices: VecDeque::new() };
        client.ask(Packet { value: VERSION, ..Packet::new(Op::Hello) }, &[])?;
        Ok(client)
    }

    /// Has the keeper keep copies of `fds` for `jail`.
    ///
    /// # Errors
    /// `ESRCH` when a pidfd is put whose process has already ended.
    pub fn put(&mut self, jail: &str, fds: &[(Slot, BorrowedFd<'_>)]) -> io::Result<()> {
        let mut sorted: Vec<&(Slot, BorrowedFd<'_>)> = fds.iter().collect();
        sorted.sort_by_key(|(slot, _)| *slot);
        let slots = sorted.iter().fold(0, |set, (slot, _)| set | slot.bit());
        let fds: Vec<BorrowedFd<'_>> = sorted.iter().map(|(_, fd)| *fd).collect();
        let packet = Packet { jail: wire_name(jail)?, slots, ..Packet::new(Op::Put) };
        self.ask(packet, &fds).map(drop)
    }

    /// Has the keeper forget `slots` of `jail`.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn remove(&mut self, jail: &str, slots: &[Slot]) -> io::Result<()> {
        self.end(jail, slots, 0)
    }

    /// Has the keeper forget `slots` of `jail` and acknowledges the record with this inode, both at once.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn end(&mut self, jail: &str, slots: &[Slot], inode: u64) -> io::Result<()> {
        let slots = slots.iter().fold(0, |set, slot| set | slot.bit());
        let packet =
            Packet { jail: wire_name(jail)?, slots, value: inode, ..Packet::new(Op::Drop) };
        self.ask(packet, &[]).map(drop)
    }

    /// All that the keeper holds.
    ///
    /// # Errors
    /// When the keeper is gone; `EPROTO` when an answer does not have the descriptors that it names, as
    /// each would be taken for another.
    pub fn held(&mut self) -> io::Result<Vec<Held>> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let packet = Packet { value: cursor, ..Packet::new(Op::Next) };
            let (reply, fds) = self.ask(packet, &[])?;
            if reply.jail == Name::NONE {
                return Ok(all);
            }
            if Slot::in_set(reply.slots).count() != fds.len() {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
            cursor = reply.value;
            all.push(Held {
                jail: reply.jail.as_str().to_owned(),
                fds: Slot::in_set(reply.slots).zip(fds).collect(),
                exit: (reply.exit.inode != 0).then_some(reply.exit),
            });
        }
    }

    /// How `jail` ended, if it has and nobody has acknowledged it.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn exit(&mut self, jail: &str) -> io::Result<Option<ExitRecord>> {
        let (reply, _) =
            self.ask(Packet { jail: wire_name(jail)?, ..Packet::new(Op::Exit) }, &[])?;
        Ok((reply.exit.inode != 0).then_some(reply.exit))
    }

    /// Says that the record with this inode is stored.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn acknowledge(&mut self, jail: &str, inode: u64) -> io::Result<()> {
        let op = Packet::new(Op::Acknowledge);
        self.ask(Packet { jail: wire_name(jail)?, value: inode, ..op }, &[]).map(drop)
    }

    /// Asks for the host to go down. A notice follows.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn shut_down(&mut self, kind: Shutdown) -> io::Result<()> {
        self.ask(Packet { value: kind.to_value(), ..Packet::new(Op::Shutdown) }, &[]).map(drop)
    }

    /// Asks the keeper to execute its program anew. Whatever comes of it, in words, is written to `report`
    /// and then it is closed: [`crate::wire::REEXECUTED`], or why the keeper stays what it is. This
    /// connection goes on.
    ///
    /// # Errors
    /// `EBUSY` when this is under way already or the host goes down.
    pub fn reexec(&mut self, report: BorrowedFd<'_>) -> io::Result<()> {
        self.ask(Packet::new(Op::Reexec), &[report]).map(drop)
    }

    /// The next notice of shutdown, without waiting.
    ///
    /// # Errors
    /// `EPIPE` when the keeper is gone.
    pub fn notice(&mut self) -> io::Result<Option<Shutdown>> {
        if let Some(kind) = self.notices.pop_front() {
            return Ok(Some(kind));
        }
        match receive(&self.socket, RecvFlags::DONTWAIT) {
            Ok(Received::Packet(packet, _)) => Ok(Shutdown::from_value(packet.value)),
            Ok(Received::Closed) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask(
        &mut self,
        packet: Packet,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<(Packet, Vec<OwnedFd>)> {
        send(&self.socket, &packet, fds, SendFlags::empty())?;
        loop {
            match receive(&self.socket, RecvFlags::empty()) {
                Ok(Received::Packet(reply, fds)) if reply.op == Op::Reply => {
                    return match reply.errno {
                        0 => Ok((reply, fds)),
                        errno => Err(io::Error::from_raw_os_error(errno)),
                    };
                }
                Ok(Received::Packet(notice, _)) => {
                    self.notices.extend(Shutdown::from_value(notice.value));
                }
                Ok(Received::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn wire_name(jail: &str) -> io::Result<Name> {
    Name::new(jail).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn lost_descriptor_is_an_error_not_a_shift() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, keepers) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        // Both answers wait in the socket before they are asked for.
        let answer = Packet::new(Op::Reply);
        send(&keepers, &answer, &[], SendFlags::empty()).unwrap();
        let slots = Slot::Stdout.bit() | Slot::Stderr.bit();
        let held = Packet { jail: wire_name("web").unwrap(), slots, ..answer };
        send(&keepers, &held, &[keepers.as_fd()], SendFlags::empty()).unwrap();

        let error = Client::new(ours).unwrap().held().unwrap_err();

        assert_eq!(error.raw_os_error(), Some(libc::EPROTO));
    }
}
