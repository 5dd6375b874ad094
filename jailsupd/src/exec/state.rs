//! What jailsupd remembers of a running jail in the keeper's vault: a memfd with one JSON object, so
//! that the next jailsupd knows what it adopts.

use crate::control::wire::{Exit, ExitReason, HealthState};
use rustix::fd::OwnedFd;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;

/// Largest state that is read back.
const MAX: usize = 1 << 16;

/// One life of a jail. Fields are added, never changed: the reader may be another version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Hash of the unit that it was started from.
    pub unit: String,
    /// The link that its network namespace was set up with; another is made when this changes.
    pub link: String,
    /// The number of the host's link that it sits on.
    #[serde(default)]
    pub link_lower: Option<u32>,
    /// The ids that its user namespace was made with; another one is made when these change.
    #[serde(default)]
    pub ids: Option<String>,
    /// First of its ids on the host.
    pub uid_base: u32,
    /// Its PID 1, in the host's numbers; 0 when none.
    pub pid: i32,
    /// When it was spawned: `CLOCK_BOOTTIME`, microseconds.
    pub started_us: u64,
    /// How often it was started again since someone last asked for it.
    pub restarts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Its restarts within the interval of its start limit.
    #[serde(default)]
    pub limit: Limit,
    /// Someone has stopped it by hand.
    #[serde(default)]
    pub held_down: bool,
    /// How it ended last.
    #[serde(default)]
    pub last_exit: Option<Exit>,
    /// What it does while it does not run.
    #[serde(default)]
    pub rest: Option<Rest>,
    /// Since when: `CLOCK_BOOTTIME`, microseconds.
    #[serde(default)]
    pub since_us: Option<u64>,
    /// Digest of the imported image that it runs from.
    #[serde(default)]
    pub image: Option<String>,
    /// Which of two lives of the jail it is, where there are two.
    #[serde(default)]
    pub part: Part,
    /// It was asked to end.
    #[serde(default)]
    pub stopping: Option<Stopping>,
    /// It is to be asked to end when those that depend on it have ended; and whether it is to start again then.
    #[serde(default)]
    pub leaving: Option<bool>,
    /// It has ended, and what runs is its hook for that.
    #[serde(default)]
    pub poststop: Option<Poststop>,
    /// It has ended and is cleared away, and what it does next is not known yet.
    #[serde(default)]
    pub cleaning: Option<Poststop>,
    /// Its hook for its end has not begun.
    #[serde(default)]
    pub owes_poststop: bool,
    /// How this life of it has ended, once that was judged: its own report of it can be read only once.
    #[serde(default)]
    pub ended: Option<Exit>,
    /// What its service has said of itself.
    #[serde(default)]
    pub notified: Notified,
    /// How often the kernel had killed a process of it for want of memory, as far as was seen.
    #[serde(default)]
    pub oom_kills: u64,
    /// What its checks have found; missing before the first one.
    #[serde(default)]
    pub health: Option<Health>,
    /// The program of its main process, as its unit names it.
    #[serde(default)]
    pub program: Option<String>,
    /// Its main process, in the host's numbers, once that is executed.
    #[serde(default)]
    pub main_pid: Option<u32>,
    /// What people are told of it.
    #[serde(default)]
    pub told: Told,
}

/// What people are told of a jail beside its state. Each text is cut at [`TEXT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Told {
    /// Why it could not be started.
    pub start_problem: Option<StartProblem>,
    /// Which of its hooks has failed, and how.
    pub hook_problem: Option<String>,
    /// What its cgroup said when the kernel killed it for want of memory.
    pub evidence: Option<String>,
    /// Calls that its filter has denied: the number, how often, and to which program last.
    pub denied: Vec<(i64, u64, String)>,
}

/// A start that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StartProblem {
    /// Hash of the unit that could not be started.
    pub unit: String,
    /// The unit's key that it is about.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Bytes of a text that are remembered: all of a state must fit into what is read back.
const TEXT_MAX: usize = 1 << 10;

/// The text, or as much of its beginning as is remembered.
#[must_use]
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// What a life is to its jail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The jail itself.
    #[default]
    Itself,
    /// Its new version beside it, on trial.
    OnTrial,
    /// Its former version, which is to end.
    Former,
}

/// Readiness, and what a service says by sd_notify(3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notified {
    /// How long it may take to be ready; missing when it is ready as soon as it is executed.
    pub within_us: Option<u64>,
    /// Until when it must be ready, once that is known: `CLOCK_BOOTTIME`.
    pub ready_by_us: Option<u64>,
    /// When it was ready: `CLOCK_BOOTTIME`.
    pub ready_us: Option<u64>,
    /// Since when its checks say that it is well: `CLOCK_BOOTTIME`. Missing when they do not, or there are none.
    #[serde(default)]
    pub well_us: Option<u64>,
    /// When it has run long enough: `CLOCK_BOOTTIME`.
    #[serde(default)]
    pub runtime_until_us: Option<u64>,
    /// How long it may give no sign of life.
    pub watchdog_us: Option<u64>,
    /// `STATUS=`, one line.
    pub status: String,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// It loads its configuration again.
    pub reloading: bool,
}

/// What checks have found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub state: HealthState,
    /// The startup probe has not succeeded yet.
    pub probing: bool,
    /// Failures in a row that count.
    pub failures: u32,
    /// The last check, when it failed: milliseconds since 1970, and what it found.
    pub failure: Option<(u64, String)>,
}

/// A stop that may outlive who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stopping {
    /// It is started again when it has ended, since someone wants it so.
    pub again: bool,
    /// Why it is to end; missing when someone wants it so.
    #[serde(default)]
    pub reason: Option<ExitReason>,
    /// The number of the signal that asks it: sent anew by who adopts it, since it may not have been.
    pub signal: i32,
    /// When it is killed: `CLOCK_BOOTTIME`, microseconds. Missing once that is done.
    pub kill_at_us: Option<u64>,
}

/// What a jail had come to at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Poststop {
    /// How it had ended.
    pub end: Ended,
    /// Why it was to end; missing when by itself or since someone wanted it so.
    pub reason: Option<ExitReason>,
    /// What people have said: whether it is to start again.
    pub again: Option<bool>,
    /// How long it was up, in microseconds.
    pub uptime_us: u64,
}

/// The kinds of ends that a restart policy tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ended {
    /// With success.
    Success,
    /// Otherwise.
    Failure,
    /// In a way after which it is not started again.
    Final {
        /// It was a success.
        success: bool,
    },
    /// It did not start.
    NotStarted,
    /// It cannot start.
    NeverStarts,
}

/// The states of a jail that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rest {
    /// Down, and to stay so.
    Down,
    /// Failed.
    Failed,
    /// To be started when what it needs is there.
    Waiting,
    /// To be started again at this time: `CLOCK_BOOTTIME`, microseconds.
    Backoff {
        /// When.
        until_us: u64,
    },
}

/// Restarts of a jail by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// When the interval began: `CLOCK_BOOTTIME`, microseconds.
    pub since_us: u64,
    /// Restarts in it.
    pub restarts: u32,
    /// There were too many.
    pub reached: bool,
}

impl State {
    /// Writes it to a new memfd.
    ///
    /// # Errors
    /// When the kernel makes none.
    pub fn store(&self) -> io::Result<OwnedFd> {
        let memfd = rustix::fs::memfd_create(c"jail-state", MemfdFlags::CLOEXEC)?;
        let json = serde_json::to_vec(self)?;
        rustix::io::pwrite(&memfd, &json, 0)?;
        Ok(memfd)
    }

    /// A number that is another one, but for a chance of 1 to 2^64, when anything of it is.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Reads it back; `None` when it is not one.
    #[must_use]
    pub fn load(memfd: &OwnedFd) -> Option<Self> {
        let mut bytes = vec![0; MAX];
        let length = rustix::io::pread(memfd, &mut bytes, 0).ok()?;
        serde_json::from_slice(bytes.get(..length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_memfd() {
        let state = State { unit: "abc".into(), uid_base: 524_288, ..State::default() };
        assert_eq!(State::load(&state.store().unwrap()), Some(state));
    }

    #[test]
    fn a_state_with_the_longest_texts_is_read_back() {
        // Control characters take the most room.
        let text = cut(&"\u{1}".repeat(TEXT_MAX * 2));
        let start_problem = Some(StartProblem {
            unit: text.clone(),
            key: text.clone(),
            message: text.clone(),
            help: text.clone(),
        });
        let (hook_problem, evidence) = (Some(text.clone()), Some(text));
        let denied = (0..64).map(|call| (call, u64::MAX, "x".repeat(32))).collect();
        let told = Told { start_problem, hook_problem, evidence, denied };
        let state = State { told, ..State::default() };
        assert_eq!(State::load(&state.store().unwrap()), Some(state));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let text = format!("x{}", "ä".repeat(TEXT_MAX));
        assert_eq!(cut(&text).len(), TEXT_MAX - 1);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn what_the_version_before_has_remembered_is_read() {
        let mut json = serde_json::to_value(State::default()).unwrap();
        json.as_object_mut().unwrap().remove("told");
        assert_eq!(serde_json::from_value::<State>(json).unwrap(), State::default());
    }
}
