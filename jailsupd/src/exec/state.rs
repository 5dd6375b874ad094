//! What jailsupd remembers of a running jail in the keeper's vault: a memfd with one JSON object, so
//! that the next jailsupd knows what it adopts.
//!
//! ```text
//!  0        PLACE                 the record of the higher number counts; each is written where the other one is not,
//!  | record | record |            so that one is whole whenever jailsupd is killed
//!
//!  record: MARK, then its number, the CRC-32 of the rest and the length of that (little-endian), then the JSON
//! ```

use super::descriptors::of_jail;
use crate::control::wire::{Exit, ExitReason, HealthState, Victim};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;

/// Room for a record: the largest state is smaller.
const PLACE: usize = 1 << 16;
/// A record begins with it.
const MARK: [u8; 8] = *b"warder\0\x01";
/// What is before the JSON.
const HEAD: usize = MARK.len() + 8 + 4 + 4;

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
    /// When its program must have been executed: `CLOCK_BOOTTIME`. Missing once that is seen.
    #[serde(default)]
    pub executed_by_us: Option<u64>,
    /// Since when this version is on trial: `CLOCK_BOOTTIME`. Missing when it is not.
    #[serde(default)]
    pub tried_since_us: Option<u64>,
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
    /// Its hook for its being ready has not ended.
    #[serde(default)]
    pub owes_poststart: bool,
    /// Its hook for its being asked to end has not ended, and it is not asked before.
    #[serde(default)]
    pub owes_prestop: bool,
    /// How this life of it has ended, once that was judged: what was asked of its cgroup then may be gone.
    #[serde(default)]
    pub ended: Option<Exit>,
    /// What its service has said of itself.
    #[serde(default)]
    pub notified: Notified,
    /// How often the kernel had killed a process of it for want of memory, as far as was seen.
    #[serde(default)]
    pub oom_kills: u64,
    /// Whom the kernel has chosen last to kill for want of memory.
    #[serde(default)]
    pub victim: Option<Victim>,
    /// Its network namespace has a packet filter, or had one in this life.
    #[serde(default)]
    pub filtered: bool,
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
    /// Successes of the startup probe in a row.
    #[serde(default)]
    pub successes: u32,
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
    /// A number that is another one, but for a chance of 1 to 2^64, when anything of it is.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The memfd that a state is remembered in: the keeper has it, too.
#[derive(Debug)]
pub struct Memory {
    memfd: OwnedFd,
    /// Of the record that counts.
    number: u64,
}

impl Memory {
    /// A new one, with this state.
    ///
    /// # Errors
    /// When the kernel makes none.
    pub fn new(state: &State) -> io::Result<Self> {
        let memfd = rustix::fs::memfd_create(c"jail-state", MemfdFlags::CLOEXEC)?;
        let mut memory = Self { memfd: of_jail(memfd), number: 0 };
        memory.write(state)?;
        Ok(memory)
    }

    /// One that the keeper has held, and what is in it; `None` when that is no state.
    #[must_use]
    pub fn adopt(memfd: OwnedFd) -> (Self, Option<State>) {
        let found = [0, 1].into_iter().filter_map(|place| read(&memfd, place));
        let newest = found.max_by_key(|(number, _)| *number);
        let (number, json) = newest.unwrap_or_else(|| (0, read_bare(&memfd)));
        (Self { memfd, number }, serde_json::from_slice(&json).ok())
    }

    /// Remembers this state and not the one before, at once.
    ///
    /// # Errors
    /// When there is no memory for it, or it is too large.
    pub fn write(&mut self, state: &State) -> io::Result<()> {
        let number = self.number + 1;
        let record = record(number, &serde_json::to_vec(state)?);
        if record.len() > PLACE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = rustix::io::pwrite(&self.memfd, &record, offset(number))?;
        if written < record.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.number = number;
        Ok(())
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

/// Where the record of this number is.
const fn offset(number: u64) -> u64 {
    number % 2 * PLACE as u64
}

fn record(number: u64, json: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + json.len());
    record.extend_from_slice(&MARK);
    record.extend_from_slice(&number.to_le_bytes());
    record.extend_from_slice(&crc32fast::hash(json).to_le_bytes());
    record.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(json);
    record
}

/// The record at a place, if there is a whole one: its number and the JSON.
fn read(memfd: &OwnedFd, place: u64) -> Option<(u64, Vec<u8>)> {
    let at = offset(place);
    let mut head = [0; HEAD];
    let length = rustix::io::pread(memfd, &mut head, at).ok()?;
    let rest = head.get(..length)?.strip_prefix(&MARK)?;
    let (number, rest) = rest.split_first_chunk()?;
    let (sum, length) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length.first_chunk()?);
    let mut json = vec![0; usize::try_from(length).ok().filter(|length| *length <= PLACE)?];
    let length = rustix::io::pread(memfd, &mut json, at + HEAD as u64).ok()?;
    let is_whole = length == json.len() && crc32fast::hash(&json) == u32::from_le_bytes(*sum);
    is_whole.then(|| (u64::from_le_bytes(*number), json))
}

/// The JSON that is all that the memfd holds: so an earlier version has left it.
fn read_bare(memfd: &OwnedFd) -> Vec<u8> {
    let mut bytes = vec![0; PLACE];
    let length = rustix::io::pread(memfd, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(unit: &str) -> State {
        State { unit: unit.into(), uid_base: 524_288, ..State::default() }
    }

    fn adopted(memory: &Memory) -> (Memory, Option<State>) {
        Memory::adopt(memory.memfd.try_clone().unwrap())
    }

    #[test]
    fn a_state_survives_its_memfd() {
        let mut memory = Memory::new(&named("first")).unwrap();
        assert_eq!(adopted(&memory).1, Some(named("first")));
        for unit in ["second", "third, which is longer", "4"] {
            memory.write(&named(unit)).unwrap();
            let (mut other, found) = adopted(&memory);
            assert_eq!(found, Some(named(unit)));
            // Who has adopted it goes on.
            other.write(&named("by the next")).unwrap();
            assert_eq!(adopted(&memory).1, Some(named("by the next")));
            memory = other;
        }
    }

    #[test]
    fn a_record_that_is_not_whole_leaves_the_one_before() {
        for written in [1, MARK.len(), HEAD, HEAD + 1, HEAD + 12] {
            let mut memory = Memory::new(&named("first")).unwrap();
            memory.write(&named("second")).unwrap();
            let third = record(3, &serde_json::to_vec(&named("third")).unwrap());
            rustix::io::pwrite(&memory.memfd, &third[..written], offset(3)).unwrap();
            let (_, found) = adopted(&memory);
            assert_eq!(found, Some(named("second")), "{written} bytes");
        }
    }

    #[test]
    fn what_is_too_large_changes_nothing() {
        let mut memory = Memory::new(&named("first")).unwrap();
        assert!(memory.write(&named(&"x".repeat(PLACE))).is_err());
        assert_eq!(adopted(&memory).1, Some(named("first")));
    }

    #[test]
    fn a_state_of_the_version_before_is_read_and_taken_further() {
        let memfd = rustix::fs::memfd_create(c"bare", MemfdFlags::CLOEXEC).unwrap();
        let json = serde_json::to_vec(&named("bare")).unwrap();
        rustix::io::pwrite(&memfd, &json, 0).unwrap();
        let (mut memory, found) = Memory::adopt(memfd);
        assert_eq!(found, Some(named("bare")));
        for unit in ["one", "two"] {
            memory.write(&named(unit)).unwrap();
            assert_eq!(adopted(&memory).1, Some(named(unit)));
        }
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
        assert_eq!(adopted(&Memory::new(&state).unwrap()).1, Some(state));
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
