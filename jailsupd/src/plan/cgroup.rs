//! A unit's resources as files of its cgroup (Documentation/admin-guide/cgroup-v2.rst).

use crate::unit::resources::{CpuWeight, Hugetlb, IoWeight, Numbers};
use crate::unit::{Bytes, CpuQuota, HugePage, IoDevice, Resources};
use std::collections::BTreeMap;
use std::fmt;

/// One value for one file of the jail's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The file's name.
    pub file: &'static str,
    /// What is written to it.
    pub value: String,
    /// The unit's key, for messages.
    pub key: &'static str,
    /// Whether it is the kernel's own: then a kernel without the file is fine.
    pub is_default: bool,
}

/// Limits of one disk: a line of `io.max`. At least one is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLimit {
    /// The disk.
    pub device: IoDevice,
    /// Most bytes and operations a second, read and written: `rbps`, `wbps`, `riops`, `wiops`.
    pub most: [Option<u64>; 4],
    /// One of the unit's keys, for messages.
    pub key: &'static str,
}

impl DiskLimit {
    /// The kernel's names of what is limited.
    pub const NAMES: [&'static str; 4] = ["rbps", "wbps", "riops", "wiops"];
}

impl fmt::Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device)?;
        for (name, most) in Self::NAMES.iter().zip(self.most) {
            if let Some(most) = most {
                write!(f, " {name}={most}")?;
            }
        }
        Ok(())
    }
}

/// All limits, set or not: an absent one is written as the kernel's default, so that an edit which
/// takes a limit away takes it away.
pub(super) fn limits(resources: &Resources) -> Vec<Limit> {
    let mut limits = memory(resources);
    limits.extend(processors(resources));
    let weight = resources.io_weight.map(|weight| format!("default {}", IoWeight::get(weight)));
    limits.push(limit("io.weight", "resources.io_weight", weight, "default 100"));
    let pids = Some(resources.pids_max.get().to_string());
    limits.push(limit("pids.max", "resources.pids_max", pids, "max"));
    for page in HugePage::ALL {
        let file = match page {
            HugePage::Two => "hugetlb.2MB.max",
            HugePage::Giga => "hugetlb.1GB.max",
        };
        let found = resources.hugetlb_max.iter().find(|limit| limit.page == page);
        let value = found.map(|Hugetlb { bytes, .. }| bytes.get().to_string());
        limits.push(limit(file, "resources.hugetlb_max", value, "max"));
    }
    limits
}

fn limit(
    file: &'static str,
    key: &'static str,
    value: Option<String>,
    default: &'static str,
) -> Limit {
    let is_default = value.as_ref().is_none_or(|value| value == default);
    Limit { file, key, value: value.unwrap_or_else(|| default.to_owned()), is_default }
}

fn memory(resources: &Resources) -> Vec<Limit> {
    let bytes = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.get().to_string());
    let group = Some(u8::from(resources.oom_group).to_string());
    vec![
        limit("memory.min", "resources.memory_min", bytes(resources.memory_min), "0"),
        limit("memory.low", "resources.memory_low", bytes(resources.memory_low), "0"),
        limit("memory.high", "resources.memory_high", bytes(resources.memory_high), "max"),
        limit("memory.max", "resources.memory_max", bytes(resources.memory_max), "max"),
        limit(
            "memory.swap.max",
            "resources.memory_swap_max",
            bytes(resources.memory_swap_max),
            "max",
        ),
        limit("memory.oom.group", "resources.oom_group", group, "0"),
    ]
}

fn processors(resources: &Resources) -> Vec<Limit> {
    let period = CpuQuota::PERIOD_US;
    let quota = resources.cpu_max.map(|cpu| format!("{} {period}", cpu.quota_us()));
    let weight = resources.cpu_weight.map(|weight| CpuWeight::get(weight).to_string());
    let numbers = |numbers: &Option<Numbers>| numbers.as_ref().map(ToString::to_string);
    let nodes = numbers(&resources.allowed_memory_nodes);
    vec![
        limit("cpu.max", "resources.cpu_max", quota, "max 100000"),
        limit("cpu.weight", "resources.cpu_weight", weight, "100"),
        limit("cpuset.cpus", "resources.allowed_cpus", numbers(&resources.allowed_cpus), ""),
        limit("cpuset.mems", "resources.allowed_memory_nodes", nodes, ""),
    ]
}

/// The limits of disks, one for each disk.
pub(super) fn disk_limits(resources: &Resources) -> Vec<DiskLimit> {
    let mut disks: BTreeMap<IoDevice, DiskLimit> = BTreeMap::new();
    let mut add = |device: &IoDevice, at: usize, most: u64, key: &'static str| {
        let device = device.clone();
        let new = DiskLimit { device: device.clone(), most: [None; 4], key };
        disks.entry(device).or_insert(new).most[at] = Some(most);
    };
    for limit in &resources.io_read_bandwidth_max {
        add(&limit.device, 0, limit.bytes.get(), "resources.io_read_bandwidth_max");
    }
    for limit in &resources.io_write_bandwidth_max {
        add(&limit.device, 1, limit.bytes.get(), "resources.io_write_bandwidth_max");
    }
    for limit in &resources.io_read_iops_max {
        add(&limit.device, 2, limit.operations.into(), "resources.io_read_iops_max");
    }
    for limit in &resources.io_write_iops_max {
        add(&limit.device, 3, limit.operations.into(), "resources.io_write_iops_max");
    }
    disks.into_values().collect()
}
