//! One jail as the supervisor holds it: its unit, its machine, and what is alive of it.

use super::clock;
use super::denials::Denied;
use super::health::Checked;
use super::leases::Held;
use super::leaving::Leaving;
use super::losses::Intake;
use super::notify::Voice;
use super::poller::{JailId, Poller};
use super::pressure::Watched;
use crate::control::wire::{Exit, HealthState, JailState};
use crate::exec::cgroup::Cgroup;
use crate::exec::logs::Log;
use crate::exec::namespaces::Namespaces;
use crate::exec::state::{Memory, Part, StartProblem, State as Stored};
use crate::exec::terminal::Terminal;
use crate::exec::worker::Worker;
use crate::machine::gate::WaitsFor;
use crate::machine::{Machine, Moment, Policy, State};
use crate::plan::firewall::Rule;
use crate::plan::{IdRange, Plan};
use crate::unit::{Hooks, Notify, Problem, Unit};
use jail_init::StartError;
use keeper::{Client, Slot};
use rustix::fd::{AsFd as _, OwnedFd};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::time::Duration;

/// A jail, running or not.
#[derive(Debug)]
pub(super) struct Jail {
    pub(super) name: String,
    /// Its name in the keeper, the cgroup tree and the run directory: another one where a second life of it has its place.
    pub(super) key: String,
    /// Which of its lives this is.
    pub(super) part: Part,
    /// Where it is beside another: that one.
    pub(super) of: Option<JailId>,
    /// What is beside it: its new version, or its former one.
    pub(super) beside: Option<JailId>,
    /// The unit file's path, also when nothing could be read from it.
    pub(super) path: String,
    /// The version in force.
    pub(super) loaded: Option<Loaded>,
    /// What is wrong with the unit file as it is now.
    pub(super) unit_problems: Vec<Problem>,
    /// Why it could not be started, or what else a person should know.
    pub(super) start_problem: Option<Problem>,
    /// Why an earlier jailsupd could not start it, until its unit is read.
    pub(super) found_problem: Option<StartProblem>,
    /// Which of its hooks has failed, and how.
    pub(super) hook_problem: Option<String>,
    pub(super) machine: Machine,
    /// It depends on others.
    pub(super) depends: bool,
    /// Its start waits for its parent link, which the host has not.
    pub(super) lacks_link: bool,
    /// The address that it has from DHCP.
    pub(super) lease: Option<Held>,
    /// What it waits for, while it is waiting.
    pub(super) waits: Option<WaitsFor>,
    /// Why its new version is not started beside it yet.
    pub(super) held_back: Option<String>,
    /// It is cleared away, and its hook for that has not begun.
    pub(super) owes_poststop: bool,
    /// It is to end, after those that depend on it.
    pub(super) leaving: Option<Leaving>,
    /// When the state last changed.
    pub(super) since: Moment,
    pub(super) restarts: u32,
    /// How often it was started since jailsupd knows it.
    pub(super) starts: u64,
    /// Its processes are frozen.
    pub(super) frozen: bool,
    /// Someone has stopped it by hand: it stays down until someone starts it, or the host boots.
    pub(super) held_down: bool,
    /// It was adopted at rest after running this version of its unit: only another one starts it again.
    pub(super) rested: Option<String>,
    /// Its unit is gone: when it is at rest, it goes too.
    pub(super) removed: bool,
    pub(super) life: Option<Life>,
    /// What its start waits for.
    pub(super) work: Option<Work>,
    pub(super) kept: Option<Kept>,
    pub(super) last_exit: Option<Exit>,
    /// What its cgroup said when the kernel killed it for want of memory.
    pub(super) evidence: Option<String>,
    /// What its filter has denied to this life of it.
    pub(super) denied: Denied,
    pub(super) cgroup: Cgroup,
    pub(super) log: Log,
    /// How it fares with its log.
    pub(super) intake: Intake,
}

/// Work that a start waits for, or the restart of a jail that runs.
#[derive(Debug)]
pub(super) struct Work {
    /// The unit's key that it is for.
    pub(super) key: &'static str,
    pub(super) worker: Worker,
    /// When it has taken too long; none when it has, and was killed.
    pub(super) until: Option<Moment>,
    /// The jail runs on meanwhile.
    pub(super) is_ahead: bool,
    /// What is imported, by [`crate::exec::image::archive_key`].
    pub(super) archive: Option<String>,
    /// It was ended, since something else is wanted by now: nobody is to blame for that.
    pub(super) is_superseded: bool,
}

/// A unit with everything that was made from it when it was loaded.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) unit: Unit,
    /// What of it cannot change while it runs.
    pub(super) restart_hash: String,
    pub(super) ids: IdRange,
    pub(super) plan: Plan,
}

/// A jail's processes and its ends of their pipes.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) start_error: Option<OwnedFd>,
    pub(super) exit_report: OwnedFd,
    /// Its cgroup.events.
    pub(super) events: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) terminal: Option<Terminal>,
    /// What the kernel tells of its limits.
    pub(super) limits: Watched,
    /// Where its service says how it is.
    pub(super) voice: Voice,
    /// The checks of its health, while there are any.
    pub(super) health: Option<Checked>,
    /// It said that its start failed.
    pub(super) failed: Option<StartError>,
    /// It had to be killed after its stop time-out.
    pub(super) killed: bool,
    /// The unit that it was started from, when another is in force by now and it has hooks yet to run.
    pub(super) former: Option<Box<Loaded>>,
    /// It is the run of the hook after the jail's end.
    pub(super) is_poststop: bool,
    /// What the keeper remembers of it.
    pub(super) stored: Stored,
    /// Where it does; none when it has nothing of an adopted one.
    pub(super) memory: Option<Memory>,
    /// The fingerprint of that as it was remembered last: a copy would be the largest part of a life.
    pub(super) remembered: u64,
}

/// Namespaces from an earlier start.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) namespaces: Namespaces,
    /// The link that the network namespace was set up with; empty when it was not, or only in part.
    pub(super) key: String,
    /// The number of the host's link that it sits on.
    pub(super) lower: Option<u32>,
    /// The ids that the user namespace was made with; none when nobody knows.
    pub(super) ids: Option<String>,
    /// What is filtered in it; none when nobody knows.
    pub(super) filter: Option<Vec<Rule>>,
    /// Whether the addresses that the unit gives are its own.
    pub(super) claim: Claim,
}

/// Whether addresses are a jail's to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Others may have them, for all that is known.
    Unsure,
    /// Nobody else has them, and its link has not all of them yet.
    Free,
    /// Its link has them.
    Used,
}

impl Life {
    /// Has the keeper remember it as it is now, if anything of it is new.
    pub(super) fn remember(&mut self, keeper: &mut Client, key: &str) {
        let fingerprint = self.stored.fingerprint();
        if self.remembered == fingerprint {
            return;
        }
        let written = match &mut self.memory {
            Some(memory) => memory.write(&self.stored),
            None => remember(keeper, key, &self.stored).map(|memory| self.memory = Some(memory)),
        };
        match written {
            Ok(()) => self.remembered = fingerprint,
            Err(error) => log::warn!("jail={key} its state is not kept: {error}"),
        }
    }

    /// Waits for nothing more of it, but for its process.
    pub(super) fn forget(&mut self, poller: &Poller) {
        self.limits.forget(poller);
        for pipe in
            [&self.start_error, &self.stdout, &self.stderr, &self.events].into_iter().flatten()
        {
            poller.forget(pipe);
        }
        self.voice.socket().into_iter().for_each(|socket| poller.forget(socket));
        if let Some(terminal) = &self.terminal {
            poller.forget(&terminal.socket);
            terminal.master.iter().for_each(|master| poller.forget(master));
        }
    }
}

impl Jail {
    pub(super) fn new(name: &str, path: &str, cgroup: Cgroup, log: Log) -> Self {
        Self {
            name: name.to_owned(),
            key: name.to_owned(),
            part: Part::Itself,
            of: None,
            beside: None,
            path: path.to_owned(),
            loaded: None,
            unit_problems: Vec::new(),
            start_problem: None,
            found_problem: None,
            hook_problem: None,
            machine: Machine { dice: dice(name), ..Machine::NEW },
            depends: false,
            lacks_link: false,
            lease: None,
            waits: None,
            held_back: None,
            owes_poststop: false,
            leaving: None,
            since: clock::now(),
            restarts: 0,
            starts: 0,
            frozen: false,
            held_down: false,
            rested: None,
            removed: false,
            life: None,
            work: None,
            kept: None,
            last_exit: None,
            evidence: None,
            denied: Denied::new(),
            cgroup,
            log,
            intake: Intake::default(),
        }
    }

    /// Its checks say that it is well.
    pub(super) fn is_well(&self) -> bool {
        let health = self.life.as_ref().and_then(|life| life.stored.health.as_ref());
        health.is_some_and(|health| health.state == HealthState::Healthy)
    }

    /// The policy of the unit in force; a jail without one is only ever stopped.
    pub(super) fn policy(&self) -> Policy {
        self.loaded.as_ref().map_or_else(Policy::default, |loaded| Policy {
            restart: loaded.unit.restart.clone(),
            stop: loaded.unit.stop.clone(),
            waits: self.depends || self.lacks_link || self.lacks_address(),
            executed_within: loaded.unit.executed_within(),
            ready_within: (loaded.unit.process.notify != Notify::None)
                .then_some(loaded.unit.start.timeout),
            // One that is frozen owes no sign of life.
            watchdog: self.watchdog().filter(|_| !self.frozen),
            runtime_max: loaded.unit.process.runtime_max,
            is_unproven: loaded.unit.health.check().is_some() && !self.is_well(),
            on_unhealthy: loaded.unit.health.on_failure,
            on_oom: loaded.unit.resources.oom_action,
            on_pressure: loaded.unit.resources.pressure_action,
        })
    }

    /// How long it may give no sign of life: by its unit, or as it has said itself since.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        let of_unit = || self.loaded.as_ref()?.unit.process.watchdog;
        match &self.life {
            Some(life) => life.stored.notified.watchdog_us.map(Duration::from_micros),
            None => of_unit(),
        }
    }

    /// The state as clients see it.
    pub(super) fn state(&self) -> JailState {
        match self.machine.state {
            State::Down if self.loaded.is_none() => JailState::Invalid,
            State::Down => JailState::Down,
            State::Waiting => JailState::Waiting,
            State::Preparing => JailState::Preparing,
            State::Starting { .. } => JailState::Starting,
            State::Activating { .. } => JailState::Activating,
            State::Up { .. } => JailState::Up,
            State::Stopping { .. } => JailState::Stopping,
            State::Cleaning { .. } => JailState::Cleaning,
            State::Backoff { .. } => JailState::Backoff,
            State::Failed => JailState::Failed,
        }
    }

    /// Changes places with another life of the jail: all that belongs to a life, and nothing that belongs to the jail. Each
    /// field is here, so that a new one cannot be forgotten.
    pub(super) fn swap_life(&mut self, other: &mut Self) {
        let Self {
            key,
            part,
            loaded,
            machine,
            since,
            frozen,
            life,
            work,
            kept,
            denied,
            cgroup,
            owes_poststop,
            name: _,
            of: _,
            beside: _,
            path: _,
            unit_problems: _,
            start_problem: _,
            found_problem: _,
            hook_problem: _,
            depends: _,
            lacks_link: _,
            lease: _,
            waits: _,
            held_back: _,
            leaving: _,
            restarts: _,
            starts: _,
            held_down: _,
            rested: _,
            removed: _,
            last_exit: _,
            evidence: _,
            log: _,
            intake: _,
        } = self;
        std::mem::swap(key, &mut other.key);
        std::mem::swap(part, &mut other.part);
        std::mem::swap(loaded, &mut other.loaded);
        std::mem::swap(machine, &mut other.machine);
        std::mem::swap(since, &mut other.since);
        std::mem::swap(frozen, &mut other.frozen);
        std::mem::swap(life, &mut other.life);
        std::mem::swap(work, &mut other.work);
        std::mem::swap(kept, &mut other.kept);
        std::mem::swap(denied, &mut other.denied);
        std::mem::swap(cgroup, &mut other.cgroup);
        std::mem::swap(owes_poststop, &mut other.owes_poststop);
    }

    /// Puts a version of its unit in force. Of the one that its processes are of the hooks are kept.
    pub(super) fn take(&mut self, new: Loaded) {
        if let (Some(old), Some(life)) = (self.loaded.take(), &mut self.life) {
            let is_its_own = life.stored.unit == old.restart_hash;
            let is_left = life.stored.unit != new.restart_hash;
            if is_its_own && is_left && old.unit.hooks != Hooks::default() {
                life.former = Some(Box::new(old));
            }
        }
        self.loaded = Some(new);
    }

    /// When something is to be done about it that nothing else tells of.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let life = self.life.as_ref();
        let work = self.work.as_ref().and_then(|work| work.until);
        let voice = life.and_then(|life| life.voice.deadline());
        let health = life.and_then(|life| life.health.as_ref()?.deadline());
        let loss = self.intake.deadline();
        [self.machine.deadline(), work, voice, health, loss].into_iter().flatten().min()
    }

    /// Whether nothing of it is left that a shutdown would have to wait for.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(
            self.machine.state,
            State::Down | State::Waiting | State::Failed | State::Backoff { .. }
        )
    }

    /// All problems, the foremost first.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.unit_problems.iter().chain(&self.start_problem)
    }

    /// Whether it runs from another version of its unit than the one in force.
    pub(super) fn is_stale(&self) -> bool {
        match (&self.life, &self.loaded) {
            (Some(life), Some(loaded)) => life.stored.unit != loaded.restart_hash,
            _ => false,
        }
    }
}

/// Has the keeper remember a state in the place of the one before.
pub(super) fn remember(keeper: &mut Client, key: &str, state: &Stored) -> io::Result<Memory> {
    let memory = Memory::new(state)?;
    keeper.put(key, &[(Slot::State, memory.as_fd())])?;
    Ok(memory)
}

/// Where a jail's dice begin: elsewhere for each, and after each boot.
fn dice(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, clock::wall_ms()).hash(&mut hasher);
    hasher.finish()
}
