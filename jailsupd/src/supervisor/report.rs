//! Jails, units and what they say as the wire's types.

use super::clock;
use super::jail::Jail;
use crate::control::wire::Jail as WireJail;
use crate::control::wire::{
    self, Checks, JailProcesses, JailState, JailSummary, KeyDoc, KeyDocs, LogEntry, Privileges,
    Process, Reply, Seccomp, Stage, StageState, Stream as WireStream, UnitSchema, WireError,
};
use crate::exec::logs::{Line, Stream};
use crate::exec::privileges::Privileges as Found;
use crate::exec::processes;
use crate::machine::State;
use crate::machine::health::Health;
use crate::plan::Link;
use crate::plan::link::show_mac;
use crate::unit::change::Change;
use crate::unit::explain::{Explanation, KeyEntry, Otherwise, Unknown};
use crate::unit::{Effect, Problem, UserSpec};

/// `NAME START_US DURATION_US STATE MESSAGE`, as init writes it.
pub(super) fn stage(line: &str) -> Option<Stage> {
    let mut words = line.splitn(5, ' ');
    Some(Stage {
        name: words.next()?.to_owned(),
        start_us: words.next()?.parse().ok()?,
        duration_us: words.next()?.parse().ok()?,
        state: match words.next()? {
            "ok" => StageState::Ok,
            "degraded" => StageState::Degraded,
            _ => StageState::Failed,
        },
        message: words.next().unwrap_or_default().to_owned(),
    })
}

pub(super) fn entry(line: &Line, jail: Option<&str>) -> LogEntry {
    let stream = match line.stream {
        Stream::Stdout => WireStream::Stdout,
        Stream::Stderr => WireStream::Stderr,
        Stream::Warder => WireStream::Warder,
        Stream::Kernel => WireStream::Kernel,
    };
    let jail = jail.map(str::to_owned);
    LogEntry { time: line.time, jail, stream, text: line.text.clone() }
}

pub(super) fn summary(jail: &Jail) -> JailSummary {
    let life = jail.life.as_ref();
    let health = life.filter(|life| life.health.is_some());
    let health = health.and_then(|life| life.stored.health.as_ref());
    JailSummary {
        name: jail.name.clone(),
        state: jail.state(),
        since: clock::wall_ms_of(jail.since),
        address: jail.addresses(),
        pid: jail.life.as_ref().and_then(|life| u32::try_from(life.pid).ok()),
        restarts: jail.restarts.into(),
        problem: problem_line(jail),
        waits_for: jail
            .waits
            .as_ref()
            .filter(|_| jail.waits_text().is_some())
            .map(|w| w.name.clone()),
        unit: jail.path.clone(),
        frozen: jail.frozen,
        enabled: jail.loaded.as_ref().is_none_or(|loaded| loaded.unit.enabled),
        stale: jail.is_stale(),
        health: health.map(|health| health.state),
        status: life
            .map(|life| life.stored.notified.status.clone())
            .filter(|text| !text.is_empty()),
    }
}

/// The checks of a jail whose program runs.
fn checks(jail: &Jail) -> Option<Checks> {
    let settings = jail.loaded.as_ref().map(|loaded| &loaded.unit.health)?;
    let checked = jail.life.as_ref()?.health.as_ref()?;
    let Health { is_probing, failures, .. } = checked.health;
    let check = if is_probing { settings.startup_check() } else { settings.check() };
    let interval = settings.startup_interval.filter(|_| is_probing).unwrap_or(settings.interval);
    let last = checked.last.as_ref();
    Some(Checks {
        what: super::health::words(check?),
        interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        probing: is_probing,
        failures,
        last_at: last.map(|last| last.at),
        succeeded: last.map(|last| last.succeeded),
        output: last.map(|last| last.text.clone()),
    })
}

/// When it was ready.
fn ready_at(jail: &Jail) -> Option<u64> {
    match jail.machine.state {
        State::Up { since, .. } => Some(clock::wall_ms_of(since)),
        _ => None,
    }
}

/// The foremost reason why a jail is not as its unit wants it, in one line.
pub(super) fn problem_line(jail: &Jail) -> Option<String> {
    let ended = || {
        let troubled = matches!(jail.state(), JailState::Failed | JailState::Backoff);
        jail.last_exit.as_ref().filter(|_| troubled).map(super::end::describe)
    };
    let stale = || jail.is_stale().then(|| "runs an older version of its unit".to_owned());
    let unit = jail.unit_problems.first().map(Problem::one_line);
    let start = || jail.start_problem.as_ref().map(Problem::one_line);
    unit.or_else(|| jail.waits_text()).or_else(start).or_else(ended).or_else(stale)
}

pub(super) fn inspected(jail: &Jail) -> WireJail {
    let unit = jail.loaded.as_ref().map(|loaded| &loaded.unit);
    let link = jail.loaded.as_ref().and_then(|loaded| loaded.plan.link());
    let mac = link.and_then(Link::mac).map(show_mac);
    let firewall = unit.map(|unit| &unit.firewall);
    let usage = jail.life.as_ref().map(|_| jail.cgroup.usage());
    let init = jail.life.as_ref().and_then(|life| Found::of_init(life.pid));
    let service = jail.life.as_ref().and_then(|life| Found::of_service(life.pid));
    WireJail {
        summary: summary(jail),
        critical: unit.is_some_and(|unit| unit.critical),
        description: unit.and_then(|unit| unit.description.clone()),
        image: unit.map(|unit| unit.image.source.to_string()).unwrap_or_default(),
        exec: unit.map(|unit| unit.process.exec.clone()).unwrap_or_default(),
        user: unit.map(|unit| user(&unit.process.user)).unwrap_or_default(),
        uid_base: jail.loaded.as_ref().map(|loaded| loaded.ids.base()),
        mac,
        link: link.map(ToString::to_string),
        publish: unit.map(|unit| shown(&unit.network.publish)).unwrap_or_default(),
        ingress: firewall.and_then(|all| all.ingress.as_ref()).map(|all| shown(&all.0)),
        egress: firewall.and_then(|all| all.egress.as_ref()).map(|all| shown(&all.0)),
        cgroup: usage.map(|_| format!("jails/{}", jail.key)),
        capabilities: service.map(|found| found.effective.names()),
        bounding: service.map(|found| found.bounding.names()),
        seccomp: service.and_then(seccomp),
        no_new_privs: service.map(|found| found.no_new_privs),
        init: init.map(privileges),
        landlock: init.map(|_| sys::landlock::version() >= sys::landlock::USABLE),
        last_exit: jail.last_exit.clone(),
        memory_current: usage.and_then(|usage| usage.memory),
        pids_current: usage.and_then(|usage| usage.pids),
        start_time: jail.life.as_ref().and_then(|life| start_time(life.pid)),
        ready_at: ready_at(jail),
        watchdog_us: jail.life.as_ref().and_then(|life| life.stored.notified.watchdog_us),
        reloading: jail.life.as_ref().is_some_and(|life| life.stored.notified.reloading),
        checks: checks(jail),
        problems: jail.problems().map(ToString::to_string).collect(),
    }
}

fn shown(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// Whom a process shows that has no id in its jail: the kernel's `overflowuid` (user_namespaces(7)).
const NOBODY: u32 = 65_534;

/// The processes of a jail.
pub(super) fn processes(jail: &Jail) -> JailProcesses {
    let ids = jail.loaded.as_ref().map(|loaded| &loaded.plan.ids);
    let user = |host: u32| ids.and_then(|ids| ids.jail_user(host)).unwrap_or(NOBODY);
    let of_jail = processes::of(&jail.cgroup).into_iter().map(|process| Process {
        pid: process.pid,
        ppid: process.ppid,
        jail_pid: process.jail_pid,
        user: user(process.host_uid),
        command: process.command,
    });
    JailProcesses { name: jail.name.clone(), state: jail.state(), processes: of_jail.collect() }
}

/// A problem of a unit.
pub(super) fn problem(problem: &Problem) -> wire::Problem {
    wire::Problem {
        file: problem.place.file.to_string(),
        line: problem.place.line,
        column: problem.place.column,
        key: problem.key.clone(),
        message: problem.message.clone(),
        help: problem.help.clone(),
        text: problem.to_string(),
    }
}

/// A difference between two versions of a unit.
pub(super) fn change(change: &Change) -> wire::Change {
    wire::Change {
        key: change.key.clone(),
        old: change.old.clone(),
        new: change.new.clone(),
        effect: effect(change.effect),
    }
}

fn effect(effect: Effect) -> wire::Effect {
    match effect {
        Effect::Live => wire::Effect::Live,
        Effect::Restart => wire::Effect::Restart,
    }
}

/// What unit files may say.
pub(super) fn explain(key: Option<&str>) -> Reply {
    let asked = key.unwrap_or_default();
    let entries = match crate::unit::explain(asked) {
        Ok(Explanation::Keys(keys)) => keys,
        Ok(Explanation::Sections(sections)) => {
            sections.into_iter().flat_map(|section| section.keys).collect()
        }
        Err(unknown) => {
            let Unknown { asked: key, nearest, related } = unknown;
            return Reply::refusal(&WireError::NoSuchKey { key, nearest, related });
        }
    };
    Reply::with(&KeyDocs { entries: entries.iter().map(key_doc).collect() })
}

fn key_doc(entry: &KeyEntry) -> KeyDoc {
    let (required, default, otherwise) = match entry.otherwise {
        Otherwise::Required => (true, None, None),
        Otherwise::Default(value) => (false, Some(value.to_owned()), None),
        Otherwise::Unset(meaning) => (false, None, Some(meaning.to_owned())),
    };
    KeyDoc {
        key: entry.path(),
        kind: entry.takes.clone(),
        required,
        default,
        otherwise,
        effect: effect(entry.effect),
        doc: entry.doc.to_owned(),
        example: entry.example.to_owned(),
    }
}

/// The JSON Schema of unit files.
pub(super) fn schema() -> Reply {
    Reply::with(&UnitSchema { schema: crate::unit::schema::whole() })
}

fn user(spec: &UserSpec) -> String {
    match spec {
        UserSpec::Name(name) => name.clone(),
        UserSpec::Id(id) => id.to_string(),
    }
}

/// What the kernel says of a process.
fn privileges(found: Found) -> Privileges {
    Privileges {
        capabilities: found.effective.names(),
        bounding: found.bounding.names(),
        seccomp: seccomp(found),
        no_new_privs: found.no_new_privs,
    }
}

fn seccomp(found: Found) -> Option<Seccomp> {
    match found.seccomp {
        0 => Some(Seccomp::Disabled),
        1 => Some(Seccomp::Strict),
        2 => Some(Seccomp::Filter),
        _ => None,
    }
}

/// Field 22 of proc_pid_stat(5); the name in field 2 may contain anything, so count from its end.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_line_of_init_is_understood() {
        let stage = stage("data 1200 3400 degraded no disk, in memory").unwrap();
        assert_eq!((stage.name.as_str(), stage.start_us, stage.duration_us), ("data", 1200, 3400));
        assert_eq!(stage.state, StageState::Degraded);
        assert_eq!(stage.message, "no disk, in memory");
    }

    #[test]
    fn our_own_start_time_is_a_number() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap() > 0);
    }
}
