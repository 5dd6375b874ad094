//! Networks of the host's own: who is in them, and that nobody else is.

use std::collections::BTreeMap;

use jailsupd::control::wire::JailState;
use qemu_tests::{Vm, proto::Status, unit_of};

use super::{SOON, hosts, in_network, links, on_one_line, reaches, unit, wait_reached};

/// Describes a network.
pub(super) fn network(vm: &mut Vm, name: &str, text: &str) {
    vm.sh("mkdir -p /etc/jails.d/networks");
    let path = format!("/etc/jails.d/networks/{name}.toml");
    vm.agent().write(&path, &format!("version = 1\n{text}\n")).unwrap();
}

/// A jail in a network; `rest` are more keys of `[network]`.
pub(super) fn member(network: &str, rest: &str) -> String {
    let keys = format!("mode = \"bridge\"\nnetwork = \"{network}\"\n{rest}");
    let unit = unit_of("nuisance", &["stay"], "").replace("mode = \"none\"", &keys);
    unit.replace("/nuisance.erofs", "/named.erofs")
}

/// A real service in a network, with more words for its program.
pub(super) fn redis(network: &str, words: &str) -> String {
    format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/redis.erofs\"\n[process]\nuser = \"redis\"\n\
         exec = [\"/usr/bin/redis-server\", \"--protected-mode\", \"no\", \"--save\", \"\", \"--dir\", \"/tmp\"{words}]\n\
         [network]\nmode = \"bridge\"\nnetwork = \"{network}\"\n"
    )
}

/// A jail's addresses, without their prefix lengths.
pub(super) fn addresses(vm: &mut Vm, jail: &str) -> Vec<String> {
    let shown = vm.agent().listed(jail).unwrap().address;
    shown.iter().map(|address| address.split('/').next().unwrap().to_owned()).collect()
}

/// What a jail's `/etc/hosts` says of other jails: names, each with its addresses.
fn names(vm: &mut Vm, jail: &str) -> BTreeMap<String, Vec<String>> {
    let pid = vm.agent().service(jail, "nuisance").unwrap().pid;
    let text = vm.sh(&format!("cat /proc/{pid}/root/etc/hosts"));
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for (address, name) in text.lines().filter_map(|line| line.split_once(' ')) {
        names.entry(name.to_owned()).or_default().push(address.to_owned());
    }
    names.retain(|name, _| !name.contains("localhost") && name != jail);
    names
}

/// Bridges on the host, and their ports.
fn bridges(vm: &mut Vm) -> Vec<String> {
    links(vm).into_iter().filter(|link| link.starts_with("br-") || link.starts_with('v')).collect()
}

pub(super) fn remove_all(vm: &mut Vm, jails: &[&str]) {
    for jail in jails {
        vm.remove(jail);
    }
    vm.sh("rm -rf /etc/jails.d/networks");
    vm.ctl(&["apply"]);
    assert_eq!(bridges(vm), Vec::<String>::new(), "they go with the last jail");
}

#[test]
fn jails_of_a_network_find_and_reach_each_other_and_nobody_else() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "subnet = [\"10.88.1.0/24\", \"fd00:88:1::/64\"]");
    network(vm, "front", "");
    vm.put("store", &redis("back", ""));
    vm.put("copy", &redis("back", ", \"--replicaof\", \"store\", \"6379\""));
    vm.put_up("a", &member("back", ""));
    vm.put_up("c", &member("front", ""));
    vm.put_up("plain", &unit(4, ""));
    vm.up("store");
    vm.up("copy");

    // By the resolver of a real program.
    let is_copied =
        "/usr/bin/jailctl logs copy | grep -q 'MASTER <-> REPLICA sync: Finished with success'";
    let copied = vm.agent().wait_until(is_copied, SOON);
    assert!(copied.is_ok(), "{copied:?} {}", vm.ctl(&["logs", "copy"]));
    assert_eq!(addresses(vm, "store").len(), 2);
    // They would ask for it on their own link.
    for jail in ["c", "plain"] {
        for route in
            ["ip route add 10.88.1.0/24 dev eth0", "ip -6 route add fd00:88:1::/64 dev eth0"]
        {
            let add = in_network(vm, jail, route);
            vm.sh(&add);
        }
    }
    for route in ["ip route add 10.9.0.0/24 dev eth0", "ip -6 route add fd00:9::/64 dev eth0"] {
        let add = in_network(vm, "a", route);
        vm.sh(&add);
    }
    for address in addresses(vm, "store") {
        wait_reached(vm, "a", &address);
        assert!(!reaches(vm, "c", &address), "{address}");
        assert!(!reaches(vm, "plain", &address), "{address}");
    }
    for address in ["10.9.0.4", "fd00:9::4"] {
        assert!(!reaches(vm, "a", address), "{address}");
    }
    let own = addresses(vm, "c");
    assert!(own.iter().all(|address| !addresses(vm, "a").contains(address)));
    assert_eq!(names(vm, "a").keys().collect::<Vec<_>>(), ["copy", "store"]);
    assert_eq!(names(vm, "c").len(), 0);

    // Nobody gets in by its bridge.
    let by_bridge = unit(5, "").replace("parent = \"eth1\"", "parent = \"br-back\"");
    vm.put("sneaks", &by_bridge);
    let waits = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.waits_for.as_deref() == Some("link br-back"))
    };
    vm.agent().wait_listed("sneaks", "it waits for ever", waits).unwrap();
    remove_all(vm, &["sneaks", "store", "copy", "a", "c", "plain"]);
}

#[test]
fn a_version_on_trial_keeps_the_place_that_it_was_given() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "");
    let first = "[deploy]\nstrategy = \"start-first\"\nmin_healthy_time = \"5s\"\n";
    vm.put_up("web", &(unit(7, "") + first));
    vm.agent().wait_until("[ -e /data/deploys/web.good ]", SOON).unwrap();
    vm.put("web", &(member("back", "") + first));
    let trial = "[ -d /sys/fs/cgroup/jails/web.2 ]";
    vm.agent().wait_until(trial, SOON).unwrap();
    // The others come while it has nothing but its loopback.
    vm.put_up("a", &member("back", ""));
    vm.put_up("b", &member("back", ""));
    vm.sh(trial);
    vm.agent().wait_until("/usr/bin/jailctl ls | grep '^web ' | grep -q 10.89.", SOON).unwrap();
    let own = addresses(vm, "web");
    let others: Vec<String> = ["a", "b"].iter().flat_map(|jail| addresses(vm, jail)).collect();
    assert!(own.iter().all(|address| !others.contains(address)), "{own:?} {others:?}");
    vm.agent().wait_until("[ $(ls -d /sys/fs/cgroup/jails/web* | wc -l) -eq 1 ]", SOON).unwrap();
    // It is who it says it is, to itself, too.
    let pid = vm.agent().service("web", "nuisance").unwrap().pid;
    let is_own = format!("grep -q '^{} web$' /proc/{pid}/root/etc/hosts", own[0]);
    let told = vm.agent().wait_until(&is_own, SOON);
    assert!(told.is_ok(), "{told:?} {}", vm.sh(&format!("cat /proc/{pid}/root/etc/hosts")));
    wait_reached(vm, "a", &own[0]);
    remove_all(vm, &["web", "a", "b"]);
}

#[test]
fn an_ethernet_address_that_another_jail_has_is_refused() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "");
    vm.put_up("a", &member("back", ""));
    vm.put_up("c", &member("back", ""));
    let mac = vm.agent().inspect("a").unwrap().mac.unwrap();
    vm.put("b", &(member("back", &format!("mac = \"{mac}\"")) + "[restart]\npolicy = \"no\"\n"));
    vm.agent().wait_state("b", JailState::Failed).unwrap();
    let why = vm.ctl(&["why", "b"]);
    assert!(why.contains(&format!("use {mac}, which jail `a` has in network back")), "{why}");
    let own = addresses(vm, "a");
    wait_reached(vm, "c", &own[0]);
    remove_all(vm, &["a", "b", "c"]);
}

#[test]
fn nobody_in_a_network_reaches_the_host_by_its_bridge() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "");
    vm.put_up("a", &member("back", ""));
    // An address of the host's, and a jail that would get everything there: more than its own programs could.
    vm.sh("ip address add 10.77.0.1/32 dev lo");
    let mac = vm.sh("cat /sys/class/net/br-back/address");
    let own = addresses(vm, "a")[0].clone();
    let script = format!(
        "ip route add 10.77.0.1 dev eth0 && arp -s 10.77.0.1 {} && \
         ping -q -c 3 -i 0.3 -W 1 10.77.0.1 >/dev/null",
        mac.trim()
    );
    let parts: Vec<String> = script.split(" && ").map(|part| in_network(vm, "a", part)).collect();
    let echoes = |vm: &mut Vm| -> u64 {
        let table = vm.sh("grep '^Icmp:' /proc/net/snmp");
        let mut lines = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.iter().position(|name| *name == "InEchos").unwrap();
        values[at].parse().unwrap()
    };
    vm.sh(&format!("{}; {}", parts[0], parts[1]));
    let before = echoes(vm);
    vm.sh(&format!("! {}", parts[2]));
    assert_eq!(echoes(vm), before, "the host has heard {own}");
    // Nor without what jailsupd has told the bridge: the packet filter does not let it through.
    vm.sh("echo 0 > /proc/sys/net/ipv4/conf/br-back/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter");
    vm.sh(&format!("! {}", parts[2]));
    assert_eq!(echoes(vm), before, "the host has heard {own}");
    vm.sh("ping -q -c 1 10.77.0.1 >/dev/null");
    assert!(echoes(vm) > before, "what is heard is counted");
    assert_eq!(vm.sh("cat /proc/net/if_inet6 | grep br-back || true"), "");

    vm.sh("ip address del 10.77.0.1/32 dev lo");
    remove_all(vm, &["a"]);
}

#[test]
fn a_jail_keeps_its_place_in_its_network() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "");
    vm.put_up("a", &member("back", ""));
    vm.put_up("b", &member("back", ""));
    let (own, other) = (addresses(vm, "a"), addresses(vm, "b"));
    let shown = in_network(vm, "a", "ip link show eth0");
    let mac = vm.agent().inspect("a").unwrap().mac.unwrap();
    assert!(vm.sh(&shown).contains(&mac));

    vm.ctl(&["restart", "a"]);
    assert_eq!(addresses(vm, "a"), own);
    assert!(reaches(vm, "b", &own[0]) && reaches(vm, "b", &own[1]));
    // The next jailsupd knows them, and those that come get others.
    vm.sh("kill -KILL $(pidof jailsupd)");
    vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    vm.put_up("c", &member("back", ""));
    assert_eq!((addresses(vm, "a"), addresses(vm, "b")), (own.clone(), other));
    wait_reached(vm, "c", &own[0]);
    let shown = in_network(vm, "a", "ip link show eth0");
    assert!(vm.sh(&shown).contains(&mac));
    // What nobody looks at goes all the same.
    vm.sh("kill -STOP $(pidof jailsupd); rm /etc/jails.d/[abc].toml; kill -KILL $(pidof jailsupd)");
    vm.agent().wait_until("! ls /sys/class/net | grep -q '^br-back$'", SOON).unwrap();
    remove_all(vm, &["a", "b", "c"]);
}

#[test]
fn names_come_and_go_with_the_jails() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "subnet = [\"10.88.7.0/24\"]\nmtu = 1400");
    vm.put_up("a", &member("back", ""));
    assert_eq!(names(vm, "a").len(), 0);
    let pid = vm.agent().service("a", "nuisance").unwrap().pid;

    vm.put_up("b", &member("back", "address = [\"10.88.7.77/24\"]"));
    vm.put_up("c", &member("back", ""));
    let expected = [("b", "10.88.7.77"), ("c", "10.88.7.3")];
    let expected = expected.map(|(name, address)| (name.to_owned(), vec![address.to_owned()]));
    assert_eq!(names(vm, "a"), BTreeMap::from(expected.clone()));
    wait_reached(vm, "a", "10.88.7.77");
    vm.remove("b");
    assert_eq!(names(vm, "a"), BTreeMap::from([expected[1].clone()]));
    assert_eq!(vm.agent().service("a", "nuisance").unwrap().pid, pid, "it was not restarted");
    let shown = in_network(vm, "a", "ip link show eth0");
    assert!(vm.sh(&shown).contains("mtu 1400"));
    assert!(vm.sh("ip link show br-back").contains("mtu 1400"));

    remove_all(vm, &["a", "c"]);
}

#[test]
fn what_is_wrong_with_a_network_is_said_and_stops_nothing() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "subnet = [\"10.88.7.0/24\"]");
    vm.put_up("a", &member("back", ""));
    // One that has no address from the host.
    vm.put_up("fixed", &member("back", "address = [\"10.88.7.99/24\"]"));
    let pid = vm.agent().service("a", "nuisance").unwrap().pid;
    let says = |vm: &mut Vm, expected: &[&str]| {
        let said = vm.refused(&["check"], Status::Exit(6));
        let words = on_one_line(&said);
        for part in expected {
            assert!(words.contains(part), "{part}: {said}");
        }
        // Of what no unit needs, it says nothing.
        vm.agent().jailctl(&["apply"]).unwrap();
        assert_eq!(vm.agent().service("a", "nuisance").unwrap().pid, pid, "it runs on");
    };

    network(vm, "back", "subnet = [\"10.88.7.5/24\"]");
    says(vm, &["/etc/jails.d/networks/back.toml:2:11", "write \"10.88.7.0/24\"", "a.toml"]);
    vm.sh("rm /etc/jails.d/networks/back.toml");
    says(vm, &["there is no network `back`", "write /etc/jails.d/networks/back.toml", "a.toml:"]);
    // The next jailsupd knows what it was, and starts there what ends.
    vm.sh("kill -KILL $(pidof jailsupd)");
    vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    let fixed = vm.agent().service("fixed", "nuisance").unwrap().pid;
    vm.sh(&format!("kill -KILL {fixed}"));
    let again = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.restarts == 1)
    };
    vm.agent().wait_listed("fixed", "up again", again).unwrap();
    wait_reached(vm, "a", "10.88.7.99");
    vm.remove("fixed");
    network(vm, "back", "subnet = [\"10.88.7.0/24\"]");
    network(vm, "wide", "subnet = [\"10.88.0.0/16\"]");
    says(vm, &["10.88.0.0/16 overlaps 10.88.7.0/24 of the network `back`", "wide.toml:2:10"]);
    vm.sh("rm /etc/jails.d/networks/wide.toml");
    for (address, expected) in [
        ("10.88.8.9/24", "10.88.8.9/24 is not in the network `back`, which is 10.88.7.0/24"),
        ("10.88.7.1/24", "10.88.7.1 is kept for the router of the network `back`"),
        ("10.88.7.2/24", "10.88.7.2 was given to jail `a`, which keeps it"),
    ] {
        let text = member("back", &format!("address = [\"{address}\"]"));
        vm.agent().write("/etc/jails.d/b.toml", &text).unwrap();
        says(vm, &[expected, "/etc/jails.d/b.toml:"]);
    }
    vm.sh("rm /etc/jails.d/b.toml");
    vm.ctl(&["apply"]);
    assert_eq!(addresses(vm, "a"), ["10.88.7.2"]);

    // A real change restarts who is in it.
    network(vm, "back", "subnet = [\"10.88.8.0/24\"]");
    vm.ctl(&["apply"]);
    vm.agent().wait_state("a", JailState::Up).unwrap();
    assert_ne!(vm.agent().service("a", "nuisance").unwrap().pid, pid);
    let told = vm.ctl(&["events", "a"]);
    assert!(told.contains("up -> stopping  its unit changed"), "{told}");
    assert_eq!(addresses(vm, "a"), ["10.88.8.2"]);
    let shown = in_network(vm, "a", "ip address show eth0");
    let shown = vm.sh(&shown);
    assert!(shown.contains("10.88.8.2/24") && !shown.contains("10.88.7.2"), "{shown}");
    remove_all(vm, &["a"]);
}

#[test]
fn a_network_that_is_full_says_so_and_takes_the_next_when_one_goes() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "small", "subnet = [\"10.88.9.0/30\"]");
    vm.put_up("a", &member("small", ""));

    vm.put("b", &member("small", ""));
    let row = vm.agent().wait_state("b", JailState::Invalid).unwrap();
    let problem = row.problem.unwrap_or_default();
    assert!(problem.contains("/etc/jails.d/b.toml:"), "{problem}");
    assert!(problem.contains("no address is left in the network small"), "{problem}");
    assert!(problem.contains("a larger `subnet`"), "{problem}");
    assert_eq!(addresses(vm, "a"), ["10.88.9.2"]);

    vm.remove("a");
    vm.agent().wait_state("b", JailState::Up).unwrap();
    assert_eq!(addresses(vm, "b"), ["10.88.9.2"]);
    remove_all(vm, &["b"]);
}

#[test]
fn a_draft_of_a_network_is_checked_before_it_is_there() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "back", "subnet = [\"10.88.7.0/24\"]");
    vm.put_up("a", &member("back", "address = [\"10.88.7.9/24\"]"));
    vm.sh("mkdir -p /tmp/draft/networks");
    let mut check = |text: &str, status: i32| {
        vm.agent().write("/tmp/draft/networks/back.toml", text).unwrap();
        let said = vm.refused(&["check", "/tmp/draft/networks/back.toml"], Status::Exit(status));
        on_one_line(&said)
    };

    let broken = check("version = 1\nsubnet = [\"10.88.7.5/24\"]\n", 6);
    assert!(broken.contains("/tmp/draft/networks/back.toml:2:11"), "{broken}");
    // A good one that a unit does not fit any more.
    let elsewhere = check("version = 1\nsubnet = [\"10.88.8.0/24\"]\n", 6);
    let expected = "10.88.7.9/24 is not in the network `back`, which is 10.88.8.0/24";
    assert!(elsewhere.contains(expected), "{elsewhere}");
    vm.agent()
        .write("/tmp/draft/networks/back.toml", "version = 1\nsubnet = [\"10.88.0.0/16\"]\n")
        .unwrap();
    let unit = member("back", "address = [\"10.88.7.9/16\"]");
    vm.agent().write("/tmp/draft/a.toml", &unit).unwrap();
    vm.ctl(&["check", "/tmp/draft/networks/back.toml", "/tmp/draft/a.toml"]);
    assert_eq!(addresses(vm, "a"), ["10.88.7.9"], "nothing has changed");
    vm.sh("rm -r /tmp/draft");
    remove_all(vm, &["a"]);
}
