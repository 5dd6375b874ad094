//! The hook that comes before the service: [`jail_init::hook`].

use crate::program::{Parent, Program};
use jail_init::hook::Failure;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::time::{Duration, Instant};

const SIGCHLD: i32 = 17;
const SIGKILL: i32 = 9;
const EINVAL: i32 = 22;
/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;

/// Said to the service alone: a hook that speaks by them would be taken for it.
const OF_THE_SERVICE: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What this process was told.
struct Told {
    state: OsString,
    timeout: Duration,
    hook: Vec<OsString>,
    /// How many words are before the service's own.
    before: usize,
}

impl Told {
    fn read() -> Option<Self> {
        let mut words = std::env::args_os().skip(1);
        let state = words.next()?;
        let timeout = Duration::from_millis(words.next()?.to_str()?.parse().ok()?);
        let count: usize = words.next()?.to_str()?.parse().ok()?;
        let hook: Vec<OsString> = words.by_ref().take(count).collect();
        Some(Self { state, timeout, hook, before: 4 + count })
    }
}

/// Runs the hook to its end. How many words are before the service's own.
///
/// # Errors
/// It failed.
pub(crate) fn run() -> Result<usize, Failure> {
    let told = Told::read().ok_or(Failure::NotExecuted(EINVAL))?;
    let program = Program::of(told.hook, &OF_THE_SERVICE).map_err(Failure::NotExecuted)?;
    let errno = |errno: rustix::io::Errno| Failure::NotExecuted(errno.raw_os_error());
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(errno)?;
    let state = std::os::unix::ffi::OsStrExt::as_bytes(told.state.as_os_str());
    // A pipe takes far more at once than a state is.
    rustix::io::write(&write, state).map_err(errno)?;
    drop(write);
    let (heard, failed) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(errno)?;
    let tell = |errno: i32| {
        let _ = rustix::io::write(&failed, &errno.to_ne_bytes());
    };
    let pid = program.start_from(Parent::Init, Some(&read), tell).map_err(Failure::NotExecuted)?;
    drop(failed);
    let end = attend(pid, Instant::now() + told.timeout)?;
    let mut bytes = [0; 4];
    match rustix::io::read(&heard, &mut bytes) {
        Ok(4) => Err(Failure::NotExecuted(i32::from_ne_bytes(bytes))),
        _ if end.code == CLD_EXITED && end.status == 0 => Ok(told.before),
        _ if end.code == CLD_EXITED => Err(Failure::Exited(end.status)),
        _ => Err(Failure::Killed(end.status)),
    }
}

/// Until the hook has ended, or has had its time: then everything in the jail is killed.
fn attend(pid: i32, until: Instant) -> Result<sys::wait::Exit, Failure> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&SigSet::all(), flags)
        .map_err(|errno| Failure::NotExecuted(errno as i32))?;
    loop {
        let left = timespec(until.saturating_duration_since(Instant::now()));
        let _ = poll(&mut [PollFd::new(&signals, PollFlags::IN)], Some(&left));
        while let Ok(Some(info)) = signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number != SIGCHLD {
                let _ = sys::signal::send(pid, number);
            }
        }
        while let Ok(Some(exit)) = sys::wait::reap_any() {
            if exit.pid == pid {
                return Ok(exit);
            }
        }
        if until <= Instant::now() {
            let _ = sys::signal::send(pid, SIGKILL);
            return Err(Failure::TimedOut);
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
