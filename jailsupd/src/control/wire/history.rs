//! What `org.warder.Jails` tells of what happens in and to jails.

use serde::{Deserialize, Serialize};

use super::jail::{Exit, ExitReason, JailState, JailSummary, LogEntry};

/// One thing that happened to a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// The jail; empty for what concerns all: that events are missing.
    pub jail: String,
    /// The state it left; missing when the state did not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<JailState>,
    /// The state it came to; missing when the state did not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<JailState>,
    /// How a life has ended, where it ends or that follows from its end; what it is asked to end for, where nobody wants
    /// that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExitReason>,
    /// Why, or what else happened, in words.
    pub why: String,
}

/// Results of `Events`: one event a reply; the last reply, which does not continue, may have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

/// Results of `Why`: what is known of why a jail is in its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The jail: its state, since when, its restarts.
    pub jail: JailSummary,
    /// The explanation for people, a sentence each, the foremost first.
    pub text: Vec<String>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// What its last start failed at, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_problem: Option<String>,
    /// Until its next start, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_ms: Option<u64>,
    /// When that is by the host's clock as it is now, in milliseconds since 1970. The clock may be set; the time until then
    /// is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<u64>,
    /// The problems of its unit, each as its writer reads it (several lines).
    pub problems: Vec<String>,
    /// Its last events, the oldest first.
    pub events: Vec<Event>,
    /// The last lines of its log, the oldest first.
    pub log: Vec<LogEntry>,
}

/// A process in a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As the host numbers it.
    pub pid: u32,
    /// Its parent, as the host numbers it; of the in-jail init the keeper.
    pub ppid: u32,
    /// As the jail numbers it; 1 is the in-jail init.
    pub jail_pid: u32,
    /// Its user id in the jail.
    pub user: u32,
    /// Program and arguments; the process's name in brackets when it has none.
    pub command: Vec<String>,
}

/// A jail with its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailProcesses {
    /// The jail.
    pub name: String,
    /// Where it is in its life.
    pub state: JailState,
    /// By `pid`; empty when nothing runs.
    pub processes: Vec<Process>,
}

/// Results of `Processes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTable {
    /// By name.
    pub jails: Vec<JailProcesses>,
}
