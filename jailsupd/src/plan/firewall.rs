//! What the host lets through between its own networks, the outside and itself, as rules of a packet filter (nft(8)).

use super::link::Link;
use crate::unit::firewall::Rate;
use crate::unit::named_network::ROUTER;
use crate::unit::publish::{Port, PortRange, Protocol, Publish};
use crate::unit::section::Forward;
use crate::unit::{IpPrefix, Joined, NetworkName, Prefix, Subnet, Unit};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The networks that jails are in, and the ports that lead into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    networks: BTreeSet<Routed>,
    published: BTreeSet<Published>,
    /// A bridge is there: a jail may be in a network of which nothing else is known any more.
    has_others: bool,
}

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Routed {
    bridge: String,
    subnet: Subnet,
    forward: Forward,
}

/// A port of the host, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Published {
    port: Publish,
    to: IpAddr,
    /// The network that it is in.
    bridge: String,
    subnet: Subnet,
}

/// Where in a packet's way a rule stands (`NF_INET_*` of linux/netfilter.h). What no rule decides, passes, but for
/// [`Chain::Forward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Packets that come; of each connection, only the first is seen here.
    PreRouting,
    /// Packets for the host itself.
    Input,
    /// Packets that the host hands on. What no rule decides, is dropped.
    Forward,
    /// Packets that leave the host; of each connection, only the first is seen here.
    PostRouting,
    /// Packets of the host itself.
    Output,
    /// Packets that [`Action::Go`] sends here.
    Limited {
        /// From [`Chain::Input`]; else from [`Chain::Output`].
        is_input: bool,
        /// Which one.
        at: u16,
    },
}

/// All of a rule's matches must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub chain: Chain,
    /// On which packets.
    pub matches: Vec<Match>,
    /// What becomes of them.
    pub action: Action,
}

/// What a packet must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is an answer in a connection that was let through, or an error about one that comes the same way.
    Answer,
    /// It has come by a link that was made for jails.
    FromJails,
    /// It does not go out by such a link.
    ToOutside,
    /// It has not come by such a link.
    FromOutside,
    /// It has come by this link.
    From(String),
    /// It goes out by this link.
    To(String),
    /// Its source is one of these.
    Source(Prefix),
    /// It is for one of these.
    Destination(Prefix),
    /// It is of IPv4, or of IPv6, and for one of the host's own addresses.
    ToHost {
        /// Which of the two.
        is_ipv4: bool,
    },
    /// It is of a connection that was made to a published port.
    Redirected,
    /// It is of a connection that was let through, or an error about one.
    Known,
    /// It is ICMPv6 of these types.
    Icmpv6 {
        /// The first of them.
        first: u8,
        /// The last.
        last: u8,
    },
    /// It is for one of these ports.
    Ports(Protocol, PortRange),
    /// There were no more than that.
    Within(Rate),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes there instead, to that port or the one that it was sent to, and answers come from where it was sent to.
    Redirect(IpAddr, Option<Port>),
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
    /// It gets the address of the link that it leaves by for its source, and answers come back.
    Masquerade,
    /// That chain decides, and what it does not decide, passes.
    Go(Chain),
}

/// Neighbour discovery (RFC 4861), by which IPv6 finds who has an address on a link: from router solicitation to redirect.
pub(super) const NEIGHBOUR_DISCOVERY: Match = Match::Icmpv6 { first: 133, last: 137 };

impl Firewall {
    /// What these networks need.
    pub fn of<'a>(networks: impl IntoIterator<Item = (NetworkName, &'a Joined)>) -> Self {
        let networks = networks.into_iter().flat_map(|(name, joined)| routed(&name, joined));
        Self { networks: networks.collect(), ..Self::default() }
    }

    /// With or without jails in networks that are not among those.
    #[must_use]
    pub const fn with_others(mut self, has_others: bool) -> Self {
        self.has_others = has_others;
        self
    }

    /// With the ports that these units publish, each with the link that its jail has.
    #[must_use]
    pub fn with_ports<'a>(mut self, jails: impl IntoIterator<Item = (&'a Unit, &'a Link)>) -> Self {
        let mut ports: Vec<Published> =
            jails.into_iter().flat_map(|(unit, link)| published(unit, link)).collect();
        // A unit may know its network as it was.
        let is_open = |port: &Published| {
            let mut ways_out = self.networks.iter().filter(|one| one.forward != Forward::None);
            ways_out.any(|one| one.bridge == port.bridge && one.subnet == port.subnet)
        };
        ports.retain(is_open);
        self.published.extend(ports);
        self
    }

    /// Whether there is nothing to be kept from anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.has_others
    }

    /// The host's own addresses on a bridge.
    #[must_use]
    pub fn routers(&self, bridge: &str) -> Vec<IpPrefix> {
        let ways_out = self.networks.iter().filter(|one| one.forward != Forward::None);
        let own = ways_out.filter(|one| one.bridge == bridge);
        own.filter_map(|one| one.subnet.host(ROUTER)).collect()
    }

    /// Whether a port leads to one of these addresses.
    #[must_use]
    pub fn leads(&self, port: &Publish, to: &[IpAddr]) -> bool {
        self.published.iter().any(|one| one.port == *port && to.contains(&one.to))
    }

    /// Whether the host is to hand packets of IPv4, or of IPv6, on at all.
    #[must_use]
    pub fn forwards(&self, is_ipv4: bool) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|one| one.forward != Forward::None && one.subnet.is_ipv4() == is_ipv4)
    }

    /// The rules, in order. Each that lets something through asks for the link and, of jails, for the source: that the kernel
    /// knows a connection is not enough.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        use Action::{Accept, Drop, Masquerade};
        use Match::{Answer, From, FromJails, FromOutside, Redirected, Source, To, ToOutside};
        let rule = |chain, matches: Vec<Match>, action| Rule { chain, matches, action };
        // A router must be found.
        let found = rule(Chain::Input, vec![FromJails, NEIGHBOUR_DISCOVERY], Accept);
        let mut rules = vec![found, rule(Chain::Input, vec![FromJails], Drop)];
        // Nobody outside is one of these.
        let own = self.networks.iter().map(|one| vec![FromOutside, Source(one.subnet.prefix())]);
        rules.extend(own.map(|own| rule(Chain::Forward, own, Drop)));
        let ways_out = self.networks.iter().filter(|one| one.forward != Forward::None);
        for Routed { bridge, subnet, forward } in ways_out {
            let own = [From(bridge.clone()), Source(subnet.prefix())];
            let with = |more| own.iter().cloned().chain([more]).collect::<Vec<Match>>();
            let back = vec![FromOutside, To(bridge.clone())];
            rules.push(rule(Chain::Forward, with(ToOutside), Accept));
            rules.push(rule(Chain::Forward, with(Redirected), Accept));
            if *forward == Forward::Nat {
                // Connections that are under way go on, whatever is published by now.
                for known in [Answer, Redirected] {
                    let known = back.iter().cloned().chain([known]).collect();
                    rules.push(rule(Chain::Forward, known, Accept));
                }
                rules.push(rule(Chain::PostRouting, with(ToOutside), Masquerade));
            } else {
                rules.push(rule(Chain::Forward, back, Accept));
            }
        }
        let subnets: BTreeSet<(&str, Subnet)> =
            self.published.iter().map(|one| (one.bridge.as_str(), one.subnet)).collect();
        for (bridge, subnet) in subnets {
            // Answers to somebody in the same network would not come by the host.
            let near = vec![Source(subnet.prefix()), To(bridge.to_owned()), Redirected];
            rules.push(rule(Chain::PostRouting, near, Masquerade));
        }
        // The kernel sets a new chain's policy a moment after its rules count; until then, this drops.
        rules.push(rule(Chain::Forward, Vec::new(), Drop));
        rules.extend(self.published.iter().flat_map(Published::rules));
        rules
    }
}

impl Published {
    fn rules(&self) -> Vec<Rule> {
        let Publish { address, host, protocol, .. } = self.port;
        let rule = |ports, to| {
            // Nobody else's: an address of the unit's choice may be somebody's.
            let mut matches = vec![Match::ToHost { is_ipv4: self.to.is_ipv4() }];
            matches.extend(address.map(Prefix::of).map(Match::Destination));
            matches.push(Match::Ports(protocol, ports));
            Rule { chain: Chain::PreRouting, matches, action: Action::Redirect(self.to, to) }
        };
        let moved = self.port.moved();
        if moved.is_empty() {
            return vec![rule(host, None)];
        }
        moved.into_iter().map(|(from, to)| rule(PortRange::of(from), Some(to))).collect()
    }
}

/// Each port leads to one address of each family that it is for.
fn published(unit: &Unit, link: &Link) -> Vec<Published> {
    let mut all = Vec::new();
    let Some((name, joined)) = unit.network.network.as_ref().zip(unit.joined()) else { return all };
    for subnet in joined.subnets.iter().copied() {
        let mut own = link.address.iter().map(IpPrefix::address);
        let Some(to) = own.find(|own| subnet.contains(*own)) else { continue };
        let is_for = |port: &&Publish| {
            port.address.is_none_or(|address| address.is_ipv4() == subnet.is_ipv4())
        };
        let ports = unit.network.publish.iter().filter(is_for);
        all.extend(ports.map(|port| Published { port: *port, to, bridge: name.bridge(), subnet }));
    }
    all
}

fn routed<'a>(name: &NetworkName, joined: &'a Joined) -> impl Iterator<Item = Routed> + use<'a> {
    let (bridge, forward) = (name.bridge(), joined.forward);
    let subnets = joined.subnets.iter();
    subnets.map(move |subnet| Routed { bridge: bridge.clone(), subnet: *subnet, forward })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::value::FromText as _;

    fn unit(network: &str, forward: Forward, subnets: &[&str]) -> Unit {
        let text = format!(
            "version = 1\n[image]\nsource = \"dir:/srv/a\"\n[process]\nexec = [\"/bin/a\"]\n\
             [network]\nmode = \"bridge\"\nnetwork = \"{network}\"\n\
             publish = [\"8080:80\", \"[fd00:9::1]:53:53/udp\"]\n"
        );
        let mut unit = crate::unit::parse("a", "a.toml", &text).unwrap();
        let subnets = subnets.iter().map(|text| Subnet::from_text(text).unwrap()).collect();
        unit.join(Joined { subnets, mtu: None, forward });
        unit
    }

    fn network(name: &str, unit: &Unit) -> Firewall {
        Firewall::of([(NetworkName::from_text(name).unwrap(), unit.joined().unwrap())])
    }

    fn rules(name: &str, forward: Forward, chain: Chain) -> Vec<String> {
        let rules = network(name, &unit(name, forward, &["10.89.0.0/24"])).rules();
        let rules = rules.iter().filter(|rule| rule.chain == chain);
        let show = |rule: &Rule| format!("{:?} {:?}", rule.matches, rule.action);
        let subnet = format!("{:?}", Subnet::from_text("10.89.0.0/24").unwrap().prefix());
        rules.map(|rule| show(rule).replace(&subnet, "10.89.0.0/24")).collect()
    }

    #[test]
    fn a_host_without_networks_has_no_rules_and_a_closed_network_no_way_out() {
        assert!(Firewall::of([]).is_empty());
        assert!(!Firewall::of([]).with_others(true).is_empty());
        let unit = unit("back", Forward::None, &["10.89.0.0/24", "fd00:1::/64"]);
        let closed = network("back", &unit);
        assert!(!closed.is_empty() && !closed.forwards(true) && !closed.forwards(false));
        assert!(closed.routers("br-back").is_empty());
        let forward = rules("back", Forward::None, Chain::Forward);
        assert_eq!(forward, ["[FromOutside, Source(10.89.0.0/24)] Drop", "[] Drop"]);
        let input = rules("back", Forward::None, Chain::Input);
        assert_eq!(
            input,
            ["[FromJails, Icmpv6 { first: 133, last: 137 }] Accept", "[FromJails] Drop"]
        );
    }

    #[test]
    fn what_is_let_through_is_known_by_its_link_and_its_source() {
        let forward = rules("out", Forward::Nat, Chain::Forward);
        assert_eq!(
            forward,
            [
                "[FromOutside, Source(10.89.0.0/24)] Drop",
                "[From(\"br-out\"), Source(10.89.0.0/24), ToOutside] Accept",
                "[From(\"br-out\"), Source(10.89.0.0/24), Redirected] Accept",
                "[FromOutside, To(\"br-out\"), Answer] Accept",
                "[FromOutside, To(\"br-out\"), Redirected] Accept",
                "[] Drop",
            ]
        );
        assert_eq!(
            rules("out", Forward::Nat, Chain::PostRouting),
            ["[From(\"br-out\"), Source(10.89.0.0/24), ToOutside] Masquerade"]
        );
        let open = rules("open", Forward::Routed, Chain::Forward);
        assert!(open.contains(&"[FromOutside, To(\"br-open\")] Accept".to_owned()), "{open:?}");
        assert!(rules("open", Forward::Routed, Chain::PostRouting).is_empty());
        let unit = unit("out", Forward::Nat, &["10.89.0.0/24"]);
        let nat = network("out", &unit);
        assert!(nat.forwards(true) && !nat.forwards(false));
        assert_eq!(nat.routers("br-out"), [IpPrefix::from_text("10.89.0.1/24").unwrap()]);
    }

    #[test]
    fn a_port_leads_to_the_jails_address_of_the_family_that_it_is_for() {
        let unit = unit("out", Forward::Nat, &["10.89.0.0/24", "fd00:1::/64"]);
        let ranges = [crate::plan::IdRange::at(524_288).unwrap()];
        let context = crate::plan::Context {
            ids: &ranges,
            machine_id: "0123",
            kernel: (6, 12),
            number: Some(7),
        };
        let plan = crate::plan::plan(&unit, context, &mut crate::plan::Shared::default()).unwrap();
        let firewall = network("out", &unit).with_ports([(&unit, plan.link().unwrap())]);
        let rules = firewall.rules();
        let led: Vec<String> = rules
            .iter()
            .filter(|rule| rule.chain == Chain::PreRouting)
            .map(|rule| format!("{:?} {:?}", rule.matches, rule.action))
            .collect();
        assert_eq!(
            led,
            [
                "[ToHost { is_ipv4: true }, Ports(Tcp, PortRange { first: 8080, last: 8080 })] Redirect(10.89.0.7, Some(80))",
                "[ToHost { is_ipv4: false }, Ports(Tcp, PortRange { first: 8080, last: 8080 })] Redirect(fd00:1::7, Some(80))",
                "[ToHost { is_ipv4: false }, Destination(Prefix { base: fd00:9::1, length: 128 }), Ports(Udp, PortRange { first: 53, last: 53 })] Redirect(fd00:1::7, None)",
            ]
        );
        let closed = self::unit("out", Forward::None, &["10.89.0.0/24", "fd00:1::/64"]);
        let closed = network("out", &closed);
        assert_eq!(closed.clone().with_ports([(&unit, plan.link().unwrap())]), closed);
        let lets_in = [Match::FromOutside, Match::To("br-out".to_owned()), Match::Redirected];
        assert!(rules.iter().any(|rule| rule.matches == lets_in && rule.action == Action::Accept));
    }
}
