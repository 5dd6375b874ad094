//! Links, addresses and routes: of the host's uplink, and of each jail in its own namespace.

mod netlink;

pub use netlink::{Interface, Netlink};

use super::Error;
use crate::plan::Link;
use crate::plan::link::{NAME, show_mac};
use crate::unit::IpPrefix;
use crate::unit::host::Uplink;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::net::IpAddr;

/// The host's network as jailsupd sees it.
#[derive(Debug)]
pub struct Network {
    host: Netlink,
    host_namespace: OwnedFd,
}

impl Network {
    /// Opens the host's routing socket.
    ///
    /// # Errors
    /// When the kernel has no rtnetlink, or /proc is not mounted.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let host_namespace = rustix::fs::open(c"/proc/self/ns/net", flags, Mode::empty())?;
        Ok(Self { host: Netlink::open()?, host_namespace })
    }

    /// Brings the uplink up and gives it the host's own addresses. `None` when the host has no such
    /// link (yet): no link is ever required.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_up_uplink(&self, uplink: &Uplink) -> Result<Option<String>, Error> {
        let links = self.host.links().map_err(|e| failed("list the host's links", e))?;
        let Some(link) = uplink_of(uplink, &links) else { return Ok(None) };
        let up = || {
            self.host.set_up(link.index)?;
            add_addresses(&self.host, link.index, &uplink.address, &uplink.gateway)
        };
        up().map_err(|e| failed(format!("set up the uplink {}", link.name), e))?;
        Ok(Some(link.name.clone()))
    }

    /// Makes a jail's link in its network namespace, in place of any other, with loopback up beside it.
    /// A crash in between
    /// leaves nothing on the host: the link is born in the jail's namespace.
    ///
    /// # Errors
    /// When the parent does not exist, or the kernel refuses.
    pub fn make_link(
        &self,
        namespace: &OwnedFd,
        link: Option<&Link>,
        uplink: &Uplink,
    ) -> Result<(), Error> {
        let cleared = self.enter(namespace, remove_links);
        cleared
            .and_then(|inside| inside)
            .map_err(|e| failed("remove the jail's former link", e))?;
        if let Some(link) = link {
            let parent = self.parent(link, uplink)?;
            let what = || format!("make a macvlan link on {}", parent.name);
            self.host
                .create_macvlan(&temporary_name(link.mac), parent.index, link.mac, namespace)
                .map_err(|e| failed(what(), e))?;
        }
        let inside = self.enter(namespace, |jail| set_up_inside(jail, link));
        let inside = inside.map_err(|e| failed("enter the jail's network namespace", e))?;
        inside.map_err(|e| failed("set up the jail's link", e))
    }

    fn parent(&self, link: &Link, uplink: &Uplink) -> Result<Interface, Error> {
        let links = self.host.links().map_err(|e| failed("list the host's links", e))?;
        let found = match link.parent.is_uplink() {
            true => uplink_of(uplink, &links),
            false => links.iter().find(|other| other.name == link.parent.as_str()),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
            Error::NoParent { name: link.parent.as_str().to_owned(), links: names.join(", ") }
        })
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

fn failed(what: impl Into<String>, source: io::Error) -> Error {
    Error::Link { what: what.into(), source }
}

fn uplink_of<'a>(uplink: &Uplink, links: &'a [Interface]) -> Option<&'a Interface> {
    let names: Vec<&str> =
        links.iter().filter(|link| !link.loopback).map(|link| link.name.as_str()).collect();
    let name = uplink.choose(&names)?;
    links.iter().find(|link| link.name == name)
}

/// A name that no link of the host or of a jail has: `eth0` may exist in both namespaces at once, and
/// a link is born with its name before it changes the namespace.
fn temporary_name(mac: [u8; 6]) -> String {
    format!("w{}", show_mac(mac).replace(':', ""))
}

/// Removes every link but loopback: what an earlier unit wanted, or an earlier attempt left. It is gone,
/// and its Ethernet address free, when this returns.
fn remove_links(jail: &Netlink) -> io::Result<()> {
    let links = jail.links()?;
    links.iter().filter(|link| link.is_ours).try_for_each(|link| jail.delete(link.index))
}

fn set_up_inside(jail: &Netlink, link: Option<&Link>) -> io::Result<()> {
    let find = |name: &str| {
        let links = jail.links()?;
        let found = links.into_iter().find(|link| link.name == name);
        found.map(|link| link.index).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    jail.set_up(find("lo")?)?;
    let Some(link) = link else { return Ok(()) };
    let index = find(&temporary_name(link.mac))?;
    jail.rename(index, NAME)?;
    // The kernel then announces the address when the link comes up (ip-sysctl.rst: arp_notify,
    // ndisc_notify), so that neighbours that knew another port or host learn at once.
    for path in [
        format!("/proc/sys/net/ipv4/conf/{NAME}/arp_notify"),
        format!("/proc/sys/net/ipv6/conf/{NAME}/ndisc_notify"),
    ] {
        match std::fs::write(path, "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    add_addresses(jail, index, &link.address, &[])?;
    jail.set_up(index)?;
    add_addresses(jail, index, &[], &link.gateway)
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
