//! A jail's user and network namespace: made once, kept in the vault, joined at each start.

use super::Error;
use super::descriptors::{near, of_jail};
use crate::plan::IdMap;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::io;
use sys::clone::Request;

/// Both namespaces.
#[derive(Debug)]
pub struct Namespaces {
    /// The user namespace, which owns the other.
    pub user: OwnedFd,
    /// The network namespace.
    pub net: OwnedFd,
}

impl Namespaces {
    /// The same, among the descriptors that a start is done with soon.
    pub(super) fn near(&self) -> io::Result<Self> {
        Ok(Self { user: near(&self.user)?, net: near(&self.net)? })
    }
}

/// Makes both. The process that is born in them lives only until they are opened.
///
/// # Errors
/// When the kernel refuses (too many user namespaces, no memory).
pub fn create(ids: &IdMap) -> Result<Namespaces, Error> {
    make(ids).map_err(Error::Namespaces)
}

fn make(ids: &IdMap) -> io::Result<Namespaces> {
    // The child sleeps until its end of this pipe closes, so it cannot outlive us.
    let (wait, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // It shares jailsupd's descriptors, so that they need not be copied, until it closes all but one.
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_PIDFD | libc::CLONE_FILES;
    let request = Request {
        flags: u64::from(flags.unsigned_abs()),
        exit_signal: libc::SIGCHLD,
        cgroup: None,
    };
    let mut body = || {
        if sys::fd::close_all_except(&[rustix::fd::AsFd::as_fd(&wait)]).is_ok() {
            let _ = rustix::io::read(&wait, &mut [0u8; 1]);
        }
        0
    };
    let child = super::rlimit::without_limits(|| sys::clone::spawn(&request, &mut body))?;
    let opened = open(child.pid, ids);
    drop(hold);
    if let Some(pid) = Pid::from_raw(child.pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
    opened
}

fn open(pid: i32, ids: &IdMap) -> io::Result<Namespaces> {
    let process = format!("/proc/{pid}");
    std::fs::write(format!("{process}/uid_map"), ids.users())?;
    std::fs::write(format!("{process}/gid_map"), ids.groups())?;
    let namespace = |kind: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(format!("{process}/ns/{kind}"), flags, Mode::empty())
    };
    Ok(Namespaces { user: of_jail(namespace("user")?), net: of_jail(namespace("net")?) })
}
