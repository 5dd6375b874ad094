//! A terminal of the jail's own: a pair from its own devpts, so that nothing of the host's is in the
//! program's hands, and the jail's numbers and owners hold. Opening one is done in the jail's processes:
//! nothing of that allocates. [`Terminal`] is jailsupd's side of a service's.

use super::descriptors::ABOVE_FIXED;
use super::ends::Size;
use jail_init::session::Message;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, makedev};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// linux/magic.h, `DEVPTS_SUPER_MAGIC`.
const DEVPTS: i64 = 0x1cd1;

/// Opens a pair and hands the master over to whoever has the other end of `session`; the peer, above the
/// numbers that are given to programs.
pub(super) fn open_for(session: BorrowedFd<'_>, size: Size) -> rustix::io::Result<OwnedFd> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (master, peer) = open(size)?;
    hand_over(session, &master)?;
    rustix::io::fcntl_dupfd_cloexec(&peer, ABOVE_FIXED)
}

/// Opens a pair as the calling user: master and peer. The peer is asked of the master (`TIOCGPTPEER`), as
/// a path might lead to another terminal; and the master's own path may hold no link and must be what its
/// name says, as the jail's root can rearrange its /dev.
fn open(size: Winsize) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let master = rustix::fs::openat2(CWD, c"/dev/pts/ptmx", flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&master)?;
    let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let on_devpts = rustix::fs::fstatfs(&master)?.f_type == DEVPTS;
    if !is_character || !on_devpts || stat.st_rdev != makedev(5, 2) {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    rustix::termios::tcsetwinsize(&peer, size)?;
    Ok((master, peer))
}

/// Hands the master over to the other end of `socket`.
fn hand_over(socket: BorrowedFd<'_>, master: &OwnedFd) -> rustix::io::Result<()> {
    let fds = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = Message::Terminal.encode();
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
}

/// Bytes that are kept of what a terminal has shown: two screens full.
const RECENT_MAX: usize = 4 << 10;

/// jailsupd's side of the terminal of a service.
///
/// Its master comes as a packet of the jail's first process, and is only ever looked at (`MSG_PEEK`), which
/// gives a copy of it. So the packet stays in the socket, of which the keeper has a copy too; and however
/// often jailsupd is replaced, and whenever, the terminal is never without a master.
#[derive(Debug)]
pub struct Terminal {
    /// Where the packet with the master is.
    pub socket: OwnedFd,
    /// Never blocks.
    pub master: Option<OwnedFd>,
    /// The last of what was read from it.
    recent: Vec<u8>,
}

/// What a look into the socket has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The master.
    Found,
    /// Nothing so far.
    NotYet,
    /// The jail's process has ended before it had a terminal.
    Never,
}

impl Terminal {
    /// One that may arrive at `socket`.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, master: None, recent: Vec::new() }
    }

    /// Keeps what was read from the master, for those who come later.
    pub fn remember(&mut self, bytes: &[u8]) {
        let start = (self.recent.len() + bytes.len()).saturating_sub(RECENT_MAX);
        self.recent.drain(..start.min(self.recent.len()));
        let left = RECENT_MAX.saturating_sub(self.recent.len());
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(left)..]);
    }

    /// The last of what the terminal has shown: what is on its screen, as a rule.
    #[must_use]
    pub fn recent(&self) -> &[u8] {
        &self.recent
    }

    /// Looks whether it has arrived.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn look(&mut self) -> io::Result<Look> {
        let mut bytes = [0; Message::LEN];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let seen = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut buffers, &mut ancillary, flags)
        });
        match seen {
            Ok(seen) if seen.bytes == 0 => return Ok(Look::Never),
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(Look::NotYet),
            Err(Errno::CONNRESET) => return Ok(Look::Never),
            Err(errno) => return Err(errno.into()),
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                self.master = fds.next();
            }
        }
        match &self.master {
            Some(master) => rustix::io::ioctl_fionbio(master, true)?,
            // Only what runs out of descriptors loses one on the way.
            None => return Err(Errno::MFILE.into()),
        }
        Ok(Look::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn sockets() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    fn master() -> OwnedFd {
        rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap()
    }

    #[test]
    fn master_is_found_as_often_as_it_is_looked_for_also_when_its_sender_is_gone() {
        let (ours, theirs) = sockets();
        let keeper = ours.try_clone().unwrap();
        let mut first = Terminal::new(ours);
        assert_eq!(first.look().unwrap(), Look::NotYet);
        hand_over(theirs.as_fd(), &master()).unwrap();
        drop(theirs);
        assert_eq!(first.look().unwrap(), Look::Found);
        drop(first);
        let mut second = Terminal::new(keeper);
        assert_eq!(second.look().unwrap(), Look::Found);
        assert!(rustix::termios::isatty(second.master.unwrap()));
    }

    #[test]
    fn last_of_what_was_shown_is_kept() {
        let mut terminal = Terminal::new(sockets().0);
        terminal.remember(b"abc");
        terminal.remember(b"def");
        assert_eq!(terminal.recent(), b"abcdef");
        let long: Vec<u8> = (0..RECENT_MAX - 2).map(|_| b'x').collect();
        terminal.remember(&long);
        assert_eq!(terminal.recent().len(), RECENT_MAX);
        assert!(terminal.recent().starts_with(b"efx"));
        terminal.remember(&[&long[..], b"12345"].concat());
        assert_eq!(terminal.recent().len(), RECENT_MAX);
        assert!(terminal.recent().ends_with(b"x12345"));
    }

    #[test]
    fn sender_that_ends_without_one_is_no_terminal() {
        let (ours, theirs) = sockets();
        drop(theirs);
        assert_eq!(Terminal::new(ours).look().unwrap(), Look::Never);
    }
}
