//! Each kind of link, and whom it reaches.

use qemu_tests::{Vm, proto::Status};

use super::{SOON, hosts, in_network, on_one_line, reaches, unit, wait_reached, wait_usable};

/// A kind, whether two jails of it on one parent reach each other, and whether they reach a jail of another host.
const KINDS: &[(&str, bool, bool)] = &[
    ("mode = \"macvlan\"", true, true),
    ("macvlan_mode = \"private\"", false, true),
    // QEMU's wire is no switch that sends frames back.
    ("macvlan_mode = \"vepa\"", false, true),
    ("mode = \"ipvlan\"", true, true),
    // Nobody there has a route back, and nobody answers them by ARP.
    ("mode = \"ipvlan\"\nipvlan_mode = \"l3\"", true, false),
    ("mode = \"ipvlan\"\nipvlan_mode = \"l3s\"", true, false),
];

#[test]
fn each_kind_of_link_reaches_whom_it_should() {
    let mut hosts = hosts();
    for (kind, each_other, outside) in KINDS {
        // A new one each time, which has not heard of the others' Ethernet addresses.
        hosts.far.put_up("c", &unit(3, ""));
        for (name, number) in [("a", 1), ("b", 2)] {
            hosts.near.put(name, &unit(number, kind));
        }
        hosts.near.up("a");
        hosts.near.up("b");
        let near = &mut hosts.near;
        let expected = [
            ("10.9.0.2", each_other),
            ("fd00:9::2", each_other),
            ("10.9.0.3", outside),
            ("fd00:9::3", outside),
        ];
        // Who is reached first: then the addresses are usable, and nobody is out of reach for another reason.
        for (address, _) in expected.iter().filter(|(_, is_reached)| **is_reached) {
            wait_reached(near, "a", address);
        }
        wait_usable(near, "b");
        for (address, is_reached) in expected {
            assert_eq!(reaches(near, "a", address), *is_reached, "{kind}: {address}");
        }
        // Links of two kinds cannot be on one parent, not even for the time of a restart.
        near.remove("a");
        near.remove("b");
        hosts.far.remove("c");
    }
}

#[test]
fn an_ipvlan_jail_has_its_parents_ethernet_address_and_a_macvlan_jail_its_own() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    let parent = near.sh("cat /sys/class/net/eth1/address");
    near.put_up("a", &unit(1, "mode = \"ipvlan\""));
    let shown = in_network(near, "a", "ip link show eth0");
    assert!(near.sh(&shown).contains(parent.trim()));
    assert_eq!(near.agent().inspect("a").unwrap().mac, None);
    near.remove("a");

    near.put_up("a", &unit(1, "mac = \"02:00:00:00:00:01\""));
    let shown = in_network(near, "a", "ip link show eth0");
    assert!(near.sh(&shown).contains("02:00:00:00:00:01"));
    near.remove("a");
}

#[test]
fn kinds_that_cannot_share_a_parent_are_refused() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("a", &unit(1, ""));
    near.agent().write("/etc/jails.d/b.toml", &unit(2, "mode = \"ipvlan\"")).unwrap();

    let said = near.refused(&["apply"], Status::Exit(6));

    let words = on_one_line(&said);
    let expected = "ipvlan cannot be on eth1 beside macvlan, which jail `a` (/etc/jails.d/a.toml";
    assert!(words.contains(expected), "{said}");
    assert!(words.contains("use one kind on a parent"), "{said}");
    near.up("a");
    near.sh("rm /etc/jails.d/b.toml");
    near.remove("a");
}

#[test]
fn packets_are_as_large_as_the_unit_says() {
    let mut hosts = hosts();
    hosts.far.put_up("c", &unit(3, ""));
    let near = &mut hosts.near;
    near.put_up("a", &unit(1, "mtu = 1400"));
    let shown = in_network(near, "a", "ip link show eth0");
    assert!(near.sh(&shown).contains("mtu 1400"));
    wait_reached(near, "a", "10.9.0.3");

    near.put("a", &unit(1, "mtu = 9000"));
    let refused =
        "/usr/bin/jailctl why a | grep -q 'packets of 9000 bytes are more than eth1 takes: 1500'";
    near.agent().wait_until(refused, SOON).unwrap();
    let why = near.ctl(&["why", "a"]);
    assert!(why.contains("network.mtu") && why.contains("make it smaller"), "{why}");
    near.remove("a");
}

/// A process of the host that holds the jail's network namespace, as the kernel does for a while after its last user.
fn hold_network(near: &mut Vm, jail: &str) -> String {
    let command = in_network(near, jail, "tail -f /dev/null");
    near.sh(&format!("{command} </dev/null >/dev/null 2>&1 & echo $!"))
}

#[test]
fn jails_have_their_ethernet_addresses_again_at_once() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("again", &unit(1, ""));
    let former = hold_network(near, "again");
    near.remove("again");
    near.put_up("again", &unit(1, ""));
    // A jail that may configure its network has a new one at each start.
    let policy = "version = 1\n[security]\nadd_capability = [\"NET_ADMIN\"]\n";
    near.agent().write("/etc/warder/policy.toml", policy).unwrap();
    let admin = format!("{}[security]\nadd_capability = [\"NET_ADMIN\"]\n", unit(2, ""));
    near.put_up("admin", &admin);
    let other = hold_network(near, "admin");
    near.ctl(&["restart", "admin"]);
    near.up("admin");

    for jail in ["again", "admin"] {
        let told = near.ctl(&["events", jail]);
        assert!(told.matches("its program was executed").count() == 2, "{told}");
        assert!(!told.contains("backoff"), "{told}");
        near.remove(jail);
    }
    near.sh(&format!("kill {} {}", former.trim(), other.trim()));
}

#[test]
fn a_jail_at_rest_does_not_answer_for_an_address_that_its_unit_has_given_up() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("resting", &unit(1, "mac = \"02:00:00:00:00:01\""));
    near.ctl(&["stop", "resting"]);
    near.put("resting", &unit(2, ""));

    near.put_up("heir", &unit(1, "mac = \"02:00:00:00:00:01\""));

    let told = near.ctl(&["events", "heir"]);
    assert!(!told.contains("backoff"), "{told}");
    near.ctl(&["start", "resting"]);
    near.up("resting");
    assert!(reaches(near, "resting", "10.9.0.1"));
    near.remove("resting");
    near.remove("heir");
}

#[test]
fn a_jail_has_ipv6_on_its_link_only_if_its_unit_lists_it() {
    let mut vm = hosts().near;
    let both = unit(71, "");
    let ipv4 = both.replace(", \"fd00:9::71/64\"", "");
    for (text, has_ipv6) in [(both.as_str(), true), (&ipv4, false)] {
        vm.put_up("a", text);
        let shown = in_network(&mut vm, "a", "ip -6 addr show dev eth0");
        assert_eq!(vm.sh(&shown).contains("inet6"), has_ipv6, "{text}");
        vm.remove("a");
    }
}
