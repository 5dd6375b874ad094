//! What units must be to each other.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::address::{IpPrefix, MacAddress};
use super::publish::Publish;
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

/// Finds units that claim what another one has: an address, an Ethernet address or a port of the host; and those that need another kind
/// of link on the same parent.
///
/// Of two that clash the earlier one in `units` keeps it, so the caller puts first what is already
/// running. `host` are the host's own addresses. A unit that is refused claims nothing. Two versions of one unit, which are
/// of one name, never clash.
pub fn check<'a>(units: impl IntoIterator<Item = &'a Unit>, host: &[IpPrefix]) -> Vec<Clash> {
    let mut addresses: HashMap<IpAddr, Owner<'a>> =
        host.iter().map(|own| (own.address(), Owner::Host)).collect();
    let mut macs: HashMap<MacAddress, Owner<'a>> = HashMap::new();
    let mut ports: Vec<(Publish, Owner<'a>)> = Vec::new();
    let mut parents: HashMap<(&LinkName, Option<VlanId>), &Unit> = HashMap::new();
    let mut clashes = Vec::new();
    for unit in units {
        let before = clashes.len();
        for (key, address) in own_addresses(unit) {
            let owner = addresses.get(&address).filter(|owner| !owner.is(unit));
            clashes.extend(owner.map(|owner| clash(unit, key, &address.to_string(), owner)));
        }
        if let Some((mac, owner)) = unit.network.mac.and_then(|mac| macs.get_key_value(&mac)) {
            let owner = Some(owner).filter(|owner| !owner.is(unit));
            clashes.extend(owner.map(|owner| clash(unit, "network.mac", &mac.to_string(), owner)));
        }
        for port in &unit.network.publish {
            let other = ports.iter().find(|(other, owner)| port.overlaps(other) && !owner.is(unit));
            let what = || format!("port {} of the host", port.shown_host());
            clashes.extend(other.map(|(_, owner)| clash(unit, "network.publish", &what(), owner)));
        }
        let Network { mode, parent, vlan, .. } = &unit.network;
        let on_parent = mode.has_parent().then_some((parent, *vlan));
        let first = on_parent.and_then(|key| parents.get(&key));
        let first = first.filter(|first| first.name != unit.name);
        clashes.extend(first.and_then(|first| apart(unit, first)));
        if clashes.len() == before {
            on_parent.map(|key| parents.entry(key).or_insert(unit));
            let own = own_addresses(unit);
            addresses.extend(own.map(|(key, address)| (address, Owner::Unit(unit, key))));
            let owner = Owner::Unit(unit, "network.publish");
            ports.extend(unit.network.publish.iter().map(|port| (*port, owner)));
            let owner = Owner::Unit(unit, "network.address");
            macs.extend(unit.network.mac.map(|mac| (mac, owner)));
        }
    }
    clashes
}

/// Whom something belongs to.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Host,
    /// By this key.
    Unit(&'a Unit, &'static str),
}

impl Owner<'_> {
    fn is(self, unit: &Unit) -> bool {
        matches!(self, Self::Unit(own, _) if own.name == unit.name)
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host itself"),
            Self::Unit(unit, key) => write!(f, "jail `{}` ({})", unit.name, unit.origin.at(key)),
        }
    }
}

/// Every address that a unit claims, and by which key.
fn own_addresses(unit: &Unit) -> impl Iterator<Item = (&'static str, IpAddr)> {
    let network = unit.network.fixed().map(|one| ("network.address", one.address()));
    let deploy = unit.deploy.address.iter().map(|one| ("deploy.address", one.address()));
    network.chain(deploy)
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

fn clash(unit: &Unit, key: &str, what: &str, owner: &Owner<'_>) -> Clash {
    let problem = unit.problem(key, format!("{what} belongs to {owner}"), "give each its own");
    Clash { name: unit.name.clone(), problem }
}
