//! Adoption: what an earlier jailsupd has left running is taken over as it is. Adoption never kills.

use super::Supervisor;
use super::jail::{Claim, Jail, Kept, Life};
use super::leaving::Leaving;
use super::notify::Voice;
use super::output::{self, Output};
use super::poller::JailId;
use super::pressure::Watched;
use super::{clock, end, poststop};
use crate::control::wire::HealthState;
use crate::exec::cgroup::{self, Cgroup};
use crate::exec::check;
use crate::exec::deploys::Version;
use crate::exec::descriptors::of_jail;
use crate::exec::namespaces::Namespaces;
use crate::exec::state::{Memory, Notified, Part, Rest, State as Stored, Stopping};
use crate::exec::terminal::Terminal;
use crate::machine::{Cause, Event, Limit, Machine, Moment, Ready, State, Want};
use crate::unit::BESIDE;
use keeper::{ExitRecord, Slot};
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::time::Duration;

impl Supervisor {
    /// Takes over all that the keeper holds.
    pub(super) fn adopt(&mut self) -> std::io::Result<()> {
        let mut is_first = true;
        let mut jails = Vec::new();
        for held in self.keeper.held()? {
            if held.jail == output::STAGING {
                is_first = false;
                let mut slots = Slots(held.fds);
                let staging =
                    [Slot::Stdout, Slot::Stderr, Slot::State].map(|slot| slots.take(slot));
                if let [Some(read), Some(write), Some(note)] = staging {
                    self.output = Output::new(Some([read, write, note]))?;
                }
                continue;
            }
            let mut slots = Slots(held.fds);
            let memory = slots.take(Slot::State).map(Memory::adopt);
            let (memory, stored) =
                memory.map_or((None, None), |(memory, stored)| (Some(memory), stored));
            jails.push(Entry {
                key: held.jail,
                slots,
                stored,
                memory,
                exit: held.exit,
                part: Part::Itself,
            });
        }
        for entry in sort_out(jails) {
            self.adopt_one(entry);
        }
        self.sweep_besides();
        if is_first {
            self.entrust_staging()?;
        } else {
            self.syncing.mark_all(clock::now());
        }
        self.store_staged();
        self.open_kernel_log(is_first);
        Ok(())
    }

    /// The jail, or the place beside it, that an entry is of.
    fn place_of(&mut self, entry: &Entry) -> Option<JailId> {
        let name = entry.name();
        let of = match self.jails.find(name) {
            Some(id) => id,
            None => self.jail_named(name, ""),
        };
        let is_itself = entry.part == Part::Itself;
        let id = if is_itself { of } else { self.make_beside(of, entry.part)? };
        let cgroup = Cgroup::of(&self.layout.cgroups, &entry.key);
        let jail = self.jails.get_mut(id)?;
        (jail.key, jail.cgroup, jail.part) = (entry.key.clone(), cgroup, entry.part);
        Some(id)
    }

    fn adopt_one(&mut self, entry: Entry) {
        let Some(id) = self.place_of(&entry) else { return };
        let name = entry.name().to_owned();
        let Entry { mut slots, stored, memory, exit, part, .. } = entry;
        let stored = stored.unwrap_or_default();
        let remembered = stored.fingerprint();
        let stored = Stored { part, ..stored };
        let Some(jail) = self.jails.get_mut(id) else { return };
        jail.kept = kept(&mut slots, &stored);
        jail.restarts = stored.restarts;
        jail.last_exit = stored.ended.clone().or_else(|| stored.last_exit.clone());
        jail.held_down = stored.held_down;
        jail.take_told(&stored.told);
        let (Some(pidfd), Some(exit_report)) =
            (slots.take(Slot::Process), slots.take(Slot::ExitReport))
        else {
            return self.adopt_at_rest(id, &stored, exit);
        };
        let (stdout, terminal) = output(slots.take(Slot::Stdout));
        if let Some(kept) = &mut jail.kept {
            // It runs, so that was found out.
            kept.claim = Claim::Used;
        }
        jail.life = Some(Life {
            pid: stored.pid,
            pidfd,
            start_error: slots.take(Slot::StartError),
            exit_report,
            events: jail.cgroup.events().ok(),
            stdout,
            stderr: slots.take(Slot::Stderr),
            terminal,
            voice: Voice::new(slots.take(Slot::Notify)),
            health: None,
            limits: Watched::default(),
            failed: None,
            // Without a time for it, that is done, or was about to be.
            killed: is_killed(&stored),
            former: None,
            is_poststop: stored.poststop.is_some(),
            remembered,
            stored: stored.clone(),
            memory,
        });
        let events = jail.life.as_ref().and_then(|life| life.events.as_ref());
        jail.frozen = events.is_some_and(cgroup::is_frozen);
        // What an earlier jailsupd had begun tells nobody.
        check::sweep(&jail.cgroup);
        // As of its start: an unread start-error pipe says the rest, as soon as the loop runs.
        let started = Duration::from_micros(stored.started_us);
        jail.machine = machine(jail.machine, found(&stored, jail.frozen), &stored);
        jail.leaving = stored.leaving.map(Leaving::resumed);
        if jail.leaving.is_some() {
            self.ties.leavers.insert(id);
        }
        jail.since = ready_at(&stored).unwrap_or(started);
        log::info!("jail={name} adopted pid={}", stored.pid);
        // Which of two lives it is may have been found out just now.
        self.store_life(id);
        self.go_on_ending(id, &stored);
        if let Err(error) = self.watch(id) {
            log::error!("jail={name} cannot be watched: {error}");
        }
    }
}

impl Supervisor {
    /// What an earlier jailsupd had begun or was about to do of a stop is done anew.
    fn go_on_ending(&mut self, id: JailId, stored: &Stored) {
        let Some(jail) = self.jails.get(id) else { return };
        match stored.stopping {
            Some(_) if is_killed(stored) => {
                if let Err(error) = jail.cgroup.kill() {
                    log::error!("jail={} {}", jail.name, error.chain());
                }
            }
            // Its hook comes first, and again when it was cut short: when its unit is read.
            Some(_) if stored.owes_prestop => {}
            Some(Stopping { signal, .. }) => self.signal(id, signal),
            None => {}
        }
    }

    /// A jail that does not run goes on not running, or waiting for its next start.
    fn adopt_at_rest(&mut self, id: JailId, stored: &Stored, exit: Option<ExitRecord>) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        if let Some(exit) = exit {
            // Nobody waits for this end any more: what is left of a start that was never finished.
            if let Err(error) = self.keeper.acknowledge(&jail.key, exit.inode) {
                log::warn!("jail={}: {error}", jail.name);
            }
        }
        let (state, want) = match (stored.rest, stored.cleaning) {
            (Some(rest), _) => resting(rest, stored),
            (None, Some(ended)) => (poststop::restored(ended), wanted(ended.again)),
            (None, None) => return,
        };
        jail.machine = machine(jail.machine, (state, want), stored);
        jail.since = stored.since_us.map_or(jail.since, Duration::from_micros);
        jail.owes_poststop = stored.owes_poststop && stored.rest.is_none();
        jail.rested = Some(stored.unit.clone());
        if !stored.unit.is_empty() {
            let version = Version { unit: stored.unit.clone(), image: stored.image.clone() };
            self.trials.started(id, version);
        }
        if let Some(since) = stored.tried_since_us {
            self.trials.begun(id, Duration::from_micros(since));
        }
        if state == State::Waiting {
            self.ties.waiting.insert(id);
        }
    }

    /// Jails that an earlier jailsupd had cleared away, and died before it knew what they do next: now that their units
    /// are read, that follows.
    pub(super) fn finish_cleaning(&mut self) {
        for id in self.jails.all_ids() {
            let is_cleared = |jail: &Jail| {
                matches!(jail.machine.state, State::Cleaning { .. }) && jail.life.is_none()
            };
            if self.jails.get(id).is_some_and(is_cleared) && !self.run_owed_poststop(id) {
                self.apply(id, Event::Cleaned, "an earlier jailsupd has cleared it away");
            }
        }
    }
}

fn resting(rest: Rest, stored: &Stored) -> (State, Want) {
    let state = match rest {
        Rest::Down => State::Down,
        Rest::Failed => State::Failed,
        Rest::Waiting => State::Waiting,
        Rest::Backoff { until_us } => State::Backoff { until: Duration::from_micros(until_us) },
    };
    // One that is disabled was stopped for that.
    let unwanted = stored.held_down || (rest == Rest::Down && stored.unit.is_empty());
    (state, if unwanted { Want::Down } else { Want::Up })
}

/// What is wanted of a jail of which people have said whether it is to start again, or nothing.
fn wanted(again: Option<bool>) -> Want {
    if again == Some(false) { Want::Down } else { Want::Up }
}

/// When it was ready; none when it is not yet.
fn ready_at(stored: &Stored) -> Option<Moment> {
    if stored.executed_by_us.is_some() {
        return None;
    }
    let us = match stored.notified.within_us {
        Some(_) => stored.notified.ready_us?,
        None => stored.started_us,
    };
    Some(Duration::from_micros(us))
}

/// The state of a jail of which something runs, and whether it is wanted.
fn found(stored: &Stored, frozen: bool) -> (State, Want) {
    if let Some(poststop) = stored.poststop {
        return (poststop::restored(poststop), wanted(poststop.again));
    }
    let Some(Stopping { again, reason, kill_at_us, .. }) = stored.stopping else {
        return (running(stored, frozen), Want::Up);
    };
    let kill_at = kill_at_us.map(Duration::from_micros);
    let cause = end::cause_of(reason);
    let again = (cause == Cause::Asked).then_some(again);
    (State::Stopping { kill_at, cause, again, ready: ready(stored) }, wanted(again))
}

/// The state of a jail that runs, or is on its way to its program. It has as long as it would have had without this
/// change of jailsupd; but the time that nobody heard its signs of life is not held against it.
fn running(stored: &Stored, frozen: bool) -> State {
    if let Some(by) = stored.executed_by_us {
        return State::Starting { by: Duration::from_micros(by) };
    }
    let Notified { within_us, ready_by_us, watchdog_us, runtime_until_us, .. } = stored.notified;
    let Some(Ready { since, well_since }) = ready(stored) else {
        let by_us = ready_by_us
            .unwrap_or_else(|| stored.started_us.saturating_add(within_us.unwrap_or_default()));
        return State::Activating { ready_by: Duration::from_micros(by_us) };
    };
    let watchdog = watchdog_us.filter(|_| !frozen).map(Duration::from_micros);
    let watchdog_at = watchdog.map(|time| clock::now().saturating_add(time));
    let runtime_until = runtime_until_us.map(Duration::from_micros);
    State::Up { since, well_since, watchdog_at, runtime_until }
}

/// Since when it was ready, and well. Whether one that runs is checked at all comes out when its unit is read.
fn ready(stored: &Stored) -> Option<Ready> {
    let since = ready_at(stored)?;
    let well = stored.notified.well_us.map_or(since, Duration::from_micros);
    let is_unwell =
        stored.health.as_ref().is_some_and(|health| health.state != HealthState::Healthy);
    Some(Ready { since, well_since: (!is_unwell).then_some(well) })
}

fn machine(former: Machine, (state, want): (State, Want), stored: &Stored) -> Machine {
    let limit = Limit {
        since: Duration::from_micros(stored.limit.since_us),
        restarts: stored.limit.restarts,
        reached: stored.limit.reached,
    };
    Machine { state, want, failures: stored.failures, limit, ..former }
}

/// Its time to end is over.
fn is_killed(stored: &Stored) -> bool {
    stored.stopping.is_some_and(|stopping| stopping.kill_at_us.is_none())
}

/// The namespaces that an earlier jailsupd has made for a jail.
fn kept(slots: &mut Slots, stored: &Stored) -> Option<Kept> {
    let (user, net) = (slots.take(Slot::UserNamespace)?, slots.take(Slot::NetNamespace)?);
    let (key, lower, ids) = (stored.link.clone(), stored.link_lower, stored.ids.clone());
    Some(Kept {
        namespaces: Namespaces { user, net },
        key,
        lower,
        ids,
        filter: None,
        claim: Claim::Unsure,
    })
}

/// A pipe to the log, or the socket with a terminal's master.
fn output(held: Option<OwnedFd>) -> (Option<OwnedFd>, Option<Terminal>) {
    let is_socket = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
    };
    match held {
        Some(fd) if is_socket(&fd) => (None, Some(Terminal::new(fd))),
        pipe => (pipe, None),
    }
}

/// What the keeper holds under one key.
struct Entry {
    key: String,
    slots: Slots,
    stored: Option<Stored>,
    memory: Option<Memory>,
    exit: Option<ExitRecord>,
    /// What it is to its jail.
    part: Part,
}

impl Entry {
    /// The jail's name.
    fn name(&self) -> &str {
        self.key.strip_suffix(BESIDE).unwrap_or(&self.key)
    }
}

/// Which life is the jail itself where there are two of it, and which is beside it. An earlier jailsupd may have died between
/// telling one and the other. Each jail comes before what is beside it.
fn sort_out(found: Vec<Entry>) -> Vec<Entry> {
    let mut jails: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for one in found {
        jails.entry(one.name().to_owned()).or_default().push(one);
    }
    let mut sorted = Vec::new();
    for mut lives in jails.into_values() {
        // Of one whose state is not told, as while its image or its link is made, nothing runs. What is told of another one says
        // that this one is the jail.
        let rank = |one: &Entry| match one.stored.as_ref().map(|stored| stored.part) {
            Some(Part::Itself) => 0,
            None => 1,
            Some(Part::OnTrial) => 2,
            Some(Part::Former) => 3,
        };
        lives.sort_by_key(|one| (rank(one), one.key.clone()));
        for (at, one) in lives.iter_mut().enumerate() {
            let told = one.stored.as_ref().map(|stored| stored.part);
            one.part = match (at, told) {
                (0, _) => Part::Itself,
                (_, Some(Part::OnTrial)) => Part::OnTrial,
                _ => Part::Former,
            };
        }
        sorted.append(&mut lives);
    }
    sorted
}

struct Slots(Vec<(Slot, OwnedFd)>);

impl Slots {
    fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let index = self.0.iter().position(|(other, _)| *other == slot)?;
        Some(of_jail(self.0.swap_remove(index).1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::state::Health;

    fn entry(key: &str, part: Option<Part>) -> Entry {
        let stored = part.map(|part| Stored { part, ..Stored::default() });
        Entry {
            key: key.to_owned(),
            slots: Slots(Vec::new()),
            stored,
            memory: None,
            exit: None,
            part: Part::Itself,
        }
    }

    fn sorted(entries: Vec<Entry>) -> Vec<(String, Part)> {
        sort_out(entries).into_iter().map(|one| (one.key, one.part)).collect()
    }

    fn expect(entries: &[(&str, Option<Part>)], wanted: &[(&str, Part)]) {
        let entries = entries.iter().map(|(key, part)| entry(key, *part)).collect();
        let wanted: Vec<_> = wanted.iter().map(|(key, part)| ((*key).to_owned(), *part)).collect();
        assert_eq!(sorted(entries), wanted);
    }

    /// One that was started after 5 s, and is asked to end; its checks have found this.
    fn stopping(health: Option<HealthState>, well_us: Option<u64>) -> State {
        let health = health.map(|state| Health {
            state,
            probing: false,
            failures: 3,
            successes: 0,
            failure: None,
        });
        let stopping =
            Stopping { again: true, reason: None, signal: 15, kill_at_us: Some(9_000_000) };
        let stored = Stored {
            started_us: 5_000_000,
            stopping: Some(stopping),
            notified: Notified { well_us, ..Notified::default() },
            health,
            ..Stored::default()
        };
        found(&stored, false).0
    }

    #[test]
    fn the_time_in_which_one_was_not_well_does_not_count_for_it_under_the_next_jailsupd() {
        let well_since = |state: State| match state {
            State::Stopping { ready: Some(ready), .. } => ready.well_since,
            other => panic!("{other:?}"),
        };
        let (started, since) = (Some(Duration::from_secs(5)), Some(Duration::from_secs(7)));
        assert_eq!(well_since(stopping(None, None)), started);
        assert_eq!(well_since(stopping(Some(HealthState::Healthy), None)), started);
        assert_eq!(well_since(stopping(Some(HealthState::Healthy), Some(7_000_000))), since);
        assert_eq!(well_since(stopping(Some(HealthState::Unhealthy), None)), None);
        assert_eq!(well_since(stopping(Some(HealthState::Starting), None)), None);
    }

    #[test]
    fn each_jail_comes_before_what_is_beside_it() {
        expect(
            &[
                ("web", Some(Part::OnTrial)),
                ("db", Some(Part::Itself)),
                ("web.2", Some(Part::Itself)),
                ("new", None),
            ],
            &[
                ("db", Part::Itself),
                ("new", Part::Itself),
                ("web.2", Part::Itself),
                ("web", Part::OnTrial),
            ],
        );
    }

    #[test]
    fn a_version_whose_former_one_is_told_has_taken_its_place() {
        expect(
            &[("web", Some(Part::Former)), ("web.2", Some(Part::OnTrial))],
            &[("web.2", Part::Itself), ("web", Part::Former)],
        );
        expect(&[("web.2", Some(Part::OnTrial))], &[("web.2", Part::Itself)]);
    }

    #[test]
    fn what_nothing_is_told_of_is_what_the_other_is_not() {
        expect(
            &[("web", Some(Part::Itself)), ("web.2", None)],
            &[("web", Part::Itself), ("web.2", Part::Former)],
        );
        expect(
            &[("web", None), ("web.2", Some(Part::Itself))],
            &[("web.2", Part::Itself), ("web", Part::Former)],
        );
        expect(
            &[("web.2", Some(Part::OnTrial)), ("web", None)],
            &[("web", Part::Itself), ("web.2", Part::OnTrial)],
        );
        expect(
            &[("web", Some(Part::Former)), ("web.2", None)],
            &[("web.2", Part::Itself), ("web", Part::Former)],
        );
    }
}
