//! The roots of persistent jails over the control socket.

use super::Supervisor;
use super::poller::JailId;
use crate::control::wire::{Reply, Root, RootRemoved, RootsListed, WireError};
use crate::exec::image;
use crate::exec::root::{self, Kept};
use crate::unit::{JailName, RootMode};

impl Supervisor {
    pub(super) fn list_roots(&self) -> Reply {
        match root::list(&self.layout) {
            Ok(all) => {
                let roots = all.into_iter().map(|kept| self.shown_root(kept)).collect();
                Reply::with(&RootsListed { roots })
            }
            Err(error) => {
                let reason = format!("the roots cannot be listed: {error}");
                Reply::refusal(&WireError::NotPossible { name: "roots".to_owned(), reason })
            }
        }
    }

    fn shown_root(&self, kept: Kept) -> Root {
        Root {
            stale: self.is_root_stale(&kept),
            jail: kept.jail,
            image: kept.origin,
            used: kept.usage.map(|usage| usage.used),
            size_max: kept.usage.and_then(|usage| usage.max),
            path: kept.path.to_string_lossy().into_owned(),
        }
    }

    fn is_root_stale(&self, kept: &Kept) -> bool {
        let jail = self.jails.find(&kept.jail).and_then(|id| self.jails.get(id));
        let loaded = jail.and_then(|jail| jail.loaded.as_ref());
        loaded.is_some_and(|loaded| {
            image::identity(&loaded.unit.image.source, &self.layout) != kept.origin
        })
    }

    /// Says in the jail's log that its root was made from another image than the unit has now.
    pub(super) fn note_stale_root(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let is_persistent = |mode| mode == RootMode::Persistent;
        if !jail.loaded.as_ref().is_some_and(|loaded| is_persistent(loaded.unit.root.mode)) {
            return;
        }
        let Some(kept) = root::find(&self.layout, &jail.name) else { return };
        if self.is_root_stale(&kept) {
            let text = format!(
                "its root was made from another image than it has now, {}; `jailctl root rm {}` makes it anew",
                kept.origin, kept.jail
            );
            self.note(id, &text);
        }
    }

    pub(super) fn remove_root(&mut self, name: &str) -> Reply {
        let found = JailName::new(name).ok().filter(|_| root::find(&self.layout, name).is_some());
        let Some(jail_name) = found else {
            return Reply::refusal(&self.no_such_root(name));
        };
        let jail = self.jails.find(name).and_then(|id| self.jails.get(id));
        if jail.is_some_and(|jail| jail.life.is_some() || jail.work.is_some()) {
            let reason = "it runs: stop it first".to_owned();
            return Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason });
        }
        if let Err(error) = root::remove(&self.layout, &jail_name) {
            let reason = format!("its root cannot be removed: {error}");
            return Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason });
        }
        log::info!("jail={name} its root was removed");
        self.empty_trash();
        Reply::with(&RootRemoved { removed: name.to_owned() })
    }
}
