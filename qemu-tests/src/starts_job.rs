//! What `make bench` and the program that measures starts in the guest (`bin/starts`) tell each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Job {
    /// Starts of each, beside the first, which is not counted.
    pub rounds: usize,
    /// Command line of the floor program; `CGROUP` and `NAME` are the contender's.
    pub floor: Vec<String>,
    /// The cgroups whose use is Warder's.
    pub warder_cgroups: Vec<String>,
    /// Who takes turns.
    pub contenders: Vec<Named>,
}

/// One of those who take turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Named {
    /// In the results.
    pub name: String,
    /// The name of its cgroup below `/sys/fs/cgroup/bench`.
    pub cgroup: String,
    /// How it is asked.
    pub how: How,
}

/// How a start is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum How {
    /// The floor program: `floor`, `read-only`, `fresh`, `bare` or `restart`.
    Floor {
        /// Which of them.
        kind: String,
    },
    /// Warder, by its control socket.
    Jail {
        /// Its name.
        jail: String,
    },
    /// Warder, by ending the program of a jail that runs: its policy starts it again at once.
    Crash {
        /// Its name.
        jail: String,
    },
    /// A command line that starts the program and ends with it.
    Command {
        /// Absolute path and arguments.
        argv: Vec<String>,
        /// What has to be run before it can be run again; not measured.
        after: Vec<String>,
    },
}

/// One start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    /// Whose.
    pub name: String,
    /// The first one.
    pub warm_up: bool,
    /// When it was asked for: `CLOCK_BOOTTIME`, nanoseconds.
    pub begin_ns: u64,
    /// When the program was executed: `CLOCK_BOOTTIME`, nanoseconds.
    pub executed_ns: u64,
    /// From the one to the other, in microseconds.
    pub start_us: u64,
    /// CPU time of the start and of all that it left to be done, in microseconds.
    pub cpu_us: u64,
    /// The most memory above what was used before, in KiB.
    pub peak_kib: u64,
    /// Why it is none.
    pub failure: Option<String>,
    /// Its system calls were traced: its times do not count.
    pub traced: bool,
    /// System calls from the request to the exec, by the name of the program.
    pub calls: BTreeMap<String, u64>,
    /// Each of them.
    pub trace: Vec<Call>,
}

/// A system call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Name of the program.
    pub who: String,
    /// The process.
    pub pid: u32,
    /// When: `CLOCK_BOOTTIME`, nanoseconds.
    pub at_ns: u64,
    /// Its number.
    pub number: i64,
}
