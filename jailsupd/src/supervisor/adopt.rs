//! Adoption: what an earlier jailsupd has left running is taken over as it is. Adoption never kills.

use super::Supervisor;
use super::jail::{Kept, Life};
use crate::exec::namespaces::Namespaces;
use crate::exec::state::State as Stored;
use crate::machine::{Machine, State, Want};
use keeper::Slot;
use keeper::client::Held;
use rustix::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

impl Supervisor {
    /// Takes over all that the keeper holds.
    pub(super) fn adopt(&mut self) -> std::io::Result<()> {
        for held in self.keeper.held()? {
            self.adopt_one(held);
        }
        Ok(())
    }

    fn adopt_one(&mut self, held: Held) {
        let name = held.jail.clone();
        let id = match self.jails.find(&name) {
            Some(id) => id,
            None => self.jail_named(&name, &PathBuf::from(format!("(no unit {name}.toml)"))),
        };
        let mut slots = Slots(held.fds);
        let stored = slots.take(Slot::State).and_then(|fd| Stored::load(&fd)).unwrap_or_default();
        let Some(jail) = self.jails.get_mut(id) else { return };
        if let (Some(user), Some(net)) =
            (slots.take(Slot::UserNamespace), slots.take(Slot::NetNamespace))
        {
            let key = stored.link.clone();
            jail.kept = Some(Kept { namespaces: Namespaces { user, net }, key });
        }
        jail.restarts = stored.restarts;
        jail.held_down = stored.held_down;
        let (Some(pidfd), Some(exit_report)) =
            (slots.take(Slot::Process), slots.take(Slot::ExitReport))
        else {
            return;
        };
        jail.life = Some(Life {
            pid: stored.pid,
            pidfd,
            start_error: slots.take(Slot::StartError),
            exit_report,
            events: jail.cgroup.events().ok(),
            stdout: slots.take(Slot::Stdout),
            stderr: slots.take(Slot::Stderr),
            failed: None,
            killed: false,
            hash: stored.unit,
        });
        // Up as of its start: an unread start-error pipe says the rest, as soon as the loop runs.
        let since = Duration::from_micros(stored.started_us);
        let state = State::Up { since };
        jail.machine = Machine { state, want: Want::Up, failures: stored.failures };
        jail.frozen = jail.cgroup.is_frozen();
        jail.since = super::clock::wall_ms_of(since);
        log::info!("jail={name} adopted pid={}", stored.pid);
        if let Err(error) = self.watch(id) {
            log::error!("jail={name} cannot be watched: {error}");
        }
    }
}

struct Slots(Vec<(Slot, OwnedFd)>);

impl Slots {
    fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let index = self.0.iter().position(|(other, _)| *other == slot)?;
        Some(self.0.swap_remove(index).1)
    }
}
