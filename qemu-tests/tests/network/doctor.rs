//! What `jailctl net doctor` finds of jails that are not reached.

use jailsupd::control::wire::{Diagnosis, Weight};
use qemu_tests::Vm;
use qemu_tests::proto::Status;

use super::bridges::{member, network, remove_all};
use super::dhcp::asks;
use super::{SOON, hosts, in_network, on_one_line, unit};

/// What it says of a jail with which something is wrong, on one line.
fn found(vm: &mut Vm, jail: &str) -> String {
    on_one_line(&vm.refused(&["net", "doctor", jail], Status::Exit(7)))
}

/// Of one with which nothing is, once its IPv6 addresses are known to be free.
fn well(vm: &mut Vm, jail: &str) -> Diagnosis {
    let is_well = format!("/usr/bin/jailctl net doctor {jail} | grep -q 'nothing is wrong'");
    let well = vm.agent().wait_until(&is_well, SOON);
    assert!(well.is_ok(), "{:?}", vm.agent().jailctl(&["net", "doctor", jail]));
    vm.agent().ask(&["net", "doctor", jail]).unwrap()
}

#[test]
fn of_a_jail_that_is_well_it_says_what_it_has_looked_at() {
    let mut hosts = hosts();
    hosts.far.put_up("router", &unit(254, ""));
    let near = &mut hosts.near;
    near.put_up("well", &unit(1, "gateway = [\"10.9.0.254\"]\n"));
    let found = well(near, "well");
    assert!(found.findings.iter().all(|one| one.weight == Weight::Note), "{found:?}");
    for right in [
        "its parent link eth1 is up and has a carrier",
        "its link eth0 is up",
        "10.9.0.1/24 is on eth0",
        // It is asked for this, from where the jail is.
        "the router 10.9.0.254 has answered it",
    ] {
        assert!(found.right.iter().any(|one| one == right), "{right}: {found:?}");
    }
    near.refused(&["net", "doctor", "nobody-here"], Status::Exit(3));
    near.remove("well");
    hosts.far.remove("router");
}

#[test]
fn a_parent_that_is_down_and_one_that_is_not_there_are_named() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("stranded", &unit(1, "vlan = 10\n"));
    near.sh("ip link set eth1 down");
    let said = found(near, "stranded");
    near.sh("ip link set eth1 up");
    assert!(said.contains("wrong: its parent link eth1 is down"), "{said}");
    assert!(said.contains("help: `ip link set eth1 up` on the host"), "{said}");
    near.agent().wait_until("/usr/bin/jailctl net doctor stranded", SOON).unwrap();

    near.put("lost", &unit(2, "").replace("\"eth1\"", "\"eth7\""));
    let waits = "/usr/bin/jailctl why lost | grep -q 'waits for link eth7'";
    near.agent().wait_until(waits, SOON).unwrap();
    let said = found(near, "lost");
    assert!(said.contains("wrong: its program does not run"), "{said}");
    assert!(said.contains("wrong: its parent link eth7 is not there"), "{said}");
    assert!(said.contains("seen: the host has lo, eth0, eth1"), "{said}");
    for jail in ["stranded", "lost"] {
        near.remove(jail);
    }
}

#[test]
fn a_jail_without_a_lease_is_told_of_the_server_and_of_ipvlan() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("unleased", &asks("wait_for_address = false\n"));
    let waits = "/usr/bin/jailctl net doctor unleased | tr -s '\\n ' ' ' | \
                 grep -q 'seen: an address no DHCP server on eth1 has given'";
    near.agent().wait_until(waits, SOON).unwrap();
    let said = found(near, "unleased");
    assert!(said.contains("wrong: it has no address from DHCP"), "{said}");
    assert!(said.contains("`mode = \"ipvlan\"` helps"), "{said}");
    near.remove("unleased");
}

#[test]
fn a_router_that_does_not_answer_is_found_and_an_address_that_is_gone() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("alone", &unit(1, "gateway = [\"10.9.0.199\"]\n"));
    let said = found(near, "alone");
    assert!(said.contains("wrong: the router 10.9.0.199 does not answer the jail"), "{said}");
    let take = in_network(near, "alone", "ip address del 10.9.0.1/24 dev eth0");
    near.sh(&take);
    let said = found(near, "alone");
    assert!(said.contains("wrong: 10.9.0.1/24 is not on eth0"), "{said}");
    assert!(said.contains("wrong: the default route by 10.9.0.199 is not there"), "{said}");
    near.remove("alone");
}

#[test]
fn a_filter_of_ethernet_addresses_is_suspected_where_the_router_answers_the_host_alone() {
    let mut hosts = hosts();
    // A router that hears nobody with the jail's address: the far host has no way back to it.
    hosts.far.sh("echo 1 >/proc/sys/net/ipv4/conf/eth1/rp_filter; ip link set eth1 up; \
         ip address add 10.9.0.254/24 dev eth1; ip route add unreachable 10.9.0.1");
    let near = &mut hosts.near;
    near.put_up("filtered", &unit(1, "gateway = [\"10.9.0.254\"]\n"));
    near.sh("ip address add 10.9.0.250/24 dev eth1; \
         /usr/bin/busybox ping -q -c 1 -W 5 10.9.0.254 >/dev/null");
    let said = found(near, "filtered");
    near.sh("ip address del 10.9.0.250/24 dev eth1");
    near.remove("filtered");
    hosts.far.sh("ip route del unreachable 10.9.0.1; ip address del 10.9.0.254/24 dev eth1");
    assert!(said.contains("wrong: the router 10.9.0.254 does not answer the jail"), "{said}");
    assert!(said.contains("perhaps: a switch (port security) or a hypervisor"), "{said}");
    assert!(said.contains("seen: the same router answers the host itself on eth1"), "{said}");
    assert!(said.contains("`mode = \"ipvlan\"` in [network]"), "{said}");
}

#[test]
fn a_firewall_that_is_closed_and_a_port_that_leads_nowhere_are_named() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    let closed = unit(1, "") + "\n[firewall]\ningress = []\n";
    near.put_up("closed", &closed);
    let said = found(near, "closed");
    assert!(said.contains("wrong: its firewall lets nobody in"), "{said}");
    near.put("closed", &(unit(1, "") + "\n[[firewall.ingress]]\nport = [\"443\"]\n"));
    near.ctl(&["apply"]);
    let open = well(near, "closed");
    let note = "its firewall lets in what its unit lists, and no ping";
    assert!(open.findings.iter().any(|one| one.what == note), "{open:?}");

    network(near, "out", "subnet = [\"10.88.8.0/24\"]\nforward = \"nat\"");
    near.put_up("serves", &member("out", "publish = [\"8088:80\"]\n"));
    let said = well(near, "serves");
    let leads = "the rule for the published port 8088:80/tcp is there";
    assert!(said.right.iter().any(|one| one.contains(leads)), "{said:?}");
    // Disabled it runs on when somebody starts it, but nobody is led to it.
    near.ctl(&["disable", "serves"]);
    near.ctl(&["start", "serves"]);
    let said = found(near, "serves");
    assert!(said.contains("wrong: nothing leads by the published port 8088:80/tcp"), "{said}");
    near.ctl(&["freeze", "closed"]);
    let said = found(near, "closed");
    assert!(said.contains("wrong: it is frozen: nothing in it answers"), "{said}");
    near.ctl(&["thaw", "closed"]);
    near.remove("closed");
    remove_all(near, &["serves"]);
}
