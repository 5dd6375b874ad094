//! What a jail's own firewall lets through, as rules of a packet filter in its network namespace. They hold for every kind of
//! link: what a macvlan or ipvlan link carries, the host's filter never sees.

use super::firewall::{Action, Chain, Match, NEIGHBOUR_DISCOVERY, Rule};
use crate::unit::firewall::{Access, Firewall, Peer};
use crate::unit::{JailName, Prefix};
use std::net::IpAddr;

/// Multicast listener discovery (RFC 2710, RFC 3810), without which switches forget who listens; and what says that a packet
/// was too big (RFC 4443).
const ICMPV6_NEEDED: [(u8, u8); 3] = [(2, 2), (130, 132), (143, 143)];

/// The rules of a jail, in order; none when everything may come and go. `addresses` are those that a jail has now.
#[must_use]
pub fn rules(firewall: &Firewall, addresses: impl Fn(&JailName) -> Vec<IpAddr>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let ingress = firewall.ingress.as_ref().map(|list| (Chain::Input, list.0.as_slice()));
    let egress = firewall.egress.as_ref().map(|list| (Chain::Output, list.0.as_slice()));
    for (chain, list) in [ingress, egress].into_iter().flatten() {
        let by: fn(String) -> Match = if chain == Chain::Input { Match::From } else { Match::To };
        let always = [by("lo".to_owned()), Match::Known, NEIGHBOUR_DISCOVERY];
        let needed = ICMPV6_NEEDED.map(|(first, last)| Match::Icmpv6 { first, last });
        let always = always.into_iter().chain(needed);
        rules.extend(always.map(|one| Rule { chain, matches: vec![one], action: Action::Accept }));
        for (at, access) in (0..).zip(list) {
            rules.extend(of(chain, at, access, &addresses));
        }
        rules.push(Rule { chain, matches: Vec::new(), action: Action::Drop });
    }
    rules
}

fn of(
    chain: Chain,
    at: u16,
    access: &Access,
    addresses: impl Fn(&JailName) -> Vec<IpAddr>,
) -> Vec<Rule> {
    let is_input = chain == Chain::Input;
    let limited = Chain::Limited { is_input, at };
    // All ends and ports of a table share its limit.
    let action = access.rate_limit.map_or(Action::Accept, |_| Action::Go(limited));
    let prefixes = access.peers.as_ref().map(|peers| {
        let of_peer = |peer: &Peer| match peer {
            Peer::Prefix(prefix) => vec![*prefix],
            Peer::Jail(name) => addresses(name).into_iter().map(Prefix::of).collect(),
        };
        peers.iter().flat_map(of_peer).collect::<Vec<_>>()
    });
    let far: Vec<Vec<Match>> = match prefixes {
        None => vec![Vec::new()],
        Some(all) => all
            .into_iter()
            .map(|one| vec![if is_input { Match::Source(one) } else { Match::Destination(one) }])
            .collect(),
    };
    let ports: Vec<Vec<Match>> = match &access.ports {
        None => vec![Vec::new()],
        Some(all) => all.iter().map(|one| vec![Match::Ports(one.protocol, one.range)]).collect(),
    };
    let mut rules = Vec::new();
    if let Some(rate) = access.rate_limit {
        let matches = vec![Match::Within(rate)];
        rules.push(Rule { chain: limited, matches, action: Action::Accept });
        rules.push(Rule { chain: limited, matches: Vec::new(), action: Action::Drop });
    }
    for peer in &far {
        let both = ports.iter().map(|port| peer.iter().chain(port).cloned().collect());
        rules.extend(both.map(|matches| Rule { chain, matches, action }));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(keys: &str) -> Vec<String> {
        let text = format!(
            "version = 1\n[image]\nsource = \"dir:/srv/a\"\n[process]\nexec = [\"/bin/a\"]\n\
             [network]\naddress = [\"192.0.2.9/24\"]\n[firewall]\n{keys}\n"
        );
        let unit = crate::unit::parse("a", "a.toml", &text).unwrap();
        let db = |name: &JailName| match name.as_str() {
            "db" => vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            _ => Vec::new(),
        };
        let rules = rules(&unit.firewall, db);
        rules
            .iter()
            .map(|rule| format!("{:?} {:?} {:?}", rule.chain, rule.matches, rule.action))
            .collect()
    }

    #[test]
    fn without_lists_nothing_is_filtered() {
        assert!(shown("").is_empty());
    }

    #[test]
    fn an_empty_list_lets_only_pass_what_every_link_needs() {
        let rules = shown("ingress = []");
        assert_eq!(rules.len(), 7);
        assert_eq!(rules[0], "Input [From(\"lo\")] Accept");
        assert_eq!(rules[1], "Input [Known] Accept");
        assert_eq!(rules[6], "Input [] Drop");
    }

    #[test]
    fn each_end_goes_with_each_port_and_a_jail_is_its_addresses() {
        let rules = shown(
            "egress = [{ to = [\"jail:db\", \"jail:nobody\"], port = [\"80\", \"53/udp\"] }]",
        );
        let own = &rules[6..];
        assert_eq!(own.len(), 5, "{own:?}");
        assert!(
            own[0].starts_with(
                "Output [Destination(Prefix { base: 10.0.0.5, length: 32 }), Ports(Tcp, "
            ),
            "{own:?}"
        );
        assert!(own[3].contains("fd00::5") && own[3].contains("Ports(Udp, "), "{own:?}");
        assert_eq!(own[4], "Output [] Drop");
        // One that nobody has is not everybody.
        assert_eq!(shown("ingress = [{ from = [\"jail:nobody\"] }]").len(), 7);
    }

    #[test]
    fn a_limit_is_that_of_its_whole_table() {
        let rules = shown("ingress = [{ port = [\"80\", \"81\"], rate_limit = \"5/m\" }]");
        let limits = rules.iter().filter(|rule| rule.contains("Within")).count();
        assert_eq!(limits, 1, "{rules:?}");
        let goes = rules
            .iter()
            .filter(|rule| rule.ends_with("Go(Limited { is_input: true, at: 0 })"))
            .count();
        assert_eq!(goes, 2, "{rules:?}");
    }
}
