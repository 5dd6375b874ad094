//! The host's volumes over the control socket.

use super::Supervisor;
use super::jail::Jail;
use crate::control::wire::{
    Reply, Volume, VolumeInspected, VolumeRemoved, VolumesListed, WireError,
};
use crate::exec::volume::{self, Kept};
use crate::unit::value::FromText as _;
use crate::unit::{Unit, VolumeName, VolumeSource};
use std::collections::BTreeMap;

/// Which jails use which volume.
type Users = BTreeMap<String, Vec<String>>;

impl Supervisor {
    pub(super) fn list_volumes(&self) -> Reply {
        let users = self.volume_users();
        match volume::list(&self.layout) {
            Ok(all) => {
                let volumes = all.into_iter().map(|kept| shown(kept, &users)).collect();
                Reply::with(&VolumesListed { volumes })
            }
            Err(error) => {
                let reason = format!("the volumes cannot be listed: {error}");
                Reply::refusal(&WireError::NotPossible { name: "volumes".to_owned(), reason })
            }
        }
    }

    pub(super) fn inspect_volume(&self, name: &str) -> Reply {
        match volume::find(&self.layout, name) {
            Some(kept) => {
                Reply::with(&VolumeInspected { volume: shown(kept, &self.volume_users()) })
            }
            None => Reply::refusal(&self.no_such_volume(name)),
        }
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Reply {
        let found = VolumeName::from_text(name).ok();
        let found = found.filter(|_| volume::find(&self.layout, name).is_some());
        let Some(volume) = found else {
            return Reply::refusal(&self.no_such_volume(name));
        };
        if let Some(jails) = self.volume_users().remove(name) {
            let reason = format!("it is a volume of {}: its unit names it", jails.join(", "));
            return Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason });
        }
        if let Err(error) = volume::remove(&self.layout, &volume) {
            let reason = format!("it cannot be removed: {error}");
            return Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason });
        }
        log::info!("volume={name} removed");
        self.empty_trash();
        Reply::with(&VolumeRemoved { removed: name.to_owned() })
    }

    /// By the units in force, and by the files: what would be started next must find its volumes, too.
    fn volume_users(&self) -> Users {
        let mut users = Users::new();
        let mut add = |unit: &Unit| {
            for volume in unit.volumes.iter() {
                let VolumeSource::Named(name) = &volume.source else { continue };
                let of_volume = users.entry(name.to_string()).or_default();
                let jail = unit.name.to_string();
                if !of_volume.contains(&jail) {
                    of_volume.push(jail);
                }
            }
        };
        let in_force = |jail: &Jail| jail.loaded.as_ref().map(|loaded| loaded.unit.clone());
        self.jails.all().filter_map(|(_, jail)| in_force(jail)).for_each(|unit| add(&unit));
        let files = self.read_units(&[]);
        files.units.iter().filter_map(|found| found.result.as_ref().ok()).for_each(&mut add);
        users
    }
}

fn shown(kept: Kept, users: &Users) -> Volume {
    Volume {
        jails: users.get(&kept.name).cloned().unwrap_or_default(),
        name: kept.name,
        created: kept.created,
        used: kept.usage.map(|usage| usage.used),
        size_max: kept.usage.and_then(|usage| usage.max),
        path: kept.path.to_string_lossy().into_owned(),
    }
}
