//! A unit's resources as files of its cgroup (Documentation/admin-guide/cgroup-v2.rst).

use crate::unit::{CpuQuota, Resources};

/// One value for one file of the jail's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The file's name.
    pub file: &'static str,
    /// What is written to it.
    pub value: String,
    /// The unit's key, for messages.
    pub key: &'static str,
}

/// All limits, set or not: an absent one is written as the kernel's default, so that an edit which
/// takes a limit away takes it away.
pub(super) fn limits(resources: &Resources) -> Vec<Limit> {
    let bytes = |limit: Option<crate::unit::Bytes>| {
        limit.map_or_else(|| "max".to_owned(), |bytes| bytes.get().to_string())
    };
    let limit = |file, value, key| Limit { file, value, key };
    let quota = resources.cpu_max.map_or_else(|| "max".into(), |cpu| cpu.quota_us().to_string());
    vec![
        limit("memory.max", bytes(resources.memory_max), "resources.memory_max"),
        limit("memory.high", bytes(resources.memory_high), "resources.memory_high"),
        limit("memory.swap.max", bytes(resources.memory_swap_max), "resources.memory_swap_max"),
        limit("memory.oom.group", u8::from(resources.oom_group).to_string(), "resources.oom_group"),
        limit("cpu.max", format!("{quota} {}", CpuQuota::PERIOD_US), "resources.cpu_max"),
        limit(
            "cpu.weight",
            resources.cpu_weight.map_or(100, crate::unit::CpuWeight::get).to_string(),
            "resources.cpu_weight",
        ),
        limit("pids.max", resources.pids_max.get().to_string(), "resources.pids_max"),
    ]
}
