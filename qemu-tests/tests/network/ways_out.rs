//! Ways out of the host's own networks, and into them by published ports: who gets where, who does not, and that nothing is handed on afterwards.

use jailsupd::control::wire::JailState;
use qemu_tests::{Vm, proto::Status};

use super::bridges::{addresses, member, network, redis, remove_all};
use super::{
    Hosts, SOON, hosts, in_network, on_one_line, reaches, unit, wait_reached, wait_usable,
};

/// On the wire, the near host itself, and a jail of the far one. Both know the wire only.
const HOST: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
const FAR: [&str; 2] = ["10.9.0.7", "fd00:9::7"];

/// Both hosts; the near one is on the wire itself, as a host with an uplink is, and somebody outside is there.
fn on_the_wire() -> Hosts {
    let mut hosts = hosts();
    // Another test may have failed before it was gone from there.
    hosts.near.sh("ip address flush dev eth1");
    hosts.near.sh("echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad; ip link set eth1 up");
    for (address, length) in HOST.iter().zip([24, 64]) {
        hosts.near.sh(&format!("ip address add {address}/{length} dev eth1"));
    }
    hosts.far.put_up("outside", &unit(7, ""));
    wait_usable(&mut hosts.far, "outside");
    hosts
}

fn leave(hosts: &mut Hosts, jails: &[&str]) {
    remove_all(&mut hosts.near, jails);
    assert_eq!(forwards(&mut hosts.near), "0 0", "nothing is handed on any more");
    hosts.near.sh("ip address flush dev eth1");
    hosts.far.remove("outside");
}

/// Whether the host hands packets on, of IPv4 and of IPv6.
fn forwards(vm: &mut Vm) -> String {
    let files = "/proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding";
    on_one_line(&vm.sh(&format!("cat {files}")))
}

/// Whether somebody outside gets an answer from each of these, if he takes the near host for the way to them.
fn outside_reaches(hosts: &mut Hosts, wanted: &[String]) -> Vec<bool> {
    let far = &mut hosts.far;
    let reached = wanted.iter().map(|address| {
        let (router, words) =
            if address.contains(':') { (HOST[1], "ip -6") } else { (HOST[0], "ip") };
        let length = if address.contains(':') { 128 } else { 32 };
        let route = format!("{words} route replace {address}/{length} via {router} dev eth0");
        let route = in_network(far, "outside", &route);
        far.sh(&route);
        reaches(far, "outside", address)
    });
    reached.collect()
}

#[test]
fn with_nat_jails_get_out_with_the_hosts_address_and_nobody_gets_in() {
    let mut hosts = on_the_wire();
    let near = &mut hosts.near;
    network(near, "out", "forward = \"nat\"");
    network(near, "other", "forward = \"nat\"");
    network(near, "back", "");
    near.put_up("a", &member("out", ""));
    near.put_up("b", &member("other", ""));
    near.put_up("c", &member("back", ""));
    let [a, b, c] = ["a", "b", "c"].map(|jail| addresses(near, jail));

    // It has no way back to them: what answers has seen the host.
    for outside in FAR {
        wait_reached(near, "a", outside);
        wait_reached(near, "b", outside);
        assert!(!reaches(near, "c", outside), "c has no way out");
    }
    for others in b.iter().chain(&c) {
        assert!(!reaches(near, "a", others), "networks are apart: {others}");
    }
    let routers = a.iter().map(|own| own.rsplit_once(['.', ':']).unwrap().0.to_owned());
    let routers: Vec<String> = routers
        .map(|net| if net.contains(':') { format!("{net}:1") } else { format!("{net}.1") })
        .collect();
    for own in HOST.iter().map(|own| (*own).to_owned()).chain(routers) {
        assert!(!reaches(near, "a", &own), "the host answers nobody in a network: {own}");
    }
    assert_eq!(outside_reaches(&mut hosts, &a), [false, false], "nobody outside gets in");

    // Others in its network come and go without its way out being another one.
    let near = &mut hosts.near;
    for _ in 0..3 {
        near.put_up("d", &member("out", ""));
        assert!(reaches(near, "a", FAR[0]));
        near.remove("d");
        assert!(reaches(near, "a", FAR[0]));
    }

    // The rules are not jailsupd's life's; the next one leaves them and takes care of them.
    near.sh("kill -KILL $(pidof jailsupd)");
    assert!(reaches(near, "a", FAR[0]));
    near.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    assert!(reaches(near, "a", FAR[1]) && !reaches(near, "a", HOST[0]));

    // A network that is closed is closed.
    network(near, "out", "");
    near.ctl(&["apply"]);
    near.agent().wait_state("a", JailState::Up).unwrap();
    assert!(!reaches(near, "a", FAR[0]) && !reaches(near, "a", FAR[1]));
    let route = in_network(near, "a", "ip route");
    assert!(!near.sh(&route).contains("default"));
    assert_eq!(near.sh("ip -4 address show dev br-out"), "", "nor is the host in it");
    wait_reached(near, "b", FAR[0]);
    leave(&mut hosts, &["a", "b", "c"]);
}

#[test]
fn a_jail_that_is_on_its_way_out_of_a_network_does_not_reach_the_host() {
    let mut hosts = on_the_wire();
    let near = &mut hosts.near;
    network(near, "out", "forward = \"nat\"");
    let slow = member("out", "").replace("stay", "ignore") + "[stop]\ntimeout = \"10m\"\n";
    near.put_up("a", &slow);
    near.agent().wait_heeds("a", "nuisance", SOON).unwrap();
    let own = addresses(near, "a");
    let router = own[0].rsplit_once('.').unwrap().0.to_owned() + ".1";

    // Its unit knows of no network any more, and it does not end.
    near.put("a", &qemu_tests::unit_of("nuisance", &["stay"], ""));
    near.agent().wait_state("a", JailState::Stopping).unwrap();
    for host in [HOST[0], HOST[1], &router] {
        assert!(!reaches(near, "a", host), "{host}");
    }
    assert_eq!(near.agent().listed("a").unwrap().state, JailState::Stopping, "all that time");
    let service = near.agent().service("a", "nuisance").unwrap().pid;
    near.sh(&format!("kill -KILL {service}"));
    near.agent().wait_state("a", JailState::Up).unwrap();

    // Nobody may start it any more, and the next jailsupd does not know what its unit was.
    near.put("a", &member("out", ""));
    let is_in = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && !row.address.is_empty())
    };
    near.agent().wait_listed("a", "in its network", is_in).unwrap();
    let policy = "version = 1\n[network]\nforward = [\"none\"]\n";
    near.agent().write("/etc/warder/policy.toml", policy).unwrap();
    let pid = near.agent().service("a", "nuisance").unwrap().pid;
    near.sh("kill -KILL $(pidof jailsupd)");
    near.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    near.refused(&["check"], Status::Exit(6));
    for host in [HOST[0], HOST[1], &router] {
        assert!(!reaches(near, "a", host), "{host}");
    }
    assert_eq!(near.agent().service("a", "nuisance").unwrap().pid, pid, "it runs on");
    leave(&mut hosts, &["a"]);
}

#[test]
fn a_routed_network_is_reached_from_outside_where_the_policy_lets_it() {
    let mut hosts = on_the_wire();
    let near = &mut hosts.near;
    network(near, "open", "forward = \"routed\"\nsubnet = [\"10.88.3.0/24\", \"fd00:88:3::/64\"]");
    network(near, "out", "forward = \"nat\"");
    near.put_up("b", &member("out", ""));
    let refused = near.agent();
    refused.write("/etc/jails.d/a.toml", &member("open", "")).unwrap();
    let said = near.refused(&["check"], Status::Exit(6));
    let said = on_one_line(&said);
    assert!(said.contains("is in a network with `forward = \"routed\"`"), "{said}");
    assert!(said.contains("network.forward = [\"none\", \"nat\"]"), "{said}");

    let policy = "version = 1\n[network]\nforward = [\"nat\", \"routed\"]\n";
    near.agent().write("/etc/warder/policy.toml", policy).unwrap();
    near.ctl(&["apply"]);
    near.agent().wait_state("a", JailState::Up).unwrap();
    let [a, b] = ["a", "b"].map(|jail| addresses(near, jail));
    assert_eq!(outside_reaches(&mut hosts, &a), [true, true]);
    assert_eq!(outside_reaches(&mut hosts, &b), [false, false], "of another network, nobody");
    // The routes back are there now, and its own address is what they lead to.
    let near = &mut hosts.near;
    assert!(reaches(near, "a", FAR[0]) && reaches(near, "a", FAR[1]));
    assert!(!reaches(near, "a", &b[0]) && !reaches(near, "b", &a[0]), "networks are apart");
    assert!(!reaches(near, "a", HOST[0]));
    leave(&mut hosts, &["a", "b"]);
}

/// Says something to a TCP port from a jail's network, and what came back.
pub(super) fn talk(vm: &mut Vm, jail: &str, to: (&str, u16), words: &str) -> String {
    let (address, port) = to;
    let nc = in_network(vm, jail, &format!("nc -w 3 {address} {port}"));
    vm.sh(&format!("printf '{words}' | {nc} 2>&1; true"))
}

const WHO: &str = "CLIENT LIST\\r\\nQUIT\\r\\n";

#[test]
fn a_published_port_leads_to_its_jail_from_everywhere_and_shows_who_asks() {
    let mut hosts = on_the_wire();
    let Hosts { near, far } = &mut hosts;
    network(near, "out", "forward = \"nat\"");
    network(near, "other", "forward = \"nat\"");
    let published = |ports: &str| redis("out", "") + &format!("publish = [{ports}]\n");
    near.put_up("db", &published("\"6380:6379\""));
    near.put_up("a", &member("out", ""));
    near.put_up("b", &member("other", ""));
    near.agent().wait_until("/usr/bin/jailctl logs db | grep -q 'Ready to accept'", SOON).unwrap();

    for (host, outside) in HOST.iter().zip(FAR) {
        let said = talk(far, "outside", (host, 6380), WHO);
        let seen =
            if outside.contains(':') { format!("[{outside}]:") } else { format!("{outside}:") };
        assert!(said.contains(&format!("addr={seen}")), "who has asked is seen: {said}");
        assert_eq!(talk(far, "outside", (host, 6379), WHO).find("addr="), None, "no other port");
        for jail in ["a", "b"] {
            let said = talk(near, jail, (host, 6380), "PING\\r\\nQUIT\\r\\n");
            assert!(said.contains("PONG"), "{jail} of the same host to {host}: {said}");
        }
    }

    // Another port, or one address of the host only, needs no restart.
    let pid = near.agent().listed("db").unwrap().pid;
    near.put("db", &published("\"10.9.0.1:6381:6379\""));
    near.ctl(&["apply"]);
    assert_eq!(near.agent().listed("db").unwrap().pid, pid);
    let ping = "PING\\r\\nQUIT\\r\\n";
    assert!(talk(far, "outside", (HOST[0], 6381), ping).contains("PONG"));
    assert!(!talk(far, "outside", (HOST[1], 6381), ping).contains("PONG"), "of IPv4 only");
    assert!(!talk(far, "outside", (HOST[0], 6380), ping).contains("PONG"), "not any more");

    // It leads there for jailsupd's next life, and after the jail's.
    near.sh("kill -KILL $(pidof jailsupd)");
    assert!(talk(far, "outside", (HOST[0], 6381), ping).contains("PONG"));
    near.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    near.ctl(&["restart", "db"]);
    let answers = in_network(near, "a", &format!("nc -w 3 {} 6381", HOST[0]));
    let answers = format!("printf '{ping}' | {answers} | grep -q PONG");
    near.agent().wait_until(&answers, SOON).unwrap();

    // Somebody else's address is his, whatever a unit says of it.
    near.put("db", &published(&format!("\"{}:6381:6379\"", FAR[0])));
    near.ctl(&["apply"]);
    assert!(!talk(near, "a", (FAR[0], 6381), ping).contains("PONG"));
    near.put("db", &published("\"6381:6379\""));
    near.ctl(&["apply"]);
    assert!(talk(far, "outside", (HOST[1], 6381), ping).contains("PONG"));
    // A network that is closed has no ports, though what names it runs on.
    network(near, "out", "");
    near.refused(&["apply"], Status::Exit(6));
    assert!(!talk(far, "outside", (HOST[1], 6381), ping).contains("PONG"));
    network(near, "out", "forward = \"nat\"");
    near.ctl(&["apply"]);
    assert!(talk(far, "outside", (HOST[1], 6381), ping).contains("PONG"));

    near.remove("db");
    assert!(!talk(far, "outside", (HOST[0], 6381), ping).contains("PONG"));
    leave(&mut hosts, &["a", "b"]);
}

#[test]
fn published_ranges_lead_to_other_ports_and_to_the_same() {
    let mut hosts = on_the_wire();
    let Hosts { near, far } = &mut hosts;
    network(near, "out", "forward = \"nat\"");
    let published = |ports: &str| redis("out", "") + &format!("publish = [{ports}]\n");
    let ping = "PING\\r\\nQUIT\\r\\n";
    near.put_up("ranged", &published("\"6000-7023:5978-7001\", \"6378-6380:6378-6380/udp\""));
    near.agent()
        .wait_until("/usr/bin/jailctl logs ranged | grep -q 'Ready to accept'", SOON)
        .unwrap();
    for (host, port, leads) in [(0, 6401, true), (1, 6401, true), (0, 6400, false)] {
        let said = talk(far, "outside", (HOST[host], port), ping);
        assert_eq!(said.contains("PONG"), leads, "{} {port}", HOST[host]);
    }
    near.put("ranged", &published("\"10.9.0.1:6370-6390:6370-6390\""));
    near.ctl(&["apply"]);
    let seen = near.agent().inspect("ranged").unwrap();
    assert_eq!(seen.publish, ["10.9.0.1:6370-6390:6370-6390/tcp"]);
    assert!(talk(far, "outside", (HOST[0], 6379), ping).contains("PONG"));
    assert!(!talk(far, "outside", (HOST[1], 6379), ping).contains("PONG"), "of IPv4 only");
    assert!(!talk(far, "outside", (HOST[0], 6401), ping).contains("PONG"), "not any more");
    leave(&mut hosts, &["ranged"]);
}

#[test]
fn a_port_that_cannot_be_published_is_refused_and_says_why() {
    let mut hosts = hosts();
    let vm = &mut hosts.near;
    network(vm, "out", "forward = \"nat\"");
    network(vm, "back", "");
    vm.put_up("a", &member("out", "publish = [\"8080:80\", \"53:53/udp\"]"));
    let policy = "version = 1\n[network]\npublish = [\"53\", \"8000-8999\"]\n";
    vm.agent().write("/etc/warder/policy.toml", policy).unwrap();
    for (network, ports, expected) in [
        (
            "out",
            "10.9.0.1:8080:80",
            "port 10.9.0.1:8080/tcp of the host belongs to jail `a` (/etc/jails.d/a.toml:",
        ),
        ("out", "53:53/udp", "port 53/udp of the host belongs to jail `a`"),
        ("out", "8070-8090:1-21", "port 8070-8090/tcp of the host belongs to jail `a`"),
        ("out", "8990-9000:8990-9000", "asks for port 8990-9000/tcp"),
        ("out", "443:443", "asks for port 443/tcp"),
        ("back", "8081:80", "the network `back` has no way out"),
        ("out", "8081:80/icmp", "icmp is neither tcp nor udp"),
    ] {
        let unit = member(network, &format!("publish = [\"{ports}\"]"));
        vm.agent().write("/etc/jails.d/b.toml", &unit).unwrap();
        let said = vm.refused(&["check"], Status::Exit(6));
        let said = on_one_line(&said);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    vm.agent().write("/etc/jails.d/b.toml", &member("out", "publish = [\"53:53/tcp\"]")).unwrap();
    vm.ctl(&["check"]);
    remove_all(vm, &["a", "b"]);
}
