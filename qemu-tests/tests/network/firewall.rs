//! Firewalls of jails: who gets in and out is seen by connections that are made, or not.

use qemu_tests::Vm;

use super::bridges::{addresses, member, network, redis, remove_all};
use super::ways_out::talk;
use super::{SOON, hosts, in_network, unit};

const PING: &str = "PING\\r\\nQUIT\\r\\n";

/// Whether redis answers at this address.
fn answers(vm: &mut Vm, jail: &str, address: &str) -> bool {
    talk(vm, jail, (address, 6379), PING).contains("PONG")
}

/// For one whose link has just come up: its IPv6 address is of use a moment later.
fn wait_answers(vm: &mut Vm, jail: &str, address: &str) {
    let nc = in_network(vm, jail, &format!("nc -w 3 {address} 6379"));
    vm.agent().wait_until(&format!("printf '{PING}' | {nc} | grep -q PONG"), SOON).unwrap();
}

/// For a jail of a name that no other test has: its log would have their lines.
fn wait_ready(vm: &mut Vm, jail: &str) {
    let ready = format!("/usr/bin/jailctl logs {jail} | grep -q 'Ready to accept'");
    vm.agent().wait_until(&ready, SOON).unwrap();
}

/// The unit as edited holds, and its jail is the same as before.
fn edit(vm: &mut Vm, jail: &str, text: &str) {
    let pid = vm.agent().listed(jail).unwrap().pid;
    vm.put(jail, text);
    vm.ctl(&["apply"]);
    assert_eq!(vm.agent().listed(jail).unwrap().pid, pid, "without a restart");
}

#[test]
fn a_macvlan_jail_is_reached_by_those_that_its_firewall_names() {
    const DB: [&str; 2] = ["10.9.0.20", "fd00:9::20"];
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    let link = "[network]\nparent = \"eth1\"\naddress = [\"10.9.0.20/24\", \"fd00:9::20/64\"]\n";
    let redis = redis("none", "");
    let redis = redis.split_once("[network]").unwrap().0;
    let db = |keys: &str| format!("{redis}{link}\n[firewall]\n{keys}\n");
    let lets = |who: &str| db(&format!("ingress = [{{ from = [\"{who}\"], port = [\"6379\"] }}]"));
    vm.put_up("a", &unit(1, ""));
    vm.put_up("b", &unit(2, ""));
    vm.put_up("cache", &lets("jail:a"));
    wait_ready(vm, "cache");
    for address in DB {
        assert!(answers(vm, "a", address), "a to {address}");
        assert!(!answers(vm, "b", address), "b to {address}");
    }

    // One that is there later.
    edit(vm, "cache", &lets("jail:late"));
    assert!(!answers(vm, "a", DB[0]) && !answers(vm, "a", DB[1]));
    vm.put_up("late", &unit(3, ""));
    DB.iter().for_each(|address| wait_answers(vm, "late", address));
    assert!(!answers(vm, "b", DB[0]));

    // What counts outlives jailsupd, and the next one goes on from there; so does a restart.
    vm.sh("kill -KILL $(pidof jailsupd)");
    assert!(answers(vm, "late", DB[0]) && !answers(vm, "b", DB[0]));
    vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    assert!(answers(vm, "late", DB[1]) && !answers(vm, "b", DB[1]));
    vm.remove("late");
    vm.put_up("late", &unit(4, ""));
    // At its new address.
    wait_answers(vm, "late", DB[0]);

    edit(vm, "cache", &lets("10.9.0.2/32"));
    assert!(answers(vm, "b", DB[0]) && !answers(vm, "b", DB[1]), "IPv4 alone");
    edit(vm, "cache", &db("ingress = [{ port = [\"6380\", \"6379/udp\"] }]"));
    assert!(!answers(vm, "b", DB[0]), "another port");
    edit(vm, "cache", &db("ingress = []"));
    assert!(!answers(vm, "b", DB[0]) && !answers(vm, "b", DB[1]), "nobody");
    vm.ctl(&["restart", "cache"]);
    vm.up("cache");
    assert!(!answers(vm, "b", DB[0]), "after a restart, too");
    edit(vm, "cache", &db(""));
    wait_answers(vm, "b", DB[0]);
    for jail in ["a", "b", "late", "cache"] {
        vm.remove(jail);
    }
}

#[test]
fn a_jail_in_a_network_reaches_those_that_its_firewall_names_and_no_more_often_than_allowed() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "subnet = [\"10.88.1.0/24\", \"fd00:88:1::/64\"]");
    vm.put_up("store-in", &redis("back", ""));
    vm.put_up("store-out", &redis("back", ""));
    wait_ready(vm, "store-in");
    wait_ready(vm, "store-out");
    let db = addresses(vm, "store-in");
    let other = addresses(vm, "store-out");
    let with = |keys: &str| member("back", "") + "\n[firewall]\n" + keys + "\n";
    vm.put_up("a", &with("egress = [{ to = [\"jail:store-in\"], port = [\"6379\"] }]"));
    for (db, other) in db.iter().zip(&other) {
        assert!(answers(vm, "a", db), "{db}");
        assert!(!answers(vm, "a", other), "{other}");
    }
    edit(vm, "a", &with("egress = []"));
    assert!(!answers(vm, "a", &db[0]) && !answers(vm, "a", &db[1]));
    edit(vm, "a", &with(""));
    assert!(answers(vm, "a", &other[0]) && answers(vm, "a", &other[1]));

    // All of its table together, and not the other one's.
    let limited =
        "\n[[firewall.ingress]]\nport = [\"6379\"]\nfrom = [\"jail:a\"]\nrate_limit = \"3/h\"\n";
    edit(vm, "store-in", &(redis("back", "") + limited));
    let seen = vm.agent().inspect("store-in").unwrap();
    assert_eq!(seen.ingress.unwrap(), ["jail:a: 6379/tcp, 3/h"]);
    assert!(seen.egress.is_none() && seen.publish.is_empty());
    assert!(seen.link.unwrap().starts_with("bridge on network back as "));
    for address in [&db[0], &db[1], &db[0]] {
        assert!(answers(vm, "a", address));
    }
    assert!(!answers(vm, "a", &db[0]) && !answers(vm, "a", &db[1]), "enough for this hour");
    assert!(answers(vm, "a", &other[0]));
    remove_all(vm, &["a", "store-in", "store-out"]);
}
