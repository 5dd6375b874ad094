//! Programs at points of a jail's life.

use jailsupd::control::wire::{ExitReason, JailState, JailSummary};
use qemu_tests::Guest;

use crate::{NEVER_AGAIN, PROBLEMS, SOON, guest, remove, unit, why};

/// A unit whose program says "ready", with these hooks.
fn hooked(hooks: &str, rest: &str) -> String {
    unit(&["say", "ready"], &format!("[hooks]\n{hooks}\n{rest}"))
}

fn hook(key: &str, code: u8) -> String {
    format!("{key} = [\"/bin/nuisance\", \"hook\", \"{code}\"]\n")
}

fn wait_log(guest: &mut Guest<'_>, jail: &str, text: &str) {
    let said = format!("/usr/bin/jailctl logs {jail} | grep -q '{text}'");
    guest.agent().wait_until(&said, SOON).unwrap();
}

fn state(jail: &str, status: &str) -> String {
    format!("read {{\"ociVersion\":\"1.2.0\",\"id\":\"{jail}\",\"status\":\"{status}\"")
}

#[test]
fn hooks_run_in_their_order_and_read_the_state_of_oci() {
    let mut guest = guest();
    let keys = ["start_container", "poststart", "prestop", "poststop"];
    let hooks: String = keys.iter().map(|key| hook(key, 0)).collect();
    guest.put_up("life", &hooked(&hooks, ""));
    wait_log(&mut guest, "life", "poststart: read");

    guest.ctl(&["stop", "life"]);
    let log = guest.ctl(&["logs", "life"]);

    let order = [
        state("life", "created"),
        format!("poststart: {}", state("life", "running")),
        format!("prestop: {}", state("life", "running")),
        "exited with 0".to_owned(),
        state("life", "stopped"),
    ];
    let places: Vec<_> = order.iter().map(|text| log.find(text.as_str())).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{log}");
    // The program runs beside the hook that comes when it is ready.
    assert!(places.first() < Some(&log.find("stdout ready")), "{log}");
    assert_eq!(guest.agent().listed("life").unwrap().state, JailState::Down);
    remove(&mut guest, &["life"]);
}

#[test]
fn failed_hook_before_the_program_fails_the_start_with_its_stage() {
    let mut guest = guest();
    guest.put("stillborn", &hooked(&hook("start_container", 3), NEVER_AGAIN));
    guest.agent().wait_state("stillborn", JailState::Failed).unwrap();

    let exit = guest.agent().last_exit("stillborn").unwrap();
    let told = why(&mut guest, "stillborn").text.join("\n");
    let log = guest.ctl(&["logs", "stillborn"]);

    assert_eq!(exit.reason, ExitReason::StartFailed, "{exit:?}");
    assert_eq!(exit.stage.as_deref(), Some("cannot run its `start_container` hook"));
    assert!(told.contains("start_container` hook: it exited with 3"), "{told}");
    assert!(!log.contains("ready"), "{log}");
    // What it names must exist, too.
    let missing = "start_container = [\"/bin/missing\"]";
    guest.put("stillborn", &hooked(missing, ""));
    let named = |row: Option<&JailSummary>| {
        let problem = row.and_then(|row| row.problem.clone()).unwrap_or_default();
        problem.contains("hooks.start_container") && problem.contains("No such file")
    };
    guest.agent().wait_listed("stillborn", "without its hook's program", named).unwrap();
    remove(&mut guest, &["stillborn"]);
}

#[test]
fn stop_that_a_hook_has_taken_for_its_own_stops_the_program_too() {
    let mut guest = guest();
    let hook = "start_container = [\"/bin/nuisance\", \"wait-exit\", \"3\"]";
    let rest = format!("[hooks]\n{hook}\n[stop]\ntimeout = \"10m\"");
    guest.put("deaf", &unit(&["park"], &rest));
    guest.agent().wait_state("deaf", JailState::Starting).unwrap();
    guest.agent().wait_until("/usr/bin/busybox ps | grep -q '[w]ait-exit 3'", SOON).unwrap();
    guest.agent().wait_heeds("deaf", "nuisance", SOON).unwrap();

    guest.ctl(&["stop", "deaf"]);

    let exit = guest.agent().last_exit("deaf").unwrap();
    assert_eq!(exit.reason, ExitReason::Signaled, "{exit:?}");
    assert_eq!(exit.signal.as_deref(), Some("SIGTERM"));
    remove(&mut guest, &["deaf"]);
}

#[test]
fn jail_that_never_comes_to_its_program_is_ended() {
    let mut guest = guest();
    let hook = "start_container = [\"/bin/nuisance\", \"wait-exit\", \"3\"]";
    let times =
        "start_container_timeout = \"8s\"\n[start]\ntimeout = \"1s\"\n[stop]\ntimeout = \"1s\"";
    // Nothing in the jail can go on, and so nothing in it can find out that it takes too long.
    let rest = format!("notify = \"ready\"\n[hooks]\n{hook}\n{times}\n{NEVER_AGAIN}");
    guest.put("stuck", &unit(&["stay"], &rest));
    guest.sh("procs=/sys/fs/cgroup/jails/stuck/cgroup.procs
         until grep -q . $procs 2>/dev/null; do :; done
         kill -STOP $(cat $procs)");
    // The next jailsupd knows how far it had come, and until when it has time.
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_state("stuck", JailState::Failed).unwrap();
    let exit = guest.agent().last_exit("stuck").unwrap();
    assert_eq!(exit.reason, ExitReason::StartTimeout, "{exit:?}");
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"), "{exit:?}");
    let events = why(&mut guest, "stuck").events;
    let stop = events.iter().find(|event| event.to == Some(JailState::Stopping)).unwrap();
    assert_eq!(stop.from, Some(JailState::Starting), "{events:?}");
    assert_eq!(stop.reason, Some(ExitReason::StartTimeout), "{events:?}");
    remove(&mut guest, &["stuck"]);
}

#[test]
fn hook_that_takes_too_long_is_killed() {
    let mut guest = guest();
    let slow =
        |key: &str| format!("{key} = [\"/bin/nuisance\", \"ignore\"]\n{key}_timeout = \"1s\"\n");
    guest.put("slow", &hooked(&slow("start_container"), NEVER_AGAIN));
    guest.agent().wait_state("slow", JailState::Failed).unwrap();
    let before = why(&mut guest, "slow").text.join("\n");

    guest.put("slow", &hooked(&(slow("poststart") + &slow("prestop") + &slow("poststop")), ""));
    guest.up("slow");
    wait_log(&mut guest, "slow", "poststart. hook failed: it took longer");
    let after = why(&mut guest, "slow").text.join("\n");
    guest.ctl(&["stop", "slow"]);
    let log = guest.ctl(&["logs", "slow"]);
    let left = guest.sh("ls /sys/fs/cgroup/jails | grep -c slow || true");

    assert!(before.contains("it took longer than its `start_container_timeout`"), "{before}");
    assert!(after.contains("Its `poststart` hook failed: it took longer"), "{after}");
    assert!(log.contains("`prestop` hook failed: it took longer"), "{log}");
    assert!(
        log.contains("`poststop` hook failed: it took longer than its `poststop_timeout`"),
        "{log}"
    );
    assert!(log.find("prestop` hook failed") < log.find("exited with 0"), "{log}");
    assert_eq!(left.trim(), "0", "its cgroup is gone");
    remove(&mut guest, &["slow"]);
}

#[test]
fn failed_hooks_beside_the_program_are_told_and_change_nothing() {
    let mut guest = guest();
    let hooks = hook("poststart", 4) + &hook("prestop", 5) + &hook("poststop", 6);
    let before = guest.put_up("grumpy", &hooked(&hooks, ""));
    wait_log(&mut guest, "grumpy", "poststart. hook failed: it exited with 4");

    let row = guest.up("grumpy");
    guest.ctl(&["stop", "grumpy"]);
    let evidence = why(&mut guest, "grumpy");

    assert_eq!(row.pid, before.pid);
    assert_eq!(evidence.jail.state, JailState::Down);
    assert_eq!(evidence.last_exit.unwrap().code, Some(0), "the hook's end is not the jail's");
    assert!(
        evidence.text.iter().any(|line| line.contains("`poststop` hook failed: it exited with 6"))
    );
    assert!(evidence.events.iter().any(|e| e.why == "its `prestop` hook failed: it exited with 5"));
    remove(&mut guest, &["grumpy"]);
}

#[test]
fn hook_that_still_runs_is_nothing_that_the_program_has_left() {
    let mut guest = guest();
    let long = "poststart = [\"/bin/nuisance\", \"park\"]\n";
    guest.put_up("alone", &hooked(long, NEVER_AGAIN));
    wait_log(&mut guest, "alone", "stdout ready");
    guest.agent().wait_until("/usr/bin/busybox ps | grep -q '[n]uisance park'", SOON).unwrap();

    guest.ctl(&["kill", "alone", "-s", "SIGTERM"]);
    guest.agent().wait_state("alone", JailState::Down).unwrap();

    let exit = guest.agent().last_exit("alone").unwrap();
    assert_eq!((exit.reason, exit.code, exit.detail), (ExitReason::Exited, Some(0), None));
    remove(&mut guest, &["alone"]);
}

#[test]
fn poststop_runs_after_a_crash_too_and_before_the_next_start() {
    let mut guest = guest();
    guest.put_up("crashing", &hooked(&hook("poststop", 0), ""));
    let first = guest.up("crashing");
    wait_log(&mut guest, "crashing", "stdout ready");

    guest.ctl(&["kill", "crashing", "--no-wait"]);
    let other = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.pid != first.pid)
    };
    guest.agent().wait_listed("crashing", "up anew", other).unwrap();
    wait_log(&mut guest, "crashing", "stopped");
    let again = "[ $(/usr/bin/jailctl logs crashing | grep -c 'stdout ready') -ge 2 ]";
    guest.agent().wait_until(again, SOON).unwrap();
    let log = guest.ctl(&["logs", "crashing"]);

    let stopped = log.find(&state("crashing", "stopped"));
    assert!(stopped.is_some() && stopped < log.rfind("ready"), "{log}");
    remove(&mut guest, &["crashing"]);
}

#[test]
fn jailsupd_killed_while_the_last_hook_runs_finds_the_jail_ended() {
    let mut guest = guest();
    let slow = "poststop = [\"/bin/nuisance\", \"ignore\"]\npoststop_timeout = \"5s\"\n";
    guest.put_up("late", &hooked(slow, ""));

    guest.ctl(&["stop", "late", "--no-wait"]);
    guest.agent().wait_state("late", JailState::Cleaning).unwrap();
    guest
        .agent()
        .wait_listed("late", "with its hook", |row| {
            row.is_some_and(|row| row.pid.is_some() && row.state == JailState::Cleaning)
        })
        .unwrap();
    guest.agent().kill_jailsupd().unwrap();
    let row = guest.agent().wait_state("late", JailState::Down).unwrap();

    assert_eq!(row.restarts, 0, "{row:?}");
    let log = guest.ctl(&["logs", "late"]);
    assert!(log.contains("`poststop` hook failed: it took longer"), "{log}");
    remove(&mut guest, &["late"]);
}

#[test]
fn hooks_of_the_host_are_refused_with_the_reason() {
    let mut guest = guest();
    for key in ["create_runtime", "createContainer", "prestart"] {
        let text = hooked(&format!("{key} = [\"/bin/sh\"]"), "");
        guest.agent().write("/run/host-hook.toml", &text).unwrap();
        let told = guest.refused(&["check", "/run/host-hook.toml"], PROBLEMS);
        assert!(told.contains("nothing of a unit is executed there"), "{told}");
        assert!(told.contains("start_container"), "{told}");
    }
}
