//! When a jail's health is looked at, and what the answers make of it: a total function like [`super::next`].
//!
//! ```text
//!             due                    answer
//!   Idle ───────────► Checking ───────────────► Idle
//!    │ frozen            │ frozen: the check is given up
//!    └──────► Paused ◄───┘
//! ```
//!
//! * [`Verdict`] is what is known: Starting until the first success, and then what the last answers say.
//! * With a startup probe, that one is tried until it has succeeded, and the regular check not at all.
//! * A service that has just begun is asked every second, so that it is known soon that it is there. But it has as
//!   long as one that is asked regularly: of its failures one an interval counts.

use super::Moment;
use crate::unit::Health as Settings;
use crate::unit::health::Retries;
use std::time::Duration;

/// How soon a jail that was never healthy is asked again.
const SOON: Duration = Duration::from_secs(1);

/// What is known of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was never healthy yet, and need not be.
    Starting,
    /// Its last check succeeded, or too few have failed since.
    Healthy,
    /// Too many checks failed in a row.
    Unhealthy,
}

/// What is being done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing until then.
    Idle {
        /// When the next check is due.
        next_at: Moment,
    },
    /// A check is on its way.
    Checking,
    /// The jail is frozen.
    Paused,
}

/// The health of one life of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is known.
    pub verdict: Verdict,
    /// What is being done.
    pub doing: Doing,
    /// The startup probe, if there is one, has not succeeded yet.
    pub is_probing: bool,
    /// Failures in a row that count.
    pub failures: u32,
    /// Successes of the startup probe in a row.
    pub successes: u32,
    /// From when on it is counted: its start, or the end of its startup probe.
    since: Moment,
    /// Before it was ever healthy: the last failure that counted, or `since`.
    counted: Moment,
    /// Thousandths of the first interval after the first success that are waited: so that jails that were
    /// started together are not all asked in the same moment.
    phase: u16,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// A check may be due.
    Tick,
    /// The check succeeded.
    Succeeded,
    /// It failed, or took too long.
    Failed,
    /// It could not be made, which is nobody's fault in the jail.
    NotMade,
    /// The jail was frozen, or thawed.
    Frozen(bool),
    /// Another version of its unit is in force.
    UnitRead,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthAction {
    /// Nothing.
    Nothing,
    /// Make the regular check, or try the startup probe; answered by `Succeeded`, `Failed` or `NotMade`.
    Check,
    /// Kill the check that is on its way.
    GiveUp,
    /// The jail is healthy (again).
    Healthy,
    /// It is unhealthy, (still).
    Unhealthy,
}

/// What is known of a jail that is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// The last verdict.
    pub verdict: Verdict,
    /// Its startup probe has not succeeded yet.
    pub is_probing: bool,
    /// Failures in a row that counted.
    pub failures: u32,
    /// Successes of the startup probe in a row.
    pub successes: u32,
    /// When it was started.
    pub started: Moment,
}

impl Health {
    /// Of a jail whose program was executed now. `dice` is any number, best another for each jail.
    #[must_use]
    pub fn new(now: Moment, settings: &Settings, dice: u64) -> Self {
        Self {
            verdict: Verdict::Starting,
            doing: Doing::Idle { next_at: now },
            is_probing: settings.startup_interval.is_some(),
            failures: 0,
            successes: 0,
            since: now,
            counted: now,
            phase: u16::try_from(500 + dice % 500).unwrap_or(1000),
        }
    }

    /// Of a jail that runs already: the next check comes where it might have come, so that a thousand adopted
    /// jails are not all asked at once.
    #[must_use]
    pub fn adopted(now: Moment, settings: &Settings, dice: u64, past: Past) -> Self {
        let Past { verdict, is_probing, failures, successes, started } = past;
        let is_probing = is_probing && settings.startup_interval.is_some();
        let health = Self {
            verdict,
            is_probing,
            failures,
            successes,
            since: started,
            ..Self::new(now, settings, dice)
        };
        let wait = health.pace(settings) / 1000 * u32::from(health.phase);
        health.idle(now.saturating_add(wait))
    }

    /// When [`HealthEvent::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.doing {
            Doing::Idle { next_at } => Some(next_at),
            Doing::Checking | Doing::Paused => None,
        }
    }

    /// What happens.
    #[must_use]
    pub fn next(
        self,
        event: HealthEvent,
        now: Moment,
        settings: &Settings,
    ) -> (Self, HealthAction) {
        match (self.doing, event) {
            (Doing::Idle { next_at }, HealthEvent::Tick) if now >= next_at => {
                (Self { doing: Doing::Checking, ..self }, HealthAction::Check)
            }
            (Doing::Checking, HealthEvent::Succeeded) => self.succeeded(now, settings),
            (Doing::Checking, HealthEvent::Failed) => self.failed(now, settings),
            (Doing::Checking, HealthEvent::NotMade) => {
                let next_at = now.saturating_add(self.pace(settings));
                (self.idle(next_at), HealthAction::Nothing)
            }
            (Doing::Checking, HealthEvent::Frozen(true)) => {
                (Self { doing: Doing::Paused, ..self }, HealthAction::GiveUp)
            }
            (Doing::Idle { .. }, HealthEvent::Frozen(true)) => {
                (Self { doing: Doing::Paused, ..self }, HealthAction::Nothing)
            }
            // An interval that is shorter now is not waited for longer.
            (Doing::Idle { next_at }, HealthEvent::UnitRead) => {
                let next_at = next_at.min(now.saturating_add(self.pace(settings)));
                (self.idle(next_at), HealthAction::Nothing)
            }
            // It is to have a moment for what has come in meanwhile.
            (Doing::Paused, HealthEvent::Frozen(false)) => {
                let next_at = now.saturating_add(self.pace(settings));
                (self.idle(next_at), HealthAction::Nothing)
            }
            (
                Doing::Idle { .. },
                HealthEvent::Tick
                | HealthEvent::Succeeded
                | HealthEvent::Failed
                | HealthEvent::NotMade
                | HealthEvent::Frozen(false),
            )
            | (
                Doing::Checking,
                HealthEvent::Tick | HealthEvent::Frozen(false) | HealthEvent::UnitRead,
            )
            | (
                Doing::Paused,
                HealthEvent::Tick
                | HealthEvent::Succeeded
                | HealthEvent::Failed
                | HealthEvent::NotMade
                | HealthEvent::UnitRead
                | HealthEvent::Frozen(true),
            ) => (self, HealthAction::Nothing),
        }
    }

    fn idle(self, next_at: Moment) -> Self {
        Self { doing: Doing::Idle { next_at }, ..self }
    }

    /// From the end of a check to the next.
    fn pace(&self, settings: &Settings) -> Duration {
        match (self.is_probing, self.verdict) {
            (true, _) => settings.startup_interval.unwrap_or(settings.interval),
            (false, Verdict::Starting) => settings.interval.min(SOON),
            (false, Verdict::Healthy | Verdict::Unhealthy) => settings.interval,
        }
    }

    fn succeeded(self, now: Moment, settings: &Settings) -> (Self, HealthAction) {
        if self.is_probing {
            return self.probed(now, settings);
        }
        let was_healthy = self.verdict == Verdict::Healthy;
        let wait = match self.verdict {
            Verdict::Starting => settings.interval / 1000 * u32::from(self.phase),
            Verdict::Healthy | Verdict::Unhealthy => settings.interval,
        };
        let healthy = Self { verdict: Verdict::Healthy, failures: 0, ..self };
        let action = if was_healthy { HealthAction::Nothing } else { HealthAction::Healthy };
        (healthy.idle(now.saturating_add(wait)), action)
    }

    /// The startup probe has succeeded once.
    fn probed(self, now: Moment, settings: &Settings) -> (Self, HealthAction) {
        let successes = self.successes.saturating_add(1);
        if u64::from(successes) < settings.startup_success.get() {
            let next_at = now.saturating_add(self.pace(settings));
            return (Self { successes, failures: 0, ..self }.idle(next_at), HealthAction::Nothing);
        }
        let done = Self {
            verdict: Verdict::Starting,
            is_probing: false,
            successes,
            failures: 0,
            since: now,
            counted: now,
            ..self
        };
        // One that asks for the same has been answered.
        if settings.startup_exec.is_none() {
            done.succeeded(now, settings)
        } else {
            (done.idle(now), HealthAction::Nothing)
        }
    }

    fn failed(self, now: Moment, settings: &Settings) -> (Self, HealthAction) {
        let was_never_healthy = self.verdict == Verdict::Starting;
        let is_early = was_never_healthy && now < self.since.saturating_add(settings.start_period);
        let is_soon = was_never_healthy
            && !self.is_probing
            && now < self.counted.saturating_add(settings.interval);
        let most = if self.is_probing {
            settings.startup_retries.map_or(u64::MAX, Retries::get)
        } else {
            settings.retries.get()
        };
        let failed = Self { successes: 0, ..self };
        if is_early || is_soon {
            let next_at = now.saturating_add(self.pace(settings));
            return (failed.idle(next_at), HealthAction::Nothing);
        }
        let failures = self.failures.saturating_add(1);
        let is_over = u64::from(failures) >= most;
        let verdict = if is_over { Verdict::Unhealthy } else { self.verdict };
        let failed = Self { failures, counted: now, verdict, ..failed };
        let next_at = now.saturating_add(failed.pace(settings));
        let action = if is_over { HealthAction::Unhealthy } else { HealthAction::Nothing };
        (failed.idle(next_at), action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::health::Successes;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn regular() -> Settings {
        Settings { interval: 10 * SECOND, retries: Retries::clamped(2), ..Settings::default() }
    }

    fn probed() -> Settings {
        Settings {
            startup_interval: Some(2 * SECOND),
            startup_success: Successes::clamped(2),
            startup_retries: Some(Retries::clamped(3)),
            ..regular()
        }
    }

    /// Gives answers, each as soon as it is asked for; when, and what followed.
    fn run(settings: &Settings, answers: &[bool]) -> (Health, Vec<(u64, HealthAction)>) {
        let mut health = Health::new(Moment::ZERO, settings, 0);
        let mut seen = Vec::new();
        for answer in answers {
            let now = health.deadline().unwrap();
            let (asked, action) = health.next(HealthEvent::Tick, now, settings);
            assert_eq!(action, HealthAction::Check);
            let event = if *answer { HealthEvent::Succeeded } else { HealthEvent::Failed };
            let (next, action) = asked.next(event, now, settings);
            health = next;
            if action != HealthAction::Nothing {
                seen.push((now.as_secs(), action));
            }
        }
        (health, seen)
    }

    #[test]
    fn an_interval_that_is_edited_holds_at_once() {
        let (health, _) = run(&regular(), &[true, true]);
        let due = health.deadline().unwrap();
        let at = due - 9 * SECOND;
        let shorter = Settings { interval: 2 * SECOND, ..regular() };
        let (health, _) = health.next(HealthEvent::UnitRead, at, &shorter);
        assert_eq!(health.deadline(), Some(at + 2 * SECOND));
        let (health, _) = health.next(HealthEvent::UnitRead, at, &regular());
        assert_eq!(health.deadline(), Some(at + 2 * SECOND));
    }

    #[test]
    fn one_that_comes_up_is_known_to_be_healthy_soon() {
        let (health, seen) = run(&regular(), &[false, false, false, true]);
        assert_eq!(seen, [(3, HealthAction::Healthy)]);
        // The first interval is shortened by the jail's phase, the next ones are whole.
        assert_eq!(health.deadline(), Some(8 * SECOND));
        let (health, _) = run(&regular(), &[false, false, false, true, true]);
        assert_eq!(health.deadline(), Some(18 * SECOND));
    }

    #[test]
    fn one_that_never_comes_up_has_as_long_as_its_intervals() {
        let (health, seen) = run(&regular(), &[false; 21]);
        assert_eq!(seen, [(20, HealthAction::Unhealthy)]);
        assert_eq!((health.verdict, health.deadline()), (Verdict::Unhealthy, Some(30 * SECOND)));
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_and_the_first_success_ends_it() {
        let settings = Settings { start_period: 100 * SECOND, ..regular() };
        let (health, seen) = run(&settings, &[false; 100]);
        assert_eq!((health.failures, seen), (0, vec![]));
        let (_, seen) = run(&settings, &[true, false, false]);
        assert_eq!(seen, [(0, HealthAction::Healthy), (15, HealthAction::Unhealthy)]);
    }

    #[test]
    fn a_success_between_failures_forgives_them_and_one_after_them_heals() {
        let (health, seen) = run(&regular(), &[true, false, true, false]);
        assert_eq!((health.failures, seen.len()), (1, 1));
        let (health, seen) = run(&regular(), &[true, false, false, false, true]);
        let unhealthy = HealthAction::Unhealthy;
        let healthy = HealthAction::Healthy;
        assert_eq!(seen, [(0, healthy), (15, unhealthy), (25, unhealthy), (35, healthy)]);
        assert_eq!((health.verdict, health.failures), (Verdict::Healthy, 0));
    }

    #[test]
    fn a_startup_probe_comes_first_and_wants_its_successes_in_a_row() {
        let (health, seen) = run(&probed(), &[false, true, false, true, true]);
        assert_eq!(seen, [(8, HealthAction::Healthy)]);
        assert!(!health.is_probing);
        let (health, seen) = run(&probed(), &[false; 3]);
        assert_eq!((health.is_probing, seen), (true, vec![(4, HealthAction::Unhealthy)]));
        let endless = Settings { startup_retries: None, ..probed() };
        assert_eq!(run(&endless, &[false; 1000]).1, []);
    }

    #[test]
    fn a_startup_probe_of_another_program_is_followed_by_the_regular_check() {
        let value = "x = [\"warm\"]";
        let table = toml::de::DeTable::parse(value).unwrap();
        let other = crate::unit::value::FromToml::from_toml(table.get_ref().get("x").unwrap());
        let settings = Settings { startup_exec: Some(other.unwrap()), ..probed() };
        let (health, seen) = run(&settings, &[true, true]);
        assert_eq!((health.verdict, health.is_probing, seen), (Verdict::Starting, false, vec![]));
        assert_eq!(run(&settings, &[true, true, true]).1, [(2, HealthAction::Healthy)]);
    }

    #[test]
    fn a_frozen_jail_is_not_asked_and_its_check_is_given_up() {
        let settings = regular();
        let health = Health::new(Moment::ZERO, &settings, 0);
        let (health, _) = health.next(HealthEvent::Tick, Moment::ZERO, &settings);
        let (health, action) = health.next(HealthEvent::Frozen(true), SECOND, &settings);
        assert_eq!((action, health.deadline()), (HealthAction::GiveUp, None));
        let (health, _) = health.next(HealthEvent::Failed, SECOND, &settings);
        assert_eq!(health.failures, 0);
        let (health, _) = health.next(HealthEvent::Frozen(false), 5 * SECOND, &settings);
        assert_eq!(health.deadline(), Some(6 * SECOND));
    }

    #[test]
    fn an_adopted_jail_goes_on_where_it_was() {
        let past = Past {
            verdict: Verdict::Healthy,
            is_probing: false,
            failures: 1,
            successes: 0,
            started: SECOND,
        };
        let health = Health::adopted(100 * SECOND, &regular(), 7, past);
        let due = health.deadline().unwrap();
        assert!(due > 105 * SECOND && due <= 110 * SECOND, "{due:?}");
        let (health, _) = health.next(HealthEvent::Tick, due, &regular());
        let (health, action) = health.next(HealthEvent::Failed, due, &regular());
        assert_eq!((health.failures, action), (2, HealthAction::Unhealthy));
        // One of the two successes that its startup probe asks for was seen.
        let past = Past { verdict: Verdict::Starting, is_probing: true, successes: 1, ..past };
        let health = Health::adopted(100 * SECOND, &probed(), 7, past);
        let (health, _) = health.next(HealthEvent::Tick, 110 * SECOND, &probed());
        let (health, action) = health.next(HealthEvent::Succeeded, 110 * SECOND, &probed());
        assert_eq!((health.is_probing, action), (false, HealthAction::Healthy));
    }

    fn event() -> impl Strategy<Value = HealthEvent> {
        prop_oneof![
            4 => Just(HealthEvent::Tick),
            2 => Just(HealthEvent::Succeeded),
            2 => Just(HealthEvent::Failed),
            1 => Just(HealthEvent::NotMade),
            1 => any::<bool>().prop_map(HealthEvent::Frozen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn checks_never_pile_up_and_verdicts_have_their_failures(
            events in prop::collection::vec((event(), 0..5000_u64), 0..100),
            with_probe in any::<bool>(),
            start_period in 0..20_u64,
            dice in any::<u64>(),
        ) {
            let base = if with_probe { probed() } else { regular() };
            let settings = Settings { start_period: Duration::from_secs(start_period), ..base };
            let mut health = Health::new(Moment::ZERO, &settings, dice);
            let (mut now, mut is_out) = (Moment::ZERO, false);
            for (event, later) in events {
                now += Duration::from_millis(later);
                let before = health;
                let (after, action) = health.next(event, now, &settings);
                match action {
                    HealthAction::Check => {
                        prop_assert!(!is_out, "two checks at once");
                        is_out = true;
                    }
                    HealthAction::GiveUp => {
                        prop_assert!(is_out);
                        is_out = false;
                    }
                    HealthAction::Healthy => prop_assert_eq!(after.verdict, Verdict::Healthy),
                    HealthAction::Unhealthy => {
                        prop_assert_eq!(after.verdict, Verdict::Unhealthy);
                        prop_assert!(after.failures >= 2);
                        prop_assert!(before.verdict != Verdict::Starting || now >= settings.start_period);
                    }
                    HealthAction::Nothing => {}
                }
                if before.doing == Doing::Checking && after.doing != Doing::Checking {
                    is_out = false;
                }
                prop_assert_eq!(is_out, after.doing == Doing::Checking);
                // An idle one always has a next check, and never at once again: it cannot spin.
                if let (Doing::Checking, Some(next)) = (before.doing, after.deadline()) {
                    prop_assert!(next > now, "no pause after a check");
                }
                prop_assert!(!after.is_probing || with_probe);
                health = after;
            }
        }
    }
}
