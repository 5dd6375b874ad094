//! Driving the machines: an event in, its actions done, and whatever follows from them at once.

use super::poller::JailId;
use super::start::Progress;
use super::{Supervisor, clock};
use crate::control::wire::JailState;
use crate::exec::{Error, faults};
use crate::machine::{self, Action, End, Event, Moment, News, State, Want};
use rustix::fd::AsFd as _;
use rustix::process::Signal;
use std::time::Duration;

/// How long jails are prepared before other events are looked at; one jail at least.
const PREPARE_FOR: Duration = Duration::from_millis(20);

/// A console shows where jails have come to, and not what they only pass: each line on a serial one takes time. What one
/// waits for is told with its reason, if it takes any time.
const fn level(state: JailState) -> log::Level {
    match state {
        JailState::Waiting | JailState::Preparing | JailState::Starting => log::Level::Debug,
        _ => log::Level::Info,
    }
}

impl Supervisor {
    /// Gives an event to a jail's machine and does what it says, with all that follows from it.
    pub(super) fn apply(&mut self, id: JailId, event: Event, why: &str) {
        self.apply_at(clock::now(), id, event, why);
    }

    /// The same with an event that was at this moment.
    pub(super) fn apply_at(&mut self, at: Moment, id: JailId, event: Event, why: &str) {
        if matches!(event, Event::Stop | Event::Restart | Event::News(News::DependencyGone)) {
            self.put_in_place(id);
        }
        let mut next = Some((event, why.to_owned()));
        let mut at = Some(at);
        while let Some((event, why)) = next.take() {
            let Some(jail) = self.jails.get_mut(id) else { return };
            let policy = jail.policy();
            let now = at.take().unwrap_or_else(clock::now);
            let (machine, actions) = machine::next(jail.machine, event, now, &policy);
            let before = jail.state();
            let was_backoff = matches!(jail.machine.state, State::Backoff { .. });
            jail.machine = machine;
            let after = jail.state();
            if before != after {
                self.ties.moved = true;
                self.trials.stir(id);
                jail.waits = None;
                if after == JailState::Waiting {
                    self.ties.waiting.insert(id);
                }
                jail.since = now;
                self.tell_state(id, (before, after), &why);
                faults::came_to(after.word());
            }
            let Some(jail) = self.jails.get_mut(id) else { return };
            match (was_backoff, event) {
                (true, Event::Tick) if before != after => jail.restarts += 1,
                (_, Event::Start | Event::Restart) => jail.restarts = 0,
                (_, Event::Executed) => (jail.start_problem, jail.found_problem) = (None, None),
                _ => {}
            }
            // One that runs until its next image is there goes on with that.
            if event == Event::Start && !jail.runs_until_work_is_done() {
                jail.leaving = None;
            }
            // A version beside it may wait for that.
            jail.beside.into_iter().for_each(|beside| self.trials.stir(beside));
            if event == Event::Stop {
                self.stop_work(id);
                self.ties.starts.give_up(id);
            }
            if before != after {
                self.on_arrival(id, after);
            }
            self.store_intent(id, event, &actions);
            for action in actions {
                next = self.perform_action(id, action);
            }
        }
        if self.jails.get(id).is_some_and(|jail| jail.is_at_rest() && !jail.removed) {
            self.store_rest(id);
            faults::pass("rest-stored");
        }
        self.follow_health(id);
        self.store_notified(id);
        self.finish_run(id);
        self.forget_if_removed(id);
    }

    /// Has the keeper remember what is about to be done, so that the next jailsupd does it if this one dies.
    fn store_intent(&mut self, id: JailId, event: Event, actions: &[Action]) {
        if actions.iter().any(|action| matches!(action, Action::Signal(_))) {
            self.owe_prestop(id);
        }
        self.store_stop(id);
        if event == Event::Stop {
            faults::pass("stop-stored");
        }
    }

    /// What follows from a jail's having come to a state.
    fn on_arrival(&mut self, id: JailId, state: JailState) {
        match state {
            JailState::Failed => self.note_failure(id),
            JailState::Up => {
                if std::mem::take(&mut self.ties.holds_back) {
                    self.rescan_at = Some(clock::now());
                }
                self.run_poststart(id);
            }
            _ => {}
        }
    }

    fn tell_state(&mut self, id: JailId, (before, after): (JailState, JailState), why: &str) {
        let Some(jail) = self.jails.get(id) else { return };
        let name = jail.name.clone();
        match jail.told_beside(after, why) {
            Some(text) => {
                log::info!("jail={name} {text}");
                self.record(&name, None, &text);
            }
            None => {
                log::log!(level(after), "jail={name} from={before} to={after} why={why}");
                self.record(&name, Some((before, after)), why);
            }
        }
    }

    /// Does one thing; what happened through it, if that is known at once.
    fn perform_action(&mut self, id: JailId, action: Action) -> Option<(Event, String)> {
        match action {
            // In its turn: a thousand jails may be wanted at once.
            Action::Prepare => {
                match self.jails.get(id)?.machine.failures {
                    1 => self.ties.starts.want_again(id),
                    _ => self.ties.starts.want(id),
                }
                None
            }
            Action::Signal(signal) => {
                if !self.run_prestop(id, signal) {
                    self.signal(id, signal.number());
                }
                None
            }
            Action::Kill => {
                let jail = self.jails.get_mut(id)?;
                if let Some(life) = &mut jail.life {
                    life.killed = true;
                }
                if let Err(error) = jail.cgroup.kill() {
                    log::error!("jail={}: {}", jail.name, error.chain());
                }
                None
            }
            Action::Clean => {
                let hook = self.jails.get(id)?.poststop();
                if self.clean_and_run(id, hook) {
                    return None;
                }
                Some((Event::Cleaned, "cleared away".into()))
            }
        }
    }

    /// Prepares jails for a while; the others wait until everybody else has had a turn.
    pub(super) fn prepare_some(&mut self) {
        let end = clock::now().saturating_add(PREPARE_FOR);
        while let Some(id) = self.next_start() {
            let Some(jail) = self.jails.get(id) else { continue };
            if jail.machine.state == State::Preparing {
                if let Some((event, why)) = self.prepare(id, jail.machine.want) {
                    self.apply(id, event, &why);
                }
            }
            if clock::now() >= end {
                return;
            }
        }
    }

    /// What has come of it; nothing yet when a worker must make something first.
    fn prepare(&mut self, id: JailId, want: Want) -> Option<(Event, String)> {
        if want == Want::Down {
            return Some((
                Event::PrepareFailed(End::NotStarted),
                "nobody wants it any more".into(),
            ));
        }
        match self.start_jail(id) {
            Ok(Progress::Spawned) => {
                self.note_stale_root(id);
                self.begin_trial(id);
                Some((Event::Spawned, "its processes exist".into()))
            }
            Ok(Progress::Waits) => None,
            Err(error) => {
                if matches!(error, Error::Overcommit(_)) {
                    // The running version comes before the one that is tried beside it.
                    self.call_off(
                        id,
                        "its new version goes: there is no room for the jail beside it",
                    );
                }
                Some((Event::PrepareFailed(self.not_prepared(id, &error)), error.chain()))
            }
        }
    }

    /// Asks the in-jail init, which passes it on to the service. A frozen jail would not hear it.
    pub(super) fn signal(&mut self, id: JailId, number: i32) {
        let Some(jail) = self.jails.get(id) else { return };
        if let Err(error) = jail.cgroup.freeze(false) {
            log::warn!("jail={}: {}", jail.name, error.chain());
        }
        let Some((life, signal)) = jail.life.as_ref().zip(Signal::from_named_raw(number)) else {
            return;
        };
        if let Err(errno) = rustix::process::pidfd_send_signal(life.pidfd.as_fd(), signal) {
            log::warn!("jail={} cannot be sent signal {number}: {errno}", jail.name);
        }
        faults::pass("signalled");
    }
}
