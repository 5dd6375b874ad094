//! The host's own networks: a bridge for each, and for each jail in it a pair of links (veth(4)), one end in the jail and
//! the other one a port of the bridge.
//!
//! The host itself is not in them: a bridge has no address, takes no IPv6, answers no ARP, and what comes from it for the
//! host fails the check of its source.

use super::interface::Interface;
use super::netlink::Newborn;
use super::{Network, failed};
use crate::exec::{Error, faults};
use crate::unit::NetworkName;
use std::io;

/// What bridges and their ports are told before they come up, below `/proc/sys/net` (ip-sysctl.rst). Ports, too: frames to
/// some groups (IEEE 802.1D) do not go through the bridge.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("ipv6", "disable_ipv6", "1"),
    // It answers for no address of the host's.
    ("ipv4", "arp_ignore", "8"),
    // No route leads back to whoever sends from there, so nobody is heard.
    ("ipv4", "rp_filter", "1"),
];

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
        if there.is_none() {
            self.host.create_bridge(&name).map_err(|e| failed(to("make"), e))?;
            faults::reach("bridge-made")?;
        }
        self.bring_up(&name).map_err(|e| failed(to("bring up"), e))?;
        let made = if there.is_some() { there } else { find()? };
        made.ok_or_else(|| failed(to("find"), io::ErrorKind::NotFound.into()))
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
        self.bring_up(&name)
    }

    fn bring_up(&self, name: &str) -> io::Result<()> {
        for (family, setting, value) in SETTINGS {
            let file = format!("/proc/sys/net/{family}/conf/{name}/{setting}");
            match std::fs::write(file, value) {
                // A kernel without IPv6 has none of its settings.
                Err(error) if error.kind() == io::ErrorKind::NotFound && family == "ipv6" => {}
                result => result?,
            }
        }
        self.host.set_up_named(name)
    }
}
