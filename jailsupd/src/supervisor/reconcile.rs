//! Reconciliation: what the unit files ask for against what is there.
//!
//! Always the whole: every file is read, every unit compared with the one in force. What would follow
//! ([`Step`]) is found first and then done, so that `jailctl plan` shows exactly what would happen.

use super::jail::{Jail, Loaded};
use super::poller::JailId;
use super::waiters::{Answer, Goal, Waiter};
use super::{Supervisor, report};
use crate::control::server::ClientId;
use crate::control::wire::{
    Applied, Consequence, JailState, Outcome, PlanStep, Planned, Reply, UnitDraft,
};
use crate::exec::units;
use crate::machine::{Event, State, Want};
use crate::plan::{self, Context};
use crate::unit::change::{self, Change};
use crate::unit::{Effect, Problem, RawFile, RawKind, Resolved, Tree, Unit, set, tree};
use std::collections::{BTreeMap, BTreeSet};

/// What the files mean for one jail.
#[derive(Debug)]
pub(super) struct Step {
    name: String,
    consequence: Consequence,
    why: &'static str,
    changes: Vec<Change>,
    problems: Vec<Problem>,
    /// The files that the unit is made from; empty when it has none.
    files: Vec<String>,
    unit: Option<Box<Unit>>,
}

impl Supervisor {
    /// Reads all unit files as they are now, with `drafts` in the place of those of their stems.
    pub(super) fn read_units(&self, drafts: &[UnitDraft]) -> Tree {
        let mut files = units::gather(&self.directories);
        for draft in drafts {
            let path = draft.path.clone().unwrap_or_else(|| format!("{}.toml", draft.stem));
            let content = Ok(draft.text.clone().into_bytes());
            let kind = RawKind::Unit { stem: draft.stem.clone(), content };
            files.push(RawFile { path, directory: self.directories.len(), kind });
        }
        let mut tree = tree::resolve(&files);
        self.refuse_by_policy(&mut tree.units);
        self.refuse_clashes(&mut tree.units);
        tree
    }

    /// Of two units that claim the same address, the one that runs keeps it.
    fn refuse_clashes(&self, units: &mut [Resolved]) {
        let runs = |unit: &&Unit| {
            let jail = self.jails.find(unit.name.as_str()).and_then(|id| self.jails.get(id));
            jail.is_some_and(|jail| jail.life.is_some())
        };
        let good: Vec<&Unit> = units.iter().filter_map(|r| r.result.as_ref().ok()).collect();
        let (running, others): (Vec<&Unit>, Vec<&Unit>) = good.into_iter().partition(runs);
        let clashes = set::check(running.into_iter().chain(others), &self.host.uplink.address);
        let mut refused: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
        for clash in clashes {
            refused.entry(clash.name.as_str().to_owned()).or_default().push(clash.problem);
        }
        for resolved in units {
            if let Some(problems) = refused.remove(&resolved.name) {
                resolved.result = Err(problems);
            }
        }
    }

    /// What would follow from these units, in the order of the jails' names.
    fn foresee(&self, tree: Tree) -> Vec<Step> {
        let masked: BTreeSet<String> = tree.masked.into_iter().map(|masked| masked.name).collect();
        let named: BTreeSet<String> = tree.units.iter().map(|r| r.name.clone()).collect();
        let mut steps: Vec<Step> = Vec::new();
        for resolved in tree.units {
            let jail = self.jails.find(&resolved.name).and_then(|id| self.jails.get(id));
            steps.push(judge(jail, resolved));
        }
        for jail in self.jails.iter().filter(|jail| !named.contains(&jail.name) && !jail.removed) {
            let why = if masked.contains(&jail.name) { "it is masked" } else { "its unit is gone" };
            steps.push(Step::new(&jail.name, Consequence::Stop, why));
        }
        steps.sort_by(|a, b| a.name.cmp(&b.name));
        steps
    }

    /// Reads everything anew and does what follows. Says what was to be done with each jail.
    pub(super) fn rescan(&mut self) -> Vec<(String, Consequence)> {
        self.rescan_at = None;
        // First the watches: what changes after the reading is then noticed.
        self.watch.renew();
        self.renew_policy();
        let steps = self.foresee(self.read_units(&[]));
        // All at once: each storing of the table waits for the disk.
        let names = steps.iter().filter(|step| step.unit.is_some()).map(|step| step.name.as_str());
        if let Err(error) = self.ids.reserve(names) {
            log::error!("ranges of user ids cannot be stored: {error}");
        }
        let done = steps.iter().map(|step| (step.name.clone(), step.consequence)).collect();
        for step in steps {
            self.take(step);
        }
        done
    }

    fn take(&mut self, step: Step) {
        let id = self.jail_named(&step.name, step.files.first().map_or("", String::as_str));
        if let Some(jail) = self.jails.get_mut(id) {
            // One that comes back while it goes begins anew.
            if jail.removed && !step.files.is_empty() {
                jail.loaded = None;
            }
            jail.removed = step.files.is_empty();
            if jail.unit_problems != step.problems {
                for problem in &step.problems {
                    log::error!("jail={} {}", jail.name, problem.one_line());
                }
                jail.unit_problems = step.problems;
            }
            // A jail that goes is only stopped from here on, and has no unit to come back by.
            if jail.removed {
                jail.held_down = false;
            }
        }
        let is_invalid = step.unit.is_none() && !step.files.is_empty();
        let in_force = match step.unit {
            Some(unit) => self.put_in_force(id, *unit),
            None => true,
        };
        if in_force {
            self.follow(id, step.consequence, step.why);
        }
        if step.consequence == Consequence::Stop && is_invalid {
            self.forget_unit(id);
        }
        self.forget_if_removed(id);
    }

    /// No version of its unit is in force any more.
    fn forget_unit(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        jail.loaded = None;
        if jail.is_at_rest() {
            self.store_rest(id);
        }
    }

    fn follow(&mut self, id: JailId, consequence: Consequence, why: &str) {
        match consequence {
            Consequence::Start | Consequence::Restart => {
                if let Some(jail) = self.jails.get_mut(id) {
                    jail.held_down = false;
                }
                let restart = consequence == Consequence::Restart;
                self.apply(id, if restart { Event::Restart } else { Event::Start }, why);
            }
            Consequence::Stop => self.apply(id, Event::Stop, why),
            Consequence::Live => self.change_live(id),
            Consequence::Nothing | Consequence::Invalid => {}
        }
    }

    /// The rest of what can change live is read when it is needed.
    fn change_live(&mut self, id: JailId) {
        self.set_limits(id);
        if let Some(jail) = self.jails.get(id).filter(|jail| jail.life.is_some()) {
            let name = jail.name.clone();
            self.record(&name, None, "its unit changed, without a restart");
        }
    }

    /// Makes a unit the one in force, with its plan. False when that cannot be.
    fn put_in_force(&mut self, id: JailId, unit: Unit) -> bool {
        let ids = self.ids.range(unit.name.as_str());
        let planned = ids.and_then(|ids| {
            let context = Context { ids, machine_id: &self.machine_id };
            let plan = plan::plan(&unit, context).map_err(crate::exec::Error::Plan)?;
            Ok((ids, plan))
        });
        let Some(jail) = self.jails.get_mut(id) else { return false };
        match planned {
            Ok((ids, plan)) => {
                let restart_hash = unit.restart_hash().to_string();
                if jail.loaded.as_ref().is_some_and(|old| old.restart_hash != restart_hash) {
                    jail.start_problem = None;
                }
                let adopted = jail.loaded.is_none() && jail.life.is_some();
                jail.loaded = Some(Loaded { unit, restart_hash, ids, plan });
                if adopted {
                    // Nobody has looked at its unit for a while.
                    self.set_limits(id);
                }
                true
            }
            Err(error) => {
                let problem = unit.problem(error.key(), error.chain(), error.help());
                log::error!("jail={} {}", jail.name, problem.one_line());
                jail.unit_problems = vec![problem];
                false
            }
        }
    }

    pub(super) fn plan_units(&self, drafts: &[UnitDraft]) -> Reply {
        let steps = self.foresee(self.read_units(drafts));
        Reply::with(&Planned { steps: steps.iter().map(Step::to_wire).collect() })
    }

    /// Answers when nothing is under way any more, or at once.
    pub(super) fn apply_units(&mut self, client: ClientId, wait: bool) {
        let done = self.rescan();
        let goal =
            |(name, _): &(String, Consequence)| Some((self.jails.find(name)?, Goal::Settled));
        let jails = if wait { done.iter().filter_map(goal).collect() } else { Vec::new() };
        self.waiters.push(Waiter { client, jails, answer: Answer::Applied(done), until: None });
    }

    /// What a rescan has led to, as things are now.
    pub(super) fn outcome(&self, done: Vec<(String, Consequence)>) -> Reply {
        let applied = done.into_iter().map(|(name, consequence)| {
            let jail = self.jails.find(&name).and_then(|id| self.jails.get(id));
            let reached = jail.map_or(JailState::Down, Jail::state);
            let problem = jail.map(report::summary).and_then(|summary| summary.problem);
            Applied { name, consequence, reached, problem }
        });
        Reply::with(&Outcome { jails: applied.collect() })
    }
}

impl Step {
    fn new(name: &str, consequence: Consequence, why: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            consequence,
            why,
            changes: Vec::new(),
            problems: Vec::new(),
            files: Vec::new(),
            unit: None,
        }
    }

    fn to_wire(&self) -> PlanStep {
        PlanStep {
            name: self.name.clone(),
            consequence: self.consequence,
            why: self.why.to_owned(),
            changes: self.changes.iter().map(report::change).collect(),
            problems: self.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

fn judge(jail: Option<&Jail>, resolved: Resolved) -> Step {
    let Resolved { name, files, result, is_orphan } = resolved;
    let unit = match result {
        Ok(unit) => unit,
        Err(problems) => {
            let wanted = |jail: &Jail| jail.loaded.is_some() || jail.machine.want == Want::Up;
            if is_orphan && jail.is_some_and(wanted) {
                let gone = Step::new(&name, Consequence::Stop, "its unit is gone");
                return Step { problems, files, ..gone };
            }
            let kept = jail.is_some_and(|jail| jail.loaded.is_some());
            let why =
                if kept { "the last good version stays in force" } else { "it cannot be used" };
            return Step { problems, files, ..Step::new(&name, Consequence::Invalid, why) };
        }
    };
    let in_force = jail.filter(|jail| !jail.removed).and_then(|jail| jail.loaded.as_ref());
    let changes = in_force.map_or_else(Vec::new, |old| change::diff(&old.unit, &unit));
    let (consequence, why) = match in_force {
        None => first_seen(jail, &unit),
        Some(old) => changed(jail, &old.unit, &unit, &changes),
    };
    Step { changes, files, unit: Some(Box::new(unit)), ..Step::new(&name, consequence, why) }
}

fn first_seen(jail: Option<&Jail>, unit: &Unit) -> (Consequence, &'static str) {
    match jail.filter(|jail| !jail.removed) {
        Some(jail) if jail.held_down => (Consequence::Nothing, "someone stopped it"),
        Some(jail) if jail.life.is_some() && jail.machine.want == Want::Up => {
            (Consequence::Nothing, "it runs already")
        }
        Some(jail) if jail.rested.as_deref() == Some(&unit.restart_hash().to_string()) => {
            (Consequence::Nothing, "it has run already")
        }
        _ if !unit.enabled => (Consequence::Nothing, "it is disabled"),
        _ => (Consequence::Start, "its unit is here"),
    }
}

fn changed(
    jail: Option<&Jail>,
    old: &Unit,
    new: &Unit,
    changes: &[Change],
) -> (Consequence, &'static str) {
    let at_rest = jail.is_none_or(|jail| matches!(jail.machine.state, State::Down | State::Failed));
    let restart = changes.iter().any(|change| change.effect == Effect::Restart);
    match (old.enabled, new.enabled) {
        (true, false) => (Consequence::Stop, "it was disabled"),
        (false, true) if at_rest => (Consequence::Start, "it was enabled"),
        (_, false) if at_rest => (Consequence::Nothing, "it is disabled"),
        _ if restart && at_rest => (Consequence::Start, "its unit changed"),
        _ if restart => (Consequence::Restart, "its unit changed"),
        _ if !changes.is_empty() => (Consequence::Live, "its unit changed"),
        _ => (Consequence::Nothing, ""),
    }
}
