//! The keeper's loop.

mod anew;

use crate::reap::reap;
use crate::reexec::Attempt;
use crate::service::{Running, Service};
use crate::socket::{Received, receive, send};
use crate::trigger::Trigger;
use crate::vault::{Tracked, Vault};
use crate::wire::{Name, Op, Packet, Shutdown, Slot, VERSION};
pub use anew::resume;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::wait::Exit;

/// How long the brain may take to stop all jails before they are killed. Longer than any sensible
/// stop time-out of a unit.
const STOP_DEADLINE: Duration = Duration::from_secs(90);
/// How long killed processes may take to go; one in uninterruptible sleep must not hold the host.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Open files of the keeper and of its services.
const FILES_MAX: u64 = 1 << 20;

/// What PID 1, or the `keeper` program, sets up.
#[derive(Debug)]
pub struct Config {
    /// What to keep running; one of them is the brain.
    pub services: Vec<Service>,
    /// Further sources of a shutdown request.
    pub triggers: Vec<Trigger>,
    /// The cgroup v2 directory under which `jails/`, the brain's and the services' cgroups are.
    pub cgroup_root: PathBuf,
    /// The file of this very program, or of what has taken its place: executed when that is asked for.
    pub program: PathBuf,
    /// The program's own arguments, which it then gets again.
    pub arguments: Vec<CString>,
}

/// Runs the keeper. Returns only after a shutdown was asked for (SIGTERM, SIGUSR2, SIGPWR: power
/// off; SIGINT: reboot; a trigger; the brain), when all jails and services are gone.
#[must_use]
pub fn run(config: Config) -> Shutdown {
    sys::signal::heed_all();
    raise_file_limit();
    Keeper::new(config).run()
}

struct Keeper {
    services: Vec<Running>,
    /// `None` for one whose device went away.
    triggers: Vec<Option<Trigger>>,
    cgroup_root: PathBuf,
    program: PathBuf,
    arguments: Vec<CString>,
    signals: Option<SignalFd>,
    brain: Option<OwnedFd>,
    vault: Vault,
    going_down: Option<GoingDown>,
    /// A re-exec that is under way.
    attempt: Option<Attempt>,
}

struct GoingDown {
    kind: Shutdown,
    deadline: Instant,
    brain_done: bool,
}

/// What the loop wakes up for, in the order of its poll set.
enum Source {
    Signals,
    Brain,
    Trigger(usize, PollFlags),
}

impl Keeper {
    fn new(config: Config) -> Self {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGPWR,
            Signal::SIGHUP,
        ] {
            set.add(signal);
        }
        let signals = set
            .thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map_err(|error| log::error!("no signalfd, children are reaped late: {error}"))
            .ok();
        let now = Instant::now();
        Self {
            services: config.services.into_iter().map(|s| Running::new(s, now)).collect(),
            triggers: config.triggers.into_iter().map(Some).collect(),
            cgroup_root: config.cgroup_root,
            program: config.program,
            arguments: config.arguments,
            signals,
            brain: None,
            vault: Vault::default(),
            going_down: None,
            attempt: None,
        }
    }

    fn run(mut self) -> Shutdown {
        loop {
            self.turn();
            if let Some(kind) = self.finished() {
                self.kill_all();
                return kind;
            }
        }
    }

    /// One turn: start what is due, wait, handle what came.
    fn turn(&mut self) {
        self.start_due();
        for source in self.wait() {
            match source {
                Source::Signals => self.on_signals(),
                Source::Brain => self.on_brain(),
                Source::Trigger(index, events) => self.on_trigger(index, events),
            }
        }
        self.reap();
        self.follow_attempt();
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let stopped = self.going_down.as_ref().is_some_and(|down| down.brain_done);
        for running in &mut self.services {
            let wanted = running.service.brain || self.going_down.is_none();
            if stopped || !wanted || running.due().is_none_or(|due| due > now) {
                continue;
            }
            let wire = running.start(&self.cgroup_root, now);
            if running.service.brain {
                self.brain = wire;
            }
        }
    }

    fn wait(&self) -> Vec<Source> {
        let now = Instant::now();
        let wakes = self.services.iter().filter_map(Running::due);
        let deadline = self.going_down.as_ref().map(|down| down.deadline);
        let self_test = self.attempt.as_ref().map(Attempt::deadline);
        // Without a signalfd, look for ended children every second.
        let fallback = self.signals.is_none().then(|| now + Duration::from_secs(1));
        let next = wakes.chain(deadline).chain(self_test).chain(fallback).min();
        let timeout = next.map(|at| timespec(at.saturating_duration_since(now)));
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        if let Some(signals) = &self.signals {
            sources.push(Source::Signals);
            fds.push(PollFd::new(signals, PollFlags::IN));
        }
        if let Some(brain) = &self.brain {
            sources.push(Source::Brain);
            fds.push(PollFd::new(brain, PollFlags::IN));
        }
        for (index, trigger) in self.triggers.iter().enumerate() {
            let Some(trigger) = trigger else { continue };
            sources.push(Source::Trigger(index, PollFlags::empty()));
            fds.push(PollFd::new(&trigger.fd, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => log::error!("poll: {error}"),
        }
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        let named = ready.map(|(source, fd)| match source {
            Source::Trigger(index, _) => Source::Trigger(index, fd.revents()),
            Source::Signals | Source::Brain => source,
        });
        named.collect()
    }

    fn on_signals(&mut self) {
        while let Some(info) = self.signals.as_ref().and_then(|s| s.read_signal().ok().flatten()) {
            match Signal::try_from(i32::try_from(info.ssi_signo).unwrap_or(0)) {
                Ok(Signal::SIGTERM | Signal::SIGUSR2 | Signal::SIGPWR) => {
                    self.go_down(Shutdown::PowerOff, "signal");
                }
                Ok(Signal::SIGINT) => self.go_down(Shutdown::Reboot, "signal"),
                // SIGCHLD: the turn ends with reaping. The others have no meaning here.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn on_trigger(&mut self, index: usize, events: PollFlags) {
        let Some(place) = self.triggers.get_mut(index) else { return };
        match place.as_ref().map(|trigger| trigger.take(events)) {
            Some(Ok(Some(kind))) => self.go_down(kind, "power button"),
            Some(Err(error)) => {
                log::warn!("a power button has gone: {error}");
                *place = None;
            }
            Some(Ok(None)) | None => {}
        }
    }

    fn on_brain(&mut self) {
        let Some(socket) = self.brain.take() else { return };
        match receive(&socket, RecvFlags::DONTWAIT) {
            Ok(Received::Packet(request, fds)) => {
                self.reap();
                self.answer(&socket, &request, fds);
            }
            Ok(Received::Closed) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => log::warn!("wire: {error}"),
        }
        self.brain = Some(socket);
    }

    fn answer(&mut self, socket: &OwnedFd, request: &Packet, fds: Vec<OwnedFd>) {
        let mut reply = Packet::new(Op::Reply);
        let mut sent = Vec::new();
        let mut going_down = self.going_down.as_ref().map(|down| down.kind);
        match request.op {
            Op::Hello if request.value == VERSION => {}
            Op::Hello => reply.errno = libc::EPROTO,
            Op::Put => reply.errno = self.put(request.jail, request.slots, fds),
            Op::Drop => self.vault.end(request.jail, request.slots, request.value),
            Op::Next => (reply, sent) = self.vault.next(request.value),
            Op::Exit => reply.exit = self.vault.exit(request.jail).unwrap_or_default(),
            Op::Acknowledge => self.vault.acknowledge(request.jail, request.value),
            Op::Shutdown => {
                going_down = None;
                match Shutdown::from_value(request.value) {
                    Some(kind) => log::info!("shutdown asked for over the wire: {kind:?}"),
                    None => reply.errno = libc::EINVAL,
                }
            }
            Op::Reexec => reply.errno = self.begin_reexec(fds),
            Op::Reply | Op::ShutdownNotice => reply.errno = libc::EINVAL,
        }
        // A brain that does not read its answers is dead or broken: never wait for it.
        if let Err(error) = send(socket, &reply, &sent, SendFlags::DONTWAIT) {
            log::warn!("wire: answer lost: {error}");
        }
        drop(sent);
        match (request.op, going_down) {
            (Op::Hello, Some(kind)) => notify(socket, kind),
            (Op::Shutdown, _) => {
                if let Some(kind) = Shutdown::from_value(request.value) {
                    notify(socket, kind);
                    self.go_down(kind, "jailsupd");
                }
            }
            _ => {}
        }
    }

    /// Keeps what came; 0 or an errno.
    fn put(&mut self, jail: Name, slots: u32, fds: Vec<OwnedFd>) -> i32 {
        if jail == Name::NONE || slots.count_ones() as usize != fds.len() {
            return libc::EINVAL;
        }
        let at = Slot::in_set(slots).position(|slot| slot == Slot::Process);
        let process = match at.and_then(|index| fds.get(index)).map(tracked) {
            None => None,
            Some(Ok(process)) => Some(process),
            Some(Err(error)) => return error.raw_os_error().unwrap_or(libc::ESRCH),
        };
        self.vault.put(jail, slots, fds, process);
        0
    }

    fn reap(&mut self) {
        let (services, vault) = (&mut self.services, &mut self.vault);
        let (going_down, attempt) = (&mut self.going_down, &mut self.attempt);
        reap(vault, |exit| {
            if attempt.as_mut().is_some_and(|attempt| attempt.ended(exit)) {
                return;
            }
            let Some(running) = services.iter_mut().find(|s| s.pid == Some(exit.pid)) else {
                return;
            };
            running.ended(Instant::now(), !was_killed(exit));
            match going_down {
                Some(down) if running.service.brain && ended_well(exit) => down.brain_done = true,
                Some(_) => {}
                None => log::warn!("{} ended ({})", running.service.name, describe(exit)),
            }
        });
    }

    fn go_down(&mut self, kind: Shutdown, who: &str) {
        if self.going_down.is_some() {
            return;
        }
        log::info!("going down ({kind:?}), asked by {who}");
        if let Some(attempt) = self.attempt.take() {
            attempt.give_up("the host goes down");
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        self.going_down = Some(GoingDown { kind, deadline, brain_done: false });
        if let Some(socket) = &self.brain {
            notify(socket, kind);
        }
    }

    fn finished(&self) -> Option<Shutdown> {
        let down = self.going_down.as_ref()?;
        let done = down.brain_done || self.is_alone();
        if !done && Instant::now() < down.deadline {
            return None;
        }
        if !done {
            log::warn!("jails did not stop within {} s: killing them", STOP_DEADLINE.as_secs());
        }
        Some(down.kind)
    }

    /// No brain runs, and no jail that one would have to stop.
    fn is_alone(&self) -> bool {
        let brain = |running: &Running| running.service.brain && running.pid.is_some();
        !self.services.iter().any(brain) && !self.vault.has_processes()
    }

    /// Ends all that is left, and waits until it is reaped.
    fn kill_all(&mut self) {
        self.brain = None;
        for name in ["jails", "services", "jailsupd"] {
            // Absent where there is no cgroup v2: the two loops below do it alone.
            let _ = std::fs::write(self.cgroup_root.join(name).join("cgroup.kill"), "1");
        }
        self.vault.kill_processes();
        for pid in self.services.iter().filter_map(|running| running.pid) {
            let _ = sys::signal::send(pid, libc::SIGKILL);
        }
        let deadline = Instant::now() + KILL_DEADLINE;
        while !reap(&mut self.vault, |_| {}) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::error!("some processes do not end although killed; going on without them");
                return;
            }
            let Some(signals) = &self.signals else { return };
            let mut fds = [PollFd::new(signals, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(left)));
            while let Ok(Some(_)) = signals.read_signal() {}
        }
    }
}

/// Eight descriptors of each of thousands of jails are more than the kernel's default of 1024; the
/// brain inherits the limit. 2^20 is the kernel's own default maximum (`fs.nr_open`).
fn raise_file_limit() {
    let limit = Rlimit { current: Some(FILES_MAX), maximum: Some(FILES_MAX) };
    if let Err(errno) = setrlimit(Resource::Nofile, limit) {
        log::warn!("cannot raise the limit of open files: {errno}");
    }
}

fn notify(socket: &OwnedFd, kind: Shutdown) {
    let notice = Packet { value: kind.to_value(), ..Packet::new(Op::ShutdownNotice) };
    if let Err(error) = send(socket, &notice, &[], SendFlags::DONTWAIT) {
        log::warn!("wire: notice of shutdown lost: {error}");
    }
}

/// Whom a pidfd stands for (proc_pid_fdinfo(5), `Pid:`; negative when it has been reaped).
fn tracked(pidfd: &OwnedFd) -> io::Result<Tracked> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    match pid {
        Some(pid) if pid > 0 => Ok(Tracked { pid, inode: rustix::fs::fstat(pidfd)?.st_ino }),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn ended_well(exit: &Exit) -> bool {
    exit.code == libc::CLD_EXITED && exit.status == 0
}

/// By SIGKILL, which no program does to itself.
fn was_killed(exit: &Exit) -> bool {
    exit.code == libc::CLD_KILLED && exit.status == libc::SIGKILL
}

fn describe(exit: &Exit) -> String {
    match exit.code {
        libc::CLD_EXITED => format!("exit status {}", exit.status),
        _ => format!("signal {}", exit.status),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
