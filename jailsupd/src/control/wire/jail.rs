//! What `org.warder.Jails` tells of jails.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enum that is the same word on the wire and for people.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            /// Honours width and alignment.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}
pub(super) use words;

words! {
    /// Where a jail is in its life.
    JailState {
        /// Not there, and not wanted.
        Down = "down",
        /// Wanted, and something that it needs is not there yet.
        Waiting = "waiting",
        /// Image, mounts, links and cgroup are being made.
        Preparing = "preparing",
        /// Its program is being started.
        Starting = "starting",
        /// Its program runs and has not said yet that it is ready.
        Activating = "activating",
        /// Its program runs and is ready.
        Up = "up",
        /// Asked to end.
        Stopping = "stopping",
        /// Ended; what it left is being taken away.
        Cleaning = "cleaning",
        /// Waits for its next start.
        Backoff = "backoff",
        /// Ended or did not start, and is not to be started again.
        Failed = "failed",
        /// Its unit has problems, and no earlier version of it is in force.
        Invalid = "invalid",
    }
}

words! {
    /// What the checks of a jail's health say.
    HealthState {
        /// None has succeeded yet.
        Starting = "starting",
        /// The last one succeeded, or too few have failed since.
        Healthy = "healthy",
        /// Too many have failed in a row.
        Unhealthy = "unhealthy",
    }
}

/// One line of `jailctl ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailSummary {
    /// The jail's name.
    pub name: String,
    /// Where it is in its life.
    pub state: JailState,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Its addresses with prefix length.
    pub address: Vec<String>,
    /// Process of the in-jail init, as the host numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Starts after its first one, since jailsupd first saw it.
    pub restarts: u64,
    /// The foremost problem, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The jail that it waits for, while it is `waiting`: its reason is a dependency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The unit file's path.
    pub unit: String,
    /// Its processes are held where they are.
    pub frozen: bool,
    /// It is started when the host boots and whenever its unit changes; neither disabled nor masked.
    pub enabled: bool,
    /// It runs with an older version of its unit than the file's.
    pub stale: bool,
    /// What its checks say; missing when it is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthState>,
    /// What its service says of itself (`STATUS=` of sd_notify(3)), one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Everything about one jail. Optional fields are missing when nothing of the jail is there to have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// What `List` tells too.
    #[serde(flatten)]
    pub summary: JailSummary,
    /// The unit's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the unit marks it as one that the host is useless without.
    pub critical: bool,
    /// The image, as the unit writes it; empty when the unit is invalid.
    pub image: String,
    /// Program and arguments; empty when the unit is invalid.
    pub exec: Vec<String>,
    /// User inside the jail, as the unit writes it.
    pub user: String,
    /// The host's uid that the jail's uid 0 is; its range is 65536 long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid_base: Option<u32>,
    /// Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its link, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Ports of the host that lead to it, as its unit writes them.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Whose connections its firewall lets in, for people; missing when everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<String>>,
    /// What connections its firewall lets it make, for people; missing when any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<String>>,
    /// Path of the cgroup below /sys/fs/cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Effective capabilities of the main process, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// The capabilities that it could have at most, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounding: Option<Vec<String>>,
    /// Its seccomp mode, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// Whether it can gain no privileges, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_new_privs: Option<bool>,
    /// The same of the in-jail init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Privileges>,
    /// Whether Landlock restricts it, too; the kernel may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<bool>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Memory in use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_current: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_current: Option<u64>,
    /// When its process was started, in clock ticks since boot (field 22 of /proc/PID/stat): with `pid` it
    /// names one process for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// When it was ready, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<u64>,
    /// How long it may give no sign of life, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_us: Option<u64>,
    /// Its service loads its configuration again.
    pub reloading: bool,
    /// Its checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// All problems, each as its writer reads it (several lines).
    pub problems: Vec<String>,
}

/// The checks of a jail's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// What is checked: a URL, an address or a program.
    pub what: String,
    /// From the end of a check to the next one, in milliseconds.
    pub interval_ms: u64,
    /// The startup probe has not succeeded yet.
    pub probing: bool,
    /// Failures in a row that count.
    pub failures: u32,
    /// When the last one ended, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<u64>,
    /// Whether it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<bool>,
    /// What it found, one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// What a process may do, as the kernel says: proc_pid_status(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// Its effective capabilities.
    pub capabilities: Vec<String>,
    /// Those that it could have at most.
    pub bounding: Vec<String>,
    /// Its seccomp mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// Whether it can gain no privileges.
    pub no_new_privs: bool,
}

words! {
    /// `Seccomp:` of /proc/PID/status.
    Seccomp {
        /// 0.
        Disabled = "disabled",
        /// 1.
        Strict = "strict",
        /// 2.
        Filter = "filter",
    }
}

words! {
    /// How a jail ended.
    ExitReason {
        /// The main process exited; `code` says with what.
        Exited = "exited",
        /// A signal killed the main process; `signal` says which.
        Signaled = "signaled",
        /// The kernel killed it, or some of it, for want of memory.
        Oom = "oom",
        /// It was stopped, and had to be killed after the time-out.
        Killed = "killed",
        /// Its program was not executed within `start.timeout`, or did not say within that that it is ready.
        StartTimeout = "start_timeout",
        /// It gave no sign of life within `process.watchdog`.
        Watchdog = "watchdog",
        /// It ran for `process.runtime_max`.
        RuntimeMax = "runtime_max",
        /// The checks of its health failed.
        Unhealthy = "unhealthy",
        /// Its processes waited too long for memory, a processor or a disk.
        Pressure = "pressure",
        /// A jail that it cannot be without was gone.
        Dependency = "dependency",
        /// It did not come to its program; `stage` and `errno` say where and why.
        StartFailed = "start_failed",
        /// Nobody saw it: jailsupd and keeper both began anew.
        Unknown = "unknown",
    }
}

/// One end of a jail.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    pub reason: ExitReason,
    /// Exit code, 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal by name: `SIGSEGV`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Whether the kernel says that a core was dumped.
    pub core: bool,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What the start failed at, in words: "cannot mount /proc", "cannot provide image.source".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The error by name: `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// What else is known: the check that failed, or what the service had said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the main process used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The program of the main process, as its unit named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The main process, as the host numbered it; missing when it had ended before that was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whom the kernel chose to kill for want of memory, when its log tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub victim: Option<Victim>,
}

/// A process that the kernel has killed for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Victim {
    /// As the host numbered it.
    pub pid: u32,
    /// Its name, as the kernel shows it.
    pub program: String,
}

/// Of getrusage(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Time in user mode, in microseconds.
    pub user_us: u64,
    /// Time in the kernel, in microseconds.
    pub system_us: u64,
    /// Largest resident set, in bytes.
    pub max_rss: u64,
}

words! {
    /// Where a line of the log comes from.
    Stream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
        /// jailsupd itself, about the jail.
        Warder = "warder",
        /// The kernel, and what the host's own programs say in its log.
        Kernel = "kernel",
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When jailsupd read it, in milliseconds since 1970.
    pub time: u64,
    /// The jail; the kernel's lines have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<String>,
    /// Where from.
    pub stream: Stream,
    /// The line without its line feed; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Results of `List`, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// All jails with a unit file or with anything left of them.
    pub jails: Vec<JailSummary>,
}

/// Results of `Inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// The jail.
    pub jail: Jail,
}

/// Results of every method that brings one jail to a state: what was reached, not what was wished for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The jail as it is now.
    pub jail: JailSummary,
}

/// Results of `Logs`: one line a reply; the last reply, which does not continue, may have none. A reply without one that
/// does continue says that all that was stored has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<LogEntry>,
}
