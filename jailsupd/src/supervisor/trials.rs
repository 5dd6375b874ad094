//! Versions of units on trial: what has never been healthy proves itself, or the last good version comes back.

use super::jail::Jail;
use super::poller::JailId;
use super::{Supervisor, clock, end, health};
use crate::exec::deploys::{self, Deploys, Good, Known, Refused, Version};
use crate::exec::image;
use crate::exec::state::State as Stored;
use crate::machine::trial::{self, Failure, Seen, Trial, Verdict};
use crate::machine::{Event, Moment, State, Want};
use crate::unit::amount::show_duration;
use crate::unit::value::FromText as _;
use crate::unit::{Digest, ImageSource, Problem, Resolved, Unit, set};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of all versions, and the trials that go on.
#[derive(Debug)]
pub(super) struct Trials {
    store: Deploys,
    known: BTreeMap<String, Known>,
    running: BTreeMap<JailId, OnTrial>,
    /// Jails of which something has changed since their trials were looked at.
    stirred: BTreeSet<JailId>,
    /// What each jail was started from last.
    started: BTreeMap<JailId, Version>,
    /// Since when an earlier jailsupd has tried versions of jails that do not run now.
    begun: BTreeMap<JailId, Moment>,
}

#[derive(Clone, Debug)]
struct OnTrial {
    jail: String,
    /// It is beside the version that is to be replaced.
    is_beside: bool,
    version: Version,
    trial: Trial,
    /// When there is more to say about it.
    until: Option<Moment>,
}

impl Trials {
    pub(super) fn new(store: Deploys) -> Self {
        Self {
            known: store.all(),
            store,
            running: BTreeMap::new(),
            stirred: BTreeSet::new(),
            started: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// When a verdict may be due.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.running.values().filter_map(|on| on.until).min()
    }

    /// The state of a jail, or what its checks find, has changed.
    pub(super) fn stir(&mut self, id: JailId) {
        if self.running.contains_key(&id) {
            self.stirred.insert(id);
        }
    }

    /// The images that versions which may come back were started from, with their jails.
    pub(super) fn images(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.known.iter().filter_map(|(jail, known)| {
            let digest = known.good.as_ref()?.version.image.as_deref()?;
            Some((Digest::from_text(digest).ok()?, jail.as_str()))
        })
    }

    fn good(&self, jail: &str) -> Option<&Good> {
        self.known.get(jail)?.good.as_ref()
    }

    fn change(&mut self, jail: &str, change: impl FnOnce(&mut Known)) {
        let known = self.known.entry(jail.to_owned()).or_default();
        change(known);
        if let Err(error) = self.store.put(jail, known) {
            log::warn!("jail={jail} its good version is not kept: {error}");
        }
    }

    /// What a jail was started from last, by an earlier jailsupd, too. Returns what it was before that.
    pub(super) fn started(&mut self, id: JailId, version: Version) -> Option<Version> {
        self.started.insert(id, version)
    }

    /// The digest of the image that a jail was started from last.
    pub(super) fn image_of(&self, id: JailId) -> Option<String> {
        self.started.get(&id)?.image.clone()
    }

    /// An earlier jailsupd has tried what this jail was started from last, since then.
    pub(super) fn begun(&mut self, id: JailId, since: Moment) {
        self.begun.insert(id, since);
    }

    /// Since when an earlier jailsupd has tried this very version of a jail that does not run now.
    pub(super) fn take_begun(&mut self, id: JailId, version: &Version) -> Option<Moment> {
        let since = self.begun.remove(&id)?;
        (self.started.get(&id) == Some(version)).then_some(since)
    }

    /// Since when this version of a jail is on trial, for the keeper to remember.
    pub(super) fn since_us(&self, id: JailId, version: &Version) -> Option<u64> {
        let on = self.running.get(&id).filter(|on| on.version == *version)?;
        Some(clock::microseconds(on.trial.since))
    }

    /// Nobody wants to know any more whether it is good.
    pub(super) fn end(&mut self, id: JailId) {
        self.running.remove(&id);
    }

    /// Forgets a jail that is gone.
    pub(super) fn forget(&mut self, id: JailId) {
        self.running.remove(&id);
        self.stirred.remove(&id);
        self.started.remove(&id);
        self.begun.remove(&id);
    }

    /// Forgets all jails but these.
    pub(super) fn keep_only(&mut self, jails: &BTreeSet<&str>) {
        let gone: Vec<String> =
            self.known.keys().filter(|name| !jails.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.change(&name, |known| *known = Known::default());
            self.known.remove(&name);
        }
    }
}

impl Jail {
    /// It is up, and its checks, if it has any, say that it is well.
    fn is_healthy(&self) -> bool {
        let is_checked = self.loaded.as_ref().is_some_and(|l| l.unit.health.check().is_some());
        matches!(self.machine.state, State::Up { .. }) && (self.is_well() || !is_checked)
    }
}

impl Supervisor {
    /// A life of a jail has begun, or was adopted: one of a version that was never healthy is on trial.
    pub(super) fn begin_trial(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id).filter(|jail| !jail.is_run()) else { return };
        let Some(life) = jail.life.as_ref().filter(|life| !life.is_poststop) else { return };
        let (unit, image) = (life.stored.unit.clone(), life.stored.image.clone());
        // Not its first life, perhaps, nor the first jailsupd that sees it.
        let since = life.stored.tried_since_us.unwrap_or(life.stored.started_us);
        let since = Duration::from_micros(since);
        let version = Version { unit, image };
        let former = self.trials.started(id, version.clone());
        if former.is_some_and(|former| former != version) {
            // The failures in a row were another version's.
            if let Some(jail) = self.jails.get_mut(id) {
                jail.machine.failures = 0;
            }
        }
        self.put_on_trial(id, version, since);
        self.store_trial(id);
    }

    /// Has the keeper remember since when a life's version is on trial.
    fn store_trial(&mut self, id: JailId) {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else { return };
        let Stored { unit, image, .. } = &life.stored;
        let version = Version { unit: unit.clone(), image: image.clone() };
        life.stored.tried_since_us = self.trials.since_us(id, &version);
        self.store_life(id);
    }

    pub(super) fn put_on_trial(&mut self, id: JailId, version: Version, since: Moment) {
        let Some(jail) = self.jails.get(id) else { return };
        let name = jail.name.clone();
        let is_beside = jail.of.is_some();
        // One that was good before is to be healthy, too, before the other one goes.
        if !is_beside && self.is_good(&name, &version) {
            self.trials.running.remove(&id);
            return;
        }
        let goes_on = |on: &OnTrial| on.jail == name && on.version == version;
        if !self.trials.running.get(&id).is_some_and(goes_on) {
            let trial = Trial::new(since);
            let on = OnTrial { jail: name, is_beside, version, trial, until: Some(Moment::ZERO) };
            self.trials.running.insert(id, on);
        }
    }

    /// Jails that do not run now, and that an earlier jailsupd had on trial; and those that have failed before it had
    /// judged that.
    pub(super) fn resume_trials(&mut self) {
        let mut begun = std::mem::take(&mut self.trials.begun);
        for id in self.jails.ids() {
            let Some(jail) = self.jails.get(id) else { continue };
            let Some(loaded) = &jail.loaded else { continue };
            let has_run = jail.rested.as_ref() == Some(&loaded.restart_hash);
            let has_failed = jail.machine.state == State::Failed;
            let since = begun.remove(&id).or_else(|| has_failed.then(clock::now));
            let Some(since) = since.filter(|_| jail.machine.want == Want::Up) else { continue };
            // As it was started: by now, the image's name may mean another one.
            let version = self.trials.started.get(&id).filter(|_| has_run);
            if let Some(version) = version.cloned() {
                self.put_on_trial(id, version, since);
            }
        }
    }

    /// Whether this is the last good version, from its file or as it came back.
    fn is_good(&self, jail: &str, version: &Version) -> bool {
        let Some(good) = self.trials.good(jail) else { return false };
        let is_pinned = || {
            let (unit, is_pinned) = self.unit_of(jail, "", good)?;
            Some(is_pinned && unit.restart_hash().to_string() == version.unit)
        };
        good.version.image == version.image
            && (good.version.unit == version.unit || is_pinned() == Some(true))
    }

    /// The last good version of a jail's unit, with the image that it had. None where nothing is known of it, or it may
    /// not be started any more.
    pub(super) fn good_unit(&self, jail: &str, file: &str) -> Option<Unit> {
        let (unit, _) = self.unit_of(jail, file, self.trials.good(jail)?)?;
        self.policy.check(&unit).is_empty().then_some(unit)
    }

    /// A good version, and whether it names the image that it had by its digest: where its name or file means another
    /// one by now.
    fn unit_of(&self, jail: &str, file: &str, good: &Good) -> Option<(Unit, bool)> {
        let mut unit = Unit::from_canonical(jail, file, &good.canonical).ok()?;
        let now = image::digest(&unit.image.source, &self.layout).map(|digest| digest.to_string());
        let image = good.version.image.as_ref().filter(|image| now.as_ref() != Some(*image));
        if let Some(image) = image {
            let source = "image.source = ";
            let is_file = matches!(unit.image.source, ImageSource::Path { .. });
            let others =
                good.canonical.lines().filter(|line| !(is_file && line.starts_with(source)));
            let others = others.collect::<Vec<_>>().join("\n");
            let pinned = format!("image.digest = \"{image}\"\n{others}\n");
            unit = Unit::from_canonical(jail, file, &pinned).ok()?;
        }
        self.read_what_it_names(&mut unit).ok()?;
        Some((unit, image.is_some()))
    }

    /// Judges the trials of which there may be more to say.
    pub(super) fn judge_trials(&mut self) {
        let mut ids = std::mem::take(&mut self.trials.stirred);
        if !self.trials.running.is_empty() {
            let now = clock::now();
            let is_due = |on: &OnTrial| on.until.is_some_and(|until| until <= now);
            let due = self.trials.running.iter().filter(|(_, on)| is_due(on));
            ids.extend(due.map(|(id, _)| *id));
        }
        ids.into_iter().for_each(|id| self.judge_trial(id));
    }

    fn judge_trial(&mut self, id: JailId) {
        let Some(on) = self.trials.running.get(&id) else { return };
        let is_over = |jail: &Jail| {
            let version = jail.loaded.as_ref().map(|loaded| &loaded.restart_hash);
            let is_another = jail.name != on.jail || version != Some(&on.version.unit);
            // One that waits for others begins anew when they are there.
            is_another || jail.machine.want == Want::Down || jail.machine.state == State::Waiting
        };
        let jail = self.jails.get(id).filter(|jail| !is_over(jail) && !self.going_down);
        let Some((jail, loaded)) = jail.and_then(|jail| Some((jail, jail.loaded.as_ref()?))) else {
            self.trials.running.remove(&id);
            return self.call_off_without_unit(id);
        };
        let (state, failures) = (jail.machine.state, jail.machine.failures);
        let is_beside = jail.of.is_some();
        let (is_healthy, has_way_back) = (jail.is_healthy(), self.has_way_back(jail));
        let seen = Seen { state, failures, is_healthy, has_way_back };
        let (trial, verdict) = trial::judge(on.trial, seen, clock::now(), &loaded.unit.deploy);
        let verdict = match verdict {
            // What has ended, if with success, cannot take the place of what runs.
            Verdict::Proven if is_beside && state == State::Down => {
                Verdict::Failed(Failure::GaveUp)
            }
            Verdict::Proven if !self.may_hand_over(id) => Verdict::Open { until: None },
            verdict => verdict,
        };
        match verdict {
            Verdict::Open { until } => {
                if let Some(on) = self.trials.running.get_mut(&id) {
                    (on.trial, on.until) = (trial, until);
                }
            }
            Verdict::Proven => {
                self.keep_good(id);
                self.hand_over(id);
            }
            Verdict::Failed(failure) if is_beside => self.give_up(id, failure),
            Verdict::Failed(failure) => self.roll_back(id, failure),
        }
    }

    /// A version has proved itself.
    fn keep_good(&mut self, id: JailId) {
        let Some(OnTrial { version, .. }) = self.trials.running.remove(&id) else { return };
        let Some(jail) = self.jails.get(id) else { return };
        let Some(loaded) = &jail.loaded else { return };
        let (name, canonical) = (jail.name.clone(), loaded.unit.canonical());
        let is_first = self.trials.good(&name).is_none();
        let good = Some(Good { version, canonical });
        // Another one that has failed beside it meanwhile is no better for that.
        self.trials.change(&name, |known| {
            let is_another = |refused: &Refused| {
                Some(&refused.version) != good.as_ref().map(|good| &good.version)
            };
            let refused = known.refused.take().filter(is_another);
            *known = Known { good, refused };
        });
        if !is_first {
            self.record(&name, None, "its new version is good");
        }
    }

    /// The unit in force has changed in what needs no restart: so has the good version, if it is that.
    pub(super) fn renew_good(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let Some(loaded) = &jail.loaded else { return };
        let Some(good) = self.trials.good(&jail.name) else { return };
        if good.version.unit != loaded.restart_hash {
            return;
        }
        let canonical = loaded.unit.canonical();
        if good.canonical != canonical {
            let (name, version) = (jail.name.clone(), good.version.clone());
            let good = Some(Good { version, canonical });
            self.trials.change(&name, |known| known.good = good);
        }
    }

    /// Whether a failure of this jail is to bring its last good version back.
    pub(super) fn has_way_back(&self, jail: &Jail) -> bool {
        if jail.of.is_some() {
            // That one runs all the time.
            return true;
        }
        let rolls_back = jail.loaded.as_ref().is_some_and(|loaded| loaded.unit.deploy.rollback);
        let mut on = self.trials.running.values().filter(|on| !on.is_beside);
        rolls_back && self.trials.good(&jail.name).is_some() && on.any(|on| on.jail == jail.name)
    }

    /// A version has failed: the last good one comes back.
    fn roll_back(&mut self, id: JailId, failure: Failure) {
        let Some(OnTrial { version, .. }) = self.trials.running.remove(&id) else { return };
        let Some(jail) = self.jails.get(id) else { return };
        let (name, path) = (jail.name.clone(), jail.path.clone());
        let why = told(jail, failure);
        let good = self.good_unit(&name, &path).filter(|unit| self.claims_nothing(unit));
        let is_another = |good: &Unit| {
            let image = image::digest(&good.image.source, &self.layout);
            let image = image.map(|digest| digest.to_string());
            Version { unit: good.restart_hash().to_string(), image } != version
        };
        let Some(good) = good.filter(is_another) else {
            let text = format!("its new version {why}, and the last good one cannot be started");
            self.record(&name, None, &text);
            return self.stay_failed(id);
        };
        // From here on the next jailsupd does it, if this one dies.
        self.refuse_version(&name, version, &why);
        self.call_off(id, "the version before its new one is no good, either");
        if !self.put_in_force(id, good) {
            return self.stay_failed(id);
        }
        let text = format!("its new version {why}: the last good one comes back");
        log::warn!("jail={name} {text}");
        self.note(id, &text);
        self.record(&name, None, &text);
        // That its files are a version that has failed shows with the next reading.
        self.rescan_at = Some(clock::now());
        self.leave(id, Event::Restart, &text);
    }

    /// The files, as they are, are a version that has failed.
    fn refuse_version(&mut self, name: &str, version: Version, why: &str) {
        let files = self.read_units(&[]).units.into_iter().find(|found| found.name == name);
        let files = files.map(|found| found.files.into_iter().collect()).unwrap_or_default();
        let refused = Refused { version, files: deploys::stamp(&files), why: why.to_owned() };
        self.trials.change(name, |known| known.refused = Some(refused));
    }

    /// A version beside the one that it was to replace has failed: that one runs on.
    fn give_up(&mut self, id: JailId, failure: Failure) {
        let Some(OnTrial { version, .. }) = self.trials.running.remove(&id) else { return };
        let Some(jail) = self.jails.get(id) else { return };
        let Some(of) = jail.of else { return };
        let (name, why) = (jail.name.clone(), told(jail, failure));
        // From here on the next jailsupd does it, if this one dies.
        self.refuse_version(&name, version, &why);
        let text = format!("its new version {why}: the former one runs on");
        log::warn!("jail={name} {text}");
        self.call_off(of, &text);
        // That its files are a version that has failed shows with the next reading.
        self.rescan_at = Some(clock::now());
    }

    /// Nothing comes back in the place of a version that has failed: what its unit wants then follows.
    fn stay_failed(&mut self, id: JailId) {
        if self.jails.get(id).is_some_and(|jail| jail.machine.state == State::Failed) {
            self.note_failure(id);
            self.ties.moved = true;
        }
    }

    /// Whether no other jail has what this unit asks for alone.
    fn claims_nothing(&self, unit: &Unit) -> bool {
        let others = self.jails.all().filter(|(_, jail)| jail.name != unit.name.as_str());
        let others = others.filter_map(|(_, jail)| jail.loaded.as_ref()).map(|loaded| &loaded.unit);
        let clashes = set::check(others.chain([unit]), &self.host.uplink.address);
        clashes.iter().all(|clash| clash.name != unit.name)
    }

    /// Makes of each unit that is, file by file, a version that has failed one with that problem.
    pub(super) fn refuse_failed_versions(&self, units: &mut [Resolved], drafted: &[&str]) {
        for resolved in units {
            let known = self.trials.known.get(&resolved.name);
            let Some(refused) = known.and_then(|known| known.refused.as_ref()) else { continue };
            let Ok(unit) = &resolved.result else { continue };
            let image = image::digest(&unit.image.source, &self.layout);
            let image = image.map(|digest| digest.to_string());
            let version = Version { unit: unit.restart_hash().to_string(), image };
            // Whoever writes the same again wants it tried again.
            let is_drafted = resolved.files.iter().any(|file| drafted.contains(&file.as_str()));
            let files: BTreeSet<String> = resolved.files.iter().cloned().collect();
            if is_drafted || version != refused.version || deploys::stamp(&files) != refused.files {
                continue;
            }
            // The one that is applied last: the others are more likely to be the distribution's.
            let file = resolved.files.last().map_or("", String::as_str);
            let problem = Problem::of_file(file, format!("this version {}", refused.why))
                .help("mend it; `touch` the file to have it tried again as it is");
            resolved.result = Err(vec![problem]);
        }
    }

    /// A sentence for people about a trial that goes on.
    pub(super) fn trial_sentence(&self, jail: &Jail) -> Option<String> {
        let deploy = &jail.loaded.as_ref()?.unit.deploy;
        self.has_way_back(jail).then(|| {
            format!(
                "Its version is new: if it is not healthy for {} on end, or fails {} times in a row, the last good one comes back.",
                show_duration(deploy.min_healthy_time),
                deploy.attempts
            )
        })
    }
}

/// What a version has failed by, to be read after "its version".
fn told(jail: &Jail, failure: Failure) -> String {
    let how = match (&jail.start_problem, &jail.last_exit) {
        (Some(problem), _) => format!("did not start: {}", problem.message),
        (None, Some(exit)) => end::describe(exit),
        (None, None) => "failed".to_owned(),
    };
    match failure {
        Failure::GaveUp => how,
        Failure::TooOften => {
            format!("failed {} times in a row; last it {how}", jail.machine.failures)
        }
        Failure::TooLate => {
            let deploy = jail.loaded.as_ref().map(|loaded| &loaded.unit.deploy);
            let time = deploy.map(|deploy| deploy.healthy_deadline).unwrap_or_default();
            let failures = health::failures(jail).map(|text| format!(": {text}"));
            format!(
                "was not healthy within {}{}",
                show_duration(time),
                failures.unwrap_or_default()
            )
        }
    }
}
