//! Having the disk keep what was stored: fdatasync(2) may take seconds on a slow disk, so a process of its own
//! does it, and jailsupd's loop only hears when it is done.
//!
//! The process is a copy of jailsupd that has let go of everything else, and dies with it. It allocates nothing.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use sys::clone::Request;

/// Files of one order. Where there are more, one syncfs(2) is for all.
const FILES_MAX: usize = 16;

/// Sync each file.
const FILES: u8 = 1;
/// Sync the whole file system of the one file.
const FILE_SYSTEM: u8 = 2;

/// The process.
#[derive(Debug)]
pub struct Syncer {
    socket: OwnedFd,
    pid: i32,
}

/// How an order went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not done yet.
    NotYet,
    /// The disk has everything.
    Done,
    /// It has not: errno(3).
    Failed(i32),
    /// The process is gone.
    Gone,
}

impl Syncer {
    /// Starts the process.
    ///
    /// # Errors
    /// When none can be made.
    pub fn start() -> io::Result<Self> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        let request = Request { flags: 0, exit_signal: libc::SIGCHLD, cgroup: None };
        let parent = rustix::process::getpid();
        let child = sys::clone::spawn(&request, &mut || {
            // Without this it would wait for nobody; jailsupd may be gone already.
            if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err()
                || rustix::process::getppid() != Some(parent)
            {
                return 1;
            }
            let _ = crate::exec::spawn::set_oom_score("0");
            let stderr = rustix::stdio::stderr();
            let mut keep = [stderr, theirs.as_fd()];
            keep.sort_by_key(rustix::fd::AsRawFd::as_raw_fd);
            let _ = sys::fd::close_all_except(&keep);
            let _ = sys::signal::reset();
            serve(&theirs)
        })?;
        Ok(Self { socket: ours, pid: child.pid })
    }

    /// Orders that the disk keeps what these files have by now. An answer follows; until then no other order.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn order(&self, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        match files.len() {
            0..=FILES_MAX => self.send(FILES, files),
            _ => self.send(FILE_SYSTEM, &files[..1]),
        }
    }

    /// As [`Syncer::order`] for all files of the file system that has this one.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn order_all(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.send(FILE_SYSTEM, &[file])
    }

    fn send(&self, word: u8, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(files));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&[word])], &mut ancillary, flags)?;
        Ok(())
    }

    /// The answer, if it is there.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut answer = [0; 4];
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, &mut answer, RecvFlags::DONTWAIT)
        });
        match received {
            Ok((4, _)) => match i32::from_le_bytes(answer) {
                0 => Outcome::Done,
                errno => Outcome::Failed(errno),
            },
            Err(rustix::io::Errno::AGAIN) => Outcome::NotYet,
            Ok(_) | Err(_) => Outcome::Gone,
        }
    }

    /// Lets it go: it ends by itself when it is done with what it does.
    pub fn end(self) {
        drop(self.socket);
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        if let Err(errno) = rustix::io::retry_on_intr(wait) {
            ::log::warn!("cannot reap the process that syncs the logs: {errno}");
        }
    }
}

impl AsFd for Syncer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The process: one order after the other, until jailsupd hangs up.
fn serve(socket: &OwnedFd) -> u8 {
    loop {
        let mut word = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut word)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::io::retry_on_intr(|| recvmsg(socket, &mut buffers, &mut ancillary, flags));
        match received {
            Ok(message) if message.bytes == 1 => {}
            _ => return 0,
        }
        let mut errno = 0i32;
        for message in ancillary.drain() {
            let RecvAncillaryMessage::ScmRights(files) = message else { continue };
            for file in files {
                let synced = match word[0] {
                    FILE_SYSTEM => rustix::fs::syncfs(&file),
                    _ => rustix::fs::fdatasync(&file),
                };
                if let Err(error) = synced {
                    errno = error.raw_os_error();
                }
            }
        }
        if send(socket, &errno.to_le_bytes(), SendFlags::NOSIGNAL).is_err() {
            return 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::fs::File;

    fn outcome(syncer: &Syncer) -> Outcome {
        poll(&mut [PollFd::new(syncer, PollFlags::IN)], None).unwrap();
        syncer.outcome()
    }

    #[test]
    fn what_was_ordered_is_answered() {
        let file = tempfile::tempfile().unwrap();
        let syncer = Syncer::start().unwrap();
        assert_eq!(syncer.outcome(), Outcome::NotYet);
        syncer.order(&[file.as_fd()]).unwrap();
        assert_eq!(outcome(&syncer), Outcome::Done);
        syncer.order(&[file.as_fd(); FILES_MAX + 1]).unwrap();
        assert_eq!(outcome(&syncer), Outcome::Done);
        let directory = File::open(std::env::temp_dir()).unwrap();
        syncer.order_all(directory.as_fd()).unwrap();
        assert_eq!(outcome(&syncer), Outcome::Done);
        // A pipe is nothing that a disk could keep.
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        syncer.order(&[pipe.as_fd()]).unwrap();
        assert_eq!(outcome(&syncer), Outcome::Failed(libc::EINVAL));
        syncer.end();
    }

    #[test]
    fn a_process_that_is_gone_is_noticed() {
        let syncer = Syncer::start().unwrap();
        let pid = Pid::from_raw(syncer.pid).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(outcome(&syncer), Outcome::Gone);
        syncer.end();
    }
}
