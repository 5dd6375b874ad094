//! READY, STATUS, STOPPING, EXTEND_TIMEOUT.

use jailsupd::control::wire::{Event, ExitReason, JailState};

use super::{NEVER_AGAIN, SOON, Shell as _, failed, guest, speaker};

const READY: &str = "notify = \"ready\"";

#[test]
fn a_jail_is_up_when_it_says_so_and_an_order_waits_for_that() {
    let mut guest = guest();
    let steps = ["say", "STATUS=coming up", "wait", "/go", "say", "READY=1|STATUS=here", "stay"];
    guest.put("says", &speaker(&steps, READY, ""));
    let row = guest.wait_status("says", "coming up");
    assert_eq!(row.state, JailState::Activating);
    guest.sh("(/usr/bin/jailctl start says >/dev/null; echo $? >/tmp/started) >/dev/null 2>&1 &");
    let why = guest.why("says");
    assert!(why.contains("has not said that it is ready yet"), "{why}");
    assert!(why.contains("It says of itself: coming up"), "{why}");
    assert!(guest.ctl(&["ls"]).contains("    coming up\n"));
    assert_eq!(guest.agent().inspect("says").unwrap().ready_at, None);
    assert_eq!(guest.sh("cat /tmp/started 2>/dev/null || echo waits").trim(), "waits");

    guest.touch("says", "/go");

    guest.agent().wait_until("[ \"$(cat /tmp/started)\" = 0 ]", SOON).unwrap();
    let row = guest.wait_status("says", "here");
    assert_eq!(row.state, JailState::Up);
    let jail = guest.agent().inspect("says").unwrap();
    // The same moment, twice made a time of the day, each time to the millisecond.
    assert!(jail.ready_at.unwrap().abs_diff(row.since) <= 2, "{jail:?}");
    guest.remove("says");
    guest.sh("rm /tmp/started");
}

#[test]
fn a_jail_that_depends_on_another_waits_until_that_is_ready() {
    let mut guest = guest();
    let steps = ["say", "STATUS=slow", "wait", "/go", "say", "READY=1", "stay"];
    guest.put("base", &speaker(&steps, READY, "[start]\ntimeout = \"10m\""));
    guest.wait_status("base", "slow");
    guest.put("above", &speaker(&["stay"], "", "[dependencies]\nrequires = [\"base\"]"));
    guest.agent().wait_state("above", JailState::Waiting).unwrap();

    guest.touch("base", "/go");

    guest.up("above");
    guest.remove("above");
    guest.remove("base");
}

#[test]
fn one_that_never_says_that_it_is_ready_has_a_reason_of_its_own() {
    let mut guest = guest();
    let rest = format!("[start]\ntimeout = \"1s\"\n{NEVER_AGAIN}");
    guest.put("never", &speaker(&["say", "STATUS=nearly", "stay"], READY, &rest));
    failed(&mut guest, "never");

    let exit = guest.agent().last_exit("never").unwrap();

    assert_eq!(exit.reason, ExitReason::StartTimeout, "{exit:?}");
    assert_eq!(exit.detail.as_deref(), Some("it had said: nearly"));
    let why = guest.why("never");
    assert!(why.contains("was not ready in time"), "{why}");
    guest.remove("never");
}

#[test]
fn one_that_asks_for_more_time_has_it() {
    let mut guest = guest();
    let steps = [
        "say",
        "EXTEND_TIMEOUT_USEC=600000000|STATUS=slow",
        "wait",
        "/go",
        "say",
        "READY=1",
        "stay",
    ];
    let rest = format!("[start]\ntimeout = \"2s\"\n{NEVER_AGAIN}");
    guest.put("slow", &speaker(&steps, READY, &rest));
    guest.wait_status("slow", "slow");

    guest.let_pass(3);

    assert_eq!(guest.agent().listed("slow").unwrap().state, JailState::Activating);
    guest.touch("slow", "/go");
    guest.up("slow");
    guest.remove("slow");
}

#[test]
fn one_that_asks_for_time_to_end_has_it_too() {
    let mut guest = guest();
    let rest = "[stop]\ntimeout = \"2s\"";
    guest.put_up("lingers", &speaker(&["say", "READY=1", "linger"], READY, rest));
    guest.sh("/usr/bin/jailctl stop lingers >/dev/null 2>&1 &");
    guest.wait_status("lingers", "lingering");

    guest.let_pass(3);

    assert_eq!(guest.agent().listed("lingers").unwrap().state, JailState::Stopping);
    guest.touch_from_outside("lingers", "/end");
    guest.agent().wait_state("lingers", JailState::Down).unwrap();
    let exit = guest.agent().last_exit("lingers").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(0)), "{exit:?}");
    guest.remove("lingers");
}

/// Of start, stop and run time: whichever is going on (sd_notify(3)).
#[test]
fn one_that_asks_for_time_to_run_has_it() {
    const ASKED: u64 = 12;
    let mut guest = guest();
    let process = format!("{READY}\nruntime_max = \"3s\"");
    let asks = format!("READY=1|EXTEND_TIMEOUT_USEC={ASKED}000000|STATUS=asked");
    guest.put("longer", &speaker(&["say", &asks, "stay"], &process, NEVER_AGAIN));
    guest.put("short", &speaker(&["say", "READY=1", "stay"], &process, NEVER_AGAIN));
    guest.wait_status("longer", "asked");

    failed(&mut guest, "short");
    failed(&mut guest, "longer");

    let ran = [("short", 3), ("longer", ASKED)].map(|(jail, least)| {
        let exit = guest.agent().last_exit(jail).unwrap();
        assert_eq!(exit.reason, ExitReason::RuntimeMax, "{jail}: {exit:?}");
        let events = guest.ctl(&["events", jail, "--json"]);
        let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
        let events: Vec<Event> = events.collect();
        let at = |state: JailState| {
            events.iter().find(|event| event.to == Some(state)).map(|event| event.time).unwrap()
        };
        let ran = at(JailState::Stopping) - at(JailState::Up);
        // To the millisecond, by two readings of the clock.
        assert!(ran >= least * 1000 - 5, "{jail}: {ran} ms");
        guest.remove(jail);
        ran
    });
    assert!(ran[0] < ran[1], "{ran:?} ms");
}

#[test]
fn one_that_says_that_it_ends_is_stopping_and_has_as_long_as_if_it_were_asked() {
    let mut guest = guest();
    let steps = [
        "say",
        "READY=1",
        "wait",
        "/go",
        "say",
        "STOPPING=1|STATUS=bye|ERRNO=28",
        "wait",
        "/end",
        "exit",
        "3",
    ];
    let rest = format!("[stop]\ntimeout = \"10m\"\n{NEVER_AGAIN}");
    guest.put_up("ends", &speaker(&steps, READY, &rest));
    guest.touch("ends", "/go");
    let row = guest.wait_status("ends", "bye");
    assert_eq!(row.state, JailState::Stopping);
    // The next jailsupd does not ask it to end, either.
    guest.agent().kill_jailsupd().unwrap();
    let row = guest.agent().listed("ends").unwrap();
    assert_eq!((row.state, row.status.as_deref()), (JailState::Stopping, Some("bye")));

    guest.touch_from_outside("ends", "/end");
    failed(&mut guest, "ends");

    let exit = guest.agent().last_exit("ends").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(3)), "{exit:?}");
    assert_eq!(exit.detail.as_deref(), Some("it had said: bye (ENOSPC)"));
    guest.remove("ends");
}

#[test]
fn one_that_loads_its_configuration_again_says_so() {
    let mut guest = guest();
    let steps = [
        "say",
        "READY=1",
        "wait",
        "/go",
        "say",
        "RELOADING=1|MONOTONIC_USEC=1|STATUS=loading",
        "wait",
        "/on",
        "say",
        "READY=1|STATUS=loaded",
        "stay",
    ];
    guest.put_up("reloads", &speaker(&steps, READY, ""));
    guest.touch("reloads", "/go");
    let row = guest.wait_status("reloads", "loading");
    assert_eq!(row.state, JailState::Up);
    assert!(guest.agent().inspect("reloads").unwrap().reloading);

    guest.touch("reloads", "/on");
    guest.wait_status("reloads", "loaded");

    assert!(!guest.agent().inspect("reloads").unwrap().reloading);
    guest.remove("reloads");
}
