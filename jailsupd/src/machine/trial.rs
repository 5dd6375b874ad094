//! Whether a version of a unit that has never been healthy proves itself, or the last good one has to come back.

use super::{Moment, State};
use crate::unit::Deploy;

/// A version on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// When its first life began.
    pub since: Moment,
    /// Since when it is healthy without a break.
    pub healthy_since: Option<Moment>,
}

/// What is seen of the jail now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is doing.
    pub state: State,
    /// Its failures in a row.
    pub failures: u32,
    /// It is up, and its checks, where it has any, say so.
    pub is_healthy: bool,
    /// There is a good version that can come back.
    pub has_way_back: bool,
}

/// What is known of a version on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet; at this time there is more to say. None when only an event can say more.
    Open {
        /// When.
        until: Option<Moment>,
    },
    /// It is good.
    Proven,
    /// It is not.
    Failed(Failure),
}

/// What a version has failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed and its policy does not start it again.
    GaveUp,
    /// It failed too often in a row.
    TooOften,
    /// It was not healthy in time.
    TooLate,
}

impl Trial {
    /// One that begins.
    #[must_use]
    pub const fn new(since: Moment) -> Self {
        Self { since, healthy_since: None }
    }
}

/// The trial as it goes on, and what is known now.
#[must_use]
pub fn judge(trial: Trial, seen: Seen, now: Moment, deploy: &Deploy) -> (Trial, Verdict) {
    if seen.is_healthy {
        let since = trial.healthy_since.unwrap_or(now);
        let until = since.saturating_add(deploy.min_healthy_time);
        let trial = Trial { healthy_since: Some(since), ..trial };
        let verdict =
            if now >= until { Verdict::Proven } else { Verdict::Open { until: Some(until) } };
        return (trial, verdict);
    }
    let trial = Trial { healthy_since: None, ..trial };
    if !seen.has_way_back && seen.state != State::Down {
        // Its restart policy alone goes on with it, and it may prove itself still.
        return (trial, Verdict::Open { until: None });
    }
    let until = trial.since.saturating_add(deploy.healthy_deadline);
    let verdict = match seen.state {
        State::Failed => Verdict::Failed(Failure::GaveUp),
        // It has done what it had to do.
        State::Down => Verdict::Proven,
        State::Waiting
        | State::Preparing
        | State::Starting { .. }
        | State::Activating { .. }
        | State::Up { .. }
        | State::Stopping { .. }
        | State::Cleaning { .. }
        | State::Backoff { .. } => while_it_is_tried(seen.failures, now, until, deploy),
    };
    (trial, verdict)
}

fn while_it_is_tried(failures: u32, now: Moment, until: Moment, deploy: &Deploy) -> Verdict {
    if u64::from(failures) >= deploy.attempts.get() {
        Verdict::Failed(Failure::TooOften)
    } else if now >= until {
        Verdict::Failed(Failure::TooLate)
    } else {
        Verdict::Open { until: Some(until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const TRIAL: Trial = Trial::new(SECOND);

    fn seen(state: State, is_healthy: bool, failures: u32) -> Seen {
        Seen { state, failures, is_healthy, has_way_back: true }
    }

    fn up() -> State {
        let well_since = Some(SECOND);
        State::Up { since: SECOND, well_since, watchdog_at: None, runtime_until: None }
    }

    #[test]
    fn a_version_is_good_when_it_was_healthy_for_long_enough_without_a_break() {
        let deploy = Deploy::default();
        let (trial, verdict) = judge(TRIAL, seen(up(), true, 0), SECOND * 2, &deploy);
        assert_eq!(verdict, Verdict::Open { until: Some(SECOND * 12) });
        let (broken, verdict) = judge(trial, seen(up(), false, 0), SECOND * 11, &deploy);
        assert_eq!(verdict, Verdict::Open { until: Some(SECOND * 301) });
        let (again, _) = judge(broken, seen(up(), true, 0), SECOND * 13, &deploy);
        assert!(matches!(
            judge(again, seen(up(), true, 0), SECOND * 22, &deploy).1,
            Verdict::Open { .. }
        ));
        assert_eq!(judge(again, seen(up(), true, 0), SECOND * 23, &deploy).1, Verdict::Proven);
        // The deadline is for becoming healthy.
        assert_eq!(judge(trial, seen(up(), true, 2), SECOND * 999, &deploy).1, Verdict::Proven);
    }

    #[test]
    fn a_version_fails_at_its_deadline_by_failures_or_for_good() {
        let deploy = Deploy::default();
        let verdict =
            |state, failures, now| judge(TRIAL, seen(state, false, failures), now, &deploy).1;
        let backoff = State::Backoff { until: SECOND * 9 };
        assert!(matches!(verdict(backoff, 2, SECOND * 5), Verdict::Open { .. }));
        assert_eq!(verdict(backoff, 3, SECOND * 5), Verdict::Failed(Failure::TooOften));
        assert_eq!(verdict(State::Failed, 0, SECOND * 2), Verdict::Failed(Failure::GaveUp));
        assert_eq!(verdict(up(), 0, SECOND * 301), Verdict::Failed(Failure::TooLate));
        assert_eq!(verdict(State::Down, 0, SECOND * 2), Verdict::Proven);
        let first = Seen { has_way_back: false, ..seen(State::Failed, false, 9) };
        let (_, verdict) = judge(TRIAL, first, SECOND * 999, &deploy);
        assert_eq!(verdict, Verdict::Open { until: None });
    }
}
