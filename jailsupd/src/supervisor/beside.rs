//! `deploy.strategy = "start-first"`: another version of a unit beside the one that runs, until it takes its place.
//!
//! What is beside a jail is a jail, too, that is found by its number alone. Its cgroup, namespaces, layer and entry in the
//! keeper are under another key; name, ids, volumes and log are the same. When the new version has proved itself, the two
//! lives change places: the jail goes on as the new one, and what is beside it is the former one, which ends. Then the
//! new one gets the jail's link.

use super::Supervisor;
use super::clock;
use super::jail::{Jail, Loaded};
use super::poller::{JailId, swapped};
use crate::control::wire::JailState;
use crate::exec::cgroup::Cgroup;
use crate::exec::deploys::Version;
use crate::exec::logs::Log;
use crate::exec::state::Part;
use crate::exec::{faults, given, image, overlay};
use crate::machine::{Event, News, State};
use crate::plan::Link;
use crate::unit::amount::show_duration;
use crate::unit::{BESIDE, IpPrefix, Problem, Relation, Strategy, Unit};
use std::borrow::Cow;
use std::io;
use std::path::Path;

impl Jail {
    /// The key of the other one of its two possible lives.
    fn other_key(&self) -> String {
        if self.key == self.name { format!("{}{BESIDE}", self.name) } else { self.name.clone() }
    }

    /// Whether a version of its unit that cannot be taken over live is started beside it.
    pub(super) fn starts_first(&self, new: &Unit) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| self.lets_start(&loaded.restart_hash, new))
    }

    /// The same of a jail that an earlier jailsupd has left running with the version that was in force then.
    pub(super) fn left_starts_first(&self, old: &Unit, new: &Unit) -> bool {
        let old = old.restart_hash().to_string();
        self.life.as_ref().is_some_and(|life| life.stored.unit == old) && self.lets_start(&old, new)
    }

    /// Whether it runs, and lets another version than this one start first.
    fn lets_start(&self, old: &str, new: &Unit) -> bool {
        let is_up = matches!(self.machine.state, State::Up { .. }) && self.leaving.is_none();
        is_up
            && new.deploy.strategy == Strategy::StartFirst
            && new.restart_hash().to_string() != old
    }

    /// Whether it is a version on trial that nobody has called off.
    fn is_tried(&self) -> bool {
        self.part == Part::OnTrial && !self.removed
    }

    /// Whether it is a version of this unit on trial.
    pub(super) fn is_trial_of(&self, unit: &Unit) -> bool {
        let same = |loaded: &Loaded| loaded.unit.settings() == unit.settings();
        self.is_tried() && self.loaded.as_ref().is_some_and(same)
    }

    /// What is told of one of two lives.
    pub(super) fn of_part<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.part {
            Part::Itself => Cow::Borrowed(text),
            Part::OnTrial => Cow::Owned(format!("its new version: {text}")),
            Part::Former => Cow::Owned(format!("its former version: {text}")),
        }
    }

    /// What is told of a change of its state where it is not the jail itself.
    pub(super) fn told_beside(&self, now: JailState, why: &str) -> Option<String> {
        match self.part {
            Part::Itself => None,
            Part::OnTrial => Some(format!("its new version, beside it, is {now}: {why}")),
            Part::Former => Some(format!("its former version, beside it, is {now}: {why}")),
        }
    }
}

impl Supervisor {
    /// Records what has happened to one of a jail's lives.
    pub(super) fn tell_of(&mut self, id: JailId, text: &str) {
        let told = self.jails.get(id).map(|jail| (jail.name.clone(), jail.of_part(text)));
        if let Some((name, text)) = told {
            self.record(&name, None, &text);
        }
    }

    /// The version of a jail that is on trial beside it.
    pub(super) fn on_trial_beside(&self, jail: &Jail) -> Option<&Jail> {
        self.jails.beside(jail).filter(|beside| beside.part == Part::OnTrial)
    }

    /// The link that a life is to have now: the jail's own, unless another life has that.
    pub(super) fn link_of<'a>(&self, jail: &Jail, loaded: &'a Loaded) -> Option<&'a Link> {
        if self.has_link_beside(jail) {
            loaded.plan.link_beside.as_ref()
        } else {
            loaded.plan.link()
        }
    }

    /// Whether another life of the jail has its link.
    pub(super) fn has_link_beside(&self, jail: &Jail) -> bool {
        let beside = self.jails.beside(jail);
        jail.part == Part::OnTrial || beside.is_some_and(|beside| beside.part == Part::Former)
    }

    /// The jail whose log it has.
    pub(super) fn log_of(&self, id: JailId) -> JailId {
        self.jails.get(id).and_then(|jail| jail.of).unwrap_or(id)
    }

    /// Makes a place beside a jail.
    pub(super) fn make_beside(&mut self, of: JailId, part: Part) -> Option<JailId> {
        let jail = self.jails.get(of)?;
        let key = jail.other_key();
        let cgroup = Cgroup::of(&self.layout.cgroups, &key);
        // It is the jail's log that is written to.
        let log = Log::of(&self.layout, &jail.name);
        let beside = Jail {
            key,
            part,
            of: Some(of),
            removed: part == Part::Former,
            ..Jail::new(&jail.name, &jail.path, cgroup, log)
        };
        let id = self.jails.add_unnamed(beside);
        self.jails.get_mut(of)?.beside = Some(id);
        Some(id)
    }

    /// Starts a version of a jail's unit beside it, or goes on with the one that an earlier jailsupd has started.
    pub(super) fn put_beside(&mut self, of: JailId, unit: &Unit) {
        let Some(jail) = self.jails.get(of) else { return };
        // When that is gone, the files are read again.
        if self.jails.beside(jail).is_some_and(|beside| beside.part == Part::Former) {
            return;
        }
        if jail.beside.is_none() && self.waits_to_start(of, unit) {
            return;
        }
        let problem = match self.planned(unit) {
            Ok(loaded) => match self.claimed_twice(of, unit) {
                None => return self.start_beside(of, loaded),
                Some(problem) => problem,
            },
            Err(error) => unit.problem(error.key(), error.chain(), error.help()),
        };
        log::error!("jail={} {}", unit.name, problem.one_line());
        self.call_off(of, "its new version cannot be started");
        if let Some(jail) = self.jails.get_mut(of) {
            jail.unit_problems = vec![problem];
        }
    }

    /// Whether a new version is started later, since what it requires is not ready yet. That is started, and when it is,
    /// the files are read again.
    fn waits_to_start(&mut self, of: JailId, unit: &Unit) -> bool {
        let is_up = |jail: &Jail| matches!(jail.machine.state, State::Up { .. });
        let needs = [Relation::Requires, Relation::BindsTo].into_iter();
        let lacks = needs.flat_map(|relation| unit.dependencies.of(relation)).find(|name| {
            let jail = self.jails.find(name.as_str()).and_then(|id| self.jails.get(id));
            !jail.is_some_and(is_up)
        });
        let text = lacks.map(|name| format!("its new version waits for {name}, which is not up"));
        self.ties.holds_back |= text.is_some();
        for (_, other) in unit.dependencies.all().filter(|(relation, _)| relation.starts_it()) {
            if let Some(other) = self.jails.find(other) {
                self.start_for(other, false, &format!("the new version of {} needs it", unit.name));
            }
        }
        let Some(jail) = self.jails.get_mut(of) else { return false };
        let is_new = jail.held_back != text;
        jail.held_back.clone_from(&text);
        if let Some(text) = text.as_ref().filter(|_| is_new) {
            self.record(unit.name.as_str(), None, text);
        }
        text.is_some()
    }

    /// What a new version would have for the time of its trial, and the running one has.
    fn claimed_twice(&self, of: JailId, unit: &Unit) -> Option<Problem> {
        let running = &self.jails.get(of)?.loaded.as_ref()?.unit.network;
        let mut wanted = unit.deploy.address.iter().map(IpPrefix::address);
        let twice = wanted.find(|one| running.fixed().any(|other| other.address() == *one))?;
        let message = format!("{twice} is an address of the version that runs");
        let help = "give the new version another one until it takes that one's place";
        Some(unit.problem("deploy.address", message, help))
    }

    fn start_beside(&mut self, of: JailId, loaded: Loaded) {
        let there = self.jails.get(of).and_then(|jail| jail.beside);
        let Some(id) = there.or_else(|| self.make_beside(of, Part::OnTrial)) else { return };
        let Some(jail) = self.jails.get_mut(id) else { return };
        let name = jail.name.clone();
        let started_from = jail.life.as_ref().map(|life| &life.stored.unit);
        let runs = !jail.removed && started_from == Some(&loaded.restart_hash);
        jail.removed = false;
        jail.start_problem = None;
        let image = image::digest(&loaded.unit.image.source, &self.layout);
        let image = image.map(|digest| digest.to_string());
        let version = Version { unit: loaded.restart_hash.clone(), image };
        jail.take(loaded);
        if runs {
            self.set_limits(id);
            self.begin_trial(id);
            self.apply(id, Event::News(News::UnitRead), "its unit was read");
            self.follow_health(id);
        } else {
            // One that is not even spawned is judged, too.
            let since = self.trials.take_begun(id, &version).unwrap_or_else(clock::now);
            self.put_on_trial(id, version, since);
            self.record(&name, None, "its new version is started beside it");
            self.apply(id, Event::Restart, "its unit changed");
        }
    }

    /// Ends the trial of a version beside a jail, and that version. `told` is the whole sentence.
    pub(super) fn call_off(&mut self, of: JailId, told: &str) {
        let Some(id) = self.jails.get(of).and_then(|jail| jail.beside) else { return };
        let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.is_tried()) else { return };
        jail.removed = true;
        let name = jail.name.clone();
        self.trials.end(id);
        self.record(&name, None, told);
        self.apply(id, Event::Stop, "it is not wanted any more");
    }

    /// The policy allows the version on trial no longer.
    pub(super) fn call_off_without_unit(&mut self, id: JailId) {
        let jail = self.jails.get(id).filter(|jail| jail.loaded.is_none());
        if let Some(of) = jail.and_then(|jail| jail.of) {
            self.call_off(of, "its new version may not be started any more");
        }
    }

    /// A jail is to stop, or to restart: its new version is what is started next, in its place.
    pub(super) fn put_in_place(&mut self, of: JailId) {
        let beside = self.jails.get(of).and_then(|jail| self.jails.beside(jail));
        let Some(jail) = beside.filter(|jail| jail.is_tried()) else { return };
        let unit = jail.loaded.as_ref().map(|loaded| loaded.unit.clone());
        self.call_off(of, "its new version is not tried beside it any more");
        if let Some(unit) = unit {
            self.put_in_force(of, unit);
        }
    }

    /// Whether a version beside a jail may take its place now: not while that is between two states that its start or its
    /// stop in order goes through.
    pub(super) fn may_hand_over(&self, new: JailId) -> bool {
        let of = self.jails.get(new).and_then(|jail| self.jails.get(jail.of?));
        of.is_none_or(|of| of.machine.state != State::Preparing && of.leaving.is_none())
    }

    /// The version beside a jail takes its place.
    pub(super) fn hand_over(&mut self, new: JailId) {
        let Some(of) = self.jails.get(new).and_then(|jail| jail.of) else { return };
        self.keep_former(of);
        self.swap_parts(of, new);
        self.swap_lives(of, new);
        let Some(jail) = self.jails.get(of) else { return };
        let Some(loaded) = &jail.loaded else { return };
        let (name, canonical) = (jail.name.clone(), loaded.unit.canonical());
        if let Err(error) = self.last_good.put(&name, &canonical) {
            log::warn!("jail={name} its unit is not kept for the next jailsupd: {error}");
        }
        let image = jail.life.as_ref().and_then(|life| life.stored.image.clone());
        let version = Version { unit: loaded.restart_hash.clone(), image };
        self.trials.started(of, version);
        self.ties.moved = true;
        self.renew_order();
        self.follow_networks();
        let text = "its new version takes its place";
        log::info!("jail={name} {text}");
        self.record(&name, None, text);
        if self.jails.get(of).is_some_and(Jail::is_at_rest) {
            self.store_rest(of);
        }
        faults::pass("handed-over-to-new");
        self.apply(new, Event::Stop, "its new version has taken its place");
    }

    /// The next jailsupd is to end the former version as its own unit says.
    fn keep_former(&self, of: JailId) {
        let Some(jail) = self.jails.get(of) else { return };
        let Some(loaded) = &jail.loaded else { return };
        if let Err(error) = self.last_good.put_former(&jail.name, &loaded.unit.canonical()) {
            log::warn!("jail={} its former unit is not kept: {error}", jail.name);
        }
    }

    /// Has the keeper remember which is which, so that the next jailsupd finds at most one that is the jail itself.
    fn swap_parts(&mut self, of: JailId, new: JailId) {
        let Some([jail, beside]) = self.jails.pair(of, new) else { return };
        (jail.part, beside.part) = (Part::Former, Part::Itself);
        if let Some(life) = &mut beside.life {
            life.stored.last_exit.clone_from(&jail.last_exit);
            life.stored.held_down = jail.held_down;
            life.stored.restarts = 0;
            life.stored.part = Part::Itself;
        }
        match &mut jail.life {
            Some(life) => {
                life.stored.part = Part::Former;
                self.store_life(of);
            }
            None => self.store_rest(of),
        }
        faults::pass("former-stored");
        self.store_life(new);
        faults::pass("new-stored");
    }

    /// Everything that belongs to a life changes places; what belongs to the jail stays.
    fn swap_lives(&mut self, of: JailId, new: JailId) {
        for id in [of, new] {
            self.pause_check(id);
            if let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) {
                life.forget(&self.poller);
                self.poller.forget(&life.pidfd);
            }
        }
        let Some([jail, beside]) = self.jails.pair(of, new) else { return };
        jail.swap_life(beside);
        for last in &mut jail.intake.writers {
            *last = Some(swapped(last.unwrap_or(of), of, new)).filter(|last| *last != of);
        }
        (jail.start_problem, jail.hook_problem, jail.waits) = (None, None, None);
        (jail.starts, jail.restarts, jail.rested) = (jail.starts + 1, 0, None);
        beside.removed = true;
        if let Some(loaded) = &jail.loaded {
            jail.log.set_size_max(loaded.unit.logs.size_max.get());
        }
        self.swap_consoles(of, new);
        self.hooks.swap(of, new);
        for id in [of, new] {
            self.watch_limits(id);
            if let Err(error) = self.watch(id) {
                log::error!("a life that changes places cannot be watched: {error}");
            }
            self.follow_health(id);
        }
    }

    /// What was beside a jail is at rest, and not wanted any more.
    pub(super) fn forget_beside(&mut self, id: JailId) {
        let Some(jail) = self.take_out(id) else { return };
        self.sweep_key(&jail.key);
        if let Err(error) = self.last_good.forget_former(&jail.name) {
            log::warn!("jail={} its former unit is remembered: {error}", jail.name);
        }
        self.empty_trash();
        let Some(of) = jail.of else { return };
        if let Some(jail) = self.jails.get_mut(of) {
            jail.beside = None;
        }
        self.ties.moved = true;
        faults::pass("former-forgotten");
        self.forget_if_removed(of);
        self.renew_link(of);
        self.sweep_links();
        // They may have changed meanwhile.
        self.rescan_at = Some(clock::now());
    }

    /// Removes what a key that is free has on the data partition.
    pub(super) fn sweep_key(&self, key: &str) {
        if let Err(error) = overlay::discard(&self.layout, key) {
            log::warn!("{key} leaves its layer behind: {}", error.chain());
        }
        self.discard_given(key);
        match std::fs::remove_dir(self.layout.jail(key)) {
            // Its core dumps, or what the jail has kept from before.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{key} leaves its directory behind: {error}");
            }
            _ => {}
        }
    }

    /// Removes the files that were given to a life that is gone.
    pub(super) fn discard_given(&self, key: &str) {
        if let Err(error) = given::discard(key, &self.layout) {
            log::warn!("{key} leaves files of its /etc behind: {error}");
        }
    }

    /// At start: layers and cgroups of versions that were beside others when the host went down.
    pub(super) fn sweep_besides(&self) {
        self.unused_keys(&self.layout.jail("")).iter().for_each(|key| self.sweep_key(key));
        for key in self.unused_keys(&self.layout.cgroups) {
            if let Err(error) = Cgroup::of(&self.layout.cgroups, &key).remove() {
                log::warn!("{}", error.chain());
            }
        }
    }

    /// The keys of second lives in a directory that no life has.
    fn unused_keys(&self, directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let keys = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let is_used = |key: &str| self.jails.all().any(|(_, jail)| jail.key == key);
        keys.filter(|key| key.ends_with(BESIDE) && !is_used(key)).collect()
    }

    /// Before the files are compared with what is in force: where an earlier jailsupd had two lives of a jail, each runs with
    /// the unit that was in force then.
    pub(super) fn restore_units(&mut self) {
        for id in self.jails.all_ids() {
            let is_of_two = |jail: &Jail| jail.beside.is_some() || jail.part == Part::Former;
            if self.jails.get(id).is_some_and(is_of_two) {
                self.restore_unit(id);
            }
        }
    }

    /// Puts the unit in force that a life was started from under an earlier jailsupd, if this one has none for it yet.
    pub(super) fn restore_unit(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id).filter(|jail| jail.loaded.is_none()) else { return };
        let text = match jail.part {
            Part::Former => self.last_good.former(&jail.name),
            Part::Itself | Part::OnTrial => self.last_good.get(&jail.name),
        };
        let unit = text.and_then(|text| Unit::from_canonical(&jail.name, &jail.path, &text).ok());
        let started_from = jail.life.as_ref().map(|life| &life.stored.unit);
        let is_former = jail.part == Part::Former;
        let Some(mut unit) = unit else { return };
        // What other files say is a part of what it was.
        if self.read_what_it_names(&mut unit).is_err() {
            return;
        }
        let hash = unit.restart_hash().to_string();
        if started_from.is_some_and(|started_from| *started_from != hash) {
            return;
        }
        if !is_former {
            self.put_in_force(id, unit);
        } else if let (Ok(loaded), Some(jail)) = (self.planned(&unit), self.jails.get_mut(id)) {
            jail.take(loaded);
        }
    }

    /// After the first reading of the files: versions on trial that these do not name any more end, and so do former
    /// ones.
    pub(super) fn resume_besides(&mut self) {
        for id in self.jails.all_ids() {
            let Some(jail) = self.jails.get(id) else { continue };
            match (jail.part, jail.of) {
                (Part::OnTrial, Some(of)) if jail.loaded.is_none() => {
                    self.call_off(of, "its new version is not that of its files any more");
                }
                (Part::Former, _) => {
                    self.apply(id, Event::Stop, "its new version has taken its place");
                }
                _ => {}
            }
        }
    }

    /// A sentence for people about what is beside a jail.
    pub(super) fn beside_sentence(&self, jail: &Jail) -> Option<String> {
        if jail.held_back.is_some() {
            return jail.held_back.as_ref().map(|text| format!("Later: {text}."));
        }
        let beside = self.jails.beside(jail)?;
        if beside.part == Part::Former {
            return Some("Its former version is ending beside it.".to_owned());
        }
        let time = beside.loaded.as_ref().map(|loaded| loaded.unit.deploy.min_healthy_time)?;
        let last = match (&beside.start_problem, &beside.last_exit) {
            (Some(problem), _) => format!(" Its last start failed: {}.", problem.one_line()),
            (None, Some(exit)) => format!(" Last time it {}.", super::end::describe(exit)),
            (None, None) => String::new(),
        };
        Some(format!(
            "Its new version is tried beside it, and is {} now; it takes its place when it has been healthy for {} on end.{last}",
            beside.state(),
            show_duration(time)
        ))
    }
}
