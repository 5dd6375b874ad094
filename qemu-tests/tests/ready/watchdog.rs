//! Signs of life.

use jailsupd::control::wire::ExitReason;

use super::{NEVER_AGAIN, SOON, Shell as _, failed, guest, speaker};

const WATCHED: &str = "notify = \"ready\"\nwatchdog = \"2s\"";

#[test]
fn one_that_gives_no_sign_of_life_any_more_is_aborted_and_comes_back() {
    let mut guest = guest();
    let steps = ["watchdog", "say", "READY=1", "every", "200", "WATCHDOG=1", "stay"];
    let first = guest.put_up("alive", &speaker(&steps, WATCHED, ""));
    let log = guest.ctl(&["logs", "alive"]);
    assert!(log.contains("watchdog of 2000000 us, mine"), "{log}");
    guest.let_pass(4);
    // One that is frozen can give none.
    guest.ctl(&["freeze", "alive"]);
    guest.let_pass(3);
    guest.ctl(&["thaw", "alive"]);
    guest.let_pass(3);
    assert_eq!(guest.agent().listed("alive").unwrap().pid, first.pid);

    guest.touch("alive", "/quiet");
    let again = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| {
            row.restarts == 1 && row.pid.is_some_and(|pid| Some(pid) != first.pid)
        })
    };
    guest.agent().wait_listed("alive", "again", again).unwrap();

    let exit = guest.agent().last_exit("alive").unwrap();
    assert_eq!(exit.reason, ExitReason::Watchdog, "{exit:?}");
    assert_eq!(exit.signal.as_deref(), Some("SIGABRT"));
    let why = guest.why("alive");
    assert!(why.contains("gave no sign of life in time"), "{why}");
    guest.remove("alive");
}

#[test]
fn one_that_says_that_it_is_stuck_is_believed() {
    let mut guest = guest();
    let steps = [
        "say",
        "READY=1",
        "every",
        "200",
        "WATCHDOG=1",
        "wait",
        "/go",
        "say",
        "WATCHDOG=trigger",
        "stay",
    ];
    guest.put_up("stuck", &speaker(&steps, WATCHED, NEVER_AGAIN));
    guest.touch("stuck", "/go");
    failed(&mut guest, "stuck");
    assert_eq!(guest.agent().last_exit("stuck").unwrap().reason, ExitReason::Watchdog);
    guest.remove("stuck");
}

#[test]
fn one_changes_its_own_watchdog_as_it_likes() {
    let mut guest = guest();
    let steps =
        ["say", "READY=1|WATCHDOG_USEC=0", "wait", "/go", "say", "WATCHDOG_USEC=100000", "stay"];
    guest.put_up("own", &speaker(&steps, WATCHED, NEVER_AGAIN));
    let off = "! /usr/bin/jailctl inspect own --json | grep -q watchdog_us";
    guest.agent().wait_until(off, SOON).unwrap();
    guest.let_pass(3);
    assert!(guest.agent().listed("own").unwrap().pid.is_some());
    // Off is off for the next jailsupd, too.
    guest.agent().kill_jailsupd().unwrap();
    guest.let_pass(3);

    guest.touch("own", "/go");
    failed(&mut guest, "own");

    assert_eq!(guest.agent().last_exit("own").unwrap().reason, ExitReason::Watchdog);
    guest.remove("own");
}
