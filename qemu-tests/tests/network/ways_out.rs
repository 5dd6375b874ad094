//! Ways out of the host's own networks: who gets where, who does not, and that nothing of it stays.

use jailsupd::control::wire::JailState;
use qemu_tests::{Vm, proto::Status};

use super::bridges::{addresses, member, network, remove_all};
use super::{Hosts, SOON, hosts, in_network, reaches, unit};

/// On the wire, the near host itself, and a jail of the far one. Both know the wire only.
const HOST: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
const FAR: [&str; 2] = ["10.9.0.7", "fd00:9::7"];

/// Both hosts; the near one is on the wire itself, as a host with an uplink is, and somebody outside is there.
fn on_the_wire() -> Hosts {
    let mut hosts = hosts();
    hosts.near.sh("echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad; ip link set eth1 up");
    for (address, length) in HOST.iter().zip([24, 64]) {
        hosts.near.sh(&format!("ip address add {address}/{length} dev eth1"));
    }
    hosts.far.put_up("outside", &unit(7, ""));
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
    vm.sh(&format!("cat {files}")).split_whitespace().collect::<Vec<_>>().join(" ")
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
        assert!(reaches(near, "a", outside), "a to {outside}");
        assert!(reaches(near, "b", outside), "b to {outside}");
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

    // The rules are not jailsupd's life's; the next one leaves them and takes care of them.
    let near = &mut hosts.near;
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
    assert!(reaches(near, "b", FAR[0]), "the other one's is as it was");
    leave(&mut hosts, &["a", "b", "c"]);
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
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
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
