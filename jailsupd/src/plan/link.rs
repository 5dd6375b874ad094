//! A jail's link: what exists in its network namespace besides loopback.

use crate::unit::{IpPrefix, JailName, LinkName, Network};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;

/// The name of the link inside the jail.
pub const NAME: &str = "eth0";

/// A macvlan link in bridge mode, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The host's link that it sits on, by name or alias.
    pub parent: LinkName,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its addresses.
    pub address: Vec<IpPrefix>,
    /// Next hops of the default routes.
    pub gateway: Vec<IpAddr>,
}

pub(super) fn link(name: &JailName, network: &Network, machine_id: &str) -> Link {
    let mac = network
        .mac
        .map_or_else(|| derived_mac(machine_id, name.as_str()), crate::unit::MacAddress::octets);
    Link {
        parent: network.parent.clone(),
        mac,
        address: network.address.clone(),
        gateway: network.gateway.clone(),
    }
}

/// An Ethernet address that stays the same for a jail on a host: a new one at each start would cost
/// seconds of lost packets until every neighbour has noticed. Locally administered, unicast.
fn derived_mac(machine_id: &str, name: &str) -> [u8; 6] {
    let hash = Sha256::new().chain_update(machine_id.trim()).chain_update([0]).chain_update(name);
    let hash = hash.finalize();
    let mut mac = [0; 6];
    mac.copy_from_slice(&hash[..6]);
    mac[0] = (mac[0] & 0xfc) | 0x02;
    mac
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "macvlan on {} as {}", self.parent, show_mac(self.mac))?;
        for address in &self.address {
            write!(f, " {address}")?;
        }
        for gateway in &self.gateway {
            write!(f, " via {gateway}")?;
        }
        Ok(())
    }
}

/// `02:00:00:00:00:01`.
#[must_use]
pub fn show_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_address_is_stable_local_and_unicast() {
        let mac = derived_mac("0123", "web");
        assert_eq!(mac, derived_mac("0123\n", "web"));
        assert_eq!(mac[0] & 0x03, 0x02);
        assert_ne!(mac, derived_mac("0123", "db"));
        assert_ne!(mac, derived_mac("0124", "web"));
    }
}
