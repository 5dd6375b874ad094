//! Joins what the kernel has with who has set it. Pure.

use crate::control::wire::{NetAddress, NetLink, NetRoute, SetBy};
use crate::exec::net::{MadeBy, Seen, SeenAddress, SeenLink, SeenRoute};
use crate::plan::link::show_mac;
use crate::unit::is_link_local;
use std::net::IpAddr;

/// Who has set something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct By {
    pub(super) set_by: SetBy,
    /// Where that says so.
    pub(super) from: Option<String>,
    /// When it ends, in milliseconds since 1970.
    pub(super) ends: Option<u64>,
}

impl By {
    /// One of the host's own networks.
    pub(super) fn network(name: &str) -> Self {
        Self { set_by: SetBy::Network, from: Some(name.to_owned()), ends: None }
    }

    const fn of(set_by: SetBy) -> Self {
        Self { set_by, from: None, ends: None }
    }
}

/// A route's addresses, and its next hop.
type Way = (Option<(IpAddr, u8)>, Option<IpAddr>);

/// What Warder has set in a network namespace.
#[derive(Debug, Default)]
pub(super) struct Claims {
    addresses: Vec<((IpAddr, u8), By)>,
    routes: Vec<(Way, By)>,
}

impl Claims {
    /// An address of a link.
    pub(super) fn address(&mut self, address: IpAddr, length: u8, by: By) {
        self.addresses.push(((address, length), by));
    }

    /// The route to all others.
    pub(super) fn default_route(&mut self, via: IpAddr, by: By) {
        self.routes.push(((None, Some(via)), by));
    }

    /// A route to these addresses.
    pub(super) fn route(&mut self, to: (IpAddr, u8), via: Option<IpAddr>, by: By) {
        // One of no length is that to all others.
        let to = Some(to).filter(|(_, length)| *length > 0);
        self.routes.push(((to, via), by));
    }
}

/// Where the links of a namespace are.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// In a jail: the host's link that its own sits on.
    pub(super) parent: Option<&'a str>,
    /// In a jail: the network that it is in.
    pub(super) network: Option<String>,
    /// On the host: what that has.
    pub(super) host: Option<&'a Seen>,
}

/// The network of the host's own that a link of the host is the bridge of.
pub(super) fn network_of(link: &SeenLink) -> Option<String> {
    let is_bridge = link.is_ours && link.kind.as_deref() == Some("bridge");
    let name = super::network_named(&link.name).filter(|_| is_bridge);
    name.map(|name| name.to_string())
}

/// The links with their addresses, and the routes, each with who has set it.
pub(super) fn join(
    seen: &Seen,
    claims: &Claims,
    place: &Place<'_>,
) -> (Vec<NetLink>, Vec<NetRoute>) {
    let links = seen.links.iter().map(|one| link(one, seen, claims, place)).collect();
    let routes = seen.routes.iter().map(|one| route(one, seen, claims)).collect();
    (links, routes)
}

fn link(link: &SeenLink, seen: &Seen, claims: &Claims, place: &Place<'_>) -> NetLink {
    let is_own = |address: &&SeenAddress| address.index == link.index;
    let addresses = seen.addresses.iter().filter(is_own).map(|one| address(one, claims));
    let is_jails = place.host.is_none() && link.name == crate::plan::link::NAME;
    let below = link.lower.and_then(|lower| seen.numbered(lower));
    let below = below.map(|below| below.name.as_str());
    let parent = if is_jails { place.parent } else { below };
    let network = if is_jails { place.network.clone() } else { network_of(link) };
    NetLink {
        name: link.name.clone(),
        kind: link.kind.clone().unwrap_or_else(|| "device".to_owned()),
        state: link.state,
        mtu: link.mtu,
        mac: link.mac.map(show_mac),
        // A bridge is no parent to those who know it as a network.
        parent: parent.filter(|_| network.is_none()).map(str::to_owned),
        vlan: link.vlan,
        network,
        warder: link.is_ours || is_jails,
        addresses: addresses.collect(),
        received: link.received,
        sent: link.sent,
    }
}

fn address(address: &SeenAddress, claims: &Claims) -> NetAddress {
    let is_it = |claim: &&((IpAddr, u8), By)| claim.0 == (address.address, address.length);
    let claimed = claims.addresses.iter().find(is_it).map(|(_, by)| by.clone());
    let by = claimed.unwrap_or_else(|| unclaimed(address.made_by, address.address));
    let problem = match (address.is_duplicate, address.is_tentative) {
        (true, _) => Some("somebody else on the wire has it"),
        (false, true) => Some("is not known yet to be free"),
        (false, false) => None,
    };
    NetAddress {
        address: format!("{}/{}", address.address, address.length),
        set_by: by.set_by,
        from: by.from,
        ends: by.ends,
        problem: problem.map(str::to_owned),
    }
}

/// Of what nobody claims: by what the kernel says, or by the kind of address.
fn unclaimed(made_by: MadeBy, address: IpAddr) -> By {
    By::of(match made_by {
        MadeBy::Kernel => SetBy::Kernel,
        MadeBy::Router => SetBy::Router,
        // Not each kernel says it.
        MadeBy::Program if address.is_ipv6() && is_link_local(address) => SetBy::Kernel,
        MadeBy::Program => SetBy::Other,
    })
}

fn route(route: &SeenRoute, seen: &Seen, claims: &Claims) -> NetRoute {
    let is_family = |via: Option<IpAddr>| via.is_none_or(|via| via.is_ipv4() == route.is_ipv4);
    let is_it = |claim: &&(Way, By)| claim.0 == (route.to, route.via) && is_family(claim.0.1);
    let claimed = claims.routes.iter().find(is_it).map(|(_, by)| by.clone());
    let by = claimed.unwrap_or_else(|| {
        By::of(match route.made_by {
            MadeBy::Kernel => SetBy::Kernel,
            MadeBy::Router => SetBy::Router,
            MadeBy::Program => SetBy::Other,
        })
    });
    let link = route.index.and_then(|index| seen.numbered(index));
    NetRoute {
        to: route.to.map_or_else(|| "default".to_owned(), |(to, length)| format!("{to}/{length}")),
        via: route.via.map(|via| via.to_string()),
        link: link.map(|link| link.name.clone()),
        metric: route.metric,
        set_by: by.set_by,
        from: by.from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::LinkState;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen_link(index: u32, name: &str, kind: Option<&str>) -> SeenLink {
        SeenLink {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            state: LinkState::Up,
            mtu: 1500,
            mac: Some([2, 0, 0, 0, 0, 1]),
            lower: None,
            vlan: None,
            is_ours: false,
            received: 1,
            sent: 2,
        }
    }

    fn seen_address(address: &str, length: u8, made_by: MadeBy) -> SeenAddress {
        let (is_tentative, is_duplicate) = (false, false);
        SeenAddress { index: 2, address: ip(address), length, made_by, is_tentative, is_duplicate }
    }

    fn seen_route(to: Option<(&str, u8)>, via: Option<&str>, made_by: MadeBy) -> SeenRoute {
        let to = to.map(|(to, length)| (ip(to), length));
        let is_ipv4 = via.is_none_or(|via| !via.contains(':'));
        let (via, index) = (via.map(ip), Some(2));
        SeenRoute { to, via, index, metric: None, made_by, is_ipv4 }
    }

    fn by(set_by: SetBy, from: &str) -> By {
        By { set_by, from: Some(from.to_owned()), ends: None }
    }

    const IN_JAIL: Place<'_> = Place { parent: Some("eth1"), network: None, host: None };

    #[test]
    fn each_address_says_who_has_set_it() {
        let mut claims = Claims::default();
        claims.address(ip("192.0.2.10"), 24, by(SetBy::Unit, "web.toml:7"));
        let lease = By { ends: Some(5), ..by(SetBy::Lease, "192.0.2.1") };
        claims.address(ip("192.0.2.77"), 24, lease);
        let addresses = vec![
            seen_address("192.0.2.10", 24, MadeBy::Program),
            seen_address("192.0.2.77", 24, MadeBy::Program),
            // Another prefix is another address.
            seen_address("192.0.2.10", 32, MadeBy::Program),
            seen_address("fe80::1", 64, MadeBy::Kernel),
            seen_address("fe80::2", 64, MadeBy::Program),
            seen_address("2001:db8::1", 64, MadeBy::Router),
            SeenAddress { is_duplicate: true, ..seen_address("fd00::1", 64, MadeBy::Program) },
        ];
        let links = vec![seen_link(2, "eth0", Some("macvlan"))];
        let seen = Seen { links, addresses, ..Seen::default() };
        let (links, _) = join(&seen, &claims, &IN_JAIL);
        let [link] = links.as_slice() else { panic!("{links:?}") };
        assert_eq!((link.parent.as_deref(), link.warder), (Some("eth1"), true));
        let set_by: Vec<SetBy> = link.addresses.iter().map(|one| one.set_by).collect();
        use SetBy::{Kernel, Lease, Other, Router, Unit};
        assert_eq!(set_by, [Unit, Lease, Other, Kernel, Kernel, Router, Other]);
        assert_eq!(link.addresses[0].from.as_deref(), Some("web.toml:7"));
        assert_eq!(link.addresses[1].ends, Some(5));
        assert!(link.addresses[6].problem.is_some() && link.addresses[0].problem.is_none());
    }

    #[test]
    fn each_route_says_who_has_set_it() {
        let mut claims = Claims::default();
        claims.default_route(ip("192.0.2.1"), by(SetBy::Unit, "web.toml:8"));
        claims.route((ip("10.0.0.0"), 8), Some(ip("192.0.2.9")), by(SetBy::Lease, "192.0.2.1"));
        claims.route((ip("0.0.0.0"), 0), Some(ip("192.0.2.3")), by(SetBy::Lease, "192.0.2.1"));
        let routes = vec![
            seen_route(None, Some("192.0.2.1"), MadeBy::Program),
            seen_route(Some(("10.0.0.0", 8)), Some("192.0.2.9"), MadeBy::Program),
            seen_route(None, Some("192.0.2.3"), MadeBy::Program),
            seen_route(Some(("192.0.2.0", 24)), None, MadeBy::Kernel),
            seen_route(None, Some("fe80::1"), MadeBy::Router),
            seen_route(None, Some("192.0.2.2"), MadeBy::Program),
        ];
        let links = vec![seen_link(2, "eth0", Some("macvlan"))];
        let seen = Seen { links, routes, ..Seen::default() };
        let (_, routes) = join(&seen, &claims, &IN_JAIL);
        use SetBy::{Kernel, Lease, Other, Router, Unit};
        let set_by: Vec<SetBy> = routes.iter().map(|one| one.set_by).collect();
        assert_eq!(set_by, [Unit, Lease, Lease, Kernel, Router, Other]);
        assert_eq!(routes[1].to, "10.0.0.0/8");
        assert_eq!((routes[0].to.as_str(), routes[0].link.as_deref()), ("default", Some("eth0")));
    }

    #[test]
    fn of_the_hosts_links_those_of_warder_are_known_with_what_they_sit_on() {
        let vlan = SeenLink {
            lower: Some(2),
            vlan: Some(10),
            is_ours: true,
            ..seen_link(3, "eth1.10", Some("vlan"))
        };
        let bridge = SeenLink { is_ours: true, ..seen_link(4, "br-back", Some("bridge")) };
        let links = vec![
            seen_link(2, "eth1", None),
            vlan,
            bridge,
            // Somebody else's.
            seen_link(5, "br-front", Some("bridge")),
        ];
        let seen = Seen { links, ..Seen::default() };
        let place = Place { parent: None, network: None, host: Some(&seen) };
        let (links, _) = join(&seen, &Claims::default(), &place);
        let shown = |link: &NetLink| {
            let (parent, network) = (link.parent.clone(), link.network.clone());
            (
                link.kind.clone(),
                link.warder,
                parent.unwrap_or_default(),
                network.unwrap_or_default(),
            )
        };
        let own = |text: &str| text.to_owned();
        let shown: Vec<_> = links.iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                (own("device"), false, String::new(), String::new()),
                (own("vlan"), true, own("eth1"), String::new()),
                (own("bridge"), true, String::new(), own("back")),
                (own("bridge"), false, String::new(), String::new()),
            ]
        );
    }

    #[test]
    fn a_jail_of_a_network_has_that_and_no_parent() {
        let links = vec![seen_link(2, "eth0", Some("veth")), seen_link(3, "tun0", Some("tun"))];
        let seen = Seen { links, ..Seen::default() };
        let network = Some("back".to_owned());
        let place = Place { parent: Some("br-back"), network, host: None };
        let (links, _) = join(&seen, &Claims::default(), &place);
        assert_eq!((links[0].network.as_deref(), links[0].parent.as_deref()), (Some("back"), None));
        // What the jail has made itself is not Warder's.
        assert!(links[0].warder && !links[1].warder && links[1].network.is_none());
    }
}
