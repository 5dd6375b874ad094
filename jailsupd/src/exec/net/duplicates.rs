//! Addresses that somebody else on the wire may have: a jail's link is up without those that its unit gives until it is
//! certain that nobody has them. Of IPv4 the DHCP worker asks by ARP (RFC 5227), of IPv6 the kernel itself (RFC 4862).

use super::netlink::{Netlink, Standing};
use super::wire::{self, Wire};
use super::{Network, add_addresses, exists_is_fine, failed, gone_is_fine};
use crate::exec::Error;
use crate::plan::Link;
use crate::plan::link::NAME;
use crate::unit::IpPrefix;
use rustix::fd::OwnedFd;
use std::io;
use std::net::IpAddr;

/// When a jail's link gets the addresses that its unit gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// As it is made.
    AtOnce,
    /// When others on the wire were asked for them ([`Network::use_addresses`]).
    WhenFree,
}

/// What the kernel has found out about a link's IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Nothing yet.
    Asks,
    /// Nobody else has one.
    Free,
    /// Somebody has this one.
    Taken(IpAddr),
}

/// How the kernel asks: as often, and as fast, as the DHCP worker does (ip-sysctl.rst); and how by itself, which takes up to
/// two seconds.
const HASTE: &[(&str, &str, &str, &str)] = &[
    ("conf", "dad_transmits", "3", "1"),
    ("conf", "router_solicitation_delay", "0", "1"),
    ("neigh", "retrans_time_ms", "70", "1000"),
];

impl Network {
    /// Has the kernel ask others on the wire for the IPv6 addresses of a jail's link, those of which it has found somebody
    /// before, too. False when there is nobody to ask, since the link has no carrier.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn look_for_others(&self, namespace: &OwnedFd, link: &Link) -> Result<bool, Error> {
        let asked = self.enter(namespace, |jail| {
            let index = wire::link(jail)?.index;
            if !jail.has_carrier(index)? {
                return Ok(false);
            }
            ask(jail, index, &link.address)?;
            Ok(true)
        });
        let asked = asked.and_then(|inside| inside);
        asked.map_err(|e| failed("ask who has the jail's addresses", e))
    }

    /// What the kernel has found out.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn others(&self, namespace: &OwnedFd, link: &Link) -> io::Result<Kernels> {
        self.enter(namespace, |jail| {
            let index = wire::link(jail)?.index;
            let there = jail.standings(index)?;
            let of_link = |(address, _): &&(IpAddr, Standing)| {
                link.address.iter().any(|own| own.address() == *address)
            };
            let mut found = Kernels::Free;
            for (address, standing) in there.iter().filter(of_link) {
                match standing {
                    Standing::Taken => return Ok(Kernels::Taken(*address)),
                    Standing::Tentative => found = Kernels::Asks,
                    Standing::Used => {}
                }
            }
            Ok(found)
        })?
    }

    /// Opens the socket with which others on the wire are asked for a jail's IPv4 addresses.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn open_ear(&self, namespace: &OwnedFd) -> io::Result<Wire> {
        self.enter(namespace, wire::open_ear)?
    }

    /// Gives a jail's link all that its unit says and it lacks: nobody else has it.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn use_addresses(&self, namespace: &OwnedFd, link: &Link) -> Result<(), Error> {
        let used = self.enter(namespace, |jail| {
            let index = wire::link(jail)?.index;
            add_addresses(jail, index, &link.address, &link.gateway)?;
            if has_ipv6(link) { take_time() } else { Ok(()) }
        });
        used.and_then(|inside| inside).map_err(|e| failed("give the jail's link its addresses", e))
    }
}

fn has_ipv6(link: &Link) -> bool {
    link.address.iter().any(|own| own.address().is_ipv6())
}

fn ask(jail: &Netlink, index: u32, addresses: &[IpPrefix]) -> io::Result<()> {
    let mut addresses = addresses.iter().filter(|own| own.address().is_ipv6()).peekable();
    if addresses.peek().is_none() {
        return Ok(());
    }
    let there = jail.standings(index)?;
    for own in addresses {
        if there.contains(&(own.address(), Standing::Taken)) {
            // The kernel asks once for each address that a link gets.
            gone_is_fine(jail.delete_address(index, own.address(), own.length()))?;
        }
        exists_is_fine(jail.add_address(index, own.address(), own.length()))?;
    }
    Ok(())
}

/// What the kernel is told of a link on which it is to ask in haste, before the link comes up.
pub(super) fn hasten(link: &Link) -> io::Result<()> {
    if !has_ipv6(link) {
        return Ok(());
    }
    HASTE.iter().try_for_each(|(kind, name, hasty, _)| set(kind, name, hasty))
}

/// The link is again as the kernel makes links.
fn take_time() -> io::Result<()> {
    HASTE.iter().try_for_each(|(kind, name, _, usual)| set(kind, name, usual))
}

fn set(kind: &str, name: &str, value: &str) -> io::Result<()> {
    match std::fs::write(format!("/proc/sys/net/ipv6/{kind}/{NAME}/{name}"), value) {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
