//! The transitions, one function for each state.

use super::after::{after_end, reaction};
use super::{Action, Cause, End, Event, Limit, Machine, Moment, News, Policy, Ready, State, Want};
use crate::unit::Reaction;
use std::time::Duration;

/// What a machine becomes, and what is to be done about it.
pub(super) type Next = (Machine, Vec<Action>);

/// The next state, and what to do about it.
#[must_use]
pub fn next(machine: Machine, event: Event, now: Moment, policy: &Policy) -> Next {
    let wanted = match event {
        Event::Start | Event::Restart => {
            Machine { want: Want::Up, failures: 0, limit: Limit::default(), ..machine }
        }
        Event::Stop => Machine { want: Want::Down, ..machine },
        Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(_)
        | Event::Ended(_)
        | Event::Cleaned
        | Event::Tick => machine,
    };
    match machine.state {
        State::Down | State::Failed => idle(wanted, event, policy),
        State::Waiting => waiting(wanted, event),
        State::Backoff { until } => backoff(wanted, until, event, now, policy),
        State::Preparing => preparing(wanted, event, now, policy),
        State::Starting { by } => starting(wanted, by, event, now, policy),
        State::Activating { ready_by } => activating(wanted, ready_by, event, now, policy),
        State::Up { since, well_since, watchdog_at, runtime_until } => {
            let up_now = Up { since, well_since, watchdog_at, runtime_until };
            up(wanted, up_now, event, now, policy)
        }
        State::Stopping { kill_at, cause, again, ready } => {
            stopping(wanted, (kill_at, cause, again, ready), event, now)
        }
        State::Cleaning { end, cause, again, uptime } => {
            cleaning(wanted, (end, cause, again, uptime), event, now, policy)
        }
    }
}

fn stay(machine: Machine) -> Next {
    (machine, Vec::new())
}

pub(super) fn go(machine: Machine, state: State, actions: Vec<Action>) -> Next {
    (Machine { state, ..machine }, actions)
}

/// The beginning of a start.
pub(super) fn begin(machine: Machine, policy: &Policy) -> Next {
    if policy.waits {
        go(machine, State::Waiting, Vec::new())
    } else {
        go(machine, State::Preparing, vec![Action::Prepare])
    }
}

fn idle(machine: Machine, event: Event, policy: &Policy) -> Next {
    match event {
        Event::Start | Event::Restart => begin(machine, policy),
        Event::Stop => go(machine, State::Down, Vec::new()),
        Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(_)
        | Event::Ended(_)
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

fn waiting(machine: Machine, event: Event) -> Next {
    match event {
        Event::Admitted => go(machine, State::Preparing, vec![Action::Prepare]),
        Event::Stop => go(machine, State::Down, Vec::new()),
        Event::Start
        | Event::Restart
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(_)
        | Event::Ended(_)
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

fn backoff(machine: Machine, until: Moment, event: Event, now: Moment, policy: &Policy) -> Next {
    match event {
        Event::Start | Event::Restart => begin(machine, policy),
        Event::Tick if now >= until => begin(machine, policy),
        Event::Stop => go(machine, State::Down, Vec::new()),
        Event::Tick
        | Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(_)
        | Event::Ended(_)
        | Event::Cleaned => stay(machine),
    }
}

fn preparing(machine: Machine, event: Event, now: Moment, policy: &Policy) -> Next {
    match (event, machine.want) {
        (Event::Spawned, Want::Up) => {
            let by = now.saturating_add(policy.executed_within);
            go(machine, State::Starting { by }, Vec::new())
        }
        (Event::Spawned, Want::Down) => ask_to_stop(machine, Cause::Asked, None, now, policy),
        (Event::PrepareFailed(end), want) => {
            let again = (want == Want::Down).then_some(false);
            clean(machine, end, (Cause::Own, again), Duration::ZERO)
        }
        // Preparing is not interrupted: its end looks at what is wanted then.
        (
            Event::Start
            | Event::Stop
            | Event::Restart
            | Event::Admitted
            | Event::Executed
            | Event::News(_)
            | Event::Ended(_)
            | Event::Cleaned
            | Event::Tick,
            Want::Up | Want::Down,
        ) => stay(machine),
    }
}

fn starting(machine: Machine, by: Moment, event: Event, now: Moment, policy: &Policy) -> Next {
    match event {
        Event::Executed => match policy.ready_within {
            Some(time) => {
                let ready_by = now.saturating_add(time);
                go(machine, State::Activating { ready_by }, Vec::new())
            }
            None => go(machine, ready(now, policy), Vec::new()),
        },
        Event::Stop | Event::Restart => ask_to_stop(machine, Cause::Asked, None, now, policy),
        Event::News(News::DependencyGone) => {
            ask_to_stop(machine, Cause::Dependency, None, now, policy)
        }
        Event::Tick if now >= by => ask_to_stop(machine, Cause::StartTimeout, None, now, policy),
        Event::Ended(end) => clean(machine, end, (Cause::Own, None), Duration::ZERO),
        Event::Start
        | Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::News(
            News::Ready
            | News::Alive
            | News::Extend(_)
            | News::UnitRead
            | News::Frozen(_)
            | News::Stuck
            | News::Stopping
            | News::Healthy
            | News::Unhealthy
            | News::OutOfMemory
            | News::Pressure,
        )
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

fn activating(
    machine: Machine,
    ready_by: Moment,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> Next {
    match event {
        Event::News(News::Ready) => go(machine, ready(now, policy), Vec::new()),
        Event::News(News::Extend(time)) => {
            let ready_by = ready_by.max(now.saturating_add(time));
            go(machine, State::Activating { ready_by }, Vec::new())
        }
        Event::Tick if now >= ready_by => {
            ask_to_stop(machine, Cause::StartTimeout, None, now, policy)
        }
        other => running(machine, None, other, now, policy),
    }
}

/// The state of a jail that is ready from now on.
fn ready(now: Moment, policy: &Policy) -> State {
    let after = |time: Duration| now.saturating_add(time);
    State::Up {
        since: now,
        well_since: (!policy.is_unproven).then_some(now),
        watchdog_at: policy.watchdog.map(after),
        runtime_until: policy.runtime_max.map(after),
    }
}

/// What [`State::Up`] says.
struct Up {
    since: Moment,
    well_since: Option<Moment>,
    watchdog_at: Option<Moment>,
    runtime_until: Option<Moment>,
}

impl Up {
    const fn state(self) -> State {
        let Self { since, well_since, watchdog_at, runtime_until } = self;
        State::Up { since, well_since, watchdog_at, runtime_until }
    }

    /// By another version of its unit. It may have asked for more time than that says, and keeps it.
    fn by_unit(self, next_sign: Option<Moment>, now: Moment, policy: &Policy) -> Self {
        let asked = self.runtime_until.unwrap_or_default();
        let until = policy.runtime_max.map(|time| self.since.saturating_add(time).max(asked));
        Self {
            well_since: (!policy.is_unproven).then_some(self.well_since.unwrap_or(now)),
            watchdog_at: next_sign.and(self.watchdog_at.or(next_sign)),
            runtime_until: until,
            ..self
        }
    }
}

fn up(machine: Machine, up: Up, event: Event, now: Moment, policy: &Policy) -> Next {
    let next_sign = policy.watchdog.map(|time| now.saturating_add(time));
    let has_passed = |at: Option<Moment>| at.is_some_and(|at| now >= at);
    let ready = Some(Ready { since: up.since, well_since: up.well_since });
    let goes_on = |up: Up| go(machine, up.state(), Vec::new());
    match event {
        // One that is frozen gives no sign.
        Event::News(News::Alive) if up.watchdog_at.is_some() => {
            goes_on(Up { watchdog_at: next_sign, ..up })
        }
        Event::News(News::Frozen(frozen)) => {
            goes_on(Up { watchdog_at: next_sign.filter(|_| !frozen), ..up })
        }
        Event::News(News::UnitRead) => goes_on(up.by_unit(next_sign, now, policy)),
        Event::News(News::Extend(time)) => {
            let longer = |until: Moment| until.max(now.saturating_add(time));
            goes_on(Up { runtime_until: up.runtime_until.map(longer), ..up })
        }
        Event::News(News::Healthy) => {
            goes_on(Up { well_since: Some(up.well_since.unwrap_or(now)), ..up })
        }
        Event::News(News::Unhealthy)
            if matches!(reaction(Cause::Unhealthy, policy), None | Some(Reaction::None)) =>
        {
            goes_on(Up { well_since: None, ..up })
        }
        Event::Tick if has_passed(up.watchdog_at) => abort(machine, ready, now, policy),
        Event::Tick if has_passed(up.runtime_until) => {
            ask_to_stop(machine, Cause::RuntimeMax, ready, now, policy)
        }
        other => running(machine, ready, other, now, policy),
    }
}

/// What is the same for Activating and Up: the program runs, and is ready if there is a `ready`.
fn running(
    machine: Machine,
    ready: Option<Ready>,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> Next {
    match event {
        Event::Stop | Event::Restart => ask_to_stop(machine, Cause::Asked, ready, now, policy),
        Event::News(News::Stuck) => abort(machine, ready, now, policy),
        Event::News(News::Stopping) => ends(machine, ready, now, policy),
        Event::News(News::Unhealthy) => react(machine, (Cause::Unhealthy, ready), now, policy),
        Event::News(News::OutOfMemory) => react(machine, (Cause::OutOfMemory, ready), now, policy),
        Event::News(News::Pressure) => react(machine, (Cause::Pressure, ready), now, policy),
        Event::News(News::DependencyGone) => {
            ask_to_stop(machine, Cause::Dependency, ready, now, policy)
        }
        Event::Ended(end) => clean(machine, end, (Cause::Own, None), uptime(ready, now)),
        Event::News(
            News::Ready
            | News::Alive
            | News::Extend(_)
            | News::UnitRead
            | News::Frozen(_)
            | News::Healthy,
        )
        | Event::Start
        | Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

/// How long it was well.
fn uptime(ready: Option<Ready>, now: Moment) -> Duration {
    let since = ready.and_then(|ready| ready.well_since);
    since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
}

fn ask_to_stop(
    machine: Machine,
    cause: Cause,
    ready: Option<Ready>,
    now: Moment,
    policy: &Policy,
) -> Next {
    let kill_at = Some(now.saturating_add(policy.stop.timeout));
    let again = (cause == Cause::Asked).then_some(machine.want == Want::Up);
    let state = State::Stopping { kill_at, cause, again, ready };
    go(machine, state, vec![Action::Signal(cause.signal(policy))])
}

/// No sign of life: it is to leave a core, if it may.
fn abort(machine: Machine, ready: Option<Ready>, now: Moment, policy: &Policy) -> Next {
    ask_to_stop(machine, Cause::Watchdog, ready, now, policy)
}

/// It has begun to end by itself, and has as long for it as if it were asked.
fn ends(machine: Machine, ready: Option<Ready>, now: Moment, policy: &Policy) -> Next {
    let kill_at = Some(now.saturating_add(policy.stop.timeout));
    let state = State::Stopping { kill_at, cause: Cause::Own, again: None, ready };
    go(machine, state, Vec::new())
}

/// What the unit says for this cause.
fn react(
    machine: Machine,
    (cause, ready): (Cause, Option<Ready>),
    now: Moment,
    policy: &Policy,
) -> Next {
    match reaction(cause, policy) {
        None | Some(Reaction::None) => stay(machine),
        Some(Reaction::Restart | Reaction::Stop) => ask_to_stop(machine, cause, ready, now, policy),
        Some(Reaction::Kill) => {
            let state = State::Stopping { kill_at: None, cause, again: None, ready };
            go(machine, state, vec![Action::Kill])
        }
    }
}

fn stopping(
    machine: Machine,
    (kill_at, cause, again, ready): (Option<Moment>, Cause, Option<bool>, Option<Ready>),
    event: Event,
    now: Moment,
) -> Next {
    let with = |kill_at, again| State::Stopping { kill_at, cause, again, ready };
    match event {
        Event::Tick if kill_at.is_some_and(|at| now >= at) => {
            go(machine, with(None, again), vec![Action::Kill])
        }
        Event::Start | Event::Restart => go(machine, with(kill_at, Some(true)), Vec::new()),
        Event::Stop => go(machine, with(kill_at, Some(false)), Vec::new()),
        Event::News(News::Extend(time)) => {
            let longer = kill_at.map(|at| at.max(now.saturating_add(time)));
            go(machine, with(longer, again), Vec::new())
        }
        Event::Ended(end) => clean(machine, end, (cause, again), uptime(ready, now)),
        Event::Tick
        | Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(
            News::Ready
            | News::Alive
            | News::UnitRead
            | News::Frozen(_)
            | News::Stuck
            | News::Stopping
            | News::Healthy
            | News::Unhealthy
            | News::OutOfMemory
            | News::Pressure
            | News::DependencyGone,
        )
        | Event::Cleaned => stay(machine),
    }
}

fn clean(
    machine: Machine,
    end: End,
    (cause, again): (Cause, Option<bool>),
    uptime: Duration,
) -> Next {
    let (end, cause) = match end {
        End::OutOfMemory if cause == Cause::Own => (End::Failure, Cause::OutOfMemory),
        End::OutOfMemory => (End::Failure, cause),
        End::Success | End::Failure | End::Final { .. } | End::NotStarted | End::NeverStarts => {
            (end, cause)
        }
    };
    go(machine, State::Cleaning { end, cause, again, uptime }, vec![Action::Clean])
}

fn cleaning(
    machine: Machine,
    (end, cause, again, uptime): (End, Cause, Option<bool>, Duration),
    event: Event,
    now: Moment,
    policy: &Policy,
) -> Next {
    let with = |again| State::Cleaning { end, cause, again, uptime };
    match event {
        Event::Start | Event::Restart => go(machine, with(Some(true)), Vec::new()),
        Event::Stop => go(machine, with(Some(false)), Vec::new()),
        Event::Cleaned => match again {
            Some(true) => begin(machine, policy),
            Some(false) => go(machine, State::Down, Vec::new()),
            None => after_end(machine, (end, cause), uptime, now, policy),
        },
        Event::Admitted
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::News(_)
        | Event::Ended(_)
        | Event::Tick => stay(machine),
    }
}
