//! The host's own programs that the keeper starts, and starts again when they end.

use crate::handover::ServiceState;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::ffi::CString;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::clone::Request;
use sys::exec::Vector;

/// Delay before the first restart; doubled at each failure in a row.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// Longest delay: a host without its brain still wants it back soon.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// A life of this length makes the next restart count as the first.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Memory that jails cannot take from the brain (`memory.min`): what it needs to stop them.
const BRAIN_MEMORY: &str = "16777216";

/// A program to keep running.
#[derive(Debug)]
pub struct Service {
    /// Names it in the log and its cgroup.
    pub name: String,
    /// Absolute path first.
    pub argv: Vec<CString>,
    /// This is jailsupd: it finds the wire at [`crate::WIRE_FD`].
    pub brain: bool,
}

/// A service and how it fares.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) pid: Option<i32>,
    /// When it was started, or is to be started.
    at: Instant,
    delay: Duration,
}

impl Running {
    pub(crate) fn new(service: Service, now: Instant) -> Self {
        Self { service, pid: None, at: now, delay: DELAY_FIRST }
    }

    /// For the program that takes over.
    pub(crate) fn state(&self, now: Instant) -> ServiceState {
        let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let age_us = match now.checked_duration_since(self.at) {
            Some(age) => us(age),
            None => -us(self.at.saturating_duration_since(now)),
        };
        let delay_us = us(self.delay).unsigned_abs();
        ServiceState { name: self.service.name.clone(), pid: self.pid, age_us, delay_us }
    }

    /// Goes on where the program before has left it.
    pub(crate) fn resume(&mut self, state: &ServiceState, now: Instant) {
        let distance = Duration::from_micros(state.age_us.unsigned_abs());
        let at =
            if state.age_us < 0 { now.checked_add(distance) } else { now.checked_sub(distance) };
        self.pid = state.pid;
        self.at = at.unwrap_or(now);
        self.delay = Duration::from_micros(state.delay_us).clamp(DELAY_FIRST, DELAY_MAX);
    }

    /// When it wants to be started; `None` while it runs.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.pid.is_none().then_some(self.at)
    }

    /// It has ended: the next start comes after the delay. One that was killed from outside has not failed,
    /// so that nothing speaks against an early next start.
    pub(crate) fn ended(&mut self, now: Instant, failed: bool) {
        if !failed || now.duration_since(self.at) >= HEALTHY_AFTER {
            self.delay = DELAY_FIRST;
        }
        self.pid = None;
        self.at = now + self.delay;
        self.delay = (self.delay * 2).min(DELAY_MAX);
    }

    /// Starts it. The brain's end of the wire is closed here; the keeper's is returned.
    pub(crate) fn start(&mut self, cgroup_root: &Path, now: Instant) -> Option<OwnedFd> {
        match spawn(&self.service, cgroup_root) {
            Ok((pid, wire)) => {
                (self.pid, self.at) = (Some(pid), now);
                wire
            }
            Err(error) => {
                log::error!("cannot start {}: {error}", self.service.name);
                self.ended(now, true);
                None
            }
        }
    }
}

fn spawn(service: &Service, cgroup_root: &Path) -> io::Result<(i32, Option<OwnedFd>)> {
    let Some(path) = service.argv.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let argv = Vector::new(service.argv.clone());
    let envp = Vector::new(vec![CString::from(c"PATH=/usr/sbin:/usr/bin")]);
    let (ours, theirs) = match service.brain {
        true => {
            let flags = SocketFlags::CLOEXEC;
            let (ours, theirs) =
                rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            (Some(ours), Some(theirs))
        }
        false => (None, None),
    };
    let cgroup = cgroup_of(service, cgroup_root);
    let request = Request {
        exit_signal: libc::SIGCHLD,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        ..Request::default()
    };
    let child = sys::clone::spawn(&request, &mut || {
        let mut first_closed = 3;
        if let Some(wire) = &theirs {
            if sys::fd::place(wire.as_fd(), crate::WIRE_FD).is_err() {
                return 126;
            }
            first_closed = crate::WIRE_FD.unsigned_abs() + 1;
        }
        let _ = sys::fd::close_from(first_closed);
        let _ = rustix::process::setsid();
        let _ = sys::signal::reset();
        sys::exec::execute(path, &argv, &envp);
        127
    })?;
    Ok((child.pid, ours))
}

/// The service's leaf cgroup beside the jails' subtree; without one (a host with cgroup v1 only) the
/// service runs in the keeper's own.
fn cgroup_of(service: &Service, root: &Path) -> Option<OwnedFd> {
    let path = match service.brain {
        true => root.join(&service.name),
        false => root.join("services").join(&service.name),
    };
    let opened = std::fs::create_dir_all(&path).and_then(|()| {
        if service.brain {
            protect(&path);
        }
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&path, flags, Mode::empty())?)
    });
    opened.map_err(|error| log::warn!("no cgroup {}: {error}", path.display())).ok()
}

/// A host without the memory controller has nothing to protect with.
fn protect(cgroup: &Path) {
    let file = cgroup.join("memory.min");
    if !file.exists() {
        return;
    }
    if let Err(error) = std::fs::write(&file, BRAIN_MEMORY) {
        log::warn!("cannot write {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_brains_memory_is_protected() {
        let root = tempfile::tempdir().unwrap();
        let memory = |path: &str| {
            let directory = root.path().join(path);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("memory.min"), "0").unwrap();
            directory.join("memory.min")
        };
        let (brains, others) = (memory("brain"), memory("services/shell"));
        for (name, brain) in [("brain", true), ("shell", false)] {
            let service = Service { name: name.into(), argv: Vec::new(), brain };
            assert!(cgroup_of(&service, root.path()).is_some());
        }
        assert_eq!(std::fs::read_to_string(brains).unwrap(), BRAIN_MEMORY);
        assert_eq!(std::fs::read_to_string(others).unwrap(), "0");
    }

    fn running(now: Instant) -> Running {
        let service = Service { name: "x".into(), argv: Vec::new(), brain: false };
        let mut running = Running::new(service, now);
        running.pid = Some(1);
        running
    }

    #[test]
    fn failures_in_a_row_are_delayed_ever_longer_up_to_the_limit() {
        let now = Instant::now();
        let mut running = running(now);
        let mut delays = Vec::new();
        let mut at = now;
        for _ in 0..8 {
            running.ended(at, true);
            let due = running.due().unwrap();
            delays.push(due.duration_since(at).as_millis());
            (running.pid, running.at, at) = (Some(1), due, due);
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn one_that_is_killed_again_and_again_comes_back_as_soon_each_time() {
        let now = Instant::now();
        let mut running = running(now);
        for _ in 0..3 {
            running.ended(now, false);
            assert_eq!(running.due(), Some(now + DELAY_FIRST));
        }
        running.ended(now, true);
        assert_eq!(running.due(), Some(now + DELAY_FIRST * 2));
    }

    #[test]
    fn who_takes_over_waits_as_long_as_was_left() {
        let (then, later) = (Instant::now(), Instant::now() + Duration::from_secs(100));
        let mut waiting = running(then);
        waiting.ended(then, true);
        waiting.ended(then, true);
        let mut taken_over = running(later);
        taken_over.resume(&waiting.state(then), later);
        assert_eq!(taken_over.pid, None);
        assert_eq!(taken_over.due(), Some(later + Duration::from_millis(200)));
        assert_eq!(taken_over.delay, waiting.delay);

        let old = running(then);
        taken_over.resume(&old.state(then + HEALTHY_AFTER), later);
        assert_eq!((taken_over.pid, taken_over.at), (Some(1), later - HEALTHY_AFTER));
    }

    #[test]
    fn a_healthy_life_starts_the_delays_anew() {
        let now = Instant::now();
        let mut running = running(now);
        running.delay = DELAY_MAX;
        let end = now + HEALTHY_AFTER;
        running.ended(end, true);
        assert_eq!(running.due(), Some(end + DELAY_FIRST));
    }
}
