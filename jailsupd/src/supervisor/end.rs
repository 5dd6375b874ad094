//! The end of a jail: what it was, and clearing away what is left.

use super::Supervisor;
use super::clock;
use super::health;
use super::jail::{Jail, Life};
use super::poller::JailId;
use super::pressure;
use crate::control::wire::{Exit, ExitReason, Usage};
use crate::exec::error::source_of;
use crate::exec::logs::Stream;
use crate::exec::peek::{Peek, Seen};
use crate::exec::{Error, faults, overlay, processes, root};
use crate::machine::{self, Cause, End, Event, State, Want};
use crate::unit::value::FromText as _;
use crate::unit::{ExitStatus, Restart, Signal};
use jail_init::{ExitReport, Left, Stage, StartError};
use keeper::{ExitRecord, Slot};
use rustix::fd::OwnedFd;
use std::time::Duration;

impl Supervisor {
    /// The start-error pipe has a record, or its end: then the program was executed.
    pub(super) fn on_start_error(&mut self, id: JailId) {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else {
            return;
        };
        let Some(pipe) = &life.start_error else { return };
        let mut bytes = [0; StartError::LEN];
        match self.peek.look(pipe, &mut bytes) {
            Ok(Seen::Closed) => {
                self.poller.forget(pipe);
                life.start_error = None;
                life.stored.executed_by_us = None;
                if life.failed.is_none() {
                    self.note_main(id);
                    self.apply(id, Event::Executed, "its program was executed");
                    self.ask_again(id);
                    self.run_owed_poststart(id);
                }
            }
            // It stays there, for whoever comes next.
            Ok(Seen::Bytes(length)) => {
                self.poller.forget(pipe);
                life.failed = StartError::decode(&bytes[..length]);
                faults::pass("start-error-seen");
            }
            Ok(Seen::Nothing) => {}
            Err(_) => life.start_error = None,
        }
    }

    /// Looks up the process that its program was executed in.
    fn note_main(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = jail.life.as_mut().filter(|life| !life.is_poststop) else { return };
        let init = u32::try_from(life.pid).unwrap_or(0);
        life.stored.main_pid = processes::first_child(&jail.cgroup, init);
    }

    /// A jail that was asked to end while its hook before the program ran: the hook has taken the signal for its own.
    fn ask_again(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let had_hook = jail.loaded.as_ref().is_some_and(|loaded| loaded.plan.hook.is_some());
        // One that was up has heard it, or does when its hook for that has ended.
        let State::Stopping { kill_at: Some(_), cause, ready: None, .. } = jail.machine.state
        else {
            return;
        };
        if had_hook {
            self.signal(id, cause.signal(&jail.policy()).number());
        }
    }

    /// A jail's PID 1 has ended, and with it everything in the jail.
    pub(super) fn on_process(&mut self, id: JailId) {
        let now = clock::now();
        faults::pass("end-seen");
        // Whatever it said before its end comes first, and what the kernel said of it.
        self.on_kernel_log();
        self.on_start_error(id);
        self.on_notify(id);
        let Some(jail) = self.jails.get(id) else { return };
        let Some(life) = &jail.life else { return };
        if life.is_poststop {
            return self.poststop_ended(id);
        }
        let inode = rustix::fs::fstat(&life.pidfd).map_or(0, |stat| stat.st_ino);
        let record = match self.keeper.exit(&jail.key) {
            Ok(record) => record.filter(|record| record.inode == inode),
            Err(error) => return self.lost_keeper(&error),
        };
        let (report, left) = read_report(&self.peek, &life.exit_report);
        faults::pass("end-read");
        let oom = may_be_oom(jail, life, record);
        let unit = jail.loaded.as_ref().map(|loaded| &loaded.unit);
        let cause = jail.machine.cause().unwrap_or(Cause::Own);
        let (exit, status) = match &life.stored.ended {
            // An earlier jailsupd has read its report.
            Some(exit) => (exit.clone(), status_of(exit)),
            None => {
                let (exit, status) = judge(life, report, record, (cause, oom));
                let left = left.filter(|left| left.count > 0 && cause == Cause::Own);
                (Exit { detail: detail(jail, &exit, left.as_ref()), ..exit }, status)
            }
        };
        let restart = unit.map(|unit| unit.restart.clone()).unwrap_or_default();
        let end = end_of(life, (exit.reason, status), &restart);
        let evidence = evidence(jail, life, &exit);
        let why = match &evidence {
            Some(evidence) => format!("{} ({evidence})", describe(&exit)),
            None => describe(&exit),
        };
        self.poller.forget(&life.pidfd);
        self.store_end(id, (exit, end, now), evidence);
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain(id, stream);
        }
        self.drain_terminal(id);
        self.tell_losses(id, true);
        self.end_consoles(id, &why);
        faults::pass("end-drained");
        self.note(id, &why);
        faults::pass("end-noted");
        let failed = self.jails.get(id).and_then(|jail| jail.life.as_ref()?.failed);
        // An earlier jailsupd died before it said go: nobody is to blame, and it is started again.
        let interrupted = failed.is_some_and(|failed| failed.stage == Stage::Go);
        if let Some(failed) = failed.filter(|_| !interrupted) {
            self.start_failed(id, &Error::of_start(failed));
        }
        self.apply_at(now, id, Event::Ended(end), &why);
        let wanted = |jail: &Jail| jail.machine.want == Want::Up && jail.is_at_rest();
        if interrupted && self.jails.get(id).is_some_and(wanted) {
            self.apply(id, Event::Start, "its start was interrupted");
        }
    }

    /// Clears away what the jail left, all but its namespaces.
    pub(super) fn clean(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (name, key, cgroup) = (jail.name.clone(), jail.key.clone(), jail.cgroup.clone());
        if let Some(loaded) = &jail.loaded {
            self.images.look_again(&loaded.unit.image.source, &self.layout);
        }
        let life = jail.life.take();
        self.forget_hooks(id);
        let mut ended = None;
        if let Some(mut life) = life {
            life.forget(&self.poller);
            ended = Some(life);
        }
        // A start may have failed after its processes were made; nothing of them is to be left.
        let _ = cgroup.kill();
        faults::pass("cgroup-killed");
        if let Err(error) = cgroup.remove() {
            log::warn!("jail={name}: {}", error.chain());
        }
        faults::pass("cgroup-removed");
        if let Err(error) = root::discard_unfinished(&self.layout, &name) {
            log::warn!("jail={name}: its unfinished root stays: {error}");
        }
        faults::pass("root-discarded");
        if let Err(error) = overlay::discard(&self.layout, &key) {
            log::warn!("jail={name}: {}", error.chain());
        }
        faults::pass("layer-discarded");
        if let Some(mut life) = ended {
            self.store_cleaning(id, &mut life);
            self.let_go(&key, &life);
        }
        self.empty_trash_soon();
    }

    /// At last, when nothing is left to be cleared away: a jailsupd that died before this adopts the life that has
    /// ended, and clears it away again.
    fn let_go(&mut self, key: &str, life: &Life) {
        let slots = [
            Slot::Process,
            Slot::StartError,
            Slot::ExitReport,
            Slot::Stdout,
            Slot::Stderr,
            Slot::Notify,
        ];
        let inode = rustix::fs::fstat(&life.pidfd).map_or(0, |stat| stat.st_ino);
        faults::pass("before-remove");
        let removed = self.keeper.end(key, &slots, inode);
        faults::pass("removed");
        if let Err(error) = removed {
            self.lost_keeper(&error);
        }
    }

    /// A start has failed before there was a process. Returns what kind of end that is.
    pub(super) fn not_prepared(&mut self, id: JailId, error: &Error) -> End {
        if let Some(jail) = self.jails.get_mut(id) {
            jail.last_exit = Some(not_begun(error));
        }
        self.start_failed(id, error);
        if error.is_permanent() { End::NeverStarts } else { End::NotStarted }
    }

    /// Says once, with file, line and remedy, why a jail does not start.
    pub(super) fn start_failed(&mut self, id: JailId, error: &Error) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let message = error.chain();
        let problem = match &jail.loaded {
            Some(loaded) => loaded.unit.problem(error.key(), message, error.help()),
            None => return,
        };
        if jail.start_problem.as_ref() != Some(&problem) {
            log::error!("jail={} {}", jail.name, problem.one_line());
        }
        jail.start_problem = Some(problem);
        self.store_life(id);
    }
}

/// The end of a start that came to no process: what could not be made ready, by the unit's key.
fn not_begun(error: &Error) -> Exit {
    let what = match error.key() {
        "" => "what it needs",
        key => key,
    };
    Exit {
        reason: ExitReason::StartFailed,
        code: None,
        signal: None,
        core: false,
        at: clock::wall_ms(),
        stage: Some(format!("cannot provide {what}")),
        errno: None,
        detail: Some(error.chain()),
        usage: None,
        program: None,
        pid: None,
        victim: None,
    }
}

/// How the main process has ended, and what still ran then; an init of another version may say less. It stays there until
/// all that follows from it is remembered.
fn read_report(peek: &Peek, pipe: &OwnedFd) -> (Option<ExitReport>, Option<Left>) {
    let mut bytes = [0; ExitReport::LEN + Left::LEN];
    let said = match peek.look(pipe, &mut bytes) {
        Ok(Seen::Bytes(length)) => bytes.get(..length).unwrap_or_default(),
        _ => &[],
    };
    let (report, left) = said.split_at(said.len().min(ExitReport::LEN));
    (ExitReport::decode(report), Left::decode(left))
}

/// Whether the kernel has killed for want of memory when it ended.
fn may_be_oom(jail: &Jail, life: &Life, record: Option<ExitRecord>) -> bool {
    let ended = record.map_or_else(clock::now, |record| Duration::from_micros(record.at_us));
    life.limits.is_near(jail.cgroup.oom_kills(), ended)
}

/// What the kernel has counted, of an end for want of memory.
fn evidence(jail: &Jail, life: &Life, exit: &Exit) -> Option<String> {
    let unit = jail.loaded.as_ref().map(|loaded| &loaded.unit);
    match life.stored.ended {
        // An earlier jailsupd has asked, and the cgroup may be gone.
        Some(_) => jail.evidence.clone(),
        None => (exit.reason == ExitReason::Oom).then(|| pressure::evidence(&jail.cgroup, unit)),
    }
}

/// What the end was: from the in-jail init's report where there is one, else from the keeper's record.
fn judge(
    life: &Life,
    report: Option<ExitReport>,
    record: Option<ExitRecord>,
    (cause, oom): (Cause, bool),
) -> (Exit, Option<ExitStatus>) {
    let (code, status) = match (report, record) {
        (Some(report), _) => (Some(report.code), report.status),
        (None, Some(record)) => (Some(record.code), record.status),
        (None, None) => (None, 0),
    };
    // Only what was killed can have been killed for want of memory.
    let oom = oom && code != Some(libc::CLD_EXITED) && status == libc::SIGKILL;
    let reason = match (&life.failed, code) {
        (Some(_), _) => ExitReason::StartFailed,
        (None, _) if oom => ExitReason::Oom,
        (None, code) => match (reason_of(cause), code) {
            (Some(reason), _) => reason,
            (None, _) if life.killed => ExitReason::Killed,
            (None, Some(libc::CLD_EXITED)) => ExitReason::Exited,
            (None, Some(_)) => ExitReason::Signaled,
            (None, None) => ExitReason::Unknown,
        },
    };
    let exited = code == Some(libc::CLD_EXITED);
    let signaled = code.is_some() && !exited;
    let exit = Exit {
        reason,
        code: exited.then_some(status),
        signal: signaled.then(|| Signal::from_number(status).to_string()),
        core: code == Some(libc::CLD_DUMPED),
        at: record.map_or_else(clock::wall_ms, |record| {
            clock::wall_ms_of(std::time::Duration::from_micros(record.at_us))
        }),
        stage: life.failed.map(|failed| format!("cannot {}", failed.stage.text())),
        errno: life.failed.map(why_failed),
        detail: None,
        usage: report.map(|report| Usage {
            user_us: report.user_us,
            system_us: report.system_us,
            max_rss: report.max_rss_kib * 1024,
        }),
        program: life.stored.program.clone(),
        pid: life.stored.main_pid,
        victim: life.stored.victim.clone().filter(|_| reason == ExitReason::Oom),
    };
    let status = match u8::try_from(status) {
        _ if reason == ExitReason::Oom => None,
        Ok(code) if exited => Some(ExitStatus::Code(code)),
        _ if signaled => Some(ExitStatus::Signal(Signal::from_number(status))),
        _ => None,
    };
    (exit, status)
}

/// The errno's name, or what else it was.
fn why_failed(failed: StartError) -> String {
    let cause = source_of(failed, "start_container");
    match cause.raw_os_error() {
        Some(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        None => cause.to_string(),
    }
}

/// What its policy looks at, of an end that was judged before.
fn status_of(exit: &Exit) -> Option<ExitStatus> {
    let signal = exit.signal.as_deref().and_then(|name| Signal::from_text(name).ok());
    match (exit.reason, exit.code) {
        (ExitReason::Oom, _) => None,
        (_, Some(code)) => u8::try_from(code).ok().map(ExitStatus::Code),
        (_, None) => signal.map(ExitStatus::Signal),
    }
}

/// The reason that people are told, of an end that was not its own doing nor anybody's wish.
pub(super) const fn reason_of(cause: Cause) -> Option<ExitReason> {
    match cause {
        Cause::Own | Cause::Asked => None,
        Cause::StartTimeout => Some(ExitReason::StartTimeout),
        Cause::Watchdog => Some(ExitReason::Watchdog),
        Cause::RuntimeMax => Some(ExitReason::RuntimeMax),
        Cause::Unhealthy => Some(ExitReason::Unhealthy),
        Cause::OutOfMemory => Some(ExitReason::Oom),
        Cause::Pressure => Some(ExitReason::Pressure),
        Cause::Dependency => Some(ExitReason::Dependency),
    }
}

/// The cause of a stop that was told as this reason; without one, someone wanted it.
pub(super) const fn cause_of(reason: Option<ExitReason>) -> Cause {
    match reason {
        // Of one that had begun to end by itself.
        Some(ExitReason::Exited) => Cause::Own,
        Some(ExitReason::StartTimeout) => Cause::StartTimeout,
        Some(ExitReason::Watchdog) => Cause::Watchdog,
        Some(ExitReason::RuntimeMax) => Cause::RuntimeMax,
        Some(ExitReason::Unhealthy) => Cause::Unhealthy,
        Some(ExitReason::Oom) => Cause::OutOfMemory,
        Some(ExitReason::Pressure) => Cause::Pressure,
        Some(ExitReason::Dependency) => Cause::Dependency,
        Some(
            ExitReason::Signaled
            | ExitReason::Killed
            | ExitReason::StartFailed
            | ExitReason::Unknown,
        )
        | None => Cause::Asked,
    }
}

/// What its end is to its policy; one without a status is a failure.
fn end_of(
    life: &Life,
    (reason, status): (ExitReason, Option<ExitStatus>),
    restart: &Restart,
) -> End {
    if let Some(failed) = &life.failed {
        let error = Error::of_start(*failed);
        return if error.is_permanent() { End::NeverStarts } else { End::NotStarted };
    }
    match status {
        _ if reason == ExitReason::Oom => End::OutOfMemory,
        Some(status) => machine::end_of(status, restart),
        None => End::Failure,
    }
}

/// What is known of an end beside how it went: the checks that failed, what it left running, or what the service
/// had said of itself.
fn detail(jail: &Jail, exit: &Exit, left: Option<&Left>) -> Option<String> {
    let notified = &jail.life.as_ref()?.stored.notified;
    let errno = notified.errno.map(|errno| format!("{:?}", nix::errno::Errno::from_raw(errno)));
    let said = match (notified.status.as_str(), errno) {
        ("", None) => None,
        ("", Some(errno)) => Some(format!("it gave {errno} as the reason")),
        (status, None) => Some(format!("it had said: {status}")),
        (status, Some(errno)) => Some(format!("it had said: {status} ({errno})")),
    };
    match exit.reason {
        ExitReason::Exited if left.is_some() => {
            let advice =
                if exit.code == Some(0) { ": a service must stay in the foreground" } else { "" };
            left.map(|left| left_behind(left) + advice)
        }
        ExitReason::Exited if exit.code == Some(0) => None,
        ExitReason::Unhealthy => health::failures(jail),
        ExitReason::StartTimeout => said.or_else(|| health::failures(jail)),
        _ => said,
    }
}

/// Of a main process that has ended before others of its jail.
fn left_behind(Left { count, name }: &Left) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).collect();
    let others = match count {
        1 => format!("{name}, which was"),
        2 => format!("{name} and another process, which were"),
        count => format!("{name} and {} other processes, which were", count - 1),
    };
    format!("it left {others} ended with the jail")
}

/// One line for the logs.
pub(super) fn describe(exit: &Exit) -> String {
    let status = match (&exit.signal, exit.code) {
        (Some(signal), _) if exit.core => format!("was killed by {signal} and dumped core"),
        (Some(signal), _) => format!("was killed by {signal}"),
        (None, Some(code)) => format!("exited with {code}"),
        (None, None) => "ended, nobody saw how".to_owned(),
    };
    let how = match exit.reason {
        ExitReason::Oom => format!("ran out of memory and {status}"),
        ExitReason::Killed => format!("did not stop in time: {status}"),
        ExitReason::StartTimeout => format!("was not ready in time: {status}"),
        ExitReason::Watchdog => format!("gave no sign of life in time: {status}"),
        ExitReason::RuntimeMax => format!("had run as long as it may: {status}"),
        ExitReason::Unhealthy => format!("was not healthy: {status}"),
        ExitReason::Pressure => format!("was under pressure: {status}"),
        ExitReason::Dependency => format!("lost a jail that it needs: {status}"),
        ExitReason::StartFailed => {
            let words = [exit.stage.as_deref(), exit.errno.as_deref()];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            format!("did not start: {}", words.join(": "))
        }
        ExitReason::Exited | ExitReason::Signaled | ExitReason::Unknown => status,
    };
    match &exit.detail {
        Some(detail) => format!("{how} ({detail})"),
        None => how,
    }
}
