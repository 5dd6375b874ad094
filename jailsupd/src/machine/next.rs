//! The transitions, one function for each state.

use super::after::{after_end, reaction};
use super::{Action, Cause, End, Event, Limit, Machine, Moment, News, Policy, State, Want};
use crate::unit::{Reaction, Signal};
use std::time::Duration;

/// What a machine becomes, and what is to be done about it.
pub(super) type Next = (Machine, Vec<Action>);

/// What a program that gives no sign of life is sent: as systemd's `WatchdogSignal`, so that it dumps core.
const WATCHDOG_SIGNAL: Signal = Signal::from_number(libc::SIGABRT);

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
        State::Starting => starting(wanted, event, now, policy),
        State::Activating { ready_by } => activating(wanted, ready_by, event, now, policy),
        State::Up { since, watchdog_at, runtime_until } => {
            up(wanted, (since, watchdog_at, runtime_until), event, now, policy)
        }
        State::Stopping { kill_at, cause, again, up_since } => {
            stopping(wanted, (kill_at, cause, again, up_since), event, now)
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
        (Event::Spawned, Want::Up) => go(machine, State::Starting, Vec::new()),
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

fn starting(machine: Machine, event: Event, now: Moment, policy: &Policy) -> Next {
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
        watchdog_at: policy.watchdog.map(after),
        runtime_until: policy.runtime_max.map(after),
    }
}

fn up(
    machine: Machine,
    (since, watchdog_at, runtime_until): (Moment, Option<Moment>, Option<Moment>),
    event: Event,
    now: Moment,
    policy: &Policy,
) -> Next {
    let with = |watchdog_at, runtime_until| State::Up { since, watchdog_at, runtime_until };
    let next_sign = policy.watchdog.map(|time| now.saturating_add(time));
    let has_passed = |at: Option<Moment>| at.is_some_and(|at| now >= at);
    let (started, since) = (since, Some(since));
    match event {
        // One that is frozen gives no sign.
        Event::News(News::Alive) if watchdog_at.is_some() => {
            go(machine, with(next_sign, runtime_until), Vec::new())
        }
        Event::News(News::Frozen(frozen)) => {
            go(machine, with(next_sign.filter(|_| !frozen), runtime_until), Vec::new())
        }
        Event::News(News::UnitRead) => {
            // It may have asked for more, and keeps that.
            let asked = runtime_until.unwrap_or_default();
            let until = policy.runtime_max.map(|time| started.saturating_add(time).max(asked));
            go(machine, with(next_sign.and(watchdog_at.or(next_sign)), until), Vec::new())
        }
        Event::News(News::Extend(time)) => {
            let longer = runtime_until.map(|until| until.max(now.saturating_add(time)));
            go(machine, with(watchdog_at, longer), Vec::new())
        }
        Event::Tick if has_passed(watchdog_at) => abort(machine, since, now, policy),
        Event::Tick if has_passed(runtime_until) => {
            ask_to_stop(machine, Cause::RuntimeMax, since, now, policy)
        }
        other => running(machine, since, other, now, policy),
    }
}

/// What is the same for Activating and Up: the program runs, and was ready at `up_since`.
fn running(
    machine: Machine,
    up_since: Option<Moment>,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> Next {
    match event {
        Event::Stop | Event::Restart => ask_to_stop(machine, Cause::Asked, up_since, now, policy),
        Event::News(News::Stuck) => abort(machine, up_since, now, policy),
        Event::News(News::Stopping) => ends(machine, up_since, now, policy),
        Event::News(News::Unhealthy) => react(machine, (Cause::Unhealthy, up_since), now, policy),
        Event::News(News::OutOfMemory) => {
            react(machine, (Cause::OutOfMemory, up_since), now, policy)
        }
        Event::News(News::Pressure) => react(machine, (Cause::Pressure, up_since), now, policy),
        Event::News(News::DependencyGone) => {
            ask_to_stop(machine, Cause::Dependency, up_since, now, policy)
        }
        Event::Ended(end) => clean(machine, end, (Cause::Own, None), uptime(up_since, now)),
        Event::News(
            News::Ready | News::Alive | News::Extend(_) | News::UnitRead | News::Frozen(_),
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

fn uptime(since: Option<Moment>, now: Moment) -> Duration {
    since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
}

fn ask_to_stop(
    machine: Machine,
    cause: Cause,
    up_since: Option<Moment>,
    now: Moment,
    policy: &Policy,
) -> Next {
    end_by(machine, policy.stop.signal, (cause, up_since), now, policy)
}

/// No sign of life: it is to leave a core, if it may.
fn abort(machine: Machine, up_since: Option<Moment>, now: Moment, policy: &Policy) -> Next {
    end_by(machine, WATCHDOG_SIGNAL, (Cause::Watchdog, up_since), now, policy)
}

/// It has begun to end by itself, and has as long for it as if it were asked.
fn ends(machine: Machine, up_since: Option<Moment>, now: Moment, policy: &Policy) -> Next {
    let kill_at = Some(now.saturating_add(policy.stop.timeout));
    let state = State::Stopping { kill_at, cause: Cause::Own, again: None, up_since };
    go(machine, state, Vec::new())
}

fn end_by(
    machine: Machine,
    signal: Signal,
    (cause, up_since): (Cause, Option<Moment>),
    now: Moment,
    policy: &Policy,
) -> Next {
    let kill_at = Some(now.saturating_add(policy.stop.timeout));
    let again = (cause == Cause::Asked).then_some(machine.want == Want::Up);
    let state = State::Stopping { kill_at, cause, again, up_since };
    go(machine, state, vec![Action::Signal(signal)])
}

/// What the unit says for this cause.
fn react(
    machine: Machine,
    (cause, up_since): (Cause, Option<Moment>),
    now: Moment,
    policy: &Policy,
) -> Next {
    match reaction(cause, policy) {
        None | Some(Reaction::None) => stay(machine),
        Some(Reaction::Restart | Reaction::Stop) => {
            ask_to_stop(machine, cause, up_since, now, policy)
        }
        Some(Reaction::Kill) => {
            let state = State::Stopping { kill_at: None, cause, again: None, up_since };
            go(machine, state, vec![Action::Kill])
        }
    }
}

fn stopping(
    machine: Machine,
    (kill_at, cause, again, up_since): (Option<Moment>, Cause, Option<bool>, Option<Moment>),
    event: Event,
    now: Moment,
) -> Next {
    let with = |kill_at, again| State::Stopping { kill_at, cause, again, up_since };
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
        Event::Ended(end) => clean(machine, end, (cause, again), uptime(up_since, now)),
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
    let (end, cause) = match (end, cause) {
        (End::OutOfMemory, Cause::Own) => (End::Failure, Cause::OutOfMemory),
        (End::OutOfMemory, _) => (End::Failure, cause),
        _ => (end, cause),
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
