//! What `org.warder.Jails` tells of what jails use.

use super::JailState;
use serde::{Deserialize, Serialize};

/// What the kernel has counted of a jail, since its cgroup was made at its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Processor time, in microseconds (`cpu.stat`).
    pub cpu_us: u64,
    /// Time that it was held back by its `cpu_max`, in microseconds.
    pub throttled_us: u64,
    /// Memory in use, in bytes (`memory.current`).
    pub memory: u64,
    /// Processes and threads (`pids.current`).
    pub pids: u64,
    /// Bytes read from all disks (`io.stat`).
    pub io_read: u64,
    /// Bytes written to all disks.
    pub io_write: u64,
    /// Bytes received on all links but the loopback (`/proc/PID/net/dev`).
    pub net_receive: u64,
    /// Bytes sent.
    pub net_send: u64,
    /// Time in which some of its processes waited for a processor, in microseconds (`cpu.pressure`).
    pub cpu_wait_us: u64,
    /// The same for memory.
    pub memory_wait_us: u64,
    /// The same for a disk.
    pub io_wait_us: u64,
}

/// What one jail uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailUsage {
    /// The jail.
    pub name: String,
    /// Where it is in its life.
    pub state: JailState,
    /// What it has used.
    #[serde(flatten)]
    pub counters: Counters,
    /// The most that it may use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// By `pid`; missing when they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<ProcessUsage>>,
}

/// What one process uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// As the host numbers it.
    pub pid: u32,
    /// As the jail numbers it.
    pub jail_pid: u32,
    /// Program and arguments; the process's name in brackets when it has none.
    pub command: Vec<String>,
    /// Processor time, in microseconds.
    pub cpu_us: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Bytes read from disks (`/proc/PID/io`).
    #[serde(default)]
    pub io_read: u64,
    /// Bytes written to disks.
    #[serde(default)]
    pub io_write: u64,
}

/// Results of `Stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTable {
    /// When this was read: since boot, in microseconds. The difference of two answers is what their counters
    /// are to be divided by.
    pub time_us: u64,
    /// Those that run, by name.
    pub jails: Vec<JailUsage>,
}
