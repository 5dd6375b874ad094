//! The limits of running jails, and what all of them together are protected by.

use super::Supervisor;
use super::poller::JailId;
use crate::exec::limits;
use crate::unit::{Bytes, Problem, Unit};

impl Supervisor {
    /// Writes the limits of a running jail.
    pub(super) fn set_limits(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let (Some(loaded), true) = (jail.loaded.clone(), jail.life.is_some()) else { return };
        let cgroup = jail.cgroup.clone();
        self.protect_memory(None);
        self.watch_limits(id);
        let mut is_set = true;
        for step in &loaded.plan.host {
            if let Err(error) = limits::apply(step, &cgroup, &self.layout) {
                self.start_failed(id, &error);
                is_set = false;
            }
        }
        // One that was refused before is in force now.
        let is_of_limit = |problem: &mut Problem| problem.key.starts_with("resources.");
        if let Some(jail) = self.jails.get_mut(id).filter(|_| is_set) {
            jail.start_problem.take_if(is_of_limit);
        }
    }

    /// The kernel protects a jail's memory as far as that of the cgroup above it is protected, so that has
    /// the sum of its jails', and of `starting`.
    pub(super) fn protect_memory(&mut self, starting: Option<&Unit>) {
        let running = self.jails.all().filter(|(_, jail)| jail.life.is_some());
        let units = running.filter_map(|(_, jail)| jail.loaded.as_ref());
        let units = units.map(|loaded| &loaded.unit).chain(starting);
        let mut sum = [0u64; 2];
        for unit in units {
            let resources = &unit.resources;
            for (sum, part) in sum.iter_mut().zip([resources.memory_min, resources.memory_low]) {
                *sum = sum.saturating_add(part.map_or(0, Bytes::get));
            }
        }
        if self.protected == Some(sum) {
            return;
        }
        for (file, value) in ["memory.min", "memory.low"].into_iter().zip(sum) {
            if let Err(error) = std::fs::write(self.layout.cgroups.join(file), value.to_string()) {
                log::warn!("the jails' {file} cannot be set: {error}");
            }
        }
        self.protected = Some(sum);
    }
}
