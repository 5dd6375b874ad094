//! Reconciliation: what the unit files ask for against what is there.
//!
//! Always the whole: every file is read, every unit compared with the one in force. What would follow
//! ([`Step`]) is found first and then done, so that `jailctl plan` shows exactly what would happen.

use super::jail::{Jail, Loaded};
use super::networks::Found;
use super::poller::JailId;
use super::step::{Step, judge};
use super::waiters::{Answer, Goal, Waiter};
use super::{Supervisor, networks, report};
use crate::control::server::ClientId;
use crate::control::wire::{Applied, Consequence, JailState, Outcome, Planned, Reply, UnitDraft};
use crate::exec::Error;
use crate::exec::units;
use crate::machine::{Event, News, Want};
use crate::plan::ids::Ids;
use crate::plan::{self, Context};
use crate::unit::set::Clash;
use crate::unit::{ImageSource, Problem, RawFile, RawKind, Resolved, Tree, Unit, set, tree};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A step whose unit is in force.
struct Taken {
    id: JailId,
    consequence: Consequence,
    why: Cow<'static, str>,
    /// The files make no unit, and none is in force from before.
    is_invalid: bool,
    /// It names other jails than before.
    is_tied_anew: bool,
}

/// Takes the units away that cannot be in force beside others.
pub(super) fn refuse(units: &mut [Resolved], clashes: Vec<Clash>) {
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

impl Supervisor {
    /// Reads all unit files as they are now, with `drafts` in the place of those of their stems.
    pub(super) fn read_units(&self, drafts: &[UnitDraft]) -> Tree {
        self.read_units_in(&self.read_networks(&[]), drafts)
    }

    /// The same in these networks.
    pub(super) fn read_units_in(&self, networks: &Found, drafts: &[UnitDraft]) -> Tree {
        let mut files = units::gather(&self.directories);
        for draft in drafts {
            let path = draft.path.clone().unwrap_or_else(|| format!("{}.toml", draft.stem));
            let content = Ok(draft.text.clone().into_bytes());
            let kind = RawKind::Unit { stem: draft.stem.clone(), content };
            files.push(RawFile { path, directory: self.directories.len(), kind });
        }
        let mut tree = tree::resolve(&files);
        self.join_networks(&mut tree.units, networks);
        self.refuse_by_policy(&mut tree.units);
        self.read_profiles(&mut tree.units);
        let drafted: Vec<&str> = drafts.iter().filter_map(|draft| draft.path.as_deref()).collect();
        self.refuse_failed_versions(&mut tree.units, &drafted);
        self.refuse_clashes(&mut tree.units);
        self.refuse_ties(&mut tree);
        tree
    }

    /// Of two units that claim the same address, the one that runs keeps it. One that is refused stays in force as it was
    /// before, with what that claims.
    fn refuse_clashes(&self, units: &mut [Resolved]) {
        loop {
            let clashes = self.clashes(units);
            if clashes.is_empty() {
                return;
            }
            refuse(units, clashes);
        }
    }

    fn clashes(&self, units: &[Resolved]) -> Vec<Clash> {
        let runs = |unit: &&Unit| {
            let jail = self.jails.find(unit.name.as_str()).and_then(|id| self.jails.get(id));
            jail.is_some_and(|jail| jail.life.is_some())
        };
        let good = units.iter().filter_map(|r| r.result.as_ref().ok());
        // What was good before stays in force, of one that starts beside it for as long as that takes; and so do both of
        // two lives.
        let stays = units.iter().flat_map(|r| {
            let jail = self.jails.find(&r.name).and_then(|id| self.jails.get(id));
            let beside = jail.and_then(|jail| self.jails.beside(jail));
            let jail = jail.filter(|jail| match &r.result {
                Ok(unit) => jail.beside.is_some() || jail.starts_first(unit),
                Err(_) => true,
            });
            let both = [jail, beside].into_iter().flatten();
            both.filter_map(|jail| Some(&jail.loaded.as_ref()?.unit))
        });
        let (running, others): (Vec<&Unit>, Vec<&Unit>) = stays.chain(good).partition(runs);
        set::check(running.into_iter().chain(others), &self.host.uplink.address)
    }

    /// The version that an earlier jailsupd had put in force, where this one has none yet.
    fn last_good(&self, jail: Option<&Jail>, resolved: &Resolved) -> Option<Unit> {
        if jail.is_some_and(|jail| jail.loaded.is_some()) {
            return None;
        }
        let file = resolved.files.first().map_or("", String::as_str);
        let Some(canonical) = self.last_good.get(&resolved.name) else {
            // The host has booted since.
            return self.good_unit(&resolved.name, file);
        };
        let mut unit = Unit::from_canonical(&resolved.name, file, &canonical).ok()?;
        // As far as it may still be started.
        self.read_what_it_names(&mut unit).ok()?;
        self.policy.check(&unit).is_empty().then_some(unit)
    }

    /// What would follow from these units, in the order of the jails' names.
    fn foresee(&self, tree: Tree) -> Vec<Step> {
        let masked: BTreeSet<String> = tree.masked.into_iter().map(|masked| masked.name).collect();
        let named: BTreeSet<String> = tree.units.iter().map(|r| r.name.clone()).collect();
        let mut steps: Vec<Step> = Vec::new();
        for resolved in tree.units {
            let jail = self.jails.find(&resolved.name).and_then(|id| self.jails.get(id));
            let last_good = self.last_good(jail, &resolved);
            let on_trial = jail.and_then(|jail| self.on_trial_beside(jail));
            steps.push(judge((jail, on_trial), resolved, last_good));
        }
        for jail in self.jails.iter().filter(|jail| !named.contains(&jail.name) && !jail.removed) {
            let why = if masked.contains(&jail.name) { "it is masked" } else { "its unit is gone" };
            steps.push(Step::new(&jail.name, Consequence::Stop, why));
        }
        steps.sort_by(|a, b| a.name.cmp(&b.name));
        self.derive(&mut steps);
        steps
    }

    /// Reads everything anew and does what follows. Says what was to be done with each jail.
    pub(super) fn rescan(&mut self) -> Vec<(String, Consequence)> {
        self.rescan_at = None;
        // First the watches: what changes after the reading is then noticed.
        self.watch.renew();
        self.renew_policy();
        self.restore_units();
        let networks = self.read_networks(&[]);
        self.note_network_problems(&networks);
        let steps = self.foresee(self.read_units_in(&networks, &[]));
        self.keep_networks(&networks, &steps);
        // All at once: each storing of the table waits for the disk.
        let units = steps.iter().filter_map(|step| step.unit.as_deref());
        let names: Vec<String> = units
            .flat_map(|unit| Ids::names(unit.name.as_str(), unit.user.size.ranges()))
            .collect();
        if let Err(error) = self.ids.reserve(names.iter().map(String::as_str)) {
            log::error!("ranges of user ids cannot be stored: {error}");
        }
        let has_unit = |step: &&Step| !step.files.is_empty() && !step.is_gone;
        let named = steps.iter().filter(has_unit).map(|step| step.name.as_str()).collect();
        if let Err(error) = self.last_good.keep_only(&named) {
            log::warn!("units that are gone are remembered: {error}");
        }
        self.trials.keep_only(&named);
        let done = steps.iter().map(|step| (step.name.clone(), step.consequence)).collect();
        // All are known before one is started or stopped: others may have to come first.
        let taken: Vec<_> = steps.into_iter().map(|step| self.take(step)).collect();
        self.follow_networks();
        self.follow_names();
        self.find_lacking();
        self.renew_order();
        let ids: Vec<JailId> =
            taken.into_iter().filter_map(|taken| self.carry_out(taken)).collect();
        ids.into_iter().for_each(|id| self.start_what_it_needs(id, false));
        self.scale_kernel_limits();
        self.forget_images();
        self.sweep_links();
        self.follow_all_health();
        done
    }

    /// Lets go of images that no unit in force names, or whose files are gone.
    pub(super) fn forget_images(&mut self) {
        let loaded = self.jails.all().filter_map(|(_, jail)| jail.loaded.as_ref());
        let named: BTreeSet<_> =
            loaded.map(|loaded| loaded.unit.image.source.to_string()).collect();
        let is_named = |source: &ImageSource| named.contains(&source.to_string());
        self.images.keep_only(is_named, &self.layout);
    }

    /// Puts in force what the files say.
    fn take(&mut self, step: Step) -> Taken {
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
        let is_beside = step.consequence == Consequence::Replace;
        if let Some(jail) = self.jails.get_mut(id).filter(|_| !is_beside) {
            jail.held_back = None;
        }
        if !is_beside && step.unit.is_some() {
            self.call_off(id, "its new version is not that of its files any more");
        }
        let in_force = match step.unit {
            Some(unit) if is_beside => {
                self.restore_unit(id);
                self.put_beside(id, &unit);
                false
            }
            Some(unit) => self.put_in_force(id, *unit),
            None => true,
        };
        // What is derived from others' steps follows by itself.
        let in_force = in_force && !step.is_derived;
        let consequence = if in_force { step.consequence } else { Consequence::Nothing };
        let is_tied_anew =
            step.changes.iter().any(|change| change.key.starts_with("dependencies."));
        Taken { id, consequence, why: step.why, is_invalid, is_tied_anew }
    }

    /// Does what follows. Returns the jail when it is wanted up now, with whatever it needs.
    fn carry_out(&mut self, taken: Taken) -> Option<JailId> {
        let Taken { id, consequence, why, is_invalid, is_tied_anew } = taken;
        self.follow(id, consequence, &why);
        if consequence == Consequence::Stop && is_invalid {
            self.forget_unit(id);
        }
        self.forget_if_removed(id);
        let wanted = self.jails.get(id)?.machine.want == Want::Up;
        let begins = match consequence {
            Consequence::Start | Consequence::Restart => true,
            Consequence::Live => is_tied_anew,
            Consequence::Stop
            | Consequence::Replace
            | Consequence::Nothing
            | Consequence::Invalid => false,
        };
        (wanted && begins).then_some(id)
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
                if consequence == Consequence::Restart {
                    self.leave(id, Event::Restart, why);
                } else {
                    self.apply(id, Event::Start, why);
                }
            }
            Consequence::Stop => self.leave(id, Event::Stop, why),
            Consequence::Live => self.change_live(id),
            Consequence::Replace | Consequence::Nothing | Consequence::Invalid => {}
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
    pub(super) fn put_in_force(&mut self, id: JailId, unit: Unit) -> bool {
        let Some(jail) = self.jails.get_mut(id) else { return false };
        if let Some(loaded) = &mut jail.loaded {
            if loaded.unit.settings() == unit.settings() {
                // The same, perhaps at other places of its file.
                loaded.unit = unit;
                return true;
            }
        }
        let planned = self.planned(&unit);
        let Some(jail) = self.jails.get_mut(id) else { return false };
        match planned {
            Ok(new) => {
                let name = &jail.name;
                if let Err(error) = self.last_good.put(name, &unit.canonical()) {
                    log::warn!("jail={name} its unit is not kept for the next jailsupd: {error}");
                }
                if jail.loaded.as_ref().is_some_and(|old| old.restart_hash != new.restart_hash) {
                    jail.start_problem = None;
                }
                let runs = jail.life.is_some();
                let adopted = jail.loaded.is_none() && runs;
                jail.log.set_size_max(new.unit.logs.size_max.get());
                jail.take(new);
                jail.place_found_problem();
                self.renew_good(id);
                if adopted {
                    // Nobody has looked at its unit for a while.
                    self.set_limits(id);
                    self.begin_trial(id);
                }
                match runs {
                    true => {
                        self.apply(id, Event::News(News::UnitRead), "its unit was read");
                        self.renew_health(id);
                    }
                    false => self.drop_stale_link(id),
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

    /// A unit with its ids and its plan.
    pub(super) fn planned(&mut self, unit: &Unit) -> Result<Loaded, Error> {
        let ranges = self.ids.ranges(unit.name.as_str(), unit.user.size.ranges())?;
        let number = self.number_of(unit)?;
        let first = ranges.first().copied();
        let ids = first.ok_or_else(|| Error::Ids(io::ErrorKind::NotFound.into()))?;
        let (machine_id, kernel) = (self.machine_id.as_str(), self.kernel_version);
        let context = Context { ids: &ranges, machine_id, kernel, number };
        let plan = plan::plan(unit, context, &mut self.shared).map_err(Error::Plan)?;
        let restart_hash = unit.restart_hash().to_string();
        Ok(Loaded { unit: unit.clone(), restart_hash, ids, plan })
    }

    pub(super) fn plan_units(&self, drafts: &[UnitDraft]) -> Reply {
        let (of_networks, of_units) = networks::split(drafts);
        let networks = self.read_networks(&of_networks);
        let steps = self.foresee(self.read_units_in(&networks, &of_units));
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
