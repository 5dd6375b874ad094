//! What the program `probe` measures: the schema of the comparison with other container programs, fixed
//! before anything was measured. A row is a number; which way is stricter stands with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which of two numbers is the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stricter {
    /// The smaller.
    Less,
    /// The larger.
    More,
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the results.
    pub id: &'static str,
    /// What the number counts.
    pub title: &'static str,
    /// Which way is better.
    pub stricter: Stricter,
}

const fn less(id: &'static str, title: &'static str) -> Row {
    Row { id, title, stricter: Stricter::Less }
}

const fn more(id: &'static str, title: &'static str) -> Row {
    Row { id, title, stricter: Stricter::More }
}

/// The schema.
pub const ROWS: [Row; 28] = [
    more("namespaces", "namespaces of its own, of eight kinds"),
    less("host-root", "its root is root of the host"),
    less("mapped-ids", "user ids that are mapped"),
    less("effective-capabilities", "effective capabilities"),
    less("bounding-capabilities", "capabilities of the bounding set"),
    more("no-new-privileges", "no privileges can be gained by exec"),
    more("seccomp", "system calls are filtered"),
    less("system-calls", "system calls that the kernel answers, of 463 numbers"),
    less("i386-calls", "32-bit system calls are answered"),
    less("socket-families", "socket families that open"),
    less("netlink-protocols", "netlink protocols that open"),
    less("raw-sockets", "raw and packet sockets that open, of three"),
    less("terminal-input", "TIOCSTI types into a terminal"),
    less("nested-namespaces", "kinds of namespaces that can be made inside"),
    less("proc-writable", "files of /proc, outside its own processes, that open for writing"),
    less("proc-visible", "files of /proc that tell of the host, of eleven"),
    less("sys-writable", "files of /sys that open for writing"),
    less("sys-visible", "directories of /sys that tell of the host, of thirteen"),
    less("dev-nodes", "device nodes in /dev"),
    less("dev-host", "device nodes of the host's disks, memory, consoles"),
    less("mounts-shared", "mounts that take part in the host's"),
    less("mounts-setuid", "mounts on which the set-user-id bit counts"),
    less("cgroup-writable", "files of its cgroup that open for writing"),
    less("cgroup-path", "the host's cgroups are seen"),
    less("keyrings", "calls on keyrings that work, of three"),
    less("kernel-log", "ways to the kernel's log, of three"),
    less("leaked-files", "descriptors left open"),
    less("io-uring", "io_uring, userfaultfd, bpf, perf that work, of four"),
];

/// A number, and what it counted, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The number.
    pub value: u64,
    /// At most a few of the things.
    pub seen: Vec<String>,
}

/// All rows of one container, by [`Row::id`].
pub type Report = BTreeMap<String, Measured>;

impl Row {
    /// Whether `ours` is at least as strict as `theirs`.
    #[must_use]
    pub fn holds(&self, ours: u64, theirs: u64) -> bool {
        match self.stricter {
            Stricter::Less => ours <= theirs,
            Stricter::More => ours >= theirs,
        }
    }
}
