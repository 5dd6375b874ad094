//! Ordered stop: a jail that is to stop, or to restart, waits until those that depend on it have ended. Each of them
//! has its own stop time-out, so one that ignores its signal delays only what it depends on, and that not for ever.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use super::work::Ahead;
use crate::exec::state::Part;
use crate::machine::{Event, News, State};
use crate::unit::Relation;

/// What is to be done with a jail when nothing that depends on it runs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    /// Stop, Restart or `DependencyGone`.
    pub(super) event: Event,
    why: String,
    /// Its next image is imported when others are.
    is_queued: bool,
}

impl Leaving {
    /// As it was asked of an earlier jailsupd.
    pub(super) fn resumed(again: bool) -> Self {
        let event = if again { Event::Restart } else { Event::Stop };
        let why = "an earlier jailsupd was asked for that".to_owned();
        Self { event, why, is_queued: false }
    }

    /// As the keeper is to remember it: whether it is to start again. What others lead to is found anew.
    pub(super) fn stored(&self) -> Option<bool> {
        match self.event {
            Event::Stop => Some(false),
            Event::Restart => Some(true),
            _ => None,
        }
    }
}

impl Jail {
    /// Whether its processes run and it is not about to end.
    pub(super) fn is_running(&self) -> bool {
        matches!(
            self.machine.state,
            State::Starting { .. } | State::Activating { .. } | State::Up { .. }
        )
    }

    /// Whether something of it is there, or being made.
    fn is_there(&self) -> bool {
        !self.is_at_rest()
    }

    /// Whether it has not come to its processes yet.
    fn is_prepared(&self) -> bool {
        self.machine.state == State::Preparing
    }

    /// Whether it is not on its way, and can be started.
    pub(super) fn rests(&self) -> bool {
        matches!(self.machine.state, State::Down | State::Failed | State::Backoff { .. })
    }

    /// Whether it waits to end until its next image is there. One that is to stop, or to end with another, has no use for
    /// that.
    pub(super) fn runs_until_work_is_done(&self) -> bool {
        let imports = self.work.as_ref().is_some_and(|work| work.is_ahead);
        (imports || self.is_queued()) && self.is_running() && self.is_to_restart()
    }

    /// Whether its next image is to be imported when others are.
    fn is_queued(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.is_queued)
    }

    pub(super) fn queue_import(&mut self, is_queued: bool) {
        if let Some(leaving) = &mut self.leaving {
            leaving.is_queued = is_queued;
        }
    }

    /// Whether it is about to end, and to start again.
    pub(super) fn is_to_restart(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.event == Event::Restart)
    }

    /// Whether it is about to end, and not only when its next image is there.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some() && !self.runs_until_work_is_done()
    }

    pub(super) fn is_startable(&self) -> bool {
        self.loaded.is_some() && !self.removed
    }
}

impl Supervisor {
    /// Stops or restarts a jail for good reason (`event`), after those that depend on it.
    pub(super) fn leave(&mut self, id: JailId, event: Event, why: &str) {
        if event == Event::Restart {
            // First, so that it is its own image that is imported.
            self.put_in_place(id);
        }
        let Some(jail) = self.jails.get(id) else { return };
        let (name, is_there) = (jail.name.clone(), jail.is_there());
        // Preparing is not interrupted: that one is to end as soon as it has processes.
        let is_early = event == Event::News(News::DependencyGone) && jail.is_prepared();
        let ahead = if event == Event::Restart { self.import_ahead(id) } else { Ahead::NotNeeded };
        if ahead == Ahead::Refused {
            return;
        }
        let is_queued = ahead == Ahead::Queued;
        let is_imported = is_queued || ahead == Ahead::UnderWay;
        if is_early || is_imported || (is_there && !self.living_dependents(&name).is_empty()) {
            if let Some(jail) = self.jails.get_mut(id) {
                jail.leaving = Some(Leaving { event, why: why.to_owned(), is_queued });
                if !is_imported {
                    log::info!("jail={name} is to end after those that depend on it: {why}");
                }
            }
            if is_queued {
                self.tell_of(id, "its new image is imported when its turn comes");
            }
            self.ties.leavers.insert(id);
            self.store_stop(id);
            self.ties.moved = true;
            return;
        }
        if let Some(jail) = self.jails.get_mut(id) {
            jail.leaving = None;
        }
        self.apply(id, event, why);
        // Those that are on their way up; and where it did not run, those that did without it until someone wants
        // it down.
        if !self.going_down && (is_there || event == Event::Stop) {
            self.send_away(&name, event);
        }
    }

    /// The jails that must have ended before this one may. When the host goes down that is the reverse of every
    /// order in which they start; else they are those that need it.
    fn living_dependents(&self, name: &str) -> Vec<(Relation, JailId)> {
        let dependents = self.ties.order.dependents(name).iter();
        let held = dependents.filter(|(relation, _)| self.going_down || relation.is_needed());
        let found = held.filter_map(|(relation, name)| Some((*relation, self.jails.find(name)?)));
        // One that is being prepared runs nothing, and that may take its time.
        let holds = |jail: &Jail| {
            let beside = self.jails.beside(jail);
            (jail.is_there() && (self.going_down || !jail.is_prepared()))
                || beside.is_some_and(Jail::is_there)
        };
        found.filter(|(_, id)| self.jails.get(*id).is_some_and(holds)).collect()
    }

    /// Asks those that need a jail to end.
    fn send_away(&mut self, name: &str, event: Event) {
        let what = if event == Event::Stop { "is stopped" } else { "is restarted" };
        let dependents = self.ties.order.dependents(name).iter();
        let needing = dependents.filter(|(relation, _)| relation.is_needed());
        let found: Vec<(Relation, JailId)> = needing
            .filter_map(|(relation, name)| Some((*relation, self.jails.find(name)?)))
            .collect();
        for (relation, id) in found {
            let ends = |jail: &Jail| {
                let is_tried = self.on_trial_beside(jail).is_some();
                (jail.is_running() || jail.is_prepared() || is_tried) && !jail.is_leaving()
            };
            if self.jails.get(id).is_some_and(ends) {
                let verb = relation.verb();
                let why = format!("{name}, which it {verb}, {what}");
                self.leave(id, Event::News(News::DependencyGone), &why);
            }
        }
    }

    /// Lets the jails end whose turn it is.
    pub(super) fn stop_in_order(&mut self) {
        let jails = &self.jails;
        self.ties.leavers.retain(|id| jails.get(*id).is_some_and(|jail| jail.leaving.is_some()));
        let leaving: Vec<JailId> = self.ties.leavers.iter().copied().collect();
        for id in &leaving {
            if self.jails.get(*id).is_some_and(Jail::is_queued) {
                self.take_turn(*id);
            }
            let Some(jail) = self.jails.get(*id) else { continue };
            let Some(Leaving { event, .. }) = jail.leaving else { continue };
            let name = jail.name.clone();
            let is_early = event == Event::News(News::DependencyGone) && jail.is_prepared();
            if is_early || jail.runs_until_work_is_done() {
                continue;
            }
            if jail.is_there() && !self.living_dependents(&name).is_empty() {
                if !self.going_down {
                    self.send_away(&name, event);
                }
            } else {
                self.finish_leaving(*id);
            }
        }
        if !leaving.is_empty() && self.stands_still() {
            log::warn!("jails wait for each other's end: all are stopped now");
            leaving.into_iter().for_each(|id| self.finish_leaving(id));
        }
    }

    /// Whether every jail that is there waits for another one's end: units of several versions in force may go
    /// round in a circle that no single reading of them had.
    fn stands_still(&self) -> bool {
        // A version on trial goes with the one that it is beside.
        let all = self.jails.all().map(|(_, jail)| jail).filter(|jail| jail.part != Part::OnTrial);
        let mut there = all.filter(|jail| jail.is_there()).peekable();
        let waits = |jail: &Jail| jail.is_leaving() && !jail.is_prepared();
        there.peek().is_some() && there.all(waits)
    }

    fn finish_leaving(&mut self, id: JailId) {
        let leaving = self.jails.get_mut(id).and_then(|jail| jail.leaving.take());
        if let Some(Leaving { event, why, .. }) = leaving {
            self.apply(id, event, &why);
        }
    }
}
