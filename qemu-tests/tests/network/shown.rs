//! What `jailctl net` shows of the host and its jails, and who has set it.

use jailsupd::control::wire::{JailNetwork, LinkState, NetLink, NetworkShown, SetBy};
use qemu_tests::Vm;

use super::bridges::{member, network, remove_all};
use super::dhcp::{DNS, RANGE, asks, served};
use super::{SOON, hosts, in_network, on_one_line, unit};

fn shown(vm: &mut Vm) -> NetworkShown {
    vm.agent().ask(&["net"]).unwrap()
}

fn of_jail(shown: &NetworkShown, jail: &str) -> JailNetwork {
    shown.jails.iter().find(|one| one.jail == jail).unwrap().clone()
}

fn link_of(shown: &NetworkShown, name: &str) -> NetLink {
    shown.links.iter().find(|link| link.name == name).unwrap().clone()
}

/// Addresses of a link, each with who has set it and where that says so.
fn set(link: &NetLink) -> Vec<(&str, SetBy, &str)> {
    let all = link.addresses.iter();
    all.map(|one| (one.address.as_str(), one.set_by, one.from.as_deref().unwrap_or_default()))
        .collect()
}

#[test]
fn fixed_addresses_and_routes_are_the_units_and_others_somebody_elses() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("a", &unit(1, "gateway = [\"10.9.0.254\"]\n"));
    near.put_up("tagged", &unit(2, "vlan = 10\n"));
    let all = shown(near);

    let parent = link_of(&all, "eth1");
    assert_eq!((parent.kind.as_str(), parent.warder), ("device", false));
    let vlan = link_of(&all, "eth1.10");
    assert_eq!((vlan.kind.as_str(), vlan.warder, vlan.vlan), ("vlan", true, Some(10)));
    assert_eq!(vlan.parent.as_deref(), Some("eth1"));
    assert!(all.links.iter().all(|link| link.name != "lo"));

    let a = of_jail(&all, "a");
    let [link] = a.links.as_slice() else { panic!("{:?}", a.links) };
    assert_eq!((link.name.as_str(), link.kind.as_str()), ("eth0", "macvlan"));
    assert_eq!((link.state, link.parent.as_deref()), (LinkState::Up, Some("eth1")));
    assert!(a.running && a.problem.is_none() && !a.cut);
    let own = set(link);
    let (_, by, from) = own.iter().find(|one| one.0 == "10.9.0.1/24").unwrap();
    assert_eq!(*by, SetBy::Unit);
    assert!(from.starts_with("/etc/jails.d/a.toml:"), "{from}");
    assert!(own.iter().any(|one| one.0 == "fd00:9::1/64" && one.1 == SetBy::Unit), "{own:?}");
    assert!(own.iter().any(|one| one.0.starts_with("fe80:") && one.1 == SetBy::Kernel), "{own:?}");
    let default = a.routes.iter().find(|route| route.to == "default").unwrap();
    assert_eq!((default.via.as_deref(), default.set_by), (Some("10.9.0.254"), SetBy::Unit));
    assert!(a.routes.iter().any(|one| one.to == "10.9.0.0/24" && one.set_by == SetBy::Kernel));
    assert_eq!(of_jail(&all, "tagged").links[0].parent.as_deref(), Some("eth1.10"));

    // What Warder has not set.
    let add = in_network(near, "a", "ip address add 10.9.0.77/24 dev eth0");
    near.sh(&add);
    let a = of_jail(&shown(near), "a");
    let own = set(&a.links[0]);
    assert!(own.contains(&("10.9.0.77/24", SetBy::Other, "")), "{own:?}");
    let text = on_one_line(&near.ctl(&["net"]));
    assert!(text.contains("a eth0 10.9.0.77/24 somebody else"), "{text}");

    // At rest it has its link still.
    near.ctl(&["stop", "a"]);
    let a = of_jail(&shown(near), "a");
    assert!(!a.running && a.links.len() == 1);
    for jail in ["a", "tagged"] {
        near.remove(jail);
    }
}

#[test]
fn a_lease_is_shown_with_its_server_and_its_end() {
    let mut hosts = served(RANGE, &[DNS]);
    let near = &mut hosts.near;
    near.put_up("leased", &asks(""));
    let leased = of_jail(&shown(near), "leased");
    let [address] = leased.links[0].addresses.as_slice() else { panic!("{leased:?}") };
    assert!(address.address.starts_with("10.9.0.1"), "{address:?}");
    assert_eq!((address.set_by, address.from.as_deref()), (SetBy::Lease, Some("10.9.0.53")));
    let now: u64 = near.sh("date +%s").trim().parse().unwrap();
    let left = address.ends.unwrap() / 1000 - now;
    assert!((1..=120).contains(&left), "{left}");
    let text = near.ctl(&["net"]);
    assert!(text.contains("DHCP server 10.9.0.53, ends in "), "{text}");
    near.remove("leased");
    hosts.far.remove("dhcp");

    // One that waits says so.
    let near = &mut hosts.near;
    near.put("waits", &asks(""));
    let waits = "waits waits for an address, which no DHCP server on eth1";
    let shown = format!("/usr/bin/jailctl net | tr -s '\\n ' ' ' | grep -q '{waits}'");
    near.agent().wait_until(&shown, SOON).unwrap();
    near.remove("waits");
}

#[test]
fn a_network_is_named_as_who_has_given_addresses_and_routes() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    network(near, "out", "subnet = [\"10.88.7.0/24\"]\nforward = \"nat\"");
    near.put_up("inner", &member("out", ""));
    let all = shown(near);
    let bridge = link_of(&all, "br-out");
    assert_eq!((bridge.warder, bridge.network.as_deref()), (true, Some("out")));
    assert_eq!(set(&bridge), [("10.88.7.1/24", SetBy::Network, "out")]);
    // Ports of bridges are the jails' own links seen from the other end.
    assert!(all.links.iter().all(|link| link.kind != "veth"));
    let inner = of_jail(&all, "inner");
    let link = &inner.links[0];
    assert_eq!((link.network.as_deref(), link.parent.as_deref()), (Some("out"), None));
    assert_eq!(set(link), [("10.88.7.2/24", SetBy::Network, "out")]);
    let default = inner.routes.iter().find(|route| route.to == "default").unwrap();
    assert_eq!((default.via.as_deref(), default.set_by), (Some("10.88.7.1"), SetBy::Network));
    remove_all(near, &["inner"]);
}
