//! Whether the host hands packets on between its links (ip-sysctl.rst), for networks of its own that have a way out.

use super::{Network, failed, nftables};
use crate::exec::{Error, faults};
use crate::plan::firewall::Firewall;
use crate::unit::publish::Publish;
use rustix::fd::OwnedFd;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// IPv4's switch. It is that of all links.
const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
/// Whether it tells others that they could do without it. This counts for all links, whatever each has for itself.
const REDIRECTS: &str = "/proc/sys/net/ipv4/conf/all/send_redirects";
/// IPv6's.
const IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
/// The directory of each link's settings of IPv6.
const IPV6_LINKS: &str = "/proc/sys/net/ipv6/conf";

impl Network {
    /// Lets through what these rules say, and hands packets on where they need it: nothing is handed on without rules. Says
    /// so to bridges that are there, too. What was told last is not told again.
    ///
    /// # Errors
    /// When the kernel has no packet filter, or refuses.
    pub fn protect(&mut self, firewall: Firewall) -> Result<(), Error> {
        if self.firewall.as_ref() == Some(&firewall) {
            return Ok(());
        }
        // Of the former ones nothing counts from here on, should this fail half-way.
        self.firewall = None;
        let (ipv4, ipv6) = (firewall.forwards(true), firewall.forwards(false));
        let is_ours = || nftables::is_there().map_err(|e| failed("look for a packet filter", e));
        // A host that never had such a network is left as it is.
        if !firewall.is_empty() || is_ours()? {
            close(ipv4, ipv6).map_err(|e| failed("stop handing packets on", e))?;
            let set = if firewall.is_empty() {
                nftables::remove()
            } else {
                nftables::replace(&firewall.rules())
            };
            set.map_err(|e| failed("set the host's packet filter", e))?;
            faults::reach("packet-filter-set")?;
            open(ipv4, ipv6).map_err(|e| failed("hand packets on", e))?;
        }
        self.firewall = Some(firewall);
        let done = self.set_up_bridges();
        if done.is_err() {
            // It is done again.
            self.firewall = None;
        }
        done.map_err(|e| failed("set up the bridges of networks", e))
    }

    /// Whether the rules that count lead by this port to one of these addresses.
    #[must_use]
    pub fn leads(&self, port: &Publish, to: &[IpAddr]) -> bool {
        let leads = self.firewall.as_ref().is_some_and(|firewall| firewall.leads(port, to));
        leads && nftables::is_there().unwrap_or(false)
    }

    /// All of them, though one cannot be.
    fn set_up_bridges(&self) -> io::Result<()> {
        let (links, addresses) = (self.host.links()?, self.host.addresses()?);
        let bridges = links.iter().filter(|link| link.is_network());
        let done: Vec<_> = bridges.map(|bridge| self.set_up_bridge(bridge, &addresses)).collect();
        done.into_iter().collect()
    }

    /// Takes from a new network namespace what it has of the host's being a router.
    ///
    /// # Errors
    /// When it cannot be entered.
    pub fn close_namespace(&self, namespace: &OwnedFd) -> Result<(), Error> {
        // It begins with a copy of the host's settings.
        if self.firewall.as_ref().is_none_or(|firewall| !firewall.forwards(true)) {
            return Ok(());
        }
        let closed = self.enter(namespace, |_| std::fs::write(IPV4, "0"));
        closed.and_then(|inside| inside).map_err(|e| failed("set up a network namespace", e))
    }
}

fn close(ipv4: bool, ipv6: bool) -> io::Result<()> {
    if !ipv4 {
        set(Path::new(IPV4), "0")?;
    }
    if !ipv6 {
        set(Path::new(IPV6), "0")?;
        listen_to_routers("2", "1")?;
    }
    Ok(())
}

fn open(ipv4: bool, ipv6: bool) -> io::Result<()> {
    if ipv4 {
        set(Path::new(REDIRECTS), "0")?;
        set(Path::new(IPV4), "1")?;
    }
    if ipv6 {
        // Else the host would forget the routers that it has heard of, and not listen to others.
        listen_to_routers("1", "2")?;
        set(Path::new(IPV6), "1")?;
    }
    Ok(())
}

/// Gives `accept_ra` this value on links where it has that one: 1 is to listen to routers unless the host is one, 2 is to
/// listen.
fn listen_to_routers(from: &str, to: &str) -> io::Result<()> {
    let links = match std::fs::read_dir(IPV6_LINKS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        links => links?,
    };
    for link in links {
        let setting = link?.path().join("accept_ra");
        if std::fs::read_to_string(&setting).is_ok_and(|now| now.trim() == from) {
            set(&setting, to)?;
        }
    }
    Ok(())
}

/// Writes what is not so already; a kernel without IPv6 has none of its settings, and a link may have gone.
fn set(file: &Path, value: &str) -> io::Result<()> {
    match std::fs::read_to_string(file) {
        Ok(now) if now.trim() == value => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    std::fs::write(file, value)
}
