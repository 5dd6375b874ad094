//! A jail's namespaces and the link in them: made for its first start, kept in the keeper, and used again by later ones as
//! long as the unit wants them so.

use super::Supervisor;
use super::jail::{Claim, Kept, Loaded};
use super::poller::JailId;
use super::start::Building;
use crate::exec::net::Usage;
use crate::exec::{Error, faults, namespaces, net};
use crate::plan::{HostStep, IdMap, Link};
use crate::unit::Unit;
use keeper::Slot;
use rustix::fd::AsFd as _;

/// In what is remembered of a network namespace: here begins what its kernel settings were.
const SYSCTLS: &str = "; sysctl ";

/// And so begins one of a life that is beside the one with the jail's link.
const BESIDE: &str = "beside: ";

/// What a network namespace was set up with, as it is remembered: another one is made, or another link in it, when this
/// changes.
pub(super) fn link_key(loaded: &Loaded, link: Option<&Link>, is_beside: bool) -> String {
    let prefix = if is_beside { BESIDE } else { "" };
    let link = link.map_or_else(|| "loopback only".to_owned(), ToString::to_string);
    format!("{prefix}{link}{SYSCTLS}{}", sysctls(&loaded.unit))
}

/// Whether a network namespace was set up for a life that is beside the one with the jail's link.
pub(super) fn is_beside(key: &str) -> bool {
    key.starts_with(BESIDE)
}

fn sysctls(unit: &Unit) -> String {
    unit.security.sysctl.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}

/// The link, in words, that a network namespace has which was set up like this.
pub(super) fn link_in(key: &str) -> &str {
    key.split_once(SYSCTLS).map_or(key, |(link, _)| link)
}

fn set_in(key: &str) -> &str {
    key.split_once(SYSCTLS).map_or("", |(_, sysctls)| sysctls)
}

impl Supervisor {
    /// Makes the link of a jail that waits, before its start; what else that needs, too.
    pub(super) fn make_link_ahead(&mut self, id: JailId) -> Result<(), Error> {
        let Some(jail) = self.jails.get_mut(id) else { return Ok(()) };
        let Some(loaded) = jail.loaded.clone() else { return Err(Error::NoUnit) };
        let name = jail.name.clone();
        let mut building = Building::new(id, jail, &loaded);
        building.is_ahead = true;
        let is_of_link = |step: &&HostStep| {
            matches!(step, HostStep::CreateNamespaces { .. } | HostStep::SetUpNetwork(_))
        };
        let made = self.renew_namespaces(&mut building).and_then(|()| {
            let mut steps = loaded.plan.host.iter().filter(is_of_link);
            steps.try_for_each(|step| self.perform(&name, step, &mut building))
        });
        if let Some(jail) = self.jails.get_mut(id) {
            jail.kept = building.kept;
        }
        // The keeper was told to forget how the jail is, before anything was done to its link.
        self.store_rest(id);
        made
    }

    /// A jail that may configure its network, or whose settings of it have changed, gets a new one each time: nothing that an earlier life of it
    /// did to routes, addresses or filters is left for the next.
    pub(super) fn renew_namespaces(&mut self, building: &mut Building<'_>) -> Result<(), Error> {
        const CAP_NET_ADMIN: u64 = 1 << 12;
        let ids = building.loaded.plan.ids.to_string();
        let other_ids = building.kept.as_ref().is_some_and(|kept| kept.ids.as_ref() != Some(&ids));
        let may_change_it = building.loaded.plan.capabilities & CAP_NET_ADMIN != 0;
        // Settings that the unit does not name any more are to be the kernel's own again.
        let wanted = sysctls(&building.loaded.unit);
        let is_set = |kept: &Kept| !kept.key.is_empty() && set_in(&kept.key) != wanted;
        if other_ids || may_change_it || building.kept.as_ref().is_some_and(is_set) {
            let former = building.kept.take();
            let slots = [Slot::UserNamespace, Slot::NetNamespace];
            self.keeper.remove(&building.key, &slots).map_err(Error::Keeper)?;
            if let Some(kept) = former {
                self.network.clear(&kept.namespaces.net)?;
            }
        }
        Ok(())
    }

    /// Namespaces go to the keeper at once, so that they outlive this program, and with them the
    /// Ethernet address: it is taken as long as anything holds the network namespace.
    pub(super) fn make_namespaces(
        &mut self,
        building: &mut Building<'_>,
        ids: &IdMap,
    ) -> Result<(), Error> {
        if building.kept.is_none() {
            let namespaces = namespaces::create(ids)?;
            faults::reach("namespaces-made")?;
            self.network.close_namespace(&namespaces.net)?;
            let slots = [
                (Slot::UserNamespace, namespaces.user.as_fd()),
                (Slot::NetNamespace, namespaces.net.as_fd()),
            ];
            self.keeper.put(&building.key, &slots).map_err(Error::Keeper)?;
            let ids = Some(ids.to_string());
            let filter = Some(Vec::new());
            let (key, lower, claim) = (String::new(), None, Claim::Unsure);
            building.kept = Some(Kept { namespaces, key, lower, ids, filter, claim });
        }
        Ok(())
    }

    /// Sets the network namespace up, unless it is already as the plan wants it.
    pub(super) fn make_link(&mut self, building: &mut Building<'_>) -> Result<(), Error> {
        if building.loaded.unit.joined().is_some() {
            self.protect()?;
        }
        let (loaded, jail) = (building.loaded, self.jails.get(building.id));
        let link = jail.and_then(|jail| self.link_of(jail, loaded));
        let is_beside = jail.is_some_and(|jail| self.has_link_beside(jail));
        if let Some(own) = loaded.plan.link().filter(|_| is_beside) {
            // It gets that when the other version is gone, which is too late to learn that it cannot have it.
            net::fits(own, &self.host.uplink, self.links.there())?;
        }
        let key = link_key(loaded, link, is_beside);
        self.check_mac(building.id, link)?;
        let rules = self.filter_of(&loaded.unit);
        let Some(kept) = &mut building.kept else { return Ok(()) };
        // Before its link is up, and nothing of the jail is there.
        self.network.filter(&kept.namespaces.net, &mut kept.filter, rules)?;
        if kept.key == key {
            if let Some(link) = link.filter(|_| !building.is_ahead && kept.claim != Claim::Used) {
                self.network.use_addresses(&kept.namespaces.net, link)?;
                kept.claim = Claim::Used;
            }
            self.renew_identity(building.id, &kept.namespaces.net);
            return Ok(());
        }
        // What is started without having waited has no doubt, or is not to have any.
        let waits = building.is_ahead && loaded.unit.network.wait_for_address;
        let usage = match link.is_some_and(Link::is_searched) && waits {
            true => Usage::WhenFree,
            false => Usage::AtOnce,
        };
        // From here on nobody, not even the next jailsupd, may believe that the former link is there.
        kept.key.clear();
        self.end_search(building.id);
        self.keeper.remove(&building.key, &[Slot::State]).map_err(Error::Keeper)?;
        faults::reach("link-forgotten")?;
        kept.lower = None;
        let made = self.network.make_link(&kept.namespaces.net, link, &self.host.uplink, usage);
        let is_made = made.is_ok();
        match made {
            Ok(lower) => {
                (kept.lower, kept.key) = (lower, key);
                kept.claim = match usage {
                    Usage::WhenFree => Claim::Unsure,
                    Usage::AtOnce => Claim::Used,
                };
            }
            // It gets its link when the parent comes.
            Err(Error::NoParent { .. }) if !building.loaded.unit.network.wait_for_parent => {
                let (net, uplink) = (&kept.namespaces.net, &self.host.uplink);
                self.network.make_link(net, None, uplink, Usage::AtOnce)?;
            }
            Err(error) => return Err(error),
        }
        let is_same_net = building.lower_before.is_some() && building.lower_before == kept.lower;
        if building.lower_before.is_some() && !is_same_net {
            self.sweep_links();
        }
        if is_made {
            self.begin_lease(building.id, &kept.namespaces.net, is_same_net);
        }
        Ok(())
    }
}
