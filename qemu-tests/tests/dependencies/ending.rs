//! Jails that end with others, in the reverse order.

use jailsupd::control::wire::{ExitReason, JailState, JailSummary};

use crate::{SOON, at, events, guest, put_together, remove, since, stay, unit, why};

fn other_than(pid: Option<u32>) -> impl Fn(Option<&JailSummary>) -> bool {
    move |row| row.is_some_and(|row| row.state == JailState::Up && row.pid != pid)
}

#[test]
fn jail_that_is_bound_to_another_ends_and_comes_back_with_it_and_one_that_requires_it_goes_on() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("base", stay("")),
            ("bound", stay("binds_to = [\"base\"]")),
            ("tolerant", stay("requires = [\"base\"]")),
        ],
    );
    let (base, bound, tolerant) = (guest.up("base"), guest.up("bound"), guest.up("tolerant"));

    guest.ctl(&["kill", "base", "--no-wait"]);
    guest.agent().wait_listed("base", "up anew", other_than(base.pid)).unwrap();
    guest.agent().wait_listed("bound", "up anew", other_than(bound.pid)).unwrap();

    let exit = guest.agent().last_exit("bound").unwrap();
    assert_eq!(exit.reason, ExitReason::Dependency, "{exit:?}");
    let told = why(&mut guest, "bound").events;
    assert!(told.iter().any(|e| e.why.contains("base, which it binds to")), "{told:?}");
    assert_eq!(guest.up("tolerant").pid, tolerant.pid);
    remove(&mut guest, &["bound", "tolerant", "base"]);
}

#[test]
fn restart_takes_those_along_that_require_the_jail() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("root", stay("")),
            ("branch", stay("requires = [\"root\"]")),
            ("leaf", stay("requires = [\"branch\"]")),
        ],
    );
    let (root, branch, leaf) = (guest.up("root"), guest.up("branch"), guest.up("leaf"));

    let before = events(&mut guest);
    guest.ctl(&["restart", "root"]);
    guest.agent().wait_listed("leaf", "up anew", other_than(leaf.pid)).unwrap();
    let all = since(&mut guest, &before);
    let by_hand = guest.up("branch");

    // So does an edit.
    guest.put("root", &unit(&["say", "edited"], ""));
    guest.agent().wait_listed("branch", "up anew", other_than(by_hand.pid)).unwrap();
    guest.up("leaf");

    assert_ne!((by_hand.pid, guest.up("root").pid), (branch.pid, root.pid));
    let order = [
        at(&all, "leaf", JailState::Waiting),
        at(&all, "branch", JailState::Waiting),
        at(&all, "root", JailState::Stopping),
        at(&all, "root", JailState::Up),
        at(&all, "branch", JailState::Up),
        at(&all, "leaf", JailState::Up),
    ];
    assert!(order.is_sorted(), "{all:#?}");
    remove(&mut guest, &["leaf", "branch", "root"]);
}

#[test]
fn jail_that_ignores_its_signal_delays_only_what_it_depends_on() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("store", stay("")),
            (
                "deaf",
                unit(
                    &["ignore"],
                    "[stop]\ntimeout = \"4s\"\n[dependencies]\nrequires = [\"store\"]",
                ),
            ),
            ("other", stay("")),
            ("reader", stay("requires = [\"other\"]")),
        ],
    );
    guest.up("deaf");
    guest.up("reader");

    let before = events(&mut guest);
    guest.ctl(&["stop", "store", "--no-wait"]);
    guest.ctl(&["stop", "other"]);
    guest.agent().wait_state("store", JailState::Down).unwrap();
    let all = since(&mut guest, &before);
    let exit = guest.agent().last_exit("deaf").unwrap();

    assert!(at(&all, "other", JailState::Down) < at(&all, "deaf", JailState::Waiting), "{all:#?}");
    assert!(at(&all, "deaf", JailState::Waiting) < at(&all, "store", JailState::Stopping));
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"), "{exit:?}");
    remove(&mut guest, &["deaf", "store", "reader", "other"]);
}

#[test]
fn frozen_jail_is_thawed_and_ends_well_before_what_it_depends_on() {
    let mut guest = guest();
    put_together(&mut guest, &[("lake", stay("")), ("ice", stay("requires = [\"lake\"]"))]);
    guest.up("ice");
    guest.agent().wait_heeds("ice", "nuisance", SOON).unwrap();
    guest.ctl(&["freeze", "ice"]);

    let before = events(&mut guest);
    guest.ctl(&["stop", "lake"]);
    let all = since(&mut guest, &before);
    let exit = guest.agent().last_exit("ice").unwrap();

    assert!(at(&all, "ice", JailState::Waiting) < at(&all, "lake", JailState::Stopping));
    assert_eq!(exit.code, Some(0), "{exit:?}");
    remove(&mut guest, &["ice", "lake"]);
}

#[test]
fn deleted_unit_ends_after_those_that_require_it_and_they_wait_for_another() {
    let mut guest = guest();
    put_together(&mut guest, &[("ground", stay("")), ("house", stay("requires = [\"ground\"]"))]);
    guest.up("house");

    let before = events(&mut guest);
    guest.sh("rm /etc/jails.d/ground.toml");
    guest.agent().wait_gone("ground").unwrap();
    let all = since(&mut guest, &before);
    let row = guest.agent().wait_state("house", JailState::Waiting).unwrap();
    guest.put("ground", &stay(""));
    guest.up("house");

    assert!(at(&all, "house", JailState::Waiting) < at(&all, "ground", JailState::Stopping));
    assert!(row.problem.unwrap().contains("there is no jail `ground`"));
    remove(&mut guest, &["house", "ground"]);
}

#[test]
fn stop_that_jailsupd_does_not_outlive_is_still_one_in_order() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("floor", stay("")),
            (
                "table",
                unit(
                    &["say", "ready"],
                    "[stop]\ntimeout = \"1m\"\n[dependencies]\nrequires = [\"floor\"]",
                ),
            ),
        ],
    );
    guest.up("table");
    guest.agent().wait_until("/usr/bin/jailctl logs table | grep -q ready", SOON).unwrap();
    let service = guest.agent().service("table", "nuisance").unwrap().pid;

    // It cannot end before jailsupd is dead.
    guest.sh(&format!("kill -STOP {service}"));
    let before = events(&mut guest);
    guest.ctl(&["stop", "floor", "--no-wait"]);
    guest.agent().kill_jailsupd().unwrap();
    guest.sh(&format!("kill -CONT {service}"));
    guest.agent().wait_state("floor", JailState::Down).unwrap();
    let all = since(&mut guest, &before);
    let row = guest.agent().listed("table").unwrap();

    assert!(at(&all, "table", JailState::Waiting) < at(&all, "floor", JailState::Stopping));
    assert_eq!(row.problem.as_deref(), Some("waits for floor, which someone stopped"));
    remove(&mut guest, &["table", "floor"]);
}
