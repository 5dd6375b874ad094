//! Files that change while jailsupd is not there to see it.

use jailsupd::control::wire::JailState;

use qemu_tests::Guest;

use crate::{etc, guest, stay, unit};

/// An edit that only the next jailsupd sees.
fn put_unseen(guest: &mut Guest<'_>, name: &str, text: &str) {
    let brain = guest.agent().jailsupd().unwrap();
    guest.agent().write("/run/next", text).unwrap();
    guest.sh(&format!("kill -STOP {brain}; cp /run/next {}", etc(name)));
    guest.agent().kill_jailsupd().unwrap();
}

#[test]
fn jailsupd_killed_after_an_edit_keeps_the_jail_and_shows_that_it_is_stale() {
    let mut guest = guest();
    let before = guest.put_up("stale", &stay(""));

    put_unseen(&mut guest, "stale", &unit(&["say", "next"], ""));
    let stale = guest.up("stale");
    guest.ctl(&["restart", "stale"]);
    let after = guest.up("stale");

    assert_eq!((stale.pid, stale.stale), (before.pid, true), "adoption never kills");
    assert!(after.pid != before.pid && !after.stale, "{after:?}");
    guest.remove("stale");
}

#[test]
fn limits_edited_while_jailsupd_was_dead_are_in_force_after_it() {
    let mut guest = guest();
    let before = guest.put_up("late", &stay(""));

    put_unseen(&mut guest, "late", &stay("[resources]\npids_max = 91"));

    assert_eq!(guest.agent().read("/sys/fs/cgroup/jails/late/pids.max").unwrap(), "91\n");
    assert_eq!(guest.up("late").pid, before.pid);
    guest.remove("late");
}

#[test]
fn unit_broken_while_jailsupd_was_dead_has_its_last_good_version_in_force() {
    let mut guest = guest();
    let before = guest.put_up("spoilt", &stay("[resources]\npids_max = 92"));

    put_unseen(&mut guest, "spoilt", "version = ");
    let row = guest.up("spoilt");
    guest.ctl(&["restart", "spoilt"]);
    let after = guest.up("spoilt");

    assert_eq!(row.pid, before.pid);
    assert!(row.problem.is_some_and(|problem| problem.contains(&etc("spoilt"))));
    assert!(after.pid != before.pid && after.problem.is_some(), "{after:?}");
    assert_eq!(guest.agent().read("/sys/fs/cgroup/jails/spoilt/pids.max").unwrap(), "92\n");
    // It is forgotten with the unit: a broken file of the same name is nothing to start.
    guest.remove("spoilt");
    put_unseen(&mut guest, "spoilt", "version = ");
    guest.agent().wait_state("spoilt", JailState::Invalid).unwrap();
    guest.remove("spoilt");
}

#[test]
fn unit_disabled_while_jailsupd_was_dead_is_stopped() {
    let mut guest = guest();
    guest.put_up("off", &stay(""));

    let disabled = stay("").replacen("version = 1", "version = 1\nenabled = false", 1);
    put_unseen(&mut guest, "off", &disabled);
    let down = guest.agent().wait_state("off", JailState::Down).unwrap();
    // One that was disabled all along and is started by hand goes on.
    guest.ctl(&["start", "off"]);
    let by_hand = guest.up("off");
    guest.agent().kill_jailsupd().unwrap();
    let adopted = guest.up("off");

    assert!(!down.enabled);
    assert_eq!(adopted.pid, by_hand.pid);
    guest.remove("off");
}
