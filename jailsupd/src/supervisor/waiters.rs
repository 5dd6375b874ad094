//! Clients that wait for a state: their answer is what was reached, not what was wished.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use crate::control::server::ClientId;
use crate::control::wire::{Consequence, JailState};
use crate::machine::{Moment, State, Want};

/// A call that is answered later.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) client: ClientId,
    /// The jails it is about, each with what it waits for.
    pub(super) jails: Vec<(JailId, Goal)>,
    pub(super) answer: Answer,
    /// Then it is answered as things are.
    pub(super) until: Option<Moment>,
}

/// What the answer looks like.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The one jail's summary.
    Jail(String),
    /// The same; a refusal when the time is over.
    Reached(String),
    /// The jail of a run is gone; why it did not do what was asked.
    Ran { problem: Option<String> },
    /// What a rescan led to.
    Applied(Vec<(String, Consequence)>),
}

/// When a jail is where a waiter wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// It has been started at least this often, and is up or has come to rest.
    Started(u64),
    /// Nothing of it runs.
    Stopped,
    /// The life that this many starts led to has ended.
    Ended(u64),
    /// Frozen, or thawed.
    Frozen(bool),
    /// There is no such jail any more.
    Gone,
    /// Exactly this state.
    State(JailState),
    /// Nothing is under way any more.
    Settled,
    /// What was asked is done already.
    Now,
}

impl Goal {
    /// Whether `jail` is there; `None` is a jail that is gone.
    pub(super) fn is_reached(self, jail: Option<&Jail>) -> bool {
        let Some(jail) = jail else { return !matches!(self, Self::State(_)) };
        let at_rest = matches!(jail.machine.state, State::Down | State::Failed);
        let gave_up = matches!(jail.machine.state, State::Backoff { .. }) || jail.is_stuck();
        let tried = at_rest || gave_up;
        let up = matches!(jail.machine.state, State::Up { .. });
        let is_unwanted = jail.machine.want == Want::Down && jail.leaving.is_none();
        match self {
            // One that waits for somebody to do something does not start for now.
            Self::Started(_) if jail.is_stuck() || self.is_given_up(jail) => true,
            // Someone else has stopped it before it came to that start.
            Self::Started(_) if at_rest && is_unwanted => true,
            Self::Started(count) => jail.starts >= count && (up || tried),
            Self::Stopped => at_rest && jail.life.is_none() && jail.beside.is_none(),
            Self::Ended(starts) => jail.life.is_none() || jail.starts > starts,
            Self::Frozen(frozen) => jail.frozen == frozen || jail.life.is_none(),
            Self::Gone => false,
            Self::State(state) => jail.state() == state,
            // Its turn to end has not come, or another version of it is there. One that waits for others to be there
            // may wait for somebody to do something.
            Self::Settled if jail.leaving.is_some() || jail.beside.is_some() => false,
            Self::Settled => match jail.machine.want {
                Want::Up => up || tried,
                Want::Down => at_rest,
            },
            Self::Now => true,
        }
    }

    /// Whether it is a restart that does not come: the jail runs on, since its image cannot be had.
    pub(super) fn is_given_up(self, jail: &Jail) -> bool {
        let runs_on = jail.is_running() && jail.leaving.is_none() && jail.start_problem.is_some();
        matches!(self, Self::Started(count) if jail.starts < count && runs_on)
    }
}

impl Supervisor {
    /// Answers every waiter that is where it wanted to be, or whose time is over.
    pub(super) fn answer_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let now = super::clock::now();
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        for waiter in std::mem::take(&mut self.waiters) {
            // What has come of the files is known when they were read.
            let is_early = matches!(waiter.answer, Answer::Applied(_))
                && self.rescan_at.is_some()
                && !self.going_down;
            let mut goals = waiter.jails.iter();
            let reached = !is_early && goals.all(|(id, goal)| goal.is_reached(self.jails.get(*id)));
            if reached || waiter.until.is_some_and(|until| until <= now) {
                done.push((waiter, reached));
            } else {
                waiting.push(waiter);
            }
        }
        self.waiters = waiting;
        for (waiter, reached) in done {
            self.answer_waiter(waiter, reached);
        }
    }

    /// The first time-out of a waiter.
    pub(super) fn waiters_deadline(&self) -> Option<Moment> {
        self.waiters.iter().filter_map(|waiter| waiter.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Layout;
    use crate::exec::cgroup::Cgroup;
    use crate::exec::logs::Log;
    use crate::machine::Machine;
    use std::path::PathBuf;

    fn jail(state: State, want: Want) -> Jail {
        let nowhere = PathBuf::from("/nowhere");
        let layout = Layout { data: nowhere.clone(), run: nowhere.clone(), cgroups: nowhere };
        let cgroup = Cgroup::of(&layout.cgroups, "web");
        let jail = Jail::new("web", "", cgroup, Log::of(&layout, "web"));
        Jail { machine: Machine { state, want, ..jail.machine }, starts: 1, ..jail }
    }

    const UP: State =
        State::Up { since: Moment::ZERO, well_since: None, watchdog_at: None, runtime_until: None };

    #[test]
    fn a_restart_waits_for_the_next_start() {
        let next = Goal::Started(2);
        assert!(!next.is_reached(Some(&jail(UP, Want::Up))));
        assert!(!next.is_reached(Some(&jail(State::Preparing, Want::Up))));
        assert!(next.is_reached(Some(&Jail { starts: 2, ..jail(UP, Want::Up) })));
    }

    #[test]
    fn a_restart_is_over_when_someone_has_stopped_the_jail_meanwhile() {
        let next = Goal::Started(2);
        assert!(next.is_reached(Some(&jail(State::Down, Want::Down))));
        // Not before nothing of it runs.
        assert!(!next.is_reached(Some(&jail(UP, Want::Down))));
        assert!(!next.is_reached(Some(&jail(State::Preparing, Want::Down))));
    }
}
