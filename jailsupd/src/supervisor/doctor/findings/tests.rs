//! One thing wrong at a time, and what follows from it.

use super::*;
use crate::exec::net::{MadeBy, SeenRoute};
use crate::plan::link::Lower as Sits;
use crate::unit::value::FromText as _;
use crate::unit::{LinkName, MacvlanMode};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link_of_kernel(index: u32, name: &str) -> SeenLink {
    SeenLink {
        index,
        name: name.to_owned(),
        kind: None,
        state: LinkState::Up,
        mtu: 1500,
        mac: None,
        lower: None,
        vlan: None,
        is_ours: false,
        received: 10,
        sent: 10,
    }
}

fn parent() -> Lower {
    Lower::Parent {
        name: "uplink".to_owned(),
        seen: Some(link_of_kernel(7, "eth1")),
        others: "lo, eth0, eth1".to_owned(),
        vlan: None,
        is_wireless: false,
    }
}

fn link() -> Link {
    Link {
        lower: Sits::Parent { link: LinkName::from_text("uplink").unwrap(), vlan: None },
        kind: Kind::Macvlan { mode: MacvlanMode::Bridge, mac: [2; 6] },
        mtu: None,
        address: vec![crate::unit::IpPrefix::from_text("192.0.2.10/24").unwrap()],
        dhcp: None,
        gateway: vec![ip("192.0.2.1")],
    }
}

fn seen() -> Seen {
    let address = SeenAddress {
        index: 2,
        address: ip("192.0.2.10"),
        length: 24,
        made_by: MadeBy::Program,
        is_tentative: false,
        is_duplicate: false,
    };
    let route = SeenRoute {
        to: None,
        via: Some(ip("192.0.2.1")),
        index: Some(2),
        metric: None,
        made_by: MadeBy::Program,
        is_ipv4: true,
    };
    Seen {
        links: vec![link_of_kernel(2, NAME)],
        addresses: vec![address],
        routes: vec![route],
        is_cut: false,
    }
}

/// A jail with which nothing is wrong.
fn well() -> Observed {
    Observed {
        jail: "web".to_owned(),
        life: Life {
            state: JailState::Up,
            has_unit: true,
            is_running: true,
            is_frozen: false,
            is_stale: false,
            is_enabled: true,
            problem: None,
        },
        link: Some(link()),
        lower: parent(),
        inside: Some(Ok(seen())),
        lease: Lease::NotAsked,
        routers: vec![router(Neighbour::Answers, Neighbour::Unknown)],
        firewall: Firewall::default(),
        ports: Vec::new(),
    }
}

fn router(of_jail: Neighbour, of_host: Neighbour) -> Router {
    Router { address: ip("192.0.2.1"), of_jail: Some(of_jail), of_host: Some(of_host) }
}

/// What is more than a note, a line each.
fn reasons(observed: &Observed) -> Vec<String> {
    let found = diagnose(observed);
    let reasons = found.findings.into_iter().filter(|one| one.weight != Weight::Note);
    reasons.map(|one| format!("{}: {}", one.weight, one.what)).collect()
}

/// With the jail's own link changed.
fn with_own(change: impl FnOnce(&mut Seen)) -> Observed {
    let mut inside = seen();
    change(&mut inside);
    Observed { inside: Some(Ok(inside)), ..well() }
}

#[test]
fn of_a_jail_that_is_well_only_is_said_who_never_reaches_it() {
    let found = diagnose(&well());
    let notes: Vec<&str> = found.findings.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(notes, ["its own host does not reach it, wherever else it is reached from"]);
    assert_eq!(
        found.right,
        [
            "its program runs",
            "its parent link eth1 is up and has a carrier",
            "its link eth0 is up",
            "192.0.2.10/24 is on eth0",
            "the router 192.0.2.1 has answered it",
        ]
    );
}

#[test]
fn a_program_that_does_not_run_or_is_held_answers_nobody() {
    let (state, is_running) = (JailState::Backoff, false);
    let problem = Some("exit code 7".to_owned());
    let life = Life { state, is_running, problem, ..well().life };
    let found = diagnose(&Observed { life, inside: None, routers: Vec::new(), ..well() });
    assert_eq!(found.findings[0].what, "its program does not run");
    assert_eq!(found.findings[0].evidence, "it is backoff: exit code 7");
    let life = Life { is_frozen: true, ..well().life };
    let frozen = reasons(&Observed { life, ..well() });
    assert_eq!(frozen, ["wrong: it is frozen: nothing in it answers"]);
}

#[test]
fn a_parent_is_not_there_or_down_or_carries_nothing() {
    let with = |parent: Option<SeenLink>, vlan| {
        let Lower::Parent { name, others, .. } = self::parent() else { panic!() };
        let lower = Lower::Parent { name, others, seen: parent, vlan, is_wireless: false };
        reasons(&Observed { lower, ..well() })
    };
    assert_eq!(with(None, None), ["wrong: its parent link uplink is not there"]);
    let eth1 = |state| Some(SeenLink { state, ..link_of_kernel(7, "eth1") });
    let down = with(eth1(LinkState::Down), None);
    assert_eq!(down, ["wrong: its parent link eth1 is down"]);
    let dead = with(eth1(LinkState::NoCarrier), None);
    assert_eq!(dead, ["wrong: its parent link eth1 has no carrier"]);
    let lost = with(eth1(LinkState::Up), Some((10, None)));
    assert_eq!(lost, ["wrong: VLAN 10 of eth1 is not there"]);
    let vlan = SeenLink { state: LinkState::Down, ..link_of_kernel(8, "eth1.10") };
    let down = with(eth1(LinkState::Up), Some((10, Some(vlan))));
    assert_eq!(down, ["wrong: its VLAN 10, eth1.10 is down"]);
}

#[test]
fn its_own_link_is_not_there_or_down_and_then_its_routers_are_not_blamed() {
    let gone = Observed { inside: None, routers: Vec::new(), ..well() };
    assert_eq!(reasons(&gone), ["wrong: it has no link"]);
    let gone = with_own(|seen| seen.links.clear());
    assert_eq!(reasons(&gone), ["wrong: its link eth0 is not there"]);
    let mut down = with_own(|seen| seen.links[0].state = LinkState::Down);
    down.routers = vec![router(Neighbour::Silent, Neighbour::Answers)];
    assert_eq!(reasons(&down), ["wrong: its link eth0 is down"]);
}

#[test]
fn an_address_is_not_there_or_somebody_elses_or_not_known_to_be_free() {
    let gone = with_own(|seen| seen.addresses.clear());
    assert_eq!(reasons(&gone), ["wrong: 192.0.2.10/24 is not on eth0"]);
    let taken = with_own(|seen| seen.addresses[0].is_duplicate = true);
    assert_eq!(reasons(&taken), ["wrong: somebody else on the wire has 192.0.2.10/24"]);
    let asked = with_own(|seen| seen.addresses[0].is_tentative = true);
    assert_eq!(reasons(&asked), ["suspected: 192.0.2.10/24 cannot be used yet"]);
    let (address, length, server) = (ip("192.0.2.77"), 24, ip("192.0.2.53"));
    let lease = Lease::Held { address, length, server };
    let gone = Observed { lease, ..well() };
    assert_eq!(reasons(&gone), ["wrong: 192.0.2.77/24 is not on eth0"]);
}

#[test]
fn without_a_lease_the_server_is_named_and_ipvlan_for_who_has_macvlan() {
    let lease = || Lease::Lacking("no DHCP server on uplink has given".to_owned());
    let found = diagnose(&Observed { lease: lease(), ..well() });
    assert_eq!(found.findings[0].what, "it has no address from DHCP");
    assert_eq!(found.findings[0].evidence, "an address no DHCP server on uplink has given");
    assert!(found.findings[0].remedy.as_ref().unwrap().contains("mode = \"ipvlan\""));
    let kind = Kind::Ipvlan { mode: crate::unit::IpvlanMode::L2 };
    let link = Some(Link { kind, ..link() });
    let found = diagnose(&Observed { lease: lease(), link, ..well() });
    assert!(!found.findings[0].remedy.as_ref().unwrap().contains("ipvlan"));
}

#[test]
fn a_default_route_that_somebody_took_away_is_missed() {
    let gone = with_own(|seen| seen.routes.clear());
    assert_eq!(reasons(&gone), ["wrong: the default route by 192.0.2.1 is not there"]);
}

#[test]
fn a_filter_of_ethernet_addresses_is_suspected_when_the_router_answers_the_host_alone() {
    const SILENT: &str = "wrong: the router 192.0.2.1 does not answer the jail";
    let filter = "suspected: a switch (port security) or a hypervisor (MAC filter) lets only the host's \
                  Ethernet address through";
    let with = |of_host, change: fn(&mut SeenLink)| {
        let mut observed = with_own(|seen| change(&mut seen.links[0]));
        observed.routers = vec![router(Neighbour::Silent, of_host)];
        observed
    };
    let heard = with(Neighbour::HasAnswered, |_| {});
    assert_eq!(reasons(&heard), [SILENT, filter]);
    // The jail hears others, and nobody hears the router.
    assert_eq!(reasons(&with(Neighbour::Unknown, |_| {})), [SILENT]);
    let deaf = with(Neighbour::Unknown, |own| own.received = 0);
    assert_eq!(reasons(&deaf), [SILENT, filter]);
    // It shares the host's address.
    let kind = Kind::Ipvlan { mode: crate::unit::IpvlanMode::L2 };
    let heard = Observed { link: Some(Link { kind, ..link() }), ..heard };
    assert_eq!(reasons(&heard), [SILENT]);
}

#[test]
fn macvlan_on_a_wireless_parent_is_suspected_at_once() {
    let Lower::Parent { name, seen, others, vlan, .. } = parent() else { panic!() };
    let lower = Lower::Parent { name, seen, others, vlan, is_wireless: true };
    let found = reasons(&Observed { lower, ..well() });
    assert_eq!(
        found,
        ["suspected: most wireless networks take no second Ethernet address from a card"]
    );
}

#[test]
fn a_closed_firewall_is_a_reason_and_one_with_ports_a_note() {
    let with = |ingress: Vec<String>| {
        let firewall = Firewall { ingress: Some(ingress), egress: None };
        Observed { firewall, ..well() }
    };
    assert_eq!(reasons(&with(Vec::new())), ["wrong: its firewall lets nobody in"]);
    let https = with(vec!["anybody: 443/tcp".to_owned()]);
    assert!(reasons(&https).is_empty());
    let found = diagnose(&https);
    assert_eq!(found.findings[0].what, "its firewall lets in what its unit lists, and no ping");
    assert_eq!(found.findings[0].evidence, "it lets in: anybody: 443/tcp");
    let db = diagnose(&with(vec!["jail:db: every port".to_owned()]));
    assert_eq!(db.findings[0].what, "its firewall lets in what its unit lists");
}

#[test]
fn ports_lead_nowhere_without_a_rule_or_where_the_jail_is_disabled() {
    let lower = || Lower::Network {
        name: "front".to_owned(),
        bridge: Some(link_of_kernel(9, "br-front")),
        has_way_out: true,
    };
    let with = |leads, is_enabled| {
        let life = Life { is_enabled, ..well().life };
        let ports = vec![("8080:80".to_owned(), leads)];
        diagnose(&Observed { life, ports, lower: lower(), ..well() })
    };
    assert!(with(true, true).findings.is_empty());
    let lost = with(false, true);
    assert_eq!(lost.findings[0].what, "nothing leads by the published port 8080:80");
    let disabled = with(false, false);
    assert_eq!(disabled.findings[0].remedy.as_deref(), Some("`jailctl enable web`"));
}

#[test]
fn a_jail_without_a_link_has_that_reason_alone() {
    let none = Observed { link: None, lower: Lower::None, inside: None, ..well() };
    assert_eq!(reasons(&none), ["wrong: it has no link"]);
    // Of one whose unit cannot be used nobody knows what it is to have.
    let (state, has_unit, is_running) = (JailState::Invalid, false, false);
    let life = Life { state, has_unit, is_running, ..well().life };
    assert_eq!(reasons(&Observed { life, ..none }), ["wrong: its program does not run"]);
}

#[test]
fn what_was_not_looked_at_is_not_said_to_be_gone() {
    let cut = with_own(|seen| {
        (seen.is_cut, seen.addresses, seen.routes) = (true, Vec::new(), Vec::new());
    });
    assert!(reasons(&cut).is_empty());
    let cut = with_own(|seen| (seen.is_cut, seen.links) = (true, Vec::new()));
    assert!(reasons(&cut).is_empty());
}

#[test]
fn of_a_link_without_arp_is_said_that_others_need_a_route() {
    let kind = Kind::Ipvlan { mode: crate::unit::IpvlanMode::L3s };
    let found = diagnose(&Observed { link: Some(Link { kind, ..link() }), ..well() });
    let notes: Vec<&str> = found.findings.iter().map(|one| one.what.as_str()).collect();
    assert!(
        notes.contains(&"others outside reach it only if they have a route to it by this host")
    );
}
