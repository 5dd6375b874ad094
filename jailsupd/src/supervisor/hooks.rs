//! Hooks that run in a jail beside its program: when it is ready, and before it is asked to end. Each is executed as
//! a program of `jailctl exec` is ([`enter`]), with jailsupd as its client: one that has had its time, or whose
//! jailsupd dies, is hung up on, and that is its end. The next jailsupd then runs it again, from its beginning.

use super::jail::{Jail, Life, Loaded};
use super::poller::{JailId, Source, swapped};
use super::{Supervisor, clock};
use crate::control::wire::session;
use crate::exec::ends::{Ends, Streams};
use crate::exec::enter::{self, Entry};
use crate::exec::logs::{Pipe, read_some};
use crate::exec::{Error, resident};
use crate::machine::{Cause, Moment, State};
use crate::plan;
use crate::unit::{HookKind, Signal};
use jail_init::ExitReport;
use jail_init::session::Message;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::RecvFlags;
use std::collections::BTreeMap;
use std::ffi::CString;

/// What a hook may print before it is cut off: it is for people.
const OUTPUT_MAX: usize = 256 << 10;

/// All hooks that run.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    running: BTreeMap<u32, Running>,
    /// Of the last one.
    number: u32,
}

/// A hook that runs.
#[derive(Debug)]
struct Running {
    jail: JailId,
    kind: HookKind,
    session: OwnedFd,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Of both, the lines that are not whole yet.
    partial: [Vec<u8>; 2],
    printed: usize,
    until: Moment,
    /// Sent to the jail when the hook has ended.
    then: Option<Signal>,
}

impl Hooks {
    /// Two lives change places, and their hooks with them.
    pub(super) fn swap(&mut self, one: JailId, other: JailId) {
        for hook in self.running.values_mut() {
            hook.jail = swapped(hook.jail, one, other);
        }
    }

    /// When the first of them has had its time.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.running.values().map(|hook| hook.until).min()
    }
}

impl Supervisor {
    /// The jail is ready.
    pub(super) fn run_poststart(&mut self, id: JailId) {
        let result = self.run_hook(id, HookKind::Poststart, None);
        if let Err(error) = &result {
            self.hook_failed(id, HookKind::Poststart, &error.chain());
        }
        if !matches!(result, Ok(true)) {
            self.owes_no_more(id, HookKind::Poststart);
        }
    }

    /// The program of the jail was executed: perhaps for an earlier jailsupd already, which has not seen the end of
    /// the hook.
    pub(super) fn run_owed_poststart(&mut self, id: JailId) {
        let is_up = |jail: &&Jail| matches!(jail.machine.state, State::Up { .. });
        let Some(jail) = self.jails.get(id).filter(is_up) else { return };
        // A frozen one would hold the hook, too; and who is gone is not ready any more.
        let can_run = |life: &&Life| !jail.frozen && resident::is_alive(&life.pidfd).is_ok();
        let owes =
            jail.life.as_ref().filter(can_run).is_some_and(|life| life.stored.owes_poststart);
        let runs = |hook: &Running| hook.jail == id && hook.kind == HookKind::Poststart;
        if owes && !self.hooks.running.values().any(runs) {
            self.run_poststart(id);
        }
    }

    /// Hooks that an earlier jailsupd has not come to, or has not seen the end of, in jails that run.
    pub(super) fn resume_hooks(&mut self) {
        for id in self.jails.all_ids() {
            let Some(jail) = self.jails.get(id) else { continue };
            let Some(life) = &jail.life else { continue };
            match jail.machine.state {
                // Whether its program was executed at all is not seen yet: `on_start_error` goes on.
                State::Up { .. } if life.start_error.is_some() => self.on_start_error(id),
                State::Stopping { kill_at: Some(_), .. } if life.stored.owes_prestop => {
                    let number = life.stored.stopping.map_or(0, |stopping| stopping.signal);
                    if jail.loaded.is_none() {
                        self.hook_failed(id, HookKind::Prestop, "it is left out: its unit is gone");
                    }
                    if !self.run_prestop(id, Signal::from_number(number)) {
                        self.signal(id, number);
                    }
                }
                _ => {}
            }
        }
    }

    /// The jail is about to be asked to end: a hook that comes before that is owed from now on.
    pub(super) fn owe_prestop(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        // One that has not been ready has nothing to be taken down, and one that gives no sign of life does not
        // answer its hook either.
        let in_order = matches!(
            jail.machine.state,
            State::Stopping { ready: Some(_), cause, .. } if cause != Cause::Watchdog
        );
        // Of an older version of its unit nobody knows.
        let may_have = jail
            .started_from()
            .is_none_or(|loaded| loaded.unit.hooks.get(HookKind::Prestop).is_some());
        if let Some(life) = &mut jail.life {
            life.stored.owes_prestop = in_order && may_have;
        }
    }

    /// The jail is to end: whether its hook comes first, which sends the signal when it has ended.
    pub(super) fn run_prestop(&mut self, id: JailId, signal: Signal) -> bool {
        let Some(jail) = self.jails.get(id) else { return false };
        if !jail.life.as_ref().is_some_and(|life| life.stored.owes_prestop) {
            return false;
        }
        // A frozen jail would hold the hook, too.
        if let Err(error) = jail.cgroup.freeze(false) {
            log::warn!("jail={}: {}", jail.name, error.chain());
        }
        let result = self.run_hook(id, HookKind::Prestop, Some(signal));
        if let Err(error) = &result {
            self.hook_failed(id, HookKind::Prestop, &error.chain());
        }
        let runs = matches!(result, Ok(true));
        if !runs {
            self.owes_no_more(id, HookKind::Prestop);
        }
        runs
    }

    /// A hook has ended, or there is none.
    fn owes_no_more(&mut self, id: JailId, kind: HookKind) {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else { return };
        match kind {
            HookKind::Poststart => life.stored.owes_poststart = false,
            HookKind::Prestop => life.stored.owes_prestop = false,
            HookKind::StartContainer | HookKind::Poststop => {}
        }
        self.store_life(id);
    }

    /// Starts a hook; false when the unit has none of that kind.
    fn run_hook(
        &mut self,
        id: JailId,
        kind: HookKind,
        then: Option<Signal>,
    ) -> Result<bool, Error> {
        // One that runs a client's program once has no life of its own.
        let Some(jail) = self.jails.get(id).filter(|jail| !jail.is_run()) else {
            return Ok(false);
        };
        let Some(loaded) = jail.started_from() else {
            self.tell_left_out(id, kind);
            return Ok(false);
        };
        let Some((words, timeout)) = loaded.unit.hooks.get(kind) else { return Ok(false) };
        let ends = self.enter_for_hook(jail, loaded, words)?;
        if let Some(stdin) = &ends.stdin {
            // As much as a pipe takes at once, and more than a state is.
            let state = plan::hooks::state(&jail.name, kind);
            let _ = rustix::io::write(stdin, state.as_bytes());
        }
        let until = clock::now().saturating_add(timeout);
        let hook = Running {
            jail: id,
            kind,
            session: ends.session,
            stdout: ends.stdout,
            stderr: ends.stderr,
            partial: [Vec::new(), Vec::new()],
            printed: 0,
            until,
            then,
        };
        self.hooks.number = self.hooks.number.wrapping_add(1);
        let number = self.hooks.number;
        let fds = [Some(&hook.session), hook.stdout.as_ref(), hook.stderr.as_ref()];
        for fd in fds.into_iter().flatten() {
            let watched =
                set_nonblocking(fd).and_then(|()| self.poller.watch(fd, Source::Hook(number)));
            watched.map_err(|source| Error::Process { what: "watch its hook", source })?;
        }
        self.hooks.running.insert(number, hook);
        Ok(true)
    }

    fn enter_for_hook(
        &self,
        jail: &Jail,
        loaded: &Loaded,
        words: &[String],
    ) -> Result<Ends, Error> {
        let Some(life) = &jail.life else { return Err(Error::NoUnit) };
        let resident = resident::read(life.pid, &life.pidfd, &loaded.plan.ids)?;
        let entry = Entry {
            pidfd: life.pidfd.as_fd(),
            cgroup: jail.cgroup.open()?,
            plan: &loaded.plan,
            ids: &loaded.plan.ids,
            account: &resident.account,
            helper_name: session::EXEC,
            argv: words.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect(),
            environment: resident.environment,
            working_dir: loaded.plan.working_dir.clone(),
            streams: Streams::Pipes { stdin: true },
        };
        enter::enter(&entry, self.helper.as_fd())
    }

    /// A hook has printed something, or has ended.
    pub(super) fn on_hook(&mut self, number: u32) {
        let Some(mut hook) = self.hooks.running.remove(&number) else { return };
        self.take_output(&mut hook);
        let mut bytes = [0; Message::LEN];
        let how = match rustix::net::recv(&hook.session, &mut bytes, RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                self.hooks.running.insert(number, hook);
                return;
            }
            Ok((length, _)) => match bytes.get(..length).and_then(Message::decode) {
                Some(Message::Ended(report)) => failure(report),
                Some(Message::Failed(failed)) => Some(Error::of_start(failed).chain()),
                _ => Some("it ended, nobody saw how".to_owned()),
            },
            Err(_) => Some("it ended, nobody saw how".to_owned()),
        };
        // What it has printed last.
        self.take_output(&mut hook);
        self.end_hook(hook, how.as_deref());
    }

    /// Hooks that have had their time are ended.
    pub(super) fn end_late_hooks(&mut self) {
        let now = clock::now();
        let late: Vec<u32> = self
            .hooks
            .running
            .iter()
            .filter(|(_, hook)| hook.until <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            if let Some(hook) = self.hooks.running.remove(&number) {
                let key = hook.kind.word();
                let how = format!("it took longer than its `{key}_timeout`");
                self.end_hook(hook, Some(&how));
            }
        }
    }

    /// Hooks of a jail that has ended went with it.
    pub(super) fn forget_hooks(&mut self, id: JailId) {
        let (poller, running) = (&self.poller, &mut self.hooks.running);
        running.retain(|_, hook| {
            if hook.jail == id {
                hook.forget(poller);
            }
            hook.jail != id
        });
    }

    /// `how` it failed; none when it did not.
    fn end_hook(&mut self, mut hook: Running, how: Option<&str>) {
        let rest = std::mem::take(&mut hook.partial);
        for text in rest.iter().filter(|text| !text.is_empty()) {
            self.note_hook(&hook, text);
        }
        hook.forget(&self.poller);
        if let Some(how) = how {
            self.hook_failed(hook.jail, hook.kind, how);
        }
        self.owes_no_more(hook.jail, hook.kind);
        if let Some(signal) = hook.then {
            self.signal(hook.jail, signal.number());
        }
    }

    /// Of a jail that has run since before this jailsupd, from a version of its unit that is in force no longer, nobody knows the
    /// hooks; that the present version has one says that it may have had one, too.
    pub(super) fn tell_left_out(&mut self, id: JailId, kind: HookKind) {
        let Some(jail) = self.jails.get(id) else { return };
        let has = |loaded: &Loaded| loaded.unit.hooks.get(kind).is_some();
        if jail.started_from().is_none() && jail.is_stale() && jail.loaded.as_ref().is_some_and(has)
        {
            let how = "it is left out: the jail runs with an older version of its unit, which this jailsupd does not know";
            self.hook_failed(id, kind, how);
        }
    }

    /// Tells it wherever it may be looked for.
    pub(super) fn hook_failed(&mut self, id: JailId, kind: HookKind, how: &str) {
        let text = format!("its `{kind}` hook failed: {how}");
        let Some(jail) = self.jails.get_mut(id) else { return };
        jail.hook_problem = Some(text.clone());
        let name = jail.name.clone();
        log::warn!("jail={name} {text}");
        self.tell_of(id, &text);
        self.store_life(id);
    }

    fn take_output(&mut self, hook: &mut Running) {
        for at in 0..2 {
            let pipe = if at == 0 { &mut hook.stdout } else { &mut hook.stderr };
            let Some(open) = pipe else { continue };
            let before = hook.partial[at].len();
            let state = read_some(open, &mut hook.partial[at]);
            hook.printed += hook.partial[at].len() - before;
            if state == Pipe::Closed || hook.printed > OUTPUT_MAX {
                self.poller.forget(&*open);
                *pipe = None;
            }
            while let Some(end) = hook.partial[at].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = hook.partial[at].drain(..=end).collect();
                self.note_hook(hook, &line[..end]);
            }
        }
    }

    fn note_hook(&mut self, hook: &Running, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.note(hook.jail, &format!("{}: {text}", hook.kind));
    }
}

impl Running {
    fn forget(&self, poller: &super::poller::Poller) {
        for fd in [Some(&self.session), self.stdout.as_ref(), self.stderr.as_ref()] {
            fd.into_iter().for_each(|fd| poller.forget(fd));
        }
    }
}

impl Jail {
    /// The unit that its processes were started from; none when only an earlier jailsupd knew it.
    pub(super) fn started_from(&self) -> Option<&Loaded> {
        let life = self.life.as_ref()?;
        if let Some(former) = &life.former {
            return Some(former);
        }
        self.loaded.as_ref().filter(|_| !self.is_stale())
    }
}

fn set_nonblocking(fd: &OwnedFd) -> std::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}

/// How a hook failed; none when it has exited with 0.
fn failure(report: ExitReport) -> Option<String> {
    match (report.code, report.status) {
        (libc::CLD_EXITED, 0) => None,
        (libc::CLD_EXITED, code) => Some(format!("it exited with {code}")),
        (_, signal) => Some(format!("{} killed it", Signal::from_number(signal))),
    }
}
