//! What jails use. Nothing is read unless somebody asks.

use super::jail::Jail;
use super::{Supervisor, clock};
use crate::control::wire::{JailUsage, ProcessUsage, Reply, UsageTable};
use crate::exec::usage;
use crate::unit::Bytes;

impl Supervisor {
    /// What the jails that run use, or one jail.
    pub(super) fn usage(&self, name: Option<&str>, with_processes: bool) -> Reply {
        if let Some(name) = name.filter(|name| self.jails.find(name).is_none()) {
            return Reply::refusal(&self.no_such_jail(name));
        }
        let asked = |jail: &&Jail| name.is_none_or(|name| name == jail.name);
        let mut jails: Vec<JailUsage> = self
            .jails
            .iter()
            .filter(asked)
            .filter_map(|jail| of_jail(jail, with_processes))
            .collect();
        jails.sort_by(|one, other| one.name.cmp(&other.name));
        let time_us = clock::microseconds(clock::now());
        Reply::with(&UsageTable { time_us, jails })
    }
}

/// None when nothing of it runs.
fn of_jail(jail: &Jail, with_processes: bool) -> Option<JailUsage> {
    let counters = usage::of_jail(&jail.cgroup, jail.life.as_ref()?.pid);
    let limits = jail.loaded.as_ref().map(|loaded| &loaded.unit.resources);
    Some(JailUsage {
        name: jail.name.clone(),
        state: jail.state(),
        counters,
        memory_max: limits.and_then(|limits| limits.memory_max).map(Bytes::get),
        processes: with_processes.then(|| processes(jail)),
    })
}

fn processes(jail: &Jail) -> Vec<ProcessUsage> {
    let all = usage::of_processes(&jail.cgroup).into_iter();
    all.map(|(process, used)| ProcessUsage {
        pid: process.pid,
        jail_pid: process.jail_pid,
        command: process.command,
        cpu_us: used.cpu_us,
        memory: used.memory,
        io_read: used.io_read,
        io_write: used.io_write,
    })
    .collect()
}
