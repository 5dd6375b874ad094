//! The hook after a jail's end: in a fresh run of the same image, volumes, namespaces and cgroup, in which it is all
//! that runs. The jail is being cleared away meanwhile, so nothing else can use any of these.

use super::Supervisor;
use super::clock::microseconds;
use super::end::{cause_of, reason_of};
use super::jail::{Jail, Loaded};
use super::poller::JailId;
use super::start::Progress;
use crate::exec::error::source_of;
use crate::exec::logs::Stream;
use crate::exec::state::{Ended, Poststop as Stored};
use crate::machine::{Cause, End, Event, State};
use crate::plan::StartHook;
use crate::unit::HookKind;
use jail_init::Stage;
use std::time::Duration;

impl Jail {
    /// What is to run when it is gone: the unit that it was started from, with the hook in the place of the program.
    /// None when it has no such hook, or its program was never executed.
    pub(super) fn poststop(&self) -> Option<Loaded> {
        let life = self.life.as_ref()?;
        let was_executed = life.failed.is_none() && life.start_error.is_none();
        if life.is_poststop || !was_executed || self.is_run() {
            return None;
        }
        hook_alone(self.started_from()?)
    }

    /// The same of a jail that an earlier jailsupd has cleared away, and no more.
    fn owed_poststop(&mut self) -> Option<Loaded> {
        if !std::mem::take(&mut self.owes_poststop) {
            return None;
        }
        let is_its_own = |loaded: &&Loaded| self.rested.as_ref() == Some(&loaded.restart_hash);
        hook_alone(self.loaded.as_ref().filter(is_its_own)?)
    }
}

/// A unit with its hook in the place of its program.
fn hook_alone(loaded: &Loaded) -> Option<Loaded> {
    let hook = StartHook::of(&loaded.unit, HookKind::Poststop)?;
    let mut loaded = loaded.clone();
    loaded.plan.hook = Some(hook);
    loaded.plan.argv = Vec::new();
    loaded.plan.terminal = false;
    Some(loaded)
}

/// What the keeper is to remember of the jail while its hook runs.
pub(super) fn stored(state: State) -> Option<Stored> {
    let State::Cleaning { end, cause, again, uptime } = state else { return None };
    let end = match end {
        End::Success => Ended::Success,
        End::Failure | End::OutOfMemory => Ended::Failure,
        End::Final { success } => Ended::Final { success },
        End::NotStarted => Ended::NotStarted,
        End::NeverStarts => Ended::NeverStarts,
    };
    let (reason, uptime_us) = (reason_of(cause), microseconds(uptime));
    Some(Stored { end, reason, again, uptime_us })
}

/// The state of a jail whose hook was adopted.
pub(super) fn restored(stored: Stored) -> State {
    let end = match stored.end {
        Ended::Success => End::Success,
        Ended::Failure => End::Failure,
        Ended::Final { success } => End::Final { success },
        Ended::NotStarted => End::NotStarted,
        Ended::NeverStarts => End::NeverStarts,
    };
    let cause = match stored.reason {
        None => Cause::Own,
        reason => cause_of(reason),
    };
    let uptime = Duration::from_micros(stored.uptime_us);
    State::Cleaning { end, cause, again: stored.again, uptime }
}

impl Supervisor {
    /// Clears away what has ended, and runs the hook after it, if there is one; whether it runs now.
    pub(super) fn clean_and_run(&mut self, id: JailId, hook: Option<Loaded>) -> bool {
        if hook.is_none() {
            self.tell_left_out(id, HookKind::Poststop);
        }
        if let Some(jail) = self.jails.get_mut(id) {
            jail.owes_poststop = hook.is_some();
        }
        self.clean(id);
        hook.is_some_and(|loaded| self.run_poststop(id, &loaded))
    }

    /// Runs the hook that an earlier jailsupd has not come to; whether it runs now.
    pub(super) fn run_owed_poststop(&mut self, id: JailId) -> bool {
        let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.owes_poststop) else {
            return false;
        };
        match jail.owed_poststop() {
            Some(loaded) => self.run_poststop(id, &loaded),
            None => {
                let how =
                    "it is left out: the version of the unit that it is of is in force no more";
                self.hook_failed(id, HookKind::Poststop, how);
                false
            }
        }
    }

    /// Runs the hook; whether it runs now.
    pub(super) fn run_poststop(&mut self, id: JailId, loaded: &Loaded) -> bool {
        let Some(jail) = self.jails.get_mut(id) else { return false };
        jail.owes_poststop = false;
        // What is imported for the next start goes on.
        let ahead = jail.work.take();
        let progress = self.build_and_spawn(id, loaded);
        let own = self.jails.get_mut(id).and_then(|jail| std::mem::replace(&mut jail.work, ahead));
        if let Some(work) = own {
            self.discard(work.worker);
        }
        let failed = match progress {
            Ok(Progress::Spawned) => {
                if let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) {
                    life.is_poststop = true;
                }
                self.store_stop(id);
                return true;
            }
            Ok(Progress::Waits) => "its image or a volume is not there any more".to_owned(),
            Err(error) => error.chain(),
        };
        self.hook_failed(id, HookKind::Poststop, &failed);
        self.clean(id);
        false
    }

    /// The run of the hook has ended.
    pub(super) fn poststop_ended(&mut self, id: JailId) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain(id, stream);
        }
        let Some(jail) = self.jails.get(id) else { return };
        let Some(life) = &jail.life else { return };
        self.poller.forget(&life.pidfd);
        // An earlier jailsupd died before it said go: the hook has not run.
        if life.failed.is_some_and(|failed| failed.stage == Stage::Go) {
            let hook = jail.started_from().and_then(hook_alone);
            if !self.clean_and_run(id, hook) {
                self.apply(id, Event::Cleaned, "cleared away");
            }
            return;
        }
        // Its first process ends well, or says why not; killed it says nothing.
        let how = match (life.failed, life.start_error.is_none()) {
            (Some(failed), _) => Some(source_of(failed, HookKind::Poststop.word()).to_string()),
            (None, _) if self.was_killed(id) => Some("it was killed".to_owned()),
            (None, _) => None,
        };
        if let Some(how) = how {
            self.hook_failed(id, HookKind::Poststop, &how);
        }
        self.clean(id);
        self.apply(id, Event::Cleaned, "cleared away, and its poststop hook has ended");
    }

    fn was_killed(&mut self, id: JailId) -> bool {
        let Some(jail) = self.jails.get(id) else { return false };
        let record = self.keeper.exit(&jail.key).ok().flatten();
        record.is_some_and(|record| record.code != libc::CLD_EXITED || record.status != 0)
    }
}
