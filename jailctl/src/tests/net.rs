//! `jailctl net` and `jailctl net doctor`: what they show of the peer's answers, and exit with.

use jailsupd::control::wire::{
    Diagnosis, Finding, JailNetwork, LinkState, NetAddress, NetLink, NetRoute, NetworkShown,
    Request, SetBy, Weight,
};

use super::NOW;
use super::commands::{asked, refused};
use super::peer::{asking, jailctl};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn link(name: &str, kind: &str, state: LinkState) -> NetLink {
    NetLink {
        name: name.to_owned(),
        kind: kind.to_owned(),
        state,
        mtu: 1500,
        mac: some("52:54:00:00:00:01"),
        parent: None,
        vlan: None,
        network: None,
        warder: false,
        addresses: Vec::new(),
        received: 1,
        sent: 2,
    }
}

fn address(address: &str, set_by: SetBy, from: Option<&str>) -> NetAddress {
    let from = from.map(str::to_owned);
    NetAddress { address: address.to_owned(), set_by, from, ends: None, problem: None }
}

fn route(to: &str, via: &str, set_by: SetBy, from: Option<&str>) -> NetRoute {
    let via = Some(via).filter(|via| !via.is_empty()).map(str::to_owned);
    let (link, from) = (some("eth0"), from.map(str::to_owned));
    NetRoute { to: to.to_owned(), via, link, metric: None, set_by, from }
}

pub(super) fn network() -> NetworkShown {
    let mut eth1 = link("eth1", "device", LinkState::Up);
    let of_host = address("192.0.2.2/24", SetBy::Host, Some("/etc/warder/host.toml:3:1"));
    eth1.addresses = vec![of_host];
    let mut vlan = link("eth1.10", "vlan", LinkState::NoCarrier);
    (vlan.parent, vlan.vlan, vlan.warder) = (some("eth1"), Some(10), true);
    let mut bridge = link("br-back", "bridge", LinkState::Up);
    (bridge.network, bridge.warder) = (some("back"), true);
    let mut own = link("eth0", "macvlan", LinkState::Up);
    (own.parent, own.warder) = (some("eth1"), true);
    own.addresses = vec![
        address("192.0.2.10/24", SetBy::Unit, Some("/etc/jails.d/web.toml:7:1")),
        NetAddress {
            ends: Some(NOW + 110_000),
            ..address("192.0.2.77/24", SetBy::Lease, Some("192.0.2.1"))
        },
        NetAddress {
            problem: some("somebody else on the wire has it"),
            ..address("fd00::7/64", SetBy::Other, None)
        },
    ];
    let routes = vec![
        route("default", "192.0.2.1", SetBy::Lease, Some("192.0.2.1")),
        route("192.0.2.0/24", "", SetBy::Kernel, None),
    ];
    let jail = |name: &str, links, routes, problem| JailNetwork {
        jail: name.to_owned(),
        running: true,
        links,
        routes,
        problem,
        cut: false,
    };
    let waits = some("waits for link eth7, which is not there\x1b[2J");
    NetworkShown {
        links: vec![eth1, vlan, bridge],
        routes: Vec::new(),
        jails: vec![
            jail("db", Vec::new(), Vec::new(), waits),
            jail("web", vec![own], routes, None),
        ],
    }
}

pub(super) fn diagnosis(is_ill: bool) -> Diagnosis {
    let finding = |weight, what: &str, evidence: &str, remedy: Option<&str>| Finding {
        weight,
        what: what.to_owned(),
        evidence: evidence.to_owned(),
        remedy: remedy.map(str::to_owned),
    };
    let note = finding(Weight::Note, "it is not reached by its host", "it is macvlan", None);
    let mut findings = vec![note];
    if is_ill {
        let what = "the parent link eth1 has no carrier, so that nothing comes or goes by any \
                    link on it";
        let remedy = Some("put the cable in");
        findings.insert(0, finding(Weight::Wrong, what, "eth1 is switched on", remedy));
        findings.push(finding(Weight::Suspected, "a filter of MACs", "no answer", None));
    }
    let jail = if is_ill { "bad" } else { "web" }.to_owned();
    Diagnosis { jail, findings, right: vec!["its link eth0 is up".to_owned()] }
}

#[test]
fn the_network_is_shown_as_tables_of_links_addresses_and_routes() {
    assert_eq!(asked(&["net"]), [Request::ShowNetwork {}]);
    assert_eq!(
        jailctl(&["net"]).unwrap(),
        "\
JAIL  LINK     KIND     STATE       MTU   MAC                ON
-     eth1     device   up          1500  52:54:00:00:00:01
-     eth1.10  vlan     no carrier  1500  52:54:00:00:00:01  eth1, VLAN 10 (warder)
-     br-back  bridge   up          1500  52:54:00:00:00:01  network back (warder)
web   eth0     macvlan  up          1500  52:54:00:00:00:01  eth1
    db waits for link eth7, which is not there\u{fffd}[2J

JAIL  LINK  ADDRESS        SET BY
-     eth1  192.0.2.2/24   /etc/warder/host.toml:3:1
web   eth0  192.0.2.10/24  /etc/jails.d/web.toml:7:1
web   eth0  192.0.2.77/24  DHCP server 192.0.2.1, ends in 1m50s
web   eth0  fd00::7/64     somebody else; somebody else on the wire has it

JAIL  ROUTE    VIA        LINK  SET BY
web   default  192.0.2.1  eth0  DHCP server 192.0.2.1
"
    );
}

#[test]
fn the_doctor_says_what_was_found_and_what_is_right() {
    assert_eq!(asked(&["net", "doctor", "web"]), [Request::Doctor { name: "web".to_owned() }]);
    assert_eq!(
        jailctl(&["net", "doctor", "web"]).unwrap(),
        "\
web  nothing is wrong

  note: it is not reached by its host
      seen: it is macvlan

Looked at, and as it should be
  its link eth0 is up
"
    );
    let (done, printed, _) = asking(&["net", "doctor", "bad"]);
    assert_eq!(done.unwrap_err().code(), 7);
    assert_eq!(
        printed,
        "\
bad

  wrong: the parent link eth1 has no carrier, so that nothing comes or goes by
  any link on it
      seen: eth1 is switched on
      help: put the cable in

  note: it is not reached by its host
      seen: it is macvlan

  perhaps: a filter of MACs
      seen: no answer

Looked at, and as it should be
  its link eth0 is up
"
    );
}

#[test]
fn the_doctor_knows_who_is_not_there_and_says_how_many_reasons_there_are() {
    let (code, text) = refused(&["net", "doctor", "wbe"]);
    assert_eq!(code, 3);
    assert!(text.contains("did you mean `web`?"), "{text}");
    let (code, text) = refused(&["net", "doctor", "bad", "--json"]);
    assert_eq!(code, 7);
    assert!(text.contains("`bad` may not be reached: 2 reasons were found"), "{text}");
}
