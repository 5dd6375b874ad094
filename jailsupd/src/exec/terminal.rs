//! A terminal of the jail's own: a pair from its own devpts, so that nothing of the host's is in the
//! program's hands, and the jail's numbers and owners hold. In the jail's processes: nothing here allocates.

use super::ends::Size;
use super::spawn::ABOVE_FIXED;
use jail_init::session::Message;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, makedev};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::io::IoSlice;
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
