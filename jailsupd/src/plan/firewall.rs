//! What the host lets through between its own networks, the outside and itself, as rules of a packet filter (nft(8)).

use super::link::Link;
use crate::unit::publish::{Port, Protocol, Publish};
use crate::unit::section::Forward;
use crate::unit::{IpPrefix, Joined, NetworkName, Subnet, Unit};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The networks that jails are in, as they are to be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    networks: BTreeSet<Routed>,
    published: BTreeSet<Published>,
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
    /// Packets that come, as the first of a connection sees them.
    PreRouting,
    /// Packets for the host itself.
    Input,
    /// Packets that the host hands on. What no rule decides, is dropped.
    Forward,
    /// Packets that leave the host, as the first of a connection sees them.
    PostRouting,
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
    /// It is of a connection that was let through, or is an error about one.
    Established,
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
    /// Its source is in this subnet.
    Source(Subnet),
    /// It is for this address.
    Destination(IpAddr),
    /// It is of IPv4, or of IPv6, and for one of the host's own addresses.
    ToHost {
        /// Which of the two.
        is_ipv4: bool,
    },
    /// It is for this port.
    Port(Protocol, Port),
    /// It was for a published port.
    Redirected,
    /// Neighbour discovery (RFC 4861), by which IPv6 finds who has an address on a link.
    NeighbourDiscovery,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes there instead, and answers come from where it was sent to.
    Redirect(SocketAddr),
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
    /// It gets the address of the link that it leaves by for its source, and answers come back.
    Masquerade,
}

impl Firewall {
    /// What the networks of these units need.
    pub fn of<'a>(units: impl IntoIterator<Item = &'a Unit>) -> Self {
        let named = |unit: &'a Unit| unit.network.network.as_ref().zip(unit.joined());
        let networks = units.into_iter().filter_map(named).flat_map(routed).collect();
        Self { networks, published: BTreeSet::new() }
    }

    /// With the ports that these units publish, each with the link that its jail has.
    #[must_use]
    pub fn with_ports<'a>(mut self, jails: impl IntoIterator<Item = (&'a Unit, &'a Link)>) -> Self {
        self.published.extend(jails.into_iter().flat_map(|(unit, link)| published(unit, link)));
        self
    }

    /// Whether there is nothing to be kept from anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether the host is to hand packets of IPv4, or of IPv6, on at all.
    #[must_use]
    pub fn forwards(&self, is_ipv4: bool) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|one| one.forward != Forward::None && one.subnet.is_ipv4() == is_ipv4)
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        use Action::{Accept, Drop, Masquerade};
        use Match::{
            Established, From, FromJails, FromOutside, NeighbourDiscovery, Redirected, Source, To,
            ToOutside,
        };
        let rule = |chain, matches: Vec<Match>, action| Rule { chain, matches, action };
        let mut rules = vec![
            rule(Chain::Input, vec![Established], Accept),
            // A router must be found.
            rule(Chain::Input, vec![FromJails, NeighbourDiscovery], Accept),
            rule(Chain::Input, vec![FromJails], Drop),
            rule(Chain::Forward, vec![Established], Accept),
        ];
        for Routed { bridge, subnet, forward } in &self.networks {
            if *forward == Forward::None {
                continue;
            }
            // With a source of its own only: nobody may send in another's name.
            let out = vec![From(bridge.clone()), Source(*subnet), ToOutside];
            rules.push(rule(Chain::Forward, out, Accept));
            rules.push(match forward {
                Forward::Nat => {
                    rule(Chain::PostRouting, vec![Source(*subnet), ToOutside], Masquerade)
                }
                _ => rule(Chain::Forward, vec![FromOutside, To(bridge.clone())], Accept),
            });
        }
        if !self.published.is_empty() {
            rules.push(rule(Chain::Forward, vec![Redirected], Accept));
        }
        // Answers to somebody in the same network would not come by the host.
        let networks: BTreeSet<(&str, Subnet)> =
            self.published.iter().map(|one| (one.bridge.as_str(), one.subnet)).collect();
        for (bridge, subnet) in networks {
            let near = vec![Source(subnet), To(bridge.to_owned()), Redirected];
            rules.push(rule(Chain::PostRouting, near, Masquerade));
        }
        rules.extend(self.published.iter().map(Published::rule));
        rules
    }
}

impl Published {
    fn rule(&self) -> Rule {
        let Publish { address, host, jail, protocol } = self.port;
        let to = match address {
            Some(address) => Match::Destination(address),
            None => Match::ToHost { is_ipv4: self.to.is_ipv4() },
        };
        Rule {
            chain: Chain::PreRouting,
            matches: vec![to, Match::Port(protocol, host)],
            action: Action::Redirect(SocketAddr::new(self.to, jail.get())),
        }
    }
}

/// Each port leads to one address of each family that it is for.
fn published<'a>(unit: &'a Unit, link: &'a Link) -> impl Iterator<Item = Published> + 'a {
    let network = unit.network.network.as_ref().zip(unit.joined());
    let subnets = network.into_iter().flat_map(|(name, joined)| {
        joined.subnets.iter().map(move |subnet| (name.bridge(), *subnet))
    });
    subnets.flat_map(move |(bridge, subnet)| {
        let own = link.address.iter().map(IpPrefix::address).find(|own| subnet.contains(*own));
        let is_for = move |port: &&Publish| {
            port.address.is_none_or(|address| address.is_ipv4() == subnet.is_ipv4())
        };
        let ports = unit.network.publish.iter().filter(is_for);
        own.into_iter().flat_map(move |to| {
            let bridge = bridge.clone();
            ports.clone().map(move |port| Published {
                port: *port,
                to,
                bridge: bridge.clone(),
                subnet,
            })
        })
    })
}

fn routed((name, joined): (&NetworkName, &Joined)) -> impl Iterator<Item = Routed> + use<> {
    let (bridge, forward) = (name.bridge(), joined.forward);
    let subnets = joined.subnets.clone();
    subnets.into_iter().map(move |subnet| Routed { bridge: bridge.clone(), subnet, forward })
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

    fn rules(units: &[Unit]) -> Vec<String> {
        let rules = Firewall::of(units).rules();
        let show = |rule: &Rule| format!("{:?} {:?} {:?}", rule.chain, rule.matches, rule.action);
        rules.iter().map(show).filter(|rule| rule.contains("br-")).collect()
    }

    #[test]
    fn a_host_without_networks_has_no_rules_and_a_closed_network_no_way_out() {
        assert!(Firewall::of([]).is_empty());
        let closed = [unit("back", Forward::None, &["10.89.0.0/24", "fd00:1::/64"])];
        let firewall = Firewall::of(&closed);
        assert!(!firewall.is_empty() && !firewall.forwards(true) && !firewall.forwards(false));
        assert_eq!(rules(&closed), Vec::<String>::new());
    }

    #[test]
    fn whoever_goes_out_must_have_a_source_of_his_network() {
        let nat = [unit("out", Forward::Nat, &["10.89.0.0/24"])];
        assert!(Firewall::of(&nat).forwards(true) && !Firewall::of(&nat).forwards(false));
        let found = rules(&nat);
        assert_eq!(found.len(), 1, "and nobody comes in: {found:?}");
        assert!(found[0].starts_with("Forward [From(\"br-out\"), Source("), "{found:?}");
        assert!(found[0].ends_with("ToOutside] Accept"), "{found:?}");
        let routed = rules(&[unit("open", Forward::Routed, &["10.89.0.0/24"])]);
        assert_eq!(routed[1], "Forward [FromOutside, To(\"br-open\")] Accept");
    }

    #[test]
    fn what_jails_send_to_the_host_is_dropped_before_anything_lets_it_through() {
        let routed = [unit("open", Forward::Routed, &["10.89.0.0/24"])];
        let rules = Firewall::of(&routed).rules();
        let mut input = rules.iter().filter(|rule| rule.chain == Chain::Input);
        let last = input.next_back().unwrap();
        assert_eq!((last.matches.as_slice(), last.action), (&[Match::FromJails][..], Action::Drop));
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
        let firewall = Firewall::of([&unit]).with_ports([(&unit, plan.link().unwrap())]);
        let rules = firewall.rules();
        let led: Vec<String> = rules
            .iter()
            .filter(|rule| rule.chain == Chain::PreRouting)
            .map(|rule| format!("{:?} {:?}", rule.matches, rule.action))
            .collect();
        assert_eq!(
            led,
            [
                "[ToHost { is_ipv4: true }, Port(Tcp, 8080)] Redirect(10.89.0.7:80)",
                "[ToHost { is_ipv4: false }, Port(Tcp, 8080)] Redirect([fd00:1::7]:80)",
                "[Destination(fd00:9::1), Port(Udp, 53)] Redirect([fd00:1::7]:53)",
            ]
        );
        let lets_in =
            |rule: &&Rule| rule.chain == Chain::Forward && rule.matches == [Match::Redirected];
        assert_eq!(rules.iter().filter(lets_in).count(), 1);
    }
}
