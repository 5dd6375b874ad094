//! What people ask to be done with a jail, answered when it is done.

use super::clock::microseconds;
use super::jail::{Jail, Life, remember};
use super::leaving::Leaving;
use super::poller::JailId;
use super::waiters::{Answer, Goal, Waiter};
use super::{Supervisor, clock, end, poststop, report};
use crate::control::server::ClientId;
use crate::control::wire::{Exit, ExitReason, JailState, Ran, Reached, Reply, WireError};
use crate::exec::deploys::Version;
use crate::exec::faults;
use crate::exec::state::{Limit as StoredLimit, Rest, State as Stored, Stopping};
use crate::machine::{self, Cause, End, Event, Moment, State};
use crate::unit::Signal;
use std::time::Duration;

/// Something to do with one jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Start,
    Stop,
    Restart,
    Kill(Signal),
    Freeze,
    Thaw,
}

impl Supervisor {
    /// Does it, and answers now or when it is reached.
    pub(super) fn command(&mut self, client: ClientId, name: &str, command: Command, wait: bool) {
        let goal = match self.jails.find(name) {
            None => Err(self.no_such_jail(name)),
            Some(id) => self.obey(id, command).map(|goal| (id, goal)),
        };
        match goal {
            Err(error) => self.reply(client, &Reply::refusal(&error)),
            Ok((id, goal)) => {
                let jails = if wait { vec![(id, goal)] } else { Vec::new() };
                let answer = Answer::Jail(name.to_owned());
                self.waiters.push(Waiter { client, jails, answer, until: None });
            }
        }
    }

    fn obey(&mut self, id: JailId, command: Command) -> Result<Goal, WireError> {
        match command {
            Command::Start => self.start_by_hand(id, Event::Start),
            Command::Restart => self.start_by_hand(id, Event::Restart),
            Command::Stop => {
                if let Some(jail) = self.jails.get_mut(id) {
                    jail.held_down = true;
                }
                self.leave(id, Event::Stop, "someone stopped it");
                if self.jails.get(id).is_some_and(Jail::is_at_rest) {
                    self.store_rest(id);
                }
                Ok(Goal::Stopped)
            }
            Command::Kill(signal) => self.kill(id, signal),
            Command::Freeze => self.freeze(id, true),
            Command::Thaw => self.freeze(id, false),
        }
    }

    fn start_by_hand(&mut self, id: JailId, event: Event) -> Result<Goal, WireError> {
        let refusal = self.jails.get(id).and_then(|jail| self.refusal(jail));
        let Some(jail) = self.jails.get_mut(id) else { return Ok(Goal::Stopped) };
        if let Some(reason) = refusal {
            return Err(WireError::NotPossible { name: jail.name.clone(), reason });
        }
        if jail.loaded.is_none() {
            let reason = no_unit(jail);
            return Err(WireError::NotPossible { name: jail.name.clone(), reason });
        }
        jail.held_down = false;
        let state = jail.machine.state;
        let running = matches!(
            state,
            State::Preparing | State::Starting { .. } | State::Activating { .. } | State::Up { .. }
        );
        // One that runs already satisfies a start, never a restart.
        let count = if running && event == Event::Start { jail.starts } else { jail.starts + 1 };
        let why = if event == Event::Start { "someone started it" } else { "someone restarted it" };
        if event == Event::Start {
            self.apply(id, event, why);
        } else {
            self.leave(id, event, why);
        }
        self.store_queued(id);
        self.start_what_it_needs(id, true);
        Ok(Goal::Started(count))
    }

    fn kill(&mut self, id: JailId, signal: Signal) -> Result<Goal, WireError> {
        let goal = self.running(id, "it does not run: there is nothing to signal")?;
        if signal.number() != libc::SIGKILL {
            self.signal(id, signal.number());
            return Ok(Goal::Now);
        }
        let killed = self.jails.get(id).map(|jail| (jail.name.clone(), jail.cgroup.kill()));
        match killed {
            Some((name, Err(error))) => Err(WireError::NotPossible { name, reason: error.chain() }),
            _ => Ok(goal),
        }
    }

    fn freeze(&mut self, id: JailId, frozen: bool) -> Result<Goal, WireError> {
        self.running(id, "it does not run: there is nothing to freeze or thaw")?;
        let Some(jail) = self.jails.get(id) else { return Ok(Goal::Stopped) };
        let name = jail.name.clone();
        if let Err(error) = jail.cgroup.freeze(frozen) {
            return Err(WireError::NotPossible { name, reason: error.chain() });
        }
        let why = if frozen { "someone froze it" } else { "someone thawed it" };
        self.record(&name, None, why);
        Ok(Goal::Frozen(frozen))
    }

    /// The goal that this life of the jail has ended; refused when it has none.
    fn running(&self, id: JailId, reason: &str) -> Result<Goal, WireError> {
        match self.jails.get(id) {
            Some(jail) if jail.life.is_some() => Ok(Goal::Ended(jail.starts)),
            Some(jail) => {
                let (name, reason) = (jail.name.clone(), reason.to_owned());
                Err(WireError::NotPossible { name, reason })
            }
            None => Ok(Goal::Stopped),
        }
    }

    /// Waits for a state, whoever brings it about.
    pub(super) fn wait_for(
        &mut self,
        client: ClientId,
        name: &str,
        state: JailState,
        timeout_ms: Option<u64>,
    ) {
        let Some(id) = self.jails.find(name) else {
            let error = self.no_such_jail(name);
            return self.reply(client, &Reply::refusal(&error));
        };
        let until = timeout_ms.map(|ms| clock::now().saturating_add(Duration::from_millis(ms)));
        let (jails, answer) = (vec![(id, Goal::State(state))], Answer::Reached(name.to_owned()));
        self.waiters.push(Waiter { client, jails, answer, until });
    }

    pub(super) fn answer_waiter(&mut self, waiter: Waiter, reached: bool) {
        let reply = match waiter.answer {
            Answer::Jail(name) => {
                self.given_up(&name, &waiter.jails).unwrap_or_else(|| self.reached(&name))
            }
            Answer::Reached(name) if reached => self.reached(&name),
            Answer::Reached(name) => {
                let jail = self.jails.find(&name).and_then(|id| self.jails.get(id));
                let state = jail.map_or(JailState::Down, Jail::state);
                Reply::refusal(&WireError::Timeout { state })
            }
            Answer::Ran { problem } => Reply::with(&Ran { problem, ..Ran::default() }),
            Answer::Applied(done) => self.outcome(done),
        };
        self.reply(waiter.client, &reply);
        self.answer_calls(waiter.client);
    }

    /// A restart that does not come.
    fn given_up(&self, name: &str, goals: &[(JailId, Goal)]) -> Option<Reply> {
        let mut jails = goals.iter().filter_map(|(id, goal)| Some((self.jails.get(*id)?, goal)));
        let (jail, _) = jails.find(|(jail, goal)| goal.is_given_up(jail))?;
        let reason = format!("it runs on as it is: {}", jail.start_problem.as_ref()?.one_line());
        Some(Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason }))
    }

    fn reached(&self, name: &str) -> Reply {
        match self.jails.find(name).and_then(|id| self.jails.get(id)) {
            Some(jail) => Reply::with(&Reached { jail: report::summary(jail) }),
            None => Reply::refusal(&self.no_such_jail(name)),
        }
    }

    /// Has the keeper remember what the next jailsupd must know of a jail that does not run: that it is
    /// not to be started again for no reason, and the link that it has.
    pub(super) fn store_rest(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        if jail.life.is_some() {
            return;
        }
        let rest = match jail.machine.state {
            State::Failed => Rest::Failed,
            // The next jailsupd prepares it anew.
            State::Waiting | State::Preparing => Rest::Waiting,
            State::Backoff { until } => Rest::Backoff { until_us: microseconds(until) },
            _ => Rest::Down,
        };
        // A jail that is down for being disabled is started by what enables it.
        let loaded = jail.loaded.as_ref().filter(|loaded| loaded.unit.enabled);
        let unit = loaded.map(|loaded| loaded.restart_hash.clone()).unwrap_or_default();
        let version = Version { unit, image: self.trials.image_of(id) };
        // One that waits for others begins anew when they are there.
        let is_tried = jail.machine.state != State::Waiting;
        let since = is_tried.then(|| self.trials.since_us(id, &version)).flatten();
        let Version { unit, image } = version;
        let state = Stored {
            tried_since_us: since,
            unit,
            link: jail.kept.as_ref().map(|kept| kept.key.clone()).unwrap_or_default(),
            link_lower: jail.kept.as_ref().and_then(|kept| kept.lower),
            held_down: jail.held_down,
            restarts: jail.restarts,
            failures: jail.machine.failures,
            limit: stored_limit(jail.machine.limit),
            last_exit: jail.last_exit.clone(),
            image,
            part: jail.part,
            rest: Some(rest),
            since_us: Some(microseconds(jail.since)),
            told: jail.told(),
            ..Stored::default()
        };
        if let Err(error) = remember(&mut self.keeper, &jail.key, &state) {
            log::warn!("jail={} its state is not kept: {error}", jail.name);
        }
    }

    /// Has the keeper remember a jail that is to start when it is its turn, since nothing but our own memory says so.
    pub(super) fn store_queued(&mut self, id: JailId) {
        let is_queued = |jail: &Jail| jail.machine.state == State::Preparing && jail.of.is_none();
        if self.jails.get(id).is_some_and(is_queued) {
            self.store_rest(id);
            faults::pass("queued-stored");
        }
    }

    /// Has the keeper remember that a running jail is asked to end, before it is: the next jailsupd
    /// must not take that for an end of its own.
    pub(super) fn store_stop(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (policy, has_unit) = (jail.policy(), jail.loaded.is_some());
        let Some(life) = &mut jail.life else { return };
        let stopping = match jail.machine.state {
            State::Stopping { kill_at, cause, again, .. } => Some(Stopping {
                again: again == Some(true),
                reason: end::reason_of(cause)
                    .or_else(|| (cause == Cause::Own).then_some(ExitReason::Exited))
                    .filter(|_| again.is_none()),
                signal: match life.stored.stopping {
                    // Of a unit that is gone: as it was asked.
                    Some(stopping) if !has_unit => stopping.signal,
                    // One that ends by itself is not asked.
                    _ if cause == Cause::Own => 0,
                    _ => cause.signal(&policy).number(),
                },
                kill_at_us: kill_at.map(microseconds),
            }),
            // It has ended, and why it did is to be known until that is dealt with.
            State::Cleaning { .. } if !life.is_poststop => return,
            _ => None,
        };
        let leaving = jail.leaving.as_ref().and_then(Leaving::stored);
        let poststop = if life.is_poststop { poststop::stored(jail.machine.state) } else { None };
        life.stored.poststop = poststop;
        life.stored.stopping = stopping;
        life.stored.leaving = leaving;
        life.stored.held_down = jail.held_down;
        life.stored.part = jail.part;
        self.store_life(id);
    }

    /// Has the keeper remember how a life has ended, before anything of it is forgotten; and what the jail comes to by
    /// that, so that it need not be told again when all is cleared away.
    pub(super) fn store_end(
        &mut self,
        id: JailId,
        (exit, end, at): (Exit, End, Moment),
        evidence: Option<String>,
    ) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        jail.evidence = evidence;
        jail.last_exit = Some(exit.clone());
        let (foreseen, _) = machine::next(jail.machine, Event::Ended(end), at, &jail.policy());
        let owes_poststop = jail.poststop().is_some();
        if let Some(life) = &mut jail.life {
            life.stored.ended = Some(exit);
            life.stored.cleaning = poststop::stored(foreseen.state);
            life.stored.owes_poststop = owes_poststop;
        }
        self.store_life(id);
    }

    /// Has the keeper remember how a life has ended that is about to be forgotten: a jailsupd that dies before the jail's
    /// rest is stored must not take it for one that never ran.
    pub(super) fn store_cleaning(&mut self, id: JailId, life: &mut Life) {
        let Some(jail) = self.jails.get(id) else { return };
        life.stored.cleaning = poststop::stored(jail.machine.state);
        life.stored.owes_poststop = jail.owes_poststop;
        life.stored.told = jail.told();
        // Mostly it is what was foreseen at its end.
        life.remember(&mut self.keeper, &jail.key);
    }

    /// Has the keeper remember a life as it is now, if anything of it is new.
    pub(super) fn store_life(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let told = jail.told();
        let Some(life) = &mut jail.life else { return };
        life.stored.told = told;
        life.remember(&mut self.keeper, &jail.key);
    }
}

/// The count of restarts, as the keeper remembers it.
pub(super) fn stored_limit(limit: machine::Limit) -> StoredLimit {
    let (restarts, reached) = (limit.restarts, limit.reached);
    StoredLimit { since_us: microseconds(limit.since), restarts, reached }
}

/// Why nothing can be started.
fn no_unit(jail: &Jail) -> String {
    let mut problems = jail.problems().map(crate::unit::Problem::one_line);
    match (problems.next(), problems.count()) {
        (None, _) => "it has no unit".to_owned(),
        (Some(first), 0) => format!("its unit cannot be used: {first}"),
        (Some(first), more) => format!(
            "its unit cannot be used: {first}; `jailctl why {}` shows {more} more",
            jail.name
        ),
    }
}
