//! What happens now: the states of one jail, as a total function.
//!
//! Pure: time is an argument, and what is to be done comes back as [`Action`]s. Nothing here knows
//! how a jail is built.
//!
//! ```text
//!            want up        admitted          spawned          executed           ready
//!   Down ──────────► Waiting ─────► Preparing ─────► Starting ─────► Activating ─────► Up
//!    ▲  ▲               ▲               │ failed        │ ended          │ │             │ │
//!    │  │               │               ▼               ▼                ▼ │ too late    ▼ │ asked to end,
//!    │  └───────────────┼─────────── Cleaning ◄─────────◄────────────────◄ ▼ ◄───────────◄ ▼ no sign of life, ...
//!    │   want down      │             │  │  │   ended                      Stopping (signal, then kill)
//!    │                  │  restart    │  │  └────────────────────────────────┘
//!    │                  ├─────────────┘  └────► Backoff ───► Waiting   (policy, after the delay)
//!    │                  └──── what it needs is gone
//!    └── Failed ◄──── Cleaning   (policy, or its start limit)
//! ```
//!
//! * [`Want`] is what people want, [`State`] what is. A manual start or restart always acts at once:
//!   from Backoff and Failed too, and it clears the counts of failures and of restarts.
//! * A jail whose [`Policy`] has nothing to wait for passes Waiting by, and one that need not say that it is
//!   ready Activating.
//! * Events that a state does not expect change nothing: each such pair is written out in `next`, so
//!   that a new state or event cannot be forgotten.

mod after;
pub mod gate;
pub mod health;
mod next;
#[cfg(test)]
mod tests;
pub mod trial;

use crate::unit::{Reaction, Restart, Signal, Stop};
pub use after::end_of;
pub use next::next;
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
    /// It is wanted, and something that it needs is not there.
    Waiting,
    /// Its image, cgroup, namespaces and links are being made.
    Preparing,
    /// Its processes exist; its program is not executed yet.
    Starting {
        /// When it must have been.
        by: Moment,
    },
    /// Its program runs and has not said that it is ready.
    Activating {
        /// When it must have said so.
        ready_by: Moment,
    },
    /// Its program runs and is ready.
    Up {
        /// Since when.
        since: Moment,
        /// Since when its checks, if it has any, say that it is well; `None` while they do not.
        well_since: Option<Moment>,
        /// When it must have given a sign of life; `None` when it need not, or is frozen.
        watchdog_at: Option<Moment>,
        /// When it has run long enough.
        runtime_until: Option<Moment>,
    },
    /// It was asked to end.
    Stopping {
        /// When everything in it is killed; `None` once that is done.
        kill_at: Option<Moment>,
        /// Why it is to end.
        cause: Cause,
        /// What people have said since: whether it is to start again.
        again: Option<bool>,
        /// If it was ready: since when, to judge its uptime.
        ready: Option<Ready>,
    },
    /// Its processes are gone; what they leave behind is being cleared away.
    Cleaning {
        /// How it ended.
        end: End,
        /// Why.
        cause: Cause,
        /// What people have said: whether it is to start again.
        again: Option<bool>,
        /// How long it was up and well.
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

/// Of a jail that was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Since when.
    pub since: Moment,
    /// Since when its checks, if it has any, said that it is well; `None` when they did not.
    pub well_since: Option<Moment>,
}

/// Why a jail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By itself, or by what befell it.
    Own,
    /// Someone wants it so.
    Asked,
    /// Its program was not executed in time, or did not say in time that it is ready.
    StartTimeout,
    /// It gave no sign of life.
    Watchdog,
    /// It has run as long as it may.
    RuntimeMax,
    /// Its checks failed.
    Unhealthy,
    /// The kernel has killed some of it for want of memory.
    OutOfMemory,
    /// Its processes waited too long for memory, a processor or a disk.
    Pressure,
    /// What it cannot be without is gone.
    Dependency,
}

impl Cause {
    /// What asks a jail to end for this cause.
    #[must_use]
    pub const fn signal(self, policy: &Policy) -> Signal {
        match self {
            // As systemd's `WatchdogSignal`, so that it dumps core.
            Self::Watchdog => Signal::from_number(libc::SIGABRT),
            Self::Own
            | Self::Asked
            | Self::StartTimeout
            | Self::RuntimeMax
            | Self::Unhealthy
            | Self::OutOfMemory
            | Self::Pressure
            | Self::Dependency => policy.stop.signal,
        }
    }
}

/// How a jail ended, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The main process ended as it should: exited with 0, or as `success_exit_status` says.
    Success,
    /// It exited otherwise or was killed.
    Failure,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It ended in one of the ways of `prevent_exit_status`; and whether that is a success.
    Final {
        /// It is one of `success_exit_status`, or 0, too.
        success: bool,
    },
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
    /// Everything that it waits for is there.
    Admitted,
    /// Everything is prepared and its processes exist.
    Spawned,
    /// Preparing failed; no process exists.
    PrepareFailed(End),
    /// Its program was executed.
    Executed,
    /// Something is heard of it that concerns only one whose program runs.
    News(News),
    /// Its last process is gone.
    Ended(End),
    /// What it left behind is cleared away.
    Cleaned,
    /// A deadline may have passed.
    Tick,
}

/// What is heard of a jail whose program runs. In all other states it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its program is ready for its clients.
    Ready,
    /// Its program gave a sign of life.
    Alive,
    /// Its program asks for that much time from now on, for whatever it is doing.
    Extend(Duration),
    /// Another version of its unit is in force, or the first one that this jailsupd knows.
    UnitRead,
    /// It was frozen, or thawed.
    Frozen(bool),
    /// Its program says that it is stuck.
    Stuck,
    /// Its program says that it is about to end.
    Stopping,
    /// Its checks have begun to say that it is well.
    Healthy,
    /// Its checks have failed often enough.
    Unhealthy,
    /// The kernel has killed some of it for want of memory.
    OutOfMemory,
    /// Its processes have waited for longer than its unit lets them.
    Pressure,
    /// What it cannot be without is gone.
    DependencyGone,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `[restart]`.
    pub restart: Restart,
    /// `[stop]`.
    pub stop: Stop,
    /// It is started when it is admitted, and not before.
    pub waits: bool,
    /// How long it may take until its program is executed.
    pub executed_within: Duration,
    /// How long it may take to say that it is ready; `None` when it need not say so.
    pub ready_within: Option<Duration>,
    /// How long it may give no sign of life.
    pub watchdog: Option<Duration>,
    /// How long it may run.
    pub runtime_max: Option<Duration>,
    /// Its unit has it checked, and the checks do not say that it is well.
    pub is_unproven: bool,
    /// What follows when its checks fail.
    pub on_unhealthy: Reaction,
    /// What follows when some of it was killed for want of memory.
    pub on_oom: Reaction,
    /// What follows when its processes wait too long for what they need.
    pub on_pressure: Reaction,
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
    /// Its restarts, for the start limit.
    pub limit: Limit,
    /// The state of the dice that scatter restarts: any number, best another for each jail.
    pub dice: u64,
}

/// Restarts of a jail by itself within an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// When the interval began.
    pub since: Moment,
    /// Restarts in it.
    pub restarts: u32,
    /// There were too many of them: it is Failed for that.
    pub reached: bool,
}

impl Machine {
    /// A jail that nobody wants yet.
    pub const NEW: Self = Self {
        state: State::Down,
        want: Want::Down,
        failures: 0,
        limit: Limit { since: Moment::ZERO, restarts: 0, reached: false },
        dice: 0,
    };

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Backoff { until } => Some(until),
            State::Starting { by } => Some(by),
            State::Activating { ready_by } => Some(ready_by),
            State::Up { watchdog_at, runtime_until, .. } => {
                watchdog_at.into_iter().chain(runtime_until).min()
            }
            State::Stopping { kill_at, .. } => kill_at,
            State::Down
            | State::Waiting
            | State::Preparing
            | State::Cleaning { .. }
            | State::Failed => None,
        }
    }

    /// Why it is being stopped, or has just ended; none in any other state.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Stopping { cause, .. } | State::Cleaning { cause, .. } => Some(cause),
            State::Down
            | State::Waiting
            | State::Preparing
            | State::Starting { .. }
            | State::Activating { .. }
            | State::Up { .. }
            | State::Backoff { .. }
            | State::Failed => None,
        }
    }
}
