//! Links, addresses and routes: of the host's uplink, and of each jail in its own namespace.

mod bridge;
mod duplicates;
mod filter;
mod forwarding;
mod interface;
mod lent;
mod netlink;
mod nftables;
mod seen;
mod wire;

use netlink::Newborn;

pub use duplicates::{Kernels, Usage};
pub use interface::Interface;
pub use lent::LentRoute;
pub use netlink::{Monitor, Netlink};
pub use seen::{MadeBy, Neighbour, Seen, SeenAddress, SeenLink, SeenRoute, is_wireless};
pub use wire::Wire;

use super::{Error, faults};
use crate::plan::Link;
use crate::plan::firewall::Firewall;
use crate::plan::link::{Kind, Lower, NAME};
use crate::unit::host::Uplink;
use crate::unit::{IpPrefix, LinkName};
use dhcp_worker::lease::Lease;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// A link's name while it is made: `eth0` may exist in both namespaces at once, and a link is born with its name before
/// it changes the namespace.
const UNBORN: &str = "jail-link-new";

/// The host's network as jailsupd sees it.
#[derive(Debug)]
pub struct Network {
    host: Netlink,
    host_namespace: OwnedFd,
    /// What is let through, as it was told last; none before it was told anything.
    firewall: Option<Firewall>,
}

impl Network {
    /// Opens the host's routing socket.
    ///
    /// # Errors
    /// When the kernel has no rtnetlink, or /proc is not mounted.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let host_namespace = rustix::fs::open(c"/proc/self/ns/net", flags, Mode::empty())?;
        Ok(Self { host: Netlink::open()?, host_namespace, firewall: None })
    }

    /// Brings the uplink up and gives it the host's own addresses. `None` when the host has no such
    /// link (yet): no link is ever required.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_up_uplink(&self, uplink: &Uplink) -> Result<Option<Interface>, Error> {
        let links = self.host.links().map_err(|e| failed("list the host's links", e))?;
        let Some(link) = uplink_of(uplink, &links) else { return Ok(None) };
        let up = || {
            self.host.set_up(link.index)?;
            add_addresses(&self.host, link.index, &uplink.address, &uplink.gateway)
        };
        up().map_err(|e| failed(format!("set up the uplink {}", link.name), e))?;
        Ok(Some(link.clone()))
    }

    /// The host's links as they are now.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn links(&self) -> io::Result<Vec<Interface>> {
        // The ports of bridges are as many as jails, and say nothing that these do not know.
        let mut links = self.host.links()?;
        links.retain(|link| !(link.is_ours && link.is_veth));
        Ok(links)
    }

    /// Removes a jail's link from its network namespace. The kernel does that, too, when nobody has the namespace any more,
    /// but in its own time, and until then nobody else can have the Ethernet address.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn clear(&self, namespace: &OwnedFd) -> Result<(), Error> {
        let cleared = self.enter(namespace, remove_links).and_then(|inside| inside);
        cleared.map_err(|e| failed("remove the jail's former link", e))
    }

    /// Makes a jail's link in its network namespace, in place of any other, with loopback up beside it. A crash in
    /// between leaves nothing on the host but a VLAN or a bridge, which [`Self::sweep`] finds: the link is born in the
    /// jail's namespace. Returns the number of the host's link that it sits on. `usage` says whether it has its addresses then.
    ///
    /// # Errors
    /// When the parent does not exist, or the kernel refuses.
    pub fn make_link(
        &self,
        namespace: &OwnedFd,
        link: Option<&Link>,
        uplink: &Uplink,
        usage: Usage,
    ) -> Result<Option<u32>, Error> {
        self.clear(namespace)?;
        let lower = link.map(|link| self.lower(&link.lower, uplink)).transpose()?;
        if let (Some(link), Some(lower)) = (link, &lower) {
            self.make_on(lower, link, namespace)?;
        }
        let inside = self.enter(namespace, |jail| set_up_inside(jail, link, usage));
        let inside = inside.map_err(|e| failed("enter the jail's network namespace", e))?;
        inside.map_err(|e| failed("set up the jail's link", e))?;
        Ok(lower.map(|lower| lower.index))
    }

    fn make_on(&self, lower: &Interface, link: &Link, namespace: &OwnedFd) -> Result<(), Error> {
        let (mac, mtu) = (link.mac(), link.mtu);
        let newborn = Newborn { name: UNBORN, mac, mtu, namespace: namespace.as_fd() };
        let is_on_parent = matches!(link.lower, Lower::Parent { .. });
        if let Some(mtu) = mtu.filter(|mtu| is_on_parent && *mtu > lower.mtu) {
            return Err(Error::Mtu { mtu, most: lower.mtu, parent: lower.name.clone() });
        }
        let made = match link.kind {
            Kind::Macvlan { mode, .. } => self.host.create_macvlan(&newborn, lower.index, mode),
            Kind::Ipvlan { mode } => self.host.create_ipvlan(&newborn, lower.index, mode),
            Kind::Veth { port, .. } => self.add_port(lower, &newborn, port),
        };
        made.map_err(|e| failed(format!("make a link on {}", lower.name), e))
    }

    /// The host's link that a jail's sits on, up; a VLAN or a bridge is made when it is not there.
    fn lower(&self, lower: &Lower, uplink: &Uplink) -> Result<Interface, Error> {
        let (link, vlan) = match lower {
            Lower::Network(network) => return self.bridge(network),
            Lower::Parent { link, vlan } => (link, *vlan),
        };
        let list = || self.links().map_err(|e| failed("list the host's links", e));
        let links = list()?;
        let Some(parent) = parent_of(link, uplink, &links) else {
            return Err(Error::NoParent { name: link.as_str().to_owned(), links: names(&links) });
        };
        let up = |link: &Interface| {
            let up = self.host.set_up(link.index);
            up.map_err(|e| failed(format!("bring {} up", link.name), e))
        };
        up(parent)?;
        let Some(vlan) = vlan else { return Ok(parent.clone()) };
        let is_it = |link: &Interface| link.vlan == Some((parent.index, vlan));
        let there = links.iter().find(|link| is_it(link)).cloned();
        let found = match there {
            Some(found) => Some(found),
            None => {
                let name = vlan_name(parent, vlan);
                let made = self.host.create_vlan(&name, parent.index, vlan);
                made.map_err(|e| {
                    failed(format!("make {name}, VLAN {vlan} of {}", parent.name), e)
                })?;
                faults::reach("vlan-made")?;
                list()?.into_iter().find(is_it)
            }
        };
        let gone = || failed("find the VLAN", io::ErrorKind::NotFound.into());
        let found = found.ok_or_else(gone)?;
        up(&found)?;
        Ok(found)
    }

    /// Deletes those VLANs and bridges of these links that were made for jails, that none uses (by number) and none wants;
    /// the names of those that are gone.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn sweep(
        &self,
        links: &[Interface],
        used: &BTreeSet<u32>,
        wanted: &BTreeSet<Lower>,
        uplink: &Uplink,
    ) -> io::Result<Vec<String>> {
        let (mut vlans, mut bridges) = (BTreeSet::new(), BTreeSet::new());
        for lower in wanted {
            match lower {
                Lower::Parent { link, vlan: Some(vlan) } => {
                    let parent = parent_of(link, uplink, links);
                    vlans.extend(parent.map(|parent| (parent.index, *vlan)));
                }
                Lower::Parent { vlan: None, .. } => {}
                Lower::Network(network) => drop(bridges.insert(network.bridge())),
            }
        }
        let is_left = |link: &&Interface| {
            let is_wanted = match link.vlan {
                Some(vlan) => vlans.contains(&vlan),
                None => !link.is_bridge || bridges.contains(&link.name),
            };
            link.is_ours && !is_wanted && !used.contains(&link.index)
        };
        let mut gone = Vec::new();
        for link in links.iter().filter(is_left) {
            match self.host.delete(link.index) {
                // With its parent.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                result => result?,
            }
            gone.push(link.name.clone());
        }
        Ok(gone)
    }

    /// Opens the sockets with which an address is asked for on a jail's link.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn open_wire(&self, namespace: &OwnedFd) -> io::Result<Wire> {
        self.enter(namespace, wire::open)?
    }

    /// The Ethernet address of a jail's link.
    ///
    /// # Errors
    /// The jail has no link, or one without such an address.
    pub fn mac(&self, namespace: &OwnedFd) -> io::Result<[u8; 6]> {
        let link = self.enter(namespace, wire::link)??;
        link.mac.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Gives a jail's link what a lease says, for so many seconds, in place of what the one before has said.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn lend(
        &self,
        namespace: &OwnedFd,
        former: Option<&Lease>,
        lease: &Lease,
        seconds: u32,
    ) -> Result<(), Error> {
        let lent = self.enter(namespace, |jail| {
            let index = wire::link(jail)?.index;
            if let Some(former) = former.filter(|former| !is_same_place(former, lease)) {
                gone_is_fine(jail.delete_address(index, former.address.into(), former.length))?;
            }
            jail.lend_address(index, lease.address, lease.length, seconds)?;
            let routes = routes(lease);
            let left = former.map(self::routes).unwrap_or_default();
            for route in left.difference(&routes) {
                gone_is_fine(jail.delete_route(index, route))?;
            }
            for route in &routes {
                // One that cannot be is worth less than the address.
                if let Err(error) = jail.set_route(index, route) {
                    ::log::warn!("{route:?}, as a DHCP server says: {error}");
                }
            }
            if let Some(mtu) = lease.mtu {
                // More than the parent takes it cannot be.
                if let Err(error) = jail.set_mtu(index, mtu.into()) {
                    ::log::warn!("packets of {mtu} bytes, as a DHCP server says: {error}");
                }
            }
            Ok(())
        });
        lent.and_then(|inside| inside).map_err(|e| failed("give the jail's link its address", e))
    }

    /// Takes from a jail's link what a lease has said.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn take_back(&self, namespace: &OwnedFd, lease: &Lease) -> Result<(), Error> {
        let taken = self.enter(namespace, |jail| {
            let index = wire::link(jail)?.index;
            for route in routes(lease) {
                gone_is_fine(jail.delete_route(index, &route))?;
            }
            gone_is_fine(jail.delete_address(index, lease.address.into(), lease.length))
        });
        taken
            .and_then(|inside| inside)
            .map_err(|e| failed("take the jail's address from its link", e))
    }

    /// Does something with a routing socket of `namespace`, which the thread is in meanwhile.
    fn enter<T>(
        &self,
        namespace: &OwnedFd,
        body: impl FnOnce(&Netlink) -> io::Result<T>,
    ) -> io::Result<io::Result<T>> {
        let net = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), net)?;
        let result = Netlink::open().and_then(|jail| body(&jail));
        if let Err(errno) = move_into_link_name_space(self.host_namespace.as_fd(), net) {
            // Whatever came next would happen to the wrong host. The keeper starts a new jailsupd.
            ::log::error!("cannot return to the host's network namespace: {errno}");
            std::process::exit(70);
        }
        Ok(result)
    }
}

fn is_same_place(one: &Lease, other: &Lease) -> bool {
    (one.address, one.length) == (other.address, other.length)
}

fn routes(lease: &Lease) -> BTreeSet<LentRoute> {
    let from = lease.address;
    let default = lease.router.map(|router| ((Ipv4Addr::UNSPECIFIED, 0), Some(router)));
    let others = lease.routes.iter().map(|(prefix, length, hop)| {
        let via = Some(*hop).filter(|hop| !hop.is_unspecified());
        ((*prefix, *length), via)
    });
    default.into_iter().chain(others).map(|(to, via)| LentRoute { to, via, from }).collect()
}

/// What the kernel has taken away by itself.
fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ESRCH)) => {
            Ok(())
        }
        result => result,
    }
}

fn failed(what: impl Into<String>, source: io::Error) -> Error {
    Error::Link { what: what.into(), source }
}

fn uplink_of<'a>(uplink: &Uplink, links: &'a [Interface]) -> Option<&'a Interface> {
    let all = links.iter().filter(|link| !link.loopback && !link.is_network());
    let names: Vec<&str> = all.map(|link| link.name.as_str()).collect();
    let name = uplink.choose(&names)?;
    links.iter().find(|link| link.name == name)
}

/// The host's link of this name or alias. A network of the host's own is none: who is in it comes by its name.
fn parent_of<'a>(
    name: &LinkName,
    uplink: &Uplink,
    links: &'a [Interface],
) -> Option<&'a Interface> {
    match name.is_uplink() {
        true => uplink_of(uplink, links),
        false => links.iter().find(|other| other.name == name.as_str() && !other.is_network()),
    }
}

/// The number of the host's link that a jail's is made on; none where that is missing. What is made with the jail's has 0.
#[must_use]
pub fn place_for(lower: &Lower, uplink: &Uplink, links: &[Interface]) -> Option<u32> {
    match lower {
        Lower::Parent { link, .. } => parent_of(link, uplink, links).map(|parent| parent.index),
        Lower::Network(_) => Some(0),
    }
}

/// Whether a link could be made on its parent as things are: what can be known without trying it.
///
/// # Errors
/// The parent does not exist, or takes no packets of that size.
pub fn fits(link: &Link, uplink: &Uplink, links: &[Interface]) -> Result<(), Error> {
    let Lower::Parent { link: name, .. } = &link.lower else { return Ok(()) };
    let Some(parent) = parent_of(name, uplink, links) else {
        return Err(Error::NoParent { name: name.as_str().to_owned(), links: names(links) });
    };
    match link.mtu.filter(|mtu| *mtu > parent.mtu) {
        Some(mtu) => Err(Error::Mtu { mtu, most: parent.mtu, parent: parent.name.clone() }),
        None => Ok(()),
    }
}

/// The names of those that can be a parent, for people.
#[must_use]
pub fn names(links: &[Interface]) -> String {
    let parents = links.iter().filter(|link| !link.is_network());
    parents.map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// As ip-link(8) would name it, or by the parent's number where that is too long (`IFNAMSIZ`).
fn vlan_name(parent: &Interface, vlan: u16) -> String {
    let name = format!("{}.{vlan}", parent.name);
    if name.len() < libc::IFNAMSIZ { name } else { format!("if{}.{vlan}", parent.index) }
}

/// Removes every link but loopback: what an earlier unit wanted, or an earlier attempt left. It is gone,
/// and its Ethernet address free, when this returns.
fn remove_links(jail: &Netlink) -> io::Result<()> {
    let links = jail.links()?;
    links.iter().filter(|link| link.is_of_jail).try_for_each(|link| jail.delete(link.index))
}

fn set_up_inside(jail: &Netlink, link: Option<&Link>, usage: Usage) -> io::Result<()> {
    let find = |name: &str| {
        let links = jail.links()?;
        let found = links.into_iter().find(|link| link.name == name);
        found.map(|link| link.index).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    jail.set_up(find("lo")?)?;
    let Some(link) = link else { return Ok(()) };
    let index = find(UNBORN)?;
    jail.rename(index, NAME)?;
    for (name, value) in settings(link) {
        match std::fs::write(format!("/proc/sys/net/{name}"), value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match usage {
        Usage::AtOnce => {
            add_addresses(jail, index, &link.address, &[])?;
            jail.set_up(index)?;
            add_addresses(jail, index, &[], &link.gateway)
        }
        Usage::WhenFree => {
            duplicates::hasten(link)?;
            jail.set_up(index)
        }
    }
}

/// What the kernel is told of a jail's link before it comes up, as files below `/proc/sys/net`.
fn settings(link: &Link) -> Vec<(String, &'static str)> {
    // The kernel then announces the address when the link comes up (ip-sysctl.rst: arp_notify,
    // ndisc_notify), so that neighbours that knew another port or host learn at once.
    let announce = |family, what| (format!("{family}/conf/{NAME}/{what}"), "1");
    let mut settings = vec![announce("ipv4", "arp_notify")];
    if matches!(link.kind, Kind::Veth { .. }) {
        // In a network of the host's own nobody is a router but by its file, and no address is there twice.
        settings.push((format!("ipv6/conf/{NAME}/accept_ra"), "0"));
        settings.push((format!("ipv6/conf/{NAME}/accept_dad"), "0"));
    }
    if has_ipv4_alone(link) {
        // Else it would take addresses that its unit does not list, from itself and from routers; and each link that comes
        // up would have something to say to all others, and make the router say more, which is the square of their number.
        settings.push((format!("ipv6/conf/{NAME}/disable_ipv6"), "1"));
    } else {
        settings.push(announce("ipv6", "ndisc_notify"));
    }
    settings
}

/// DHCP, as it is asked here, gives an address of IPv4; a link without both there is not.
fn has_ipv4_alone(link: &Link) -> bool {
    link.address.iter().all(|own| own.address().is_ipv4())
}

fn add_addresses(
    netlink: &Netlink,
    index: u32,
    addresses: &[IpPrefix],
    gateways: &[IpAddr],
) -> io::Result<()> {
    for address in addresses {
        exists_is_fine(netlink.add_address(index, address.address(), address.length()))?;
    }
    for gateway in gateways {
        exists_is_fine(netlink.add_default_route(index, *gateway))?;
    }
    Ok(())
}

/// A jailsupd that was started anew finds what the one before it has set up.
fn exists_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::link::Dhcp;
    use crate::unit::MacvlanMode;
    use crate::unit::value::FromText as _;

    fn link(addresses: &[&str]) -> Link {
        Link {
            lower: Lower::Parent { link: LinkName::from_text("uplink").unwrap(), vlan: None },
            kind: Kind::Macvlan { mode: MacvlanMode::Bridge, mac: [2; 6] },
            mtu: None,
            address: addresses.iter().map(|text| IpPrefix::from_text(text).unwrap()).collect(),
            dhcp: None,
            gateway: Vec::new(),
        }
    }

    #[test]
    fn ipv6_is_there_unless_the_unit_lists_ipv4_alone() {
        let is_off_on =
            |link: &Link| settings(link).iter().any(|(name, _)| name.ends_with("/disable_ipv6"));
        let is_off = |addresses: &[&str]| is_off_on(&link(addresses));
        assert!(is_off(&["192.0.2.10/24"]));
        assert!(!is_off(&["192.0.2.10/24", "2001:db8::10/64"]));
        assert!(!is_off(&["2001:db8::10/64"]));
        let dhcp = Dhcp { client_id: None, hostname: "web".to_owned() };
        let asks = |addresses: &[&str]| Link { dhcp: Some(dhcp.clone()), ..link(addresses) };
        assert!(is_off_on(&asks(&[])));
        assert!(!is_off_on(&asks(&["2001:db8::10/64"])));
    }
}
