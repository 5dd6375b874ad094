//! What is kept for the host, and which jails may be started beside the others.

use super::Supervisor;
use super::poller::JailId;
use crate::exec::{Error, host_limits};
use crate::plan::admission::{self, Room};
use std::io;

/// What is known of the host's room for jails.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// What the jails may have together; unknown when nothing is kept for the host.
    room: Option<Room>,
    /// For how many jails the kernel's common limits are large enough.
    scaled_for: usize,
}

impl Supervisor {
    /// Keeps memory and processes for the host, whatever its jails do: the cgroup of all jails may not have them.
    pub(super) fn keep_for_host(&mut self) {
        let kept = host_limits::memory().and_then(|memory| Ok((memory, host_limits::threads()?)));
        let kept = kept.and_then(|(memory, threads)| {
            let room = admission::room(memory, threads, &self.host.reserve);
            self.set_room(room).map(|()| room)
        });
        match kept {
            Ok(room) => self.admission.room = Some(room),
            Err(error) => log::warn!(
                "nothing is kept for the host, and jails are started whatever they ask for: {error} (see [reserve] in host.toml)"
            ),
        }
    }

    fn set_room(&self, room: Room) -> io::Result<()> {
        let set = |file: &str, value: u64| {
            std::fs::write(self.layout.cgroups.join(file), value.to_string())
        };
        set("memory.max", room.memory)?;
        set("pids.max", room.pids)
    }

    /// Whether the jail fits beside those that run.
    pub(super) fn require_room(&self, id: JailId) -> Result<(), Error> {
        let Some(loaded) = self.jails.get(id).and_then(|jail| jail.loaded.as_ref()) else {
            return Ok(());
        };
        let Some(room) = self.admission.room else { return Ok(()) };
        let others = self.jails.all().filter(|(other, jail)| *other != id && jail.life.is_some());
        let others = others.filter_map(|(_, jail)| jail.loaded.as_ref());
        let others: Vec<_> = others.map(|loaded| &loaded.unit.resources).collect();
        let admitted = admission::admit(&loaded.unit.resources, &others, room, &self.host.reserve);
        admitted.map_err(Error::Overcommit)
    }

    /// Gives all jails together what they need of the kernel's common limits.
    pub(super) fn scale_kernel_limits(&mut self) {
        let jails = self.jails.iter().count();
        if jails <= self.admission.scaled_for {
            return;
        }
        self.admission.scaled_for = jails.next_power_of_two();
        for (name, least) in admission::kernel_limits(jails) {
            match host_limits::raise(name, least) {
                Ok(true) => log::info!("sysctl {name} = {least}"),
                Ok(false) => {}
                Err(error) => log::warn!("sysctl {name} stays below {least}: {error}"),
            }
        }
    }
}
