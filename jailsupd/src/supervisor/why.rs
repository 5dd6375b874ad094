//! Why a jail is in its state, with the evidence.

use super::jail::{Jail, Loaded};
use super::{Supervisor, clock, health, report};
use crate::control::wire::{Evidence, Exit, ExitReason, HealthState, JailState, Reply, Victim};
use crate::exec::cores;
use crate::machine::State;
use crate::unit::{Bytes, Notify, Problem};
use std::net::IpAddr;

/// Lines of the log that are shown.
const LINES: usize = 10;

impl Supervisor {
    pub(super) fn why(&self, name: &str) -> Reply {
        let Some(jail) = self.jails.find(name).and_then(|id| self.jails.get(id)) else {
            return Reply::refusal(&self.no_such_jail(name));
        };
        let next_try = NextTry::of(jail);
        let log = jail.log.tail(LINES).unwrap_or_default();
        Reply::with(&Evidence {
            jail: report::summary(jail),
            text: self.text(jail, next_try),
            last_exit: jail.last_exit.clone(),
            start_problem: jail.start_problem.as_ref().map(Problem::one_line),
            next_try_ms: next_try.map(|next| next.in_ms),
            next_try_at: next_try.map(|next| next.at),
            problems: jail.unit_problems.iter().map(ToString::to_string).collect(),
            events: self.recent_events(name),
            log: log.iter().map(|line| report::entry(line, Some(name))).collect(),
        })
    }
}

impl Supervisor {
    fn text(&self, jail: &Jail, next_try: Option<NextTry>) -> Vec<String> {
        let mut text = explain(jail, next_try);
        // The first link is the state's own sentence.
        text.extend(self.chain(jail).into_iter().skip(1));
        text.extend(self.trial_sentence(jail));
        text.extend(self.beside_sentence(jail));
        text.extend(self.cores(&jail.name));
        text
    }

    /// The core dumps that the jail has left.
    fn cores(&self, name: &str) -> Option<String> {
        let dumps = cores::list(name, &self.layout);
        let dumps: Vec<String> = dumps
            .iter()
            .map(|(path, size)| format!("{} ({})", path.display(), Bytes::new(*size)))
            .collect();
        (!dumps.is_empty()).then(|| format!("It has left core dumps: {}.", dumps.join(", ")))
    }
}

/// When a jail is tried again.
#[derive(Clone, Copy)]
struct NextTry {
    /// Milliseconds from now: this is what is decided.
    in_ms: u64,
    /// Milliseconds since 1970, by the host's clock as it is now.
    at: u64,
}

impl NextTry {
    fn of(jail: &Jail) -> Option<Self> {
        let State::Backoff { until } = jail.machine.state else { return None };
        let in_ms = u64::try_from(until.saturating_sub(clock::now()).as_millis()).ok()?;
        Some(Self { in_ms, at: clock::wall_ms().saturating_add(in_ms) })
    }

    /// "at 15:30:12 UTC, in 40 s".
    fn show(self) -> String {
        let wait = match self.in_ms {
            ms @ 0..10_000 => format!("{ms} ms"),
            ms => format!("{} s", ms / 1000),
        };
        format!("at {}, in {wait}", clock::time_of_day(self.at))
    }
}

fn explain(jail: &Jail, next_try: Option<NextTry>) -> Vec<String> {
    let mut text = vec![state(jail, next_try)];
    text.extend(said(jail));
    if jail.frozen {
        text.push("It is frozen: its processes stand still until `jailctl thaw`.".into());
    }
    if let Some(problem) = &jail.start_problem {
        let what = consequence(jail.is_running(), problem);
        text.push(format!("{what}: {}.", problem.one_line()));
    }
    // That a start came to no process is said already.
    let is_told = |exit: &Exit| {
        exit.reason == ExitReason::StartFailed
            && exit.program.is_none()
            && jail.start_problem.is_some()
    };
    if let Some(exit) = jail.last_exit.as_ref().filter(|exit| !is_told(exit)) {
        let more = match (exit.reason, &jail.evidence) {
            (ExitReason::Oom, Some(evidence)) => {
                format!(" The kernel killed {}: {evidence}.", victim(exit))
            }
            (ExitReason::Oom, None) => " The kernel killed it for want of memory.".to_owned(),
            (ExitReason::Killed, _) => " It did not stop within its time-out.".to_owned(),
            _ => String::new(),
        };
        text.push(format!("Last time it {}.{more}", super::end::describe(exit)));
        text.extend(main_process(exit));
    }
    if let Some(problem) = &jail.hook_problem {
        let told = problem.strip_prefix("its").unwrap_or(problem);
        text.push(format!("Its{told}."));
    }
    text.extend(super::denials::sentence(&jail.denied));
    text.extend(super::denials::hint(jail));
    text.extend(jail.intake.sentence());
    let problems = match jail.unit_problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    if !jail.unit_problems.is_empty() {
        let consequence = match jail.loaded {
            Some(_) => "the last good version stays in force",
            None => "no good version is known",
        };
        text.push(format!("Its unit has {problems}; {consequence}."));
    }
    if jail.is_stale() {
        text.push(
            "It runs with an older version of its unit: `jailctl restart` applies it.".into(),
        );
    }
    let is_checked = |loaded: &Loaded| loaded.unit.health.check().is_some();
    if jail.is_stale() && jail.loaded.as_ref().is_some_and(is_checked) {
        text.push("Its health is not checked until then.".to_owned());
    }
    text
}

/// What a problem with its start, or with what its unit has changed since, has led to.
fn consequence(is_running: bool, problem: &Problem) -> &'static str {
    let section = problem.key.split('.').next();
    match section {
        _ if !is_running => "Its last start failed",
        Some("resources") => "It runs on, but not with all of its limits",
        Some("network") => "It runs on without its link",
        _ => "It runs on as it is, since its new version cannot be started",
    }
}

/// Whom the kernel has killed for want of memory.
fn victim(exit: &Exit) -> String {
    match &exit.victim {
        Some(Victim { pid, program }) => format!("{program} (process {pid})"),
        None if is_killed(exit) => "it".to_owned(),
        None => "a process of it".to_owned(),
    }
}

/// What it was that has ended.
fn main_process(exit: &Exit) -> Option<String> {
    let process = exit.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    exit.program.as_ref().map(|program| format!("Its program was {program}{process}."))
}

fn is_killed(exit: &Exit) -> bool {
    exit.signal.as_deref() == Some("SIGKILL")
}

/// What it says of itself, and what its checks say.
fn said(jail: &Jail) -> Vec<String> {
    let Some(life) = &jail.life else { return Vec::new() };
    let notified = &life.stored.notified;
    let mut text = Vec::new();
    if notified.reloading {
        text.push("It says that it loads its configuration again.".to_owned());
    }
    if !notified.status.is_empty() {
        text.push(format!("It says of itself: {}", notified.status));
    }
    let state = life.health.as_ref().and(life.stored.health.as_ref()).map(|health| health.state);
    match (state, health::failures(jail)) {
        (Some(HealthState::Unhealthy), failures) => {
            text.push(format!("It is unhealthy: {}.", failures.unwrap_or_default()));
        }
        (Some(HealthState::Healthy), Some(failures)) => {
            text.push(format!("It is taken for healthy still, but {failures}."));
        }
        (Some(HealthState::Healthy), None) => text.push("Its checks find it healthy.".to_owned()),
        (Some(HealthState::Starting), Some(failures)) => {
            text.push(format!("No check has succeeded yet: {failures}."));
        }
        (Some(HealthState::Starting), None) => text.push("No check has ended yet.".to_owned()),
        (None, _) => {}
    }
    text
}

/// What it has still to do to be up.
fn activating(jail: &Jail) -> String {
    let left = match jail.machine.state {
        State::Activating { ready_by } => ready_by.saturating_sub(clock::now()).as_secs(),
        _ => 0,
    };
    let by_health = |notify| notify == Notify::Healthy;
    let missing = match &jail.loaded {
        Some(loaded) if by_health(loaded.unit.process.notify) => {
            "no check of its health has succeeded"
        }
        _ => "it has not said that it is ready",
    };
    format!("Its program runs, but {missing} yet; it has {left} s left for that (`start.timeout`).")
}

fn state(jail: &Jail, next_try: Option<NextTry>) -> String {
    match jail.state() {
        JailState::Down if jail.held_down => {
            "It is down because someone stopped it; `jailctl start` starts it.".into()
        }
        JailState::Down if jail.loaded.as_ref().is_some_and(|l| !l.unit.enabled) => {
            "It is down because it is disabled; `jailctl enable` or `jailctl start` starts it."
                .into()
        }
        JailState::Down => {
            "It is down: it ended with success, and its restart policy leaves it so.".into()
        }
        JailState::Backoff => {
            let often = match jail.machine.failures {
                0 | 1 => "It failed".to_owned(),
                count => format!("It failed {count} times in a row"),
            };
            let when = next_try.map(|next| format!(" {}", next.show())).unwrap_or_default();
            format!("{often} and is tried again{when}.")
        }
        JailState::Failed if jail.machine.limit.reached => {
            let restarts = jail.machine.limit.restarts.saturating_sub(1);
            format!("It failed and is not tried again by itself: it was restarted {restarts} times within its restart.start_limit_interval; `jailctl start` or an edit of its unit tries again.")
        }
        JailState::Failed => {
            "It failed and is not tried again by itself; `jailctl start` or an edit of its unit tries again.".into()
        }
        JailState::Invalid => "It has never run: its unit cannot be used.".into(),
        JailState::Waiting => waiting(jail),
        JailState::Up if jail.runs_until_work_is_done() => {
            "It is up, and is restarted when its new image is imported.".into()
        }
        JailState::Up if jail.leaving.is_some() => {
            "It is to end, and waits until the jails that depend on it have ended.".into()
        }
        JailState::Up => "It is up.".into(),
        JailState::Activating => activating(jail),
        other => format!("It is {other}."),
    }
}

fn waiting(jail: &Jail) -> String {
    match &jail.waits {
        Some(waits) => {
            let (name, why) = (&waits.name, &waits.why);
            let is_address = name.parse::<IpAddr>().is_ok();
            let wanted = if is_address { "free" } else { "ready" };
            format!(
                "It waits for {name}, which {why}. It starts by itself when {name} is {wanted}."
            )
        }
        None => "It is about to start.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Place;

    fn exit(signal: &str, victim: Option<Victim>) -> Exit {
        Exit {
            reason: ExitReason::Oom,
            code: None,
            signal: Some(signal.to_owned()),
            core: false,
            at: 0,
            stage: None,
            errno: None,
            detail: None,
            usage: None,
            program: Some("/bin/strain".to_owned()),
            pid: Some(313),
            victim,
        }
    }

    #[test]
    fn the_victim_is_named_when_it_is_known() {
        assert_eq!(victim(&exit("SIGKILL", None)), "it");
        assert_eq!(victim(&exit("SIGTERM", None)), "a process of it");
        let named = Victim { pid: 314, program: "strain".to_owned() };
        assert_eq!(victim(&exit("SIGTERM", Some(named))), "strain (process 314)");
    }

    #[test]
    fn the_main_process_is_named_by_its_program_and_number() {
        let full = exit("SIGKILL", None);
        assert_eq!(main_process(&full).unwrap(), "Its program was /bin/strain, process 313.");
        let unseen = Exit { pid: None, ..full };
        assert_eq!(main_process(&unseen).unwrap(), "Its program was /bin/strain.");
    }

    #[test]
    fn what_runs_is_told_what_it_lacks() {
        let of = |key: &str| Problem::new(Place::whole("web.toml"), key, "it is not there");
        for (key, told) in [
            ("image.source", "It runs on as it is, since its new version cannot be started"),
            ("", "It runs on as it is, since its new version cannot be started"),
            ("resources.memory_max", "It runs on, but not with all of its limits"),
            ("network.parent", "It runs on without its link"),
        ] {
            assert_eq!(consequence(true, &of(key)), told, "{key}");
            assert_eq!(consequence(false, &of(key)), "Its last start failed", "{key}");
        }
    }

    #[test]
    fn the_next_try_is_told_by_the_clock_and_by_the_time_until_then() {
        let at = 1_795_343_509_123;
        assert_eq!(NextTry { in_ms: 40_900, at }.show(), "at 10:31:49 UTC, in 40 s");
        assert_eq!(NextTry { in_ms: 800, at }.show(), "at 10:31:49 UTC, in 800 ms");
    }
}
