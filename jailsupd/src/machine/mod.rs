//! What happens now: the states of one jail, as a total function.
//!
//! Pure: time is an argument, and what is to be done comes back as [`Action`]s. Nothing here knows
//! how a jail is built.
//!
//! ```text
//!            want up             spawned             executed
//!   Down ──────────► Preparing ──────────► Starting ──────────► Up
//!    ▲  ▲                │ failed             │ ended            │ │
//!    │  │                ▼                    ▼            ended │ │ want down, restart
//!    │  └────────────  Cleaning ◄──────────────────────────────── ◄┘ Stopping
//!    │   want down       │  │  │ cleaned                              (signal, then kill)
//!    │                   │  │  └────► Preparing       (a restart was asked for)
//!    │                   │  └───────► Backoff ───► Preparing   (policy, after the delay)
//!    └── Failed ◄────────┘
//! ```
//!
//! * [`Want`] is what people want, [`State`] what is. A manual start or restart always acts at once:
//!   from Backoff and Failed too, and it clears the count of failures.
//! * Events that a state does not expect change nothing: each such pair is written out below, so
//!   that a new state or event cannot be forgotten.

#[cfg(test)]
mod tests;

use crate::unit::{Restart, RestartPolicy, Signal, Stop};
use std::time::Duration;

/// Time since boot (`CLOCK_BOOTTIME`).
pub type Moment = Duration;

/// What people want of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// That it runs.
    Up,
    /// That it does not.
    Down,
}

/// What a jail is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: not wanted, or ended in a way after which its policy does not start it again.
    Down,
    /// Its image, cgroup, namespaces and links are being made.
    Preparing,
    /// Its processes exist; its program is not executed yet.
    Starting,
    /// Its program runs.
    Up {
        /// Since when.
        since: Moment,
    },
    /// It was asked to end.
    Stopping {
        /// When everything in it is killed; `None` once that is done.
        kill_at: Option<Moment>,
        /// Whether it is to start again when it is gone.
        again: bool,
        /// When it was executed, to judge its uptime.
        up_since: Option<Moment>,
    },
    /// Its processes are gone; what they leave behind is being cleared away.
    Cleaning {
        /// How it ended.
        end: End,
        /// It was asked to end, and this is whether it is to start again.
        asked: Option<bool>,
        /// How long it was up.
        uptime: Duration,
    },
    /// It failed and is started again at this time.
    Backoff {
        /// When.
        until: Moment,
    },
    /// It failed and stays down until someone acts.
    Failed,
}

/// How a jail ended, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The main process exited with 0.
    Success,
    /// It exited otherwise or was killed.
    Failure,
    /// It could not be started, for a reason that may pass (a link that is not there yet, memory).
    NotStarted,
    /// It could not be started, and cannot be until its unit or image changes.
    NeverStarts,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Someone, or boot, wants it up. Always acts at once.
    Start,
    /// Someone wants it down.
    Stop,
    /// Someone wants it down and up again.
    Restart,
    /// Everything is prepared and its processes exist.
    Spawned,
    /// Preparing failed; no process exists.
    PrepareFailed(End),
    /// Its program was executed.
    Executed,
    /// Its last process is gone.
    Ended(End),
    /// What it left behind is cleared away.
    Cleaned,
    /// A deadline may have passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Perform the plan's host steps and spawn; answered by `Spawned` or `PrepareFailed`.
    Prepare,
    /// Thaw and send this signal to the main process.
    Signal(Signal),
    /// Kill every process of the jail.
    Kill,
    /// Clear away what it left; answered by `Cleaned`.
    Clean,
}

/// The parts of a unit that decide what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `[restart]`.
    pub restart: Restart,
    /// `[stop]`.
    pub stop: Stop,
}

/// One jail's whole life as far as decisions need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What it is doing.
    pub state: State,
    /// What people want.
    pub want: Want,
    /// Failures in a row, for the delay.
    pub failures: u32,
}

impl Machine {
    /// A jail that nobody wants yet.
    pub const NEW: Self = Self { state: State::Down, want: Want::Down, failures: 0 };

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Backoff { until } => Some(until),
            State::Stopping { kill_at, .. } => kill_at,
            State::Down
            | State::Preparing
            | State::Starting
            | State::Up { .. }
            | State::Cleaning { .. }
            | State::Failed => None,
        }
    }
}

/// The next state, and what to do about it.
#[must_use]
pub fn next(
    machine: Machine,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> (Machine, Vec<Action>) {
    let wanted = match event {
        Event::Start | Event::Restart => Machine { want: Want::Up, failures: 0, ..machine },
        Event::Stop => Machine { want: Want::Down, ..machine },
        Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Ended(_)
        | Event::Cleaned
        | Event::Tick => machine,
    };
    match machine.state {
        State::Down | State::Failed => idle(wanted, event),
        State::Backoff { until } => backoff(wanted, until, event, now),
        State::Preparing => preparing(wanted, event, now, policy),
        State::Starting => running(wanted, None, event, now, policy),
        State::Up { since } => running(wanted, Some(since), event, now, policy),
        State::Stopping { kill_at, again, up_since } => {
            stopping(wanted, (kill_at, again, up_since), event, now)
        }
        State::Cleaning { end, asked, uptime } => {
            cleaning(wanted, (end, asked, uptime), event, now, policy)
        }
    }
}

fn stay(machine: Machine) -> (Machine, Vec<Action>) {
    (machine, Vec::new())
}

fn go(machine: Machine, state: State, actions: Vec<Action>) -> (Machine, Vec<Action>) {
    (Machine { state, ..machine }, actions)
}

fn idle(machine: Machine, event: Event) -> (Machine, Vec<Action>) {
    match event {
        Event::Start | Event::Restart => go(machine, State::Preparing, vec![Action::Prepare]),
        Event::Stop => go(machine, State::Down, Vec::new()),
        Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Ended(_)
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

fn backoff(machine: Machine, until: Moment, event: Event, now: Moment) -> (Machine, Vec<Action>) {
    match event {
        Event::Start | Event::Restart => go(machine, State::Preparing, vec![Action::Prepare]),
        Event::Tick if now >= until => go(machine, State::Preparing, vec![Action::Prepare]),
        Event::Stop => go(machine, State::Down, Vec::new()),
        Event::Tick
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Ended(_)
        | Event::Cleaned => stay(machine),
    }
}

fn preparing(
    machine: Machine,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> (Machine, Vec<Action>) {
    match (event, machine.want) {
        (Event::Spawned, Want::Up) => go(machine, State::Starting, Vec::new()),
        (Event::Spawned, Want::Down) => ask_to_stop(machine, None, false, now, policy),
        (Event::PrepareFailed(end), want) => {
            let asked = (want == Want::Down).then_some(false);
            let state = State::Cleaning { end, asked, uptime: Duration::ZERO };
            go(machine, state, vec![Action::Clean])
        }
        // Preparing is not interrupted: its end looks at what is wanted then.
        (
            Event::Start
            | Event::Stop
            | Event::Restart
            | Event::Executed
            | Event::Ended(_)
            | Event::Cleaned
            | Event::Tick,
            Want::Up | Want::Down,
        ) => stay(machine),
    }
}

/// Starting (not executed yet: no `since`) and Up.
fn running(
    machine: Machine,
    since: Option<Moment>,
    event: Event,
    now: Moment,
    policy: &Policy,
) -> (Machine, Vec<Action>) {
    match event {
        Event::Executed if since.is_none() => go(machine, State::Up { since: now }, Vec::new()),
        Event::Stop => ask_to_stop(machine, since, false, now, policy),
        Event::Restart => ask_to_stop(machine, since, true, now, policy),
        Event::Ended(end) => {
            let uptime = since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            go(machine, State::Cleaning { end, asked: None, uptime }, vec![Action::Clean])
        }
        Event::Start
        | Event::Executed
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Cleaned
        | Event::Tick => stay(machine),
    }
}

fn ask_to_stop(
    machine: Machine,
    up_since: Option<Moment>,
    again: bool,
    now: Moment,
    policy: &Policy,
) -> (Machine, Vec<Action>) {
    let kill_at = Some(now.saturating_add(policy.stop.timeout));
    let state = State::Stopping { kill_at, again, up_since };
    go(machine, state, vec![Action::Signal(policy.stop.signal)])
}

fn stopping(
    machine: Machine,
    (kill_at, again, up_since): (Option<Moment>, bool, Option<Moment>),
    event: Event,
    now: Moment,
) -> (Machine, Vec<Action>) {
    match event {
        Event::Tick if kill_at.is_some_and(|at| now >= at) => {
            go(machine, State::Stopping { kill_at: None, again, up_since }, vec![Action::Kill])
        }
        Event::Start | Event::Restart => {
            go(machine, State::Stopping { kill_at, again: true, up_since }, Vec::new())
        }
        Event::Stop => go(machine, State::Stopping { kill_at, again: false, up_since }, Vec::new()),
        Event::Ended(end) => {
            let uptime = up_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            let state = State::Cleaning { end, asked: Some(again), uptime };
            go(machine, state, vec![Action::Clean])
        }
        Event::Tick
        | Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Cleaned => stay(machine),
    }
}

fn cleaning(
    machine: Machine,
    (end, asked, uptime): (End, Option<bool>, Duration),
    event: Event,
    now: Moment,
    policy: &Policy,
) -> (Machine, Vec<Action>) {
    match event {
        Event::Start | Event::Restart => {
            go(machine, State::Cleaning { end, asked: Some(true), uptime }, Vec::new())
        }
        Event::Stop => go(machine, State::Cleaning { end, asked: Some(false), uptime }, Vec::new()),
        Event::Cleaned => match asked {
            Some(true) => go(machine, State::Preparing, vec![Action::Prepare]),
            Some(false) => go(machine, State::Down, Vec::new()),
            None => after_end(machine, end, uptime, now, &policy.restart),
        },
        Event::Spawned
        | Event::PrepareFailed(_)
        | Event::Executed
        | Event::Ended(_)
        | Event::Tick => stay(machine),
    }
}

/// A jail has ended by itself: what its policy says.
fn after_end(
    machine: Machine,
    end: End,
    uptime: Duration,
    now: Moment,
    restart: &Restart,
) -> (Machine, Vec<Action>) {
    let failed = end != End::Success;
    let again = match restart.policy {
        RestartPolicy::No => false,
        RestartPolicy::OnSuccess => !failed,
        RestartPolicy::OnFailure => failed,
        RestartPolicy::Always => true,
    };
    if !again || end == End::NeverStarts {
        let state = if failed { State::Failed } else { State::Down };
        return go(machine, state, Vec::new());
    }
    let earlier = if uptime >= restart.reset_after { 0 } else { machine.failures };
    let until = now.saturating_add(delay(restart, earlier));
    let failures = earlier.saturating_add(1);
    (Machine { state: State::Backoff { until }, failures, ..machine }, Vec::new())
}

/// `delay * 2^failures`, at most `delay_max`.
fn delay(restart: &Restart, failures: u32) -> Duration {
    let factor = 2u32.checked_pow(failures).unwrap_or(u32::MAX);
    restart.delay.saturating_mul(factor).min(restart.delay_max)
}
