//! What units must be to each other.

use std::collections::HashMap;
use std::net::IpAddr;

use super::address::{IpPrefix, MacAddress};
use super::section::{Network, VlanId};
use super::{JailName, LinkName, NetworkMode, Problem, Unit};

/// A unit that cannot be in force beside those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The unit to refuse.
    pub name: JailName,
    /// Why, at its place in that unit.
    pub problem: Problem,
}

/// Finds units that claim what another one has: an address or an Ethernet address; and those that need another kind
/// of link on the same parent.
///
/// Of two that clash the earlier one in `units` keeps it, so the caller puts first what is already
/// running. `host` are the host's own addresses. A unit that is refused claims nothing.
pub fn check<'a>(units: impl IntoIterator<Item = &'a Unit>, host: &[IpPrefix]) -> Vec<Clash> {
    let mut addresses: HashMap<IpAddr, String> =
        host.iter().map(|own| (own.address(), "the host itself".to_owned())).collect();
    let mut macs: HashMap<MacAddress, String> = HashMap::new();
    let mut parents: HashMap<(&LinkName, Option<VlanId>), &Unit> = HashMap::new();
    let mut clashes = Vec::new();
    for unit in units {
        let before = clashes.len();
        for (key, address) in own_addresses(unit) {
            if let Some(owner) = addresses.get(&address) {
                clashes.push(clash(unit, key, &address.to_string(), owner));
            }
        }
        if let Some((mac, owner)) = unit.network.mac.and_then(|mac| macs.get_key_value(&mac)) {
            clashes.push(clash(unit, "network.mac", &mac.to_string(), owner));
        }
        let Network { mode, parent, vlan, .. } = &unit.network;
        let on_parent = (*mode != NetworkMode::None).then_some((parent, *vlan));
        let first = on_parent.and_then(|key| parents.get(&key));
        clashes.extend(first.and_then(|first| apart(unit, first)));
        if clashes.len() == before {
            on_parent.map(|key| parents.entry(key).or_insert(unit));
            let owner = |key| format!("jail `{}` ({})", unit.name, unit.origin.at(key));
            addresses.extend(own_addresses(unit).map(|(key, address)| (address, owner(key))));
            let owner = owner("network.address");
            macs.extend(unit.network.mac.map(|mac| (mac, owner)));
        }
    }
    clashes
}

/// Every address that a unit claims, and by which key.
fn own_addresses(unit: &Unit) -> impl Iterator<Item = (&'static str, IpAddr)> {
    let of = |key, address: &[IpPrefix]| {
        address.iter().map(move |one| (key, one.address())).collect::<Vec<_>>()
    };
    of("network.address", &unit.network.address)
        .into_iter()
        .chain(of("deploy.address", &unit.deploy.address))
}

/// Two units whose links cannot be on one parent: the kernel has one kind of them at once on a link, and one mode of
/// all ipvlan links.
fn apart(unit: &Unit, first: &Unit) -> Option<Clash> {
    let (own, other) = (&unit.network, &first.network);
    let (key, kind, other_kind) = if own.mode != other.mode {
        ("network.mode", own.mode.to_string(), other.mode.to_string())
    } else if own.mode == NetworkMode::Ipvlan && own.ipvlan_mode != other.ipvlan_mode {
        ("network.ipvlan_mode", own.ipvlan_mode.to_string(), other.ipvlan_mode.to_string())
    } else {
        return None;
    };
    let message = format!(
        "{kind} cannot be on {} beside {other_kind}, which jail `{}` ({}) has there",
        own.parent,
        first.name,
        first.origin.at(key)
    );
    let problem = unit.problem(key, message, "use one kind on a parent, or another parent or VLAN");
    Some(Clash { name: unit.name.clone(), problem })
}

fn clash(unit: &Unit, key: &str, what: &str, owner: &str) -> Clash {
    let problem = unit.problem(key, format!("{what} belongs to {owner}"), "give each its own");
    Clash { name: unit.name.clone(), problem }
}
