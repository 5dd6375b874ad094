//! What the host lets through between its own networks, the outside and itself, as rules of a packet filter (nft(8)).

use crate::unit::section::Forward;
use crate::unit::{Joined, NetworkName, Subnet, Unit};
use std::collections::BTreeSet;

/// The networks that jails are in, as they are to be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    networks: BTreeSet<Routed>,
}

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Routed {
    bridge: String,
    subnet: Subnet,
    forward: Forward,
}

/// Where in a packet's way a rule stands (`NF_INET_*` of linux/netfilter.h). What no rule decides, passes, but for
/// [`Chain::Forward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
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
    /// Neighbour discovery (RFC 4861), by which IPv6 finds who has an address on a link.
    NeighbourDiscovery,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
    /// It gets the address of the link that it leaves by for its source, and answers come back.
    Masquerade,
}

impl Firewall {
    /// What these units need.
    pub fn of<'a>(units: impl IntoIterator<Item = &'a Unit>) -> Self {
        let named = |unit: &'a Unit| unit.network.network.as_ref().zip(unit.joined());
        let networks = units.into_iter().filter_map(named).flat_map(routed).collect();
        Self { networks }
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
            Established, From, FromJails, FromOutside, NeighbourDiscovery, Source, To, ToOutside,
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
        rules
    }
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
             [network]\nmode = \"bridge\"\nnetwork = \"{network}\"\n"
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
        let input = rules.iter().filter(|rule| rule.chain == Chain::Input);
        let last = input.last().unwrap();
        assert_eq!((last.matches.as_slice(), last.action), (&[Match::FromJails][..], Action::Drop));
    }
}
