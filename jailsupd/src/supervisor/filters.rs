//! The firewalls of jails. What they let through depends on the addresses that other jails have, which come and go: at the end
//! of each turn of the loop all are compared with what counts, so that nothing is missed.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use crate::plan::firewall::Rule;
use crate::plan::jail_firewall;
use crate::unit::{IpPrefix, JailName, Unit};
use std::net::IpAddr;

/// Whether the namespace of a jail that runs has a packet filter, or is to have one. One that does not run gets its own with
/// its link.
fn is_filtered(jail: &Jail) -> bool {
    let (Some(loaded), Some(kept), Some(life)) = (&jail.loaded, &jail.kept, &jail.life) else {
        return false;
    };
    let has_rules = || kept.filter.as_ref().map_or(life.stored.filtered, |rules| !rules.is_empty());
    !loaded.unit.firewall.is_open() || has_rules()
}

impl Supervisor {
    /// What is to be filtered for a jail with this unit, as things are.
    pub(super) fn filter_of(&self, unit: &Unit) -> Vec<Rule> {
        jail_firewall::rules(&unit.firewall, |name| self.addresses_of(name))
    }

    /// The addresses of all lives of a jail, those from DHCP, too.
    fn addresses_of(&self, name: &JailName) -> Vec<IpAddr> {
        let jail = self.jails.find(name.as_str()).and_then(|id| self.jails.get(id));
        let lives = jail.into_iter().chain(jail.and_then(|jail| self.jails.beside(jail)));
        let mut addresses = Vec::new();
        for life in lives {
            let link = life.loaded.as_ref().and_then(|loaded| self.link_of(life, loaded));
            let fixed = link.into_iter().flat_map(|link| &link.address).map(IpPrefix::address);
            addresses.extend(fixed.chain(life.leased()));
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Has each jail's firewall count as it is to be now.
    pub(super) fn follow_filters(&mut self) {
        let filtered = self.jails.all().filter(|(_, jail)| is_filtered(jail));
        let filtered: Vec<JailId> = filtered.map(|(id, _)| id).collect();
        for id in filtered {
            let Some(loaded) = self.jails.get(id).and_then(|jail| jail.loaded.clone()) else {
                continue;
            };
            let rules = self.filter_of(&loaded.unit);
            let Some(jail) = self.jails.get_mut(id) else { continue };
            // Before the first rules are there: the next jailsupd is to take them away when nobody wants them by then.
            let is_first = jail
                .life
                .as_mut()
                .is_some_and(|life| !std::mem::replace(&mut life.stored.filtered, true));
            if is_first {
                self.store_life(id);
            }
            let Some(kept) = self.jails.get_mut(id).and_then(|jail| jail.kept.as_mut()) else {
                continue;
            };
            if let Err(error) = self.network.filter(&kept.namespaces.net, &mut kept.filter, rules) {
                let text = format!("jail={} {}", loaded.unit.name, error.chain());
                self.complain_of_links(text);
            }
        }
    }
}
