//! What units must be to each other.

use std::collections::HashMap;
use std::net::IpAddr;

use super::address::{IpPrefix, MacAddress};
use super::{JailName, Problem, Unit};

/// A unit that cannot be in force beside those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The unit to refuse.
    pub name: JailName,
    /// Why, at its place in that unit.
    pub problem: Problem,
}

/// Finds units that claim what another one has: an address or an Ethernet address.
///
/// Of two that clash the earlier one in `units` keeps it, so the caller puts first what is already
/// running. `host` are the host's own addresses. A unit that is refused claims nothing.
pub fn check<'a>(units: impl IntoIterator<Item = &'a Unit>, host: &[IpPrefix]) -> Vec<Clash> {
    let mut addresses: HashMap<IpAddr, String> =
        host.iter().map(|own| (own.address(), "the host itself".to_owned())).collect();
    let mut macs: HashMap<MacAddress, String> = HashMap::new();
    let mut clashes = Vec::new();
    for unit in units {
        let before = clashes.len();
        for address in &unit.network.address {
            if let Some(owner) = addresses.get(&address.address()) {
                clashes.push(clash(unit, "network.address", &address.address().to_string(), owner));
            }
        }
        if let Some((mac, owner)) = unit.network.mac.and_then(|mac| macs.get_key_value(&mac)) {
            clashes.push(clash(unit, "network.mac", &mac.to_string(), owner));
        }
        if clashes.len() == before {
            let owner = format!("jail `{}` ({})", unit.name, unit.origin.at("network.address"));
            addresses.extend(unit.network.address.iter().map(|a| (a.address(), owner.clone())));
            macs.extend(unit.network.mac.map(|mac| (mac, owner)));
        }
    }
    clashes
}

fn clash(unit: &Unit, key: &str, what: &str, owner: &str) -> Clash {
    let problem = unit.problem(key, format!("{what} belongs to {owner}"), "give each its own");
    Clash { name: unit.name.clone(), problem }
}
