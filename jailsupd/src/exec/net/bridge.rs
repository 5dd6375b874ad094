//! The host's own networks: a bridge for each, and for each jail in it a pair of links (veth(4)), one end in the jail and
//! the other one a port of the bridge.
//!
//! The host itself is not in them: a bridge has no address, takes no IPv6, answers no ARP, and what comes from it for the
//! host fails the check of its source. Where there is a way out, the bridge has the router's addresses and answers for
//! those; what else comes for the host, the packet filter drops ([`super::nftables`]).

use super::interface::Interface;
use super::netlink::Newborn;
use super::{Network, failed};
use crate::exec::{Error, faults};
use crate::plan::link::bridge_mac;
use crate::unit::{NetworkName, is_link_local};
use std::io;
use std::net::IpAddr;

/// What a link is told before it comes up, below `/proc/sys/net` (ip-sysctl.rst): family, setting, value.
type Settings = [(&'static str, &'static str, &'static str)];

/// What ports are told, and bridges without a way out. Ports, too: frames to some groups (IEEE 802.1D) do not go through
/// the bridge.
const CLOSED: &Settings = &[
    ("ipv6", "disable_ipv6", "1"),
    // It answers for no address of the host's.
    ("ipv4", "arp_ignore", "8"),
    // No route leads back to whoever sends from there, so nobody is heard.
    ("ipv4", "rp_filter", "1"),
];
/// What bridges with a way out are told.
const ROUTER: &Settings = &[
    // It answers for its own addresses only.
    ("ipv4", "arp_ignore", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "send_redirects", "0"),
];
const ROUTER_OF_IPV6: &Settings = &[
    // Nobody there is this host's router, and no address is there twice.
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_dad", "0"),
    ("ipv6", "disable_ipv6", "0"),
];
const WITHOUT_IPV6: &Settings = &[("ipv6", "disable_ipv6", "1")];

impl Network {
    /// The bridge of a network, up; it is made when it is not there.
    pub(super) fn bridge(&self, network: &NetworkName) -> Result<Interface, Error> {
        let name = network.bridge();
        let to = |what: &str| format!("{what} {name}, the bridge of network {network}");
        let find = || self.host.named(&name).map_err(|e| failed(to("find"), e));
        let there = find()?;
        if there.as_ref().is_some_and(|link| !link.is_network()) {
            let taken = io::Error::other("the host has a link of this name for something else");
            return Err(failed(to("make"), taken));
        }
        if let Some(there) = there {
            // One that was made before this jailsupd's life may not be up.
            self.host.set_up(there.index).map_err(|e| failed(to("bring up"), e))?;
            return Ok(there);
        }
        let mac = bridge_mac(network);
        self.host.create_bridge(&name, mac).map_err(|e| failed(to("make"), e))?;
        faults::reach("bridge-made")?;
        let made = find()?.ok_or_else(|| failed(to("find"), io::ErrorKind::NotFound.into()))?;
        if let Err(error) = self.set_up_bridge(&made, &[]) {
            // One that is there counts as set up.
            self.host.delete(made.index).map_err(|e| failed(to("delete"), e))?;
            return Err(failed(to("set up"), error));
        }
        Ok(made)
    }

    /// Makes a bridge the router of its network, or nobody there, as the packet filter has it. `addresses` are those that the
    /// host's links have now.
    pub(super) fn set_up_bridge(
        &self,
        bridge: &Interface,
        addresses: &[(u32, IpAddr, u8)],
    ) -> io::Result<()> {
        let router =
            self.firewall.as_ref().map(|all| all.routers(&bridge.name)).unwrap_or_default();
        let has_ipv6 = router.iter().any(|own| own.address().is_ipv6());
        let settings = match (router.is_empty(), has_ipv6) {
            (true, _) => [CLOSED, &[]],
            (false, true) => [ROUTER, ROUTER_OF_IPV6],
            (false, false) => [ROUTER, WITHOUT_IPV6],
        };
        settings.iter().try_for_each(|some| tell(&bridge.name, some))?;
        self.host.set_up(bridge.index)?;
        let of_bridge = addresses.iter().filter(|(index, ..)| *index == bridge.index);
        let has: Vec<(IpAddr, u8)> =
            of_bridge.map(|(_, address, length)| (*address, *length)).collect();
        let wanted: Vec<(IpAddr, u8)> =
            router.iter().map(|own| (own.address(), own.length())).collect();
        let is_other = |own: &&(IpAddr, u8)| !wanted.contains(own) && !is_link_local(own.0);
        for (address, length) in has.iter().filter(is_other) {
            self.host.delete_address(bridge.index, *address, *length)?;
        }
        for (address, length) in wanted.iter().filter(|own| !has.contains(own)) {
            self.host.add_address(bridge.index, *address, *length)?;
        }
        Ok(())
    }

    /// Makes a jail's link with the port of this number of `bridge` as its other end.
    pub(super) fn add_port(
        &self,
        bridge: &Interface,
        link: &Newborn<'_>,
        port: u64,
    ) -> io::Result<()> {
        let name = format!("v{port:012x}");
        let make = || self.host.create_pair(link, &name, bridge.index);
        match make() {
            // The jail's former one, whose namespace the kernel has not cleared away yet: nobody else's is called so.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                let former = self.host.named(&name)?.filter(|link| link.is_ours && link.is_veth);
                self.host.delete(former.ok_or(error)?.index)?;
                make()?;
            }
            result => result?,
        }
        tell(&name, CLOSED)?;
        self.host.set_up_named(&name)
    }
}

fn tell(name: &str, settings: &Settings) -> io::Result<()> {
    for (family, setting, value) in settings {
        let file = format!("/proc/sys/net/{family}/conf/{name}/{setting}");
        match std::fs::write(file, value) {
            // A kernel without IPv6 has none of its settings.
            Err(error) if error.kind() == io::ErrorKind::NotFound && *family == "ipv6" => {}
            result => result?,
        }
    }
    Ok(())
}
