//! A jail's link: what exists in its network namespace besides loopback.

use super::Context;
use crate::unit::{
    Address, BESIDE, HostName, IpPrefix, IpvlanMode, Joined, LinkName, MacAddress, MacvlanMode,
    Network, NetworkMode, NetworkName, Unit, is_link_local,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;

/// The name of the link inside the jail.
pub const NAME: &str = "eth0";

/// A link with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What of the host it sits on.
    pub lower: Lower,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its largest packet, where that is not its parent's.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub address: Vec<IpPrefix>,
    /// What it says of itself to DHCP servers, where it asks them for another address.
    pub dhcp: Option<Dhcp>,
    /// Next hops of the default routes.
    pub gateway: Vec<IpAddr>,
}

/// By what DHCP servers know a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    /// Its client identifier (RFC 2132, option 61); none where its Ethernet address is its own, and is that.
    pub client_id: Option<Vec<u8>>,
    /// Its host name.
    pub hostname: String,
}

/// What of the host a link sits on. As text `eth0`, `eth0.10` or `network back`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lower {
    /// A link of the host, or a VLAN on it.
    Parent {
        /// The link, by name or alias.
        link: LinkName,
        /// The VLAN.
        vlan: Option<u16>,
    },
    /// The bridge of one of the host's own networks.
    Network(NetworkName),
}

/// What a jail's link is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With an Ethernet address of its own.
    Macvlan {
        /// Whom it exchanges frames with.
        mode: MacvlanMode,
        /// Its Ethernet address.
        mac: [u8; 6],
    },
    /// With that of its parent.
    Ipvlan {
        /// What it hands to its parent.
        mode: IpvlanMode,
    },
    /// One end of a pair (veth(4)), whose other end is a port of a bridge.
    Veth {
        /// Its Ethernet address.
        mac: [u8; 6],
        /// What the port is called by: a number that is the jail's alone.
        port: u64,
    },
}

/// The link that a unit asks for. None when it asks for none.
pub(super) fn link(unit: &Unit, context: Context<'_>) -> Option<Link> {
    let joined = unit.joined().zip(context.number);
    let given = joined.into_iter().flat_map(|(joined, number)| given(unit, joined, number));
    let mut link = of(unit.name.as_str(), &unit.network, unit.joined(), context.machine_id)?;
    link.address.extend(given);
    Some(with_way_out(link, unit.joined()))
}

/// The addresses of the jail of this number, of those subnets of its network of which its unit lists none.
fn given<'a>(
    unit: &'a Unit,
    joined: &'a Joined,
    number: u32,
) -> impl Iterator<Item = IpPrefix> + 'a {
    let lacks = |is_ipv4: bool| unit.network.fixed().all(|own| own.address().is_ipv4() != is_ipv4);
    let subnets = joined.subnets.iter().filter(move |subnet| lacks(subnet.is_ipv4()));
    subnets.filter_map(move |subnet| subnet.host(number))
}

fn of(name: &str, network: &Network, joined: Option<&Joined>, machine_id: &str) -> Option<Link> {
    let mac = || {
        let derived = || derived_mac(machine_id, name);
        network.mac.map_or_else(derived, MacAddress::octets)
    };
    let kind = match network.mode {
        NetworkMode::None => return None,
        NetworkMode::Macvlan => Kind::Macvlan { mode: network.macvlan_mode, mac: mac() },
        NetworkMode::Ipvlan => Kind::Ipvlan { mode: network.ipvlan_mode },
        NetworkMode::Bridge => Kind::Veth { mac: mac(), port: port(name) },
    };
    let dhcp = network.asks_dhcp().then(|| Dhcp {
        client_id: (network.mode == NetworkMode::Ipvlan).then(|| client_id(machine_id, name)),
        hostname: network.hostname.as_ref().map_or(name, HostName::as_str).to_owned(),
    });
    let vlan = network.vlan.and_then(|vlan| u16::try_from(vlan.get()).ok());
    let lower = match &network.network {
        Some(name) => Lower::Network(name.clone()),
        None => Lower::Parent { link: network.parent.clone(), vlan },
    };
    let own_mtu = network.mtu.and_then(|mtu| u32::try_from(mtu.get()).ok());
    Some(Link {
        lower,
        kind,
        mtu: own_mtu.or_else(|| joined?.mtu),
        address: network.fixed().collect(),
        dhcp,
        gateway: network.gateway.clone(),
    })
}

/// A link whose network, if it is in one, the host is the way out of.
fn with_way_out(mut link: Link, joined: Option<&Joined>) -> Link {
    let routers: Vec<IpPrefix> = joined.into_iter().flat_map(Joined::routers).collect();
    let routers = routers.iter().map(IpPrefix::address);
    let near = routers.filter(|router| link.address.iter().any(|own| own.contains(*router)));
    link.gateway.extend(near);
    link
}

/// The link of a version of a unit that is started beside the one that has the unit's own. None when it has its loopback
/// alone.
pub(super) fn beside(unit: &Unit, machine_id: &str) -> Option<Link> {
    let address = unit.deploy.address.clone();
    if address.is_empty() {
        return None;
    }
    let is_near = |router: &IpAddr| {
        let of_family = |own: &IpPrefix| own.address().is_ipv4() == router.is_ipv4();
        address
            .iter()
            .any(|own| own.contains(*router) || (is_link_local(*router) && of_family(own)))
    };
    let gateway = unit.network.gateway.iter().copied().filter(is_near).collect();
    let fixed = address.iter().copied().map(Address::Fixed).collect();
    let name = format!("{}{BESIDE}", unit.name);
    let network = Network { address: fixed, gateway, mac: None, ..unit.network.clone() };
    let link = of(&name, &network, unit.joined(), machine_id)?;
    Some(with_way_out(link, unit.joined()))
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

/// The Ethernet address of a network's bridge: without one of its own it would have that of some port, and another one
/// when that goes, which those in the network do not learn for half a minute.
#[must_use]
pub fn bridge_mac(network: &NetworkName) -> [u8; 6] {
    derived_mac("bridge of", network.as_str())
}

/// 48 bits, so that a link's name can have it.
fn port(name: &str) -> u64 {
    let hash = Sha256::new().chain_update("port of ").chain_update(name).finalize();
    hash[..6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What DHCP servers know a link by that shares its Ethernet address with others: RFC 4361, with a number of the link that
/// is always 1, and a UUID (RFC 6355) that is the jail's alone.
fn client_id(machine_id: &str, name: &str) -> Vec<u8> {
    let mut id = vec![255, 0, 0, 0, 1, 0, 4];
    id.extend(super::files::own_uuid(machine_id, name));
    id
}

impl Link {
    /// Whether others on the wire are asked for its addresses before they are used. One that shares its parent's Ethernet
    /// address could not tell the answers from those of its parent, and in a network of the host's own nobody else gives any.
    #[must_use]
    pub fn is_searched(&self) -> bool {
        matches!(self.kind, Kind::Macvlan { .. }) && !self.address.is_empty()
    }

    /// Its Ethernet address, where that is its own.
    #[must_use]
    pub const fn mac(&self) -> Option<[u8; 6]> {
        match self.kind {
            Kind::Macvlan { mac, .. } | Kind::Veth { mac, .. } => Some(mac),
            Kind::Ipvlan { .. } => None,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Macvlan { mode, mac } => {
                f.write_str("macvlan")?;
                if mode != MacvlanMode::Bridge {
                    write!(f, " ({mode})")?;
                }
                write!(f, " on {} as {}", self.lower, show_mac(mac))?;
            }
            Kind::Ipvlan { mode } => write!(f, "ipvlan ({mode}) on {}", self.lower)?,
            Kind::Veth { mac, .. } => write!(f, "bridge on {} as {}", self.lower, show_mac(mac))?,
        }
        if let Some(mtu) = self.mtu {
            write!(f, " with packets of {mtu} bytes")?;
        }
        for address in &self.address {
            write!(f, " {address}")?;
        }
        if self.dhcp.is_some() {
            f.write_str(" dhcp")?;
        }
        for gateway in &self.gateway {
            write!(f, " via {gateway}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent { link, vlan: Some(vlan) } => write!(f, "{link}.{vlan}"),
            Self::Parent { link, vlan: None } => link.fmt(f),
            Self::Network(name) => write!(f, "network {name}"),
        }
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
