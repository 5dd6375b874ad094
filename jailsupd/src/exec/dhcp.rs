//! The process that asks DHCP servers for addresses, and parses what they say: `dhcp-worker`, as nobody, with an empty root,
//! in namespaces of its own, without capabilities. It lives as long as jailsupd does, and jailsupd believes nothing that it
//! says.

use super::helper;
use super::net::Wire;
use super::sandbox::{self, Confinement};
use dhcp_worker::wire::{MESSAGE_MAX, Order, Report, SOCKET};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, sendmsg, socketpair, sockopt,
};
use rustix::process::{Pid, Resource, Signal, WaitId, WaitIdOptions};
use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::path::Path;
use sys::clone::Request;
use sys::exec::Vector;

/// Where the program is.
const PROGRAM: &str = "/usr/lib/warder/dhcp-worker";
/// The most that it may use: sockets, two for each link that is asking at once, and bytes of address space.
const FILES_MAX: u64 = 16_384;
const MEMORY_MAX: u64 = 256 << 20;
/// Bytes of messages that may wait at each end: those of some thousand links.
const ROOM: usize = 4 << 20;

/// The process.
#[derive(Debug)]
pub struct Worker {
    /// Readable when it has said something, or has ended.
    pub socket: OwnedFd,
    pidfd: OwnedFd,
    pid: i32,
}

/// What came of listening to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It says this.
    Report(Report),
    /// It says what makes no sense.
    Nonsense,
    /// It says nothing now.
    Nothing,
    /// It has ended.
    Gone,
}

/// What it is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Its id on the host.
    pub user: u32,
    /// An empty directory of the host to attach its root on.
    pub root_point: &'a CStr,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// When its program is not there, or no process can be made.
    pub fn start(start: Start<'_>) -> io::Result<Self> {
        let program = helper::seal(Path::new(PROGRAM))?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::open(c"/dev/null", flags, Mode::empty())?;
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        for socket in [&ours, &theirs] {
            sockopt::set_socket_send_buffer_size_force(socket, ROOM)?;
        }
        let (argv, envp) = (Vector::new(vec![c"dhcp-worker".into()]), Vector::new(Vec::new()));
        let spaces = libc::CLONE_PIDFD
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        let flags = u64::from(spaces.unsigned_abs());
        let request = Request { flags, exit_signal: libc::SIGCHLD, cgroup: None };
        let child = sys::clone::spawn(&request, &mut || {
            let _ = super::spawn::set_oom_score("0");
            let _ = sys::signal::reset();
            match confine(start, &program, &null, theirs.as_fd()) {
                Ok(()) => {
                    let _ = sys::exec::execute_fd(program.as_fd(), &argv, &envp);
                    126
                }
                Err(_) => 125,
            }
        })?;
        let pidfd = child.pidfd.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { socket: ours, pidfd, pid: child.pid })
    }

    /// Tells it something, with the sockets of a link if they go with it.
    ///
    /// # Errors
    /// `EAGAIN` when it has not listened for long, and others when it is gone.
    pub fn tell(&self, order: &Order, wire: Option<&Wire>) -> io::Result<()> {
        let text = serde_json::to_vec(order)?;
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        if let Some(wire) = wire {
            descriptors.push(wire.packets.as_fd());
            descriptors.extend(wire.shield.as_ref().map(rustix::fd::AsFd::as_fd));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&text)], &mut ancillary, flags)?;
        Ok(())
    }

    /// What it says next.
    #[must_use]
    pub fn listen(&self) -> Heard {
        let mut bytes = [0; MESSAGE_MAX];
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT)
        });
        match received {
            Ok((0, _)) => Heard::Gone,
            Ok((length, _)) => {
                let said = bytes.get(..length).map(serde_json::from_slice);
                said.and_then(Result::ok).map_or(Heard::Nonsense, Heard::Report)
            }
            Err(rustix::io::Errno::AGAIN) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }

    /// Ends it, if it has not ended, and takes note of that; what it ended by, for people.
    #[must_use]
    pub fn end(self) -> String {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let Some(pid) = Pid::from_raw(self.pid) else { return String::new() };
        let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        match rustix::io::retry_on_intr(wait) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exited with {code}"),
                (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
            },
            Ok(None) => "has ended".to_owned(),
            Err(errno) => format!("cannot be reaped: {errno}"),
        }
    }
}

/// Gives up, in the new process, all that the program is not to have, and puts its socket where it looks for it.
fn confine(
    start: Start<'_>,
    program: &OwnedFd,
    null: &OwnedFd,
    socket: BorrowedFd<'_>,
) -> Result<(), super::worker::Failure> {
    use super::worker::Doing as _;
    let placing = || "place its descriptors".to_owned();
    sandbox::enter(&Confinement {
        root_point: start.root_point,
        keep: &[program.as_fd(), null.as_fd(), socket],
        limits: &[
            (Resource::Core, 0),
            (Resource::Nproc, 0),
            (Resource::Nofile, FILES_MAX),
            (Resource::As, MEMORY_MAX),
            (Resource::Fsize, 0),
        ],
        user: Some(start.user),
        // It sets one itself, when it has begun.
        filter: None,
    })?;
    // The others are closed when it is executed.
    for number in 0..3 {
        sys::fd::place(null.as_fd(), number).doing(placing)?;
    }
    sys::fd::place(socket, SOCKET).doing(placing)
}
