//! VLANs: whom they keep apart, and that the host's links for them come and go with the jails.

use qemu_tests::proto::Status;

use super::{SOON, hosts, links, reaches, unit, wait_reached};

#[test]
fn jails_reach_those_of_their_own_vlan_only() {
    let mut hosts = hosts();
    hosts.far.put_up("c", &unit(3, "vlan = 10"));
    let near = &mut hosts.near;
    near.put_up("a", &unit(1, "vlan = 10"));
    near.put_up("b", &unit(2, "vlan = 20"));
    near.put_up("plain", &unit(4, ""));

    wait_reached(near, "a", "10.9.0.3");
    wait_reached(near, "a", "fd00:9::3");
    for other in ["b", "plain"] {
        assert!(!reaches(near, other, "10.9.0.3"), "{other}");
        assert!(!reaches(near, other, "10.9.0.1"), "{other}");
    }
    for name in ["a", "b", "plain"] {
        near.remove(name);
    }
}

#[test]
fn the_hosts_link_of_a_vlan_goes_with_the_last_jail() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("a", &unit(1, "vlan = 10"));
    near.put_up("b", &unit(2, "vlan = 10"));
    near.put_up("other", &unit(4, "vlan = 20"));
    let has = |near: &mut qemu_tests::Vm, name: &str| links(near).iter().any(|link| link == name);
    assert!(has(near, "eth1.10") && has(near, "eth1.20"));

    near.remove("a");
    assert!(has(near, "eth1.10"), "b needs it");
    // Out of the VLAN by an edit.
    near.put("b", &unit(2, ""));
    near.agent().wait_until("! ls /sys/class/net | grep -q '^eth1.10$'", SOON).unwrap();
    near.up("b");
    assert!(has(near, "eth1.20"));

    // Its unit goes while nobody looks.
    near.sh(
        "kill -STOP $(pidof jailsupd); rm /etc/jails.d/other.toml; kill -KILL $(pidof jailsupd)",
    );
    near.agent().wait_until("! ls /sys/class/net | grep -q '^eth1.20$'", SOON).unwrap();
    near.agent().wait_gone("other").unwrap();
    near.remove("b");
}

#[test]
fn a_vlan_that_the_host_does_not_allow_is_refused() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.agent().write("/etc/jails.d/a.toml", &unit(1, "vlan = 30")).unwrap();

    let said = near.refused(&["check"], Status::Exit(6));

    assert!(said.contains("network.vlan") && said.contains("asks for VLAN 30"), "{said}");
    assert!(said.contains("policy.toml"), "{said}");
    near.sh("rm /etc/jails.d/a.toml");
    near.ctl(&["apply"]);
    assert!(!links(near).iter().any(|link| link.contains('.')));
}
