//! Addresses that units give, and somebody else on the wire has already.

use jailsupd::control::wire::JailState;
use qemu_tests::proto::Status;
use qemu_tests::segment::CARD;
use qemu_tests::{Vm, time::Deadline};
use serde_json::json;

use super::dhcp::workers;
use super::parents::told;
use super::{SOON, hosts, in_network, on_one_line, reaches};

const IPV4: &str = "10.9.0.40";
const IPV6: &str = "fd00:9::40";

/// A jail with one address; `rest` are more keys of `[network]`.
fn unit(address: &str, rest: &str) -> String {
    let length = if address == IPV4 { 24 } else { 64 };
    super::unit(40, rest)
        .replace("[\"10.9.0.40/24\", \"fd00:9::40/64\"]", &format!("[\"{address}/{length}\"]"))
}

/// Stops the process that asks, so that a search lasts until it is gone. The jail has made one before.
fn stop_worker(vm: &mut Vm) -> u32 {
    let found = workers(vm);
    assert_eq!(found.len(), 1, "{found:?}");
    vm.sh(&format!("kill -STOP {}", found[0]));
    found[0]
}

fn wait_searched(vm: &mut Vm, jail: &str) {
    let waits =
        format!("/usr/bin/jailctl why {jail} | tr -s '\\n ' ' ' | grep -q 'may have: that'");
    vm.agent().wait_until(&waits, SOON).unwrap();
}

#[test]
fn a_jail_whose_address_somebody_has_waits_says_who_and_comes_up_when_that_one_is_gone() {
    let mut hosts = hosts();
    hosts.far.put_up("owner", &unit(IPV4, ""));
    hosts.far.put_up("guest", &super::unit(41, ""));
    let by = hosts.far.agent().inspect("owner").unwrap().mac.unwrap();
    let near = &mut hosts.near;

    near.put("second", &unit(IPV4, ""));

    told(near, "second", &format!("waits for {IPV4}, which {by} on eth1 has already"));
    let row = near.agent().listed("second").unwrap();
    assert_eq!((row.state, row.waits_for.as_deref()), (JailState::Waiting, Some(IPV4)));
    let why = near.sh("/usr/bin/jailctl why second; true");
    let expected = format!("waits for {IPV4}, which {by} on eth1 has already (network.address, ");
    assert!(on_one_line(&why).contains(&expected), "{why}");
    // Nobody waits for it in vain, and its owner is not disturbed.
    near.refused(&["apply"], Status::Exit(5));
    assert!(reaches(&mut hosts.far, "guest", IPV4));
    hosts.far.remove("owner");
    let near = &mut hosts.near;
    near.up("second");
    assert!(reaches(near, "second", "10.9.0.41"));
    assert!(reaches(&mut hosts.far, "guest", IPV4));
    hosts.near.remove("second");
    hosts.far.remove("guest");
}

#[test]
fn an_ipv6_address_that_somebody_has_is_waited_for_too() {
    let mut hosts = hosts();
    hosts.far.put_up("owner", &unit(IPV6, ""));
    let near = &mut hosts.near;

    near.put("second", &unit(IPV6, ""));

    told(near, "second", &format!("waits for {IPV6}, which somebody else on eth1 has already"));
    assert_eq!(near.agent().listed("second").unwrap().state, JailState::Waiting);
    hosts.far.remove("owner");
    let near = &mut hosts.near;
    near.up("second");
    let shown = in_network(near, "second", "ip address show eth0");
    let shown = near.sh(&shown);
    assert!(shown.contains(IPV6) && !shown.contains("tentative"), "{shown}");
    assert!(!shown.contains("dadfailed"), "{shown}");
    // It asks as ever from now on.
    let set = in_network(near, "second", "cat /proc/sys/net/ipv6/neigh/eth0/retrans_time_ms");
    assert_eq!(near.sh(&set).trim(), "1000");
    near.remove("second");
}

#[test]
fn of_two_hosts_that_are_after_one_address_one_has_it() {
    let mut hosts = hosts();
    hosts.near.put("same", &unit(IPV4, ""));
    hosts.far.put("same", &unit(IPV4, ""));

    let is = |vm: &mut Vm| vm.agent().listed("same").map(|row| (row.state, row.waits_for));
    let has = |vm: &mut Vm| matches!(is(vm), Ok((JailState::Up, _)));
    let lacks = |vm: &mut Vm| {
        let told = vm.sh(&format!("/usr/bin/jailctl events same | grep -c '{IPV4}, which'; true"));
        matches!(is(vm), Ok((JailState::Waiting, _))) && told.trim() != "0"
    };
    let deadline = Deadline::after(SOON);
    let is_near = loop {
        let (near, far) = (&mut hosts.near, &mut hosts.far);
        if has(near) && lacks(far) {
            break true;
        }
        if has(far) && lacks(near) {
            break false;
        }
        assert!(deadline.left().is_some(), "{:?} and {:?}", is(near), is(far));
    };
    let (winner, loser) = match is_near {
        true => (&mut hosts.near, &mut hosts.far),
        false => (&mut hosts.far, &mut hosts.near),
    };
    winner.remove("same");
    loser.up("same");
    loser.remove("same");
}

#[test]
fn a_jail_that_has_its_address_asks_nobody_when_it_is_started_again() {
    let mut hosts = hosts();
    let near = &mut hosts.near;
    near.put_up("kept", &unit(IPV4, ""));
    // It need not ask either.
    hosts.far.put_up("rude", &unit(IPV4, "wait_for_address = false\n"));
    let near = &mut hosts.near;

    near.ctl(&["restart", "kept"]);
    near.up("kept");
    near.agent().kill_jailsupd().unwrap();
    near.ctl(&["restart", "kept"]);
    near.up("kept");

    let told = near.ctl(&["events", "kept"]);
    assert!(!told.contains("has already"), "{told}");
    hosts.far.remove("rude");
    hosts.near.remove("kept");
}

#[test]
fn a_search_is_begun_anew_when_who_asks_or_jailsupd_is_gone() {
    let mut near = hosts().near;
    near.put_up("before", &super::unit(42, ""));

    let worker = stop_worker(&mut near);
    near.put("searched", &unit(IPV4, ""));
    wait_searched(&mut near, "searched");
    near.sh(&format!("kill -KILL {worker}"));
    near.up("searched");
    near.remove("searched");

    stop_worker(&mut near);
    near.put("searched", &unit(IPV4, ""));
    wait_searched(&mut near, "searched");
    near.agent().kill_jailsupd().unwrap();
    near.up("searched");

    let told = near.ctl(&["events", "searched"]);
    assert!(!told.contains("nobody could be asked"), "{told}");
    for jail in ["searched", "before"] {
        near.remove(jail);
    }
}

#[test]
fn a_jail_starts_on_a_wire_without_a_carrier_and_says_that_nobody_was_asked() {
    let mut near = hosts().near;
    let plug = |near: &mut Vm, is_in: bool| {
        near.qmp.execute("set_link", &json!({ "name": CARD, "up": is_in })).unwrap();
        let carrier = format!("[ \"$(cat /sys/class/net/eth1/carrier)\" = {} ]", u8::from(is_in));
        near.agent().wait_until(&carrier, SOON).unwrap();
    };
    // The parent is up with its first jail.
    near.put_up("before", &super::unit(42, ""));
    plug(&mut near, false);

    near.put_up("alone", &super::unit(40, ""));

    told(&mut near, "alone", "uses 10.9.0.40 though nobody could be asked");
    plug(&mut near, true);
    for jail in ["alone", "before"] {
        near.remove(jail);
    }
}
