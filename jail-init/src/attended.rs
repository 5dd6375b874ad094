//! A program with a client: signals come from it too, its hang-up ends the program, and it is told how the
//! program ended.

use crate::program::{Parent, Program};
use crate::report;
use jail_init::session::{GRACE_MS, Message};
use jail_init::{Stage, StartError};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::wait::Exit;

const SIGCHLD: i32 = 17;

/// Runs the program that this process was told to run; its end, `None` when there was none. A jail's PID 1
/// has a pipe for jailsupd, which hears of a failed start too, and whose closing tells it that there was
/// none; `ended` hears of the end before the client does.
pub(crate) fn run(
    session: &OwnedFd,
    start_error: Option<OwnedFd>,
    ended: impl FnOnce(&Exit),
) -> Option<Exit> {
    let failed = |errno: i32| {
        let error = StartError { stage: Stage::Exec, errno };
        if let Some(pipe) = &start_error {
            let _ = rustix::io::write(pipe, &error.encode());
        }
        let _ = rustix::net::send(session, &Message::Failed(error).encode(), SendFlags::NOSIGNAL);
    };
    let parent = if start_error.is_some() { Parent::Init } else { Parent::Helper };
    let started = Program::told(1).and_then(|program| program.start(parent, failed));
    // The streams are the program's alone: the client sees their ends when it is done with them.
    for number in 0..3 {
        drop(sys::fd::inherit(number));
    }
    let pid = started.inspect_err(|errno| failed(*errno)).ok()?;
    drop(start_error);
    let exit = attend(pid, session)?;
    ended(&exit);
    let message = Message::Ended(report(&exit)).encode();
    let _ = rustix::net::send(session, &message, SendFlags::NOSIGNAL);
    Some(exit)
}

/// Until the program has ended.
fn attend(pid: i32, session: &OwnedFd) -> Option<Exit> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&SigSet::all(), flags).ok()?;
    let group = Pid::from_raw(pid)?;
    let mut kill_at: Option<Instant> = None;
    loop {
        let left = kill_at.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
        if kill_at.is_none() {
            fds.push(PollFd::new(session, PollFlags::IN));
        }
        let _ = poll(&mut fds, left.as_ref());
        let heard = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if heard && !hear(session, group) {
            // It hung up. What the program does not take for its end is its end after a while.
            signal(group, Signal::HUP);
            signal(group, Signal::CONT);
            kill_at = Some(Instant::now() + Duration::from_millis(GRACE_MS));
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            signal(group, Signal::KILL);
            kill_at = Some(Instant::now() + Duration::from_millis(GRACE_MS));
        }
        while let Ok(Some(info)) = signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number != SIGCHLD {
                let _ = sys::signal::send(pid, number);
            }
        }
        while let Ok(Some(exit)) = sys::wait::reap_any() {
            if exit.pid == pid {
                return Some(exit);
            }
        }
    }
}

/// Does what the client says. False when it hung up, or says what nobody understands.
fn hear(session: &OwnedFd, group: Pid) -> bool {
    let mut bytes = [0; Message::LEN];
    match rustix::net::recv(session, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((length, _)) => match bytes.get(..length).and_then(Message::decode) {
            Some(Message::Signal(number)) => {
                if let Some(named) = Signal::from_named_raw(number) {
                    signal(group, named);
                }
                true
            }
            _ => false,
        },
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}

fn signal(group: Pid, signal: Signal) {
    // The program may be on its way to a group of its own, or gone.
    if kill_process_group(group, signal).is_err() {
        let _ = rustix::process::kill_process(group, signal);
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
