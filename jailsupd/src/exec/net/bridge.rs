//! The host's own networks: a bridge for each, and for each jail in it a pair of links (veth(4)), one end in the jail and
//! the other one a port of the bridge.
//!
//! The host itself is not in them: a bridge has no address, takes no IPv6, answers no ARP, and what comes from it for the
//! host fails the check of its source.

use super::netlink::Interface;
use super::{Network, UNBORN, failed};
use crate::exec::{Error, faults};
use crate::unit::NetworkName;
use rustix::fd::OwnedFd;
use std::io;

/// What a bridge is told before it comes up, below `/proc/sys/net` (ip-sysctl.rst).
const OF_A_BRIDGE: [(&str, &str, &str); 3] = [
    ("ipv6", "disable_ipv6", "1"),
    // It answers for no address of the host's.
    ("ipv4", "arp_ignore", "8"),
    // No route leads back to whoever sends from there, so nobody is heard.
    ("ipv4", "rp_filter", "1"),
];

impl Network {
    /// The bridge of a network, up; it is made when it is not there.
    pub(super) fn bridge(
        &self,
        network: &NetworkName,
        links: &[Interface],
    ) -> Result<Interface, Error> {
        let name = network.bridge();
        let to = |what: &str| format!("{what} {name}, the bridge of network {network}");
        let there = links.iter().find(|link| link.name == name);
        if there.is_some_and(|link| !(link.is_ours && link.is_bridge)) {
            let taken = io::Error::other("the host has a link of this name for something else");
            return Err(failed(to("make"), taken));
        }
        if there.is_none() {
            self.host.create_bridge(&name).map_err(|e| failed(to("make"), e))?;
            faults::reach("bridge-made")?;
        }
        let up = || {
            for (family, setting, value) in OF_A_BRIDGE {
                set(family, &name, setting, value)?;
            }
            self.host.set_up_named(&name)
        };
        up().map_err(|e| failed(to("bring up"), e))?;
        match there {
            Some(bridge) => Ok(bridge.clone()),
            None => {
                let found = self.links().map_err(|e| failed("list the host's links", e))?;
                let made = found.into_iter().find(|link| link.name == name);
                made.ok_or_else(|| failed(to("find"), io::ErrorKind::NotFound.into()))
            }
        }
    }

    /// Makes a jail's link, born in `namespace`, with a port of `bridge` as its other end.
    pub(super) fn add_port(
        &self,
        bridge: &Interface,
        mac: [u8; 6],
        mtu: Option<u32>,
        namespace: &OwnedFd,
    ) -> io::Result<()> {
        let name = port_name(mac);
        let make = || self.host.create_pair(&name, bridge.index, (UNBORN, mac), mtu, namespace);
        match make() {
            // The jail's former one, whose namespace the kernel has not cleared away yet.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                let links = self.host.links()?;
                let is_it = |link: &&Interface| link.name == name && link.is_ours && link.is_veth;
                let former = links.iter().find(is_it).ok_or(error)?;
                self.host.delete(former.index)?;
                make()?;
            }
            result => result?,
        }
        // Else the host would have an address there that nobody can use, and tell the jail of it.
        set("ipv6", &name, "disable_ipv6", "1")?;
        self.host.set_up_named(&name)
    }
}

/// A kernel without IPv6 has no such settings.
fn set(family: &str, link: &str, setting: &str, value: &str) -> io::Result<()> {
    match std::fs::write(format!("/proc/sys/net/{family}/conf/{link}/{setting}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && family == "ipv6" => Ok(()),
        result => result,
    }
}

/// By the Ethernet address of the other end, which no two jails have alike.
fn port_name(mac: [u8; 6]) -> String {
    mac.iter().fold("v".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}
