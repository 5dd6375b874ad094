//! A parent link that is pulled out of the machine, and put in again.

use jailsupd::control::wire::JailState;
use qemu_tests::segment::CARD;
use qemu_tests::{Guest, Vm};
use serde_json::{Map, Value, json};

use super::{SOON, WIRE, hosts, in_network, reaches, unit, wait_reached};

/// Pulls the card of the wire out.
pub(super) fn pull(near: &mut Vm) {
    near.qmp.execute("device_del", &json!({ "id": CARD })).unwrap();
    near.agent().wait_until("! [ -e /sys/class/net/eth1 ]", SOON).unwrap();
}

/// Puts it in again.
pub(super) fn put_in(near: &mut Vm) {
    let card = WIRE[0].card().into_iter();
    let card: Map<String, Value> = card.map(|(key, value)| (key.into(), value.into())).collect();
    let card = Value::Object(card);
    // The guest lets go of it a moment before QEMU does.
    let is_in = (0..100).any(|_| match near.qmp.execute("device_add", &card) {
        Err(error) if error.to_string().contains("Duplicate device ID") => {
            near.sh("usleep 100000");
            false
        }
        result => result.map(|_| true).unwrap(),
    });
    assert!(is_in, "QEMU does not let go of the card");
    near.agent().wait_until("[ -e /sys/class/net/eth1 ]", SOON).unwrap();
}

pub(super) fn told(near: &mut Vm, jail: &str, text: &str) {
    let condition = format!("/usr/bin/jailctl events {jail} | grep -q '{text}'");
    near.agent().wait_until(&condition, SOON).unwrap();
}

fn mac(near: &mut Guest<'_>, jail: &str) -> String {
    let command = in_network(near, jail, "ip link show eth0");
    let shown = near.sh(&command);
    shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn jails_have_their_links_again_when_the_parent_is_back() {
    let mut hosts = hosts();
    hosts.far.put_up("c", &unit(3, ""));
    hosts.far.put_up("tagged", &unit(5, "vlan = 10"));
    let near = &mut hosts.near;
    let started = near.put_up("a", &unit(1, ""));
    near.put_up("d", &unit(6, "vlan = 10"));
    let before = mac(near, "a");
    wait_reached(near, "a", "10.9.0.3");
    wait_reached(near, "d", "10.9.0.5");

    pull(near);
    told(near, "a", "its link is gone with the parent; it runs on without");
    told(near, "d", "its link is gone");
    // Without its parent, a start waits; unless the unit says otherwise.
    near.put("late", &unit(2, ""));
    told(near, "late", "waits for link eth1, which is not there");
    let row = near.agent().listed("late").unwrap();
    assert_eq!((row.state, row.waits_for.as_deref()), (JailState::Waiting, Some("link eth1")));
    near.put_up("free", &unit(4, "wait_for_parent = false"));
    assert!(!reaches(near, "free", "10.9.0.3"));
    // So it is for the next jailsupd, which finds jails without their links.
    near.agent().kill_jailsupd().unwrap();
    near.agent().wait_state("late", JailState::Waiting).unwrap();

    put_in(near);
    near.up("late");
    told(near, "a", "its link is there");
    told(near, "d", "its link is there");
    told(near, "free", "its link is there");
    for jail in ["a", "late", "free"] {
        wait_reached(near, jail, "10.9.0.3");
        wait_reached(near, jail, "fd00:9::3");
    }
    wait_reached(near, "d", "10.9.0.5");
    assert_eq!(mac(near, "a"), before);
    let row = near.agent().listed("a").unwrap();
    assert_eq!((row.pid, row.restarts), (started.pid, 0), "it ran on all the time");
    // And it is not made anew for each who asks.
    near.agent().kill_jailsupd().unwrap();
    near.up("a");
    wait_reached(near, "a", "10.9.0.3");

    for jail in ["a", "d", "late", "free"] {
        near.remove(jail);
    }
    assert!(!near.sh("ls /sys/class/net").contains("eth1."));
}

#[test]
fn the_parent_goes_while_nobody_looks() {
    let mut hosts = hosts();
    hosts.far.put_up("c", &unit(3, ""));
    let near = &mut hosts.near;
    near.put_up("unseen", &unit(1, ""));

    near.sh("kill -STOP $(pidof jailsupd)");
    pull(near);
    put_in(near);
    near.sh("kill -KILL $(pidof jailsupd)");

    told(near, "unseen", "its link is there");
    wait_reached(near, "unseen", "10.9.0.3");
    near.remove("unseen");
}
