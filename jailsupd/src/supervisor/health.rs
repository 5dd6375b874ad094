//! The health of running jails: checks begun when they are due, their answers, and what follows.

use super::jail::Jail;
use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::control::wire::HealthState;
use crate::exec::Error;
use crate::exec::check::{self, Running, Subject};
use crate::exec::notify::one_line;
use crate::exec::state::Health as Stored;
use crate::machine::health::{Health, HealthAction, HealthEvent, Past, Verdict};
use crate::machine::{Event, Moment, News, State};
use crate::unit::{Check, Health as Settings, Notify};
use jail_init::Stage;
use jail_init::check::Answer;
use rustix::fd::AsFd as _;
use std::time::Duration;

/// How long after its time-out a check may still say what it has seen; then it is killed unheard.
const GRACE: Duration = Duration::from_secs(3);
/// Checks that are begun in one turn of the loop: each takes a millisecond.
const A_TURN: usize = 8;

/// The health of one life of a jail, and the check that is on its way.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) health: Health,
    running: Option<(Running, Moment)>,
    pub(super) last: Option<Last>,
}

/// The last check that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// In milliseconds since 1970.
    pub(super) at: u64,
    pub(super) succeeded: bool,
    /// What it found, as one line.
    pub(super) text: String,
}

impl Checked {
    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let late = self.running.as_ref().map(|(_, until)| *until);
        late.into_iter().chain(self.health.deadline()).min()
    }

    /// What the next jailsupd must know.
    pub(super) fn to_store(&self) -> Stored {
        let Health { verdict, is_probing, failures, successes, .. } = self.health;
        let unsuccessful = self.last.as_ref().filter(|last| !last.succeeded);
        Stored {
            state: state_of(verdict),
            probing: is_probing,
            failures,
            // Those of the startup probe end with it.
            successes,
            // Of others nobody needs to know after a sudden end: to store each would be a write an interval.
            failure: unsuccessful.map(|last| (last.at, last.text.clone())),
        }
    }
}

/// The verdict as clients see it.
pub(super) const fn state_of(verdict: Verdict) -> HealthState {
    match verdict {
        Verdict::Starting => HealthState::Starting,
        Verdict::Healthy => HealthState::Healthy,
        Verdict::Unhealthy => HealthState::Unhealthy,
    }
}

const fn verdict_of(state: HealthState) -> Verdict {
    match state {
        HealthState::Starting => Verdict::Starting,
        HealthState::Healthy => Verdict::Healthy,
        HealthState::Unhealthy => Verdict::Unhealthy,
    }
}

impl Jail {
    fn runs(&self) -> bool {
        matches!(self.machine.state, State::Activating { .. } | State::Up { .. })
    }

    /// How its health is to be checked as it is now; none when it is not.
    fn settings(&self) -> Option<&Settings> {
        let runs = self.runs();
        let health = self.loaded.as_ref().map(|loaded| &loaded.unit.health)?;
        (runs && self.life.is_some() && health.check().is_some()).then_some(health)
    }
}

impl Supervisor {
    /// A jail whose program runs is checked, and no other.
    pub(super) fn follow_health(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let is_checked = jail.life.as_ref().is_some_and(|life| life.health.is_some());
        match jail.settings().cloned() {
            Some(settings) if !is_checked => self.begin_health(id, &settings),
            None if is_checked => self.drop_check(id, true),
            Some(_) | None => {}
        }
    }

    /// Its first check is due now; of a jail that was checked before this jailsupd came, the next one later.
    fn begin_health(&mut self, id: JailId, settings: &Settings) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (now, dice, frozen) = (clock::now(), jail.machine.dice, jail.frozen);
        let Some(life) = &mut jail.life else { return };
        let stored = life.stored.health.as_ref();
        let past = stored.map(|stored| past(stored, life.stored.started_us));
        let health = match past {
            None => Health::new(now, settings, dice),
            Some(past) => Health::adopted(now, settings, dice, past),
        };
        let failure = stored.and_then(|stored| stored.failure.clone());
        let last = failure.map(|(at, text)| Last { at, succeeded: false, text });
        life.health = Some(Checked { health, running: None, last });
        if frozen {
            self.advance_health(id, HealthEvent::Frozen(true));
        }
    }

    /// Its health is looked at again as if another jailsupd had come.
    pub(super) fn pause_check(&mut self, id: JailId) {
        self.drop_check(id, false);
        if let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) {
            life.health = None;
        }
    }

    /// Ends the check that is on its way; with `all` there will be no other.
    fn drop_check(&mut self, id: JailId, all: bool) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let runs = jail.runs();
        let Some(life) = &mut jail.life else { return };
        let Some(checked) = &mut life.health else { return };
        if let Some((running, _)) = checked.running.take() {
            self.poller.forget(&running);
        }
        if all {
            life.health = None;
            // Of one that ends it is told what its checks had found; of one whose unit wants none any more it is not.
            if runs {
                life.stored.health = None;
            }
        }
    }

    /// Does what is due; true when a check was begun.
    pub(super) fn tick_health(&mut self, id: JailId, now: Moment) -> bool {
        let checked = |jail: &Jail| jail.life.as_ref()?.health.as_ref()?.deadline();
        if self.jails.get(id).and_then(checked).is_none_or(|at| at > now) {
            return false;
        }
        let is_late = |jail: &Jail| {
            let running = jail.life.as_ref()?.health.as_ref()?.running.as_ref()?;
            (running.1 <= now).then_some(())
        };
        if self.jails.get(id).and_then(is_late).is_some() {
            // It may have ended in time, though nobody had the time to look.
            self.on_check(id);
        }
        if self.jails.get(id).and_then(is_late).is_some() {
            self.drop_check(id, false);
            self.answered(id, HealthEvent::Failed, "it did not end, and was killed".to_owned());
            return false;
        }
        self.advance_health(id, HealthEvent::Tick);
        true
    }

    /// Checks that are due, as many as one turn of the loop bears.
    pub(super) fn tick_checks(&mut self, due: &[JailId], now: Moment) {
        let mut begun = 0;
        for id in due {
            begun += usize::from(self.tick_health(*id, now));
            if begun >= A_TURN {
                return;
            }
        }
    }

    /// A jail was frozen or thawed.
    pub(super) fn freeze_health(&mut self, id: JailId, frozen: bool) {
        self.advance_health(id, HealthEvent::Frozen(frozen));
    }

    /// A check has something to say.
    pub(super) fn on_check(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let running = jail.life.as_ref().and_then(|life| life.health.as_ref()?.running.as_ref());
        let Some(answer) = running.and_then(|(running, _)| running.answer()) else { return };
        // Whatever it has left is killed with it.
        self.drop_check(id, false);
        match answer {
            Answer::Made { healthy: true, text } => {
                self.answered(id, HealthEvent::Succeeded, shown(&text));
            }
            Answer::Made { healthy: false, text } => {
                self.answered(id, HealthEvent::Failed, shown(&text));
            }
            // The jail has ended under its hands.
            Answer::NotStarted(error) if error.stage == Stage::JoinJail => {
                self.answered(id, HealthEvent::NotMade, String::new());
            }
            Answer::NotStarted(error) => {
                let errno = nix::errno::Errno::from_raw(error.errno);
                let text = format!("it cannot {}: {errno}", error.stage.text());
                self.answered(id, HealthEvent::Failed, text);
            }
        }
    }

    /// After the units were read: their health may be checked now, or not any more.
    pub(super) fn follow_all_health(&mut self) {
        for id in self.jails.ids() {
            self.follow_health(id);
        }
    }

    /// Another version of the unit of a jail that runs is in force.
    pub(super) fn renew_health(&mut self, id: JailId) {
        self.advance_health(id, HealthEvent::UnitRead);
    }

    fn answered(&mut self, id: JailId, event: HealthEvent, text: String) {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else { return };
        let Some(checked) = &mut life.health else { return };
        let succeeded = event == HealthEvent::Succeeded;
        // One that could not be made tells nothing of the jail.
        if event != HealthEvent::NotMade {
            checked.last = Some(Last { at: clock::wall_ms(), succeeded, text });
        }
        self.advance_health(id, event);
        self.trials.stir(id);
    }

    fn advance_health(&mut self, id: JailId, event: HealthEvent) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(settings) = jail.settings().cloned() else { return };
        let Some(checked) = jail.life.as_mut().and_then(|life| life.health.as_mut()) else {
            return;
        };
        let before = checked.health.verdict;
        let (health, action) = checked.health.next(event, clock::now(), &settings);
        checked.health = health;
        let stored = checked.to_store();
        if let Some(life) = &mut jail.life {
            life.stored.health = Some(stored);
        }
        match action {
            HealthAction::Nothing => {}
            HealthAction::Check => self.begin_check(id, &settings),
            HealthAction::GiveUp => self.drop_check(id, false),
            HealthAction::Healthy => self.is_healthy(id, before),
            HealthAction::Unhealthy => self.is_unhealthy(id, before, &settings),
        }
        self.store_notified(id);
    }

    fn begin_check(&mut self, id: JailId, settings: &Settings) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let is_stale = jail.is_stale();
        let (Some(life), Some(loaded)) = (&mut jail.life, &jail.loaded) else { return };
        let Some(checked) = &mut life.health else { return };
        let (check, timeout) = if checked.health.is_probing {
            (settings.startup_check(), settings.startup_timeout)
        } else {
            (settings.check(), settings.timeout)
        };
        let Some(check) = check else { return };
        if is_stale {
            // Its walls are those of a plan that nobody has any more.
            return self.answered(id, HealthEvent::NotMade, String::new());
        }
        let subject = Subject {
            pid: life.pid,
            pidfd: life.pidfd.as_fd(),
            cgroup: &jail.cgroup,
            plan: &loaded.plan,
        };
        let started = check::start(&subject, check, timeout, self.helper.as_fd());
        let watched = started.and_then(|running| {
            let failed = |source| Error::Process { what: "watch its check", source };
            self.poller.watch(&running, Source::Check(id)).map_err(failed)?;
            Ok(running)
        });
        match watched {
            Ok(running) => {
                let until = clock::now().saturating_add(timeout).saturating_add(GRACE);
                checked.running = Some((running, until));
            }
            Err(error) => {
                // The jail has used up what it may have, or the host is in need.
                let event =
                    if is_exhausted(&error) { HealthEvent::Failed } else { HealthEvent::NotMade };
                if event == HealthEvent::NotMade {
                    log::warn!(
                        "jail={} its health cannot be checked: {}",
                        jail.name,
                        error.chain()
                    );
                }
                self.answered(id, event, error.chain());
            }
        }
    }

    fn is_healthy(&mut self, id: JailId, before: Verdict) {
        let Some(jail) = self.jails.get(id) else { return };
        let name = jail.name.clone();
        let by_health = |notify| notify == Notify::Healthy;
        let makes_ready = jail.loaded.as_ref().is_some_and(|l| by_health(l.unit.process.notify));
        if before == Verdict::Unhealthy {
            let why = "it is healthy again";
            log::info!("jail={name} {why}");
            self.tell_of(id, why);
        }
        if makes_ready {
            self.apply(id, Event::News(News::Ready), "its health check succeeded");
        }
        self.apply(id, Event::News(News::Healthy), "its checks say that it is well");
    }

    fn is_unhealthy(&mut self, id: JailId, before: Verdict, settings: &Settings) {
        let Some(jail) = self.jails.get(id) else { return };
        let name = jail.name.clone();
        let why = format!("it is unhealthy: {}", failures(jail).unwrap_or_default());
        if before != Verdict::Unhealthy {
            log::warn!("jail={name} {why} (health.on_failure is {})", settings.on_failure);
            self.tell_of(id, &why);
        }
        self.apply(id, Event::News(News::Unhealthy), &why);
    }
}

fn past(stored: &Stored, started_us: u64) -> Past {
    Past {
        verdict: verdict_of(stored.state),
        is_probing: stored.probing,
        failures: stored.failures,
        successes: stored.successes,
        started: Duration::from_micros(started_us),
    }
}

fn is_exhausted(error: &Error) -> bool {
    let errno = match error {
        Error::Process { source, .. } | Error::Cgroup { source, .. } => source.raw_os_error(),
        _ => None,
    };
    matches!(errno, Some(libc::EAGAIN | libc::ENOMEM))
}

fn shown(text: &[u8]) -> String {
    one_line(text.trim_ascii())
}

/// "its check http://127.0.0.1/ failed 3 times in a row: connection refused".
pub(super) fn failures(jail: &Jail) -> Option<String> {
    // Also when nothing is checked any more, since it was told to end.
    let found = jail.life.as_ref()?.stored.health.as_ref()?;
    let (_, text) = found.failure.as_ref()?;
    let settings = jail.loaded.as_ref().map(|loaded| &loaded.unit.health)?;
    let what = if found.probing {
        settings.startup_check().map(|check| format!("its startup probe {}", words(check)))
    } else {
        settings.check().map(|check| format!("its check {}", words(check)))
    };
    let times = match found.failures {
        0 => "failed".to_owned(),
        1 => "failed once".to_owned(),
        count => format!("failed {count} times in a row"),
    };
    let said = if text.is_empty() { "it says nothing" } else { text };
    Some(format!("{} {times}: {said}", what?))
}

/// What is checked, for people.
pub(super) fn words(check: Check<'_>) -> String {
    match check {
        Check::Exec(command) => command.words().first().cloned().unwrap_or_default(),
        Check::Http(url) => url.to_string(),
        Check::Tcp(address) => address.to_string(),
    }
}
