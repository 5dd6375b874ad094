//! Jails that depend on others: who waits, who may start, who is started with whom.
//!
//! Level-triggered: when some jail's state has changed, everything here is found anew from the states and the units
//! in force ([`gate`]), at the end of a turn of the loop, so that of jails that are wanted in one turn none is
//! started before all are known. Nothing is polled, and nothing is lost with a jailsupd that dies.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use super::report;
use super::starts::Starts;
use crate::machine::gate::{self, Needed, Prospect, Standing, WaitsFor};
use crate::machine::{Event, News, State, Want};
use crate::unit::host::Host;
use crate::unit::{Relation, Unit};
use std::collections::{BTreeMap, BTreeSet};

/// What the units in force say of each other.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Of each jail, the others that it names, or that say of themselves to be `before` it.
    needs: BTreeMap<String, Vec<(Relation, String)>>,
    /// The same the other way round.
    dependents: BTreeMap<String, Vec<(Relation, String)>>,
    /// The jails that depend on others.
    ids: Vec<JailId>,
}

/// What is known of jails that depend on others, and of those that are to start: all of it found anew when jailsupd
/// starts.
#[derive(Debug)]
pub(super) struct Ties {
    pub(super) starts: Starts,
    /// What the units in force say of each other.
    pub(super) order: Order,
    /// Some jail's state has changed since jails that depend on others were looked at.
    pub(super) moved: bool,
    /// Jails that wait for others.
    pub(super) waiting: BTreeSet<JailId>,
    /// Jails that are to end, after those that depend on them.
    pub(super) leavers: BTreeSet<JailId>,
    /// Some new version waits for a jail to be up.
    pub(super) holds_back: bool,
    /// Jails that have failed, and what is to be started for each.
    failed: Vec<(String, String)>,
}

impl Ties {
    pub(super) fn on(host: &Host) -> Self {
        Self {
            starts: Starts::on(host),
            order: Order::default(),
            moved: false,
            waiting: BTreeSet::new(),
            leavers: BTreeSet::new(),
            holds_back: false,
            failed: Vec::new(),
        }
    }
}

impl Order {
    pub(super) fn of<'a>(units: impl Iterator<Item = &'a Unit>) -> Self {
        let mut order = Self::default();
        for unit in units {
            let own = unit.name.as_str();
            for (relation, name) in unit.dependencies.all() {
                match relation {
                    Relation::OnFailure => {}
                    Relation::Before => order.add(name, Relation::After, own),
                    _ => order.add(own, relation, name),
                }
            }
        }
        order
    }

    fn add(&mut self, from: &str, relation: Relation, to: &str) {
        self.needs.entry(from.to_owned()).or_default().push((relation, to.to_owned()));
        self.dependents.entry(to.to_owned()).or_default().push((relation, from.to_owned()));
    }

    /// What a jail depends on.
    pub(super) fn needs(&self, name: &str) -> &[(Relation, String)] {
        self.needs.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the jail is tied to others at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.needs.contains_key(name) || self.dependents.contains_key(name)
    }

    /// What depends on a jail.
    pub(super) fn dependents(&self, name: &str) -> &[(Relation, String)] {
        self.dependents.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Jail {
    /// What it waits for, when that is not on its way: somebody must do something.
    pub(super) fn is_stuck(&self) -> bool {
        self.machine.state == State::Waiting
            && self.waits.as_ref().is_some_and(|waits| !waits.is_coming)
    }

    /// What it waits for, for people.
    pub(super) fn waits_text(&self) -> Option<String> {
        let waits = self.waits.as_ref().filter(|_| self.machine.state == State::Waiting)?;
        Some(format!("waits for {}, which {}", waits.name, waits.why))
    }
}

/// How a jail that is not ready stands, to be read after "which".
fn absence(jail: &Jail) -> String {
    let problem = || report::problem_line(jail).map(|line| format!(": {line}")).unwrap_or_default();
    match jail.machine.state {
        _ if jail.removed => "has no unit".to_owned(),
        State::Down if jail.loaded.is_none() => "has a unit that cannot be used".to_owned(),
        State::Down if jail.held_down => "someone stopped".to_owned(),
        State::Down if jail.loaded.as_ref().is_some_and(|loaded| !loaded.unit.enabled) => {
            "is disabled".to_owned()
        }
        // One link: jails that wait for each other must not make an endless text.
        State::Waiting => match &jail.waits {
            Some(waits) => format!("waits for {}", waits.name),
            None => "is waiting".to_owned(),
        },
        State::Backoff { .. } => format!("failed and is tried again{}", problem()),
        State::Failed => format!("failed{}", problem()),
        _ if jail.leaving.is_some() => "is about to stop".to_owned(),
        _ => format!("is {}", jail.state()),
    }
}

impl Supervisor {
    /// The units in force have changed.
    pub(super) fn renew_order(&mut self) {
        let units = self.jails.iter().filter(|jail| !jail.removed || jail.life.is_some());
        let units = units.filter_map(|jail| Some(&jail.loaded.as_ref()?.unit));
        self.ties.order = Order::of(units);
        self.ties.order.ids.clear();
        for id in self.jails.ids() {
            let Some(jail) = self.jails.get_mut(id) else { continue };
            jail.depends = !self.ties.order.needs(&jail.name).is_empty();
            if jail.depends {
                self.ties.order.ids.push(id);
            }
        }
        self.ties.moved = true;
    }

    /// How the jail of this name stands to those that depend on it.
    fn standing(&self, name: &str) -> Standing {
        let Some(jail) = self.jails.find(name).and_then(|id| self.jails.get(id)) else {
            return Standing::Absent("does not exist".to_owned());
        };
        if let Some(leaving) = jail.leaving.as_ref().filter(|_| jail.is_leaving()) {
            return match leaving.event {
                Event::Stop => Standing::Absent(absence(jail)),
                _ => Standing::Coming("is about to restart".to_owned()),
            };
        }
        match gate::prospect(&jail.machine) {
            Prospect::Ready => Standing::Ready,
            Prospect::Done if jail.loaded.is_some() => Standing::Done,
            Prospect::Coming => Standing::Coming(absence(jail)),
            Prospect::Waits if !jail.is_stuck() => Standing::Coming(absence(jail)),
            Prospect::Waits | Prospect::Done | Prospect::Absent => Standing::Absent(absence(jail)),
        }
    }

    /// What a jail waits for that must not start yet.
    fn waits_for(&self, name: &str) -> Option<WaitsFor> {
        let needs = self.ties.order.needs(name).iter();
        let needs = needs.map(|(relation, name)| Needed { name, relation: *relation });
        gate::is_open(needs, |name| self.standing(name)).err()
    }

    /// What a jail waits for, link by link, each in a sentence; the first is its own.
    pub(super) fn chain(&self, jail: &Jail) -> Vec<String> {
        let mut seen = BTreeSet::from([jail.name.as_str()]);
        let mut told = Vec::new();
        let mut next = Some(jail);
        while let Some(jail) = next.take() {
            let Some(text) = jail.waits_text() else { break };
            told.push(format!("{} {text}.", jail.name));
            let name = jail.waits.as_ref().map_or("", |waits| waits.name.as_str());
            if seen.insert(name) {
                next = self.jails.find(name).and_then(|id| self.jails.get(id));
            }
        }
        told
    }

    /// Does what follows for other jails from the states that jails have come to.
    pub(super) fn follow_dependencies(&mut self) {
        while std::mem::take(&mut self.ties.moved) {
            self.stop_in_order();
            if self.going_down {
                continue;
            }
            self.start_on_failure();
            self.unbind();
            self.admit();
        }
    }

    /// Lets the jails start that have waited long enough.
    fn admit(&mut self) {
        let jails = &self.jails;
        let is_waiting = |jail: &Jail| jail.machine.state == State::Waiting;
        self.ties.waiting.retain(|id| jails.get(*id).is_some_and(is_waiting));
        for id in self.ties.waiting.clone() {
            let Some(jail) = self.jails.get(id) else { continue };
            let lacks_address = jail.lacks_address();
            let waits = self.waits_for_link(jail).or_else(|| self.waits_for(&jail.name));
            // Last: what it asks, it asks when nothing else is in its way.
            let waits = match waits {
                None if lacks_address => self.ask_for_address(id),
                waits => waits,
            };
            match waits {
                None => self.apply(id, Event::Admitted, "nothing holds it up"),
                Some(waits) => self.wait(id, waits),
            }
        }
    }

    /// Remembers what a jail waits for, and tells it when that is news.
    fn wait(&mut self, id: JailId, waits: WaitsFor) {
        let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.waits.as_ref() != Some(&waits))
        else {
            return;
        };
        let is_news = |old: &WaitsFor| {
            // What was brief was not told.
            let same = !old.is_brief && old.name == waits.name && old.is_coming == waits.is_coming;
            !same || (!waits.is_coming && old.why != waits.why)
        };
        let tell = !waits.is_brief && jail.waits.as_ref().is_none_or(is_news);
        jail.waits = Some(waits);
        let (name, text) = (jail.name.clone(), jail.waits_text());
        // Those that wait for this one may wait in vain.
        self.ties.moved = true;
        if let Some(text) = text.filter(|_| tell) {
            log::info!("jail={name} {text}");
            self.record(&name, None, &text);
        }
    }

    /// Stops the jails that cannot be without one that is not ready any more.
    fn unbind(&mut self) {
        for id in self.ties.order.ids.clone() {
            let bound = |jail: &&Jail| jail.is_running() && !jail.is_leaving();
            let Some(jail) = self.jails.get(id).filter(bound) else { continue };
            let needs = self.ties.order.needs(&jail.name).iter();
            let mut names = needs
                .filter(|(relation, _)| *relation == Relation::BindsTo)
                .map(|(_, name)| name.as_str());
            let gone = names.find_map(|name| match self.standing(name) {
                Standing::Ready => None,
                Standing::Done => Some(format!("{name}, which it binds to, has ended")),
                Standing::Coming(why) | Standing::Absent(why) => {
                    Some(format!("{name}, which it binds to, {why}"))
                }
            });
            if let Some(why) = gone {
                self.leave(id, Event::News(News::DependencyGone), &why);
            }
        }
    }

    /// Starts what is to be started when a jail has failed.
    fn start_on_failure(&mut self) {
        for (failed, name) in std::mem::take(&mut self.ties.failed) {
            let Some(id) = self.jails.find(&name) else { continue };
            let may = |jail: &Jail| jail.is_startable() && !jail.held_down && jail.rests();
            if self.jails.get(id).is_some_and(may) {
                self.apply(id, Event::Start, &format!("{failed} failed, and starts it then"));
                self.store_queued(id);
                self.start_what_it_needs(id, false);
            }
        }
    }

    /// Remembers that a jail has failed, for [`Self::start_on_failure`].
    pub(super) fn note_failure(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let Some(loaded) = &jail.loaded else { return };
        if jail.of.is_some() || self.has_way_back(jail) {
            return;
        }
        let names = loaded.unit.dependencies.on_failure.iter();
        let failed = names.map(|name| (jail.name.clone(), name.as_str().to_owned()));
        self.ties.failed.extend(failed.collect::<Vec<_>>());
    }

    /// Starts what a jail that is to start requires or wants, and what those do. A person who starts it by hand
    /// means these, too, however they came to rest.
    pub(super) fn start_what_it_needs(&mut self, id: JailId, by_hand: bool) {
        let Some(jail) = self.jails.get(id) else { return };
        let mut seen = BTreeSet::from([jail.name.clone()]);
        let mut next = vec![jail.name.clone()];
        while let Some(name) = next.pop() {
            let needs: Vec<(Relation, String)> = self.ties.order.needs(&name).to_vec();
            for (relation, other) in needs.into_iter().filter(|(relation, _)| relation.starts_it())
            {
                if !seen.insert(other.clone()) {
                    continue;
                }
                if let Some(id) = self.jails.find(&other) {
                    self.start_for(id, by_hand, &format!("{name} {} it", relation.verb()));
                }
                next.push(other);
            }
        }
    }

    pub(super) fn start_for(&mut self, id: JailId, by_hand: bool, why: &str) {
        let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.is_startable()) else { return };
        let never = jail.machine.state == State::Down && jail.machine.want == Want::Down;
        if by_hand && jail.rests() {
            jail.held_down = false;
        } else if jail.held_down || !never {
            return;
        }
        self.apply(id, Event::Start, why);
        self.store_queued(id);
    }
}
