//! jailsupd dies in the middle of it.

use jailsupd::control::wire::{ExitReason, HealthState, JailState};

use qemu_tests::Guest;

use super::{NEVER_AGAIN, SOON, Shell as _, guest, speaker, wait_checked_after};

#[test]
fn a_jail_that_is_not_ready_yet_is_adopted_as_that_and_becomes_ready() {
    let mut guest = guest();
    let steps = [
        "say",
        "STATUS=coming up",
        "wait",
        "/go",
        "say",
        "READY=1|STATUS=here",
        "touch",
        "/said",
        "stay",
    ];
    guest.put("waits", &speaker(&steps, "notify = \"ready\"", "[start]\ntimeout = \"10m\""));
    let before = guest.wait_status("waits", "coming up");
    guest.agent().kill_jailsupd().unwrap();
    let after = guest.agent().listed("waits").unwrap();
    assert_eq!((after.state, after.pid), (JailState::Activating, before.pid));
    assert_eq!(after.status.as_deref(), Some("coming up"));

    // It speaks while nobody hears it.
    let brain = guest.agent().jailsupd().unwrap();
    let pid = guest.agent().service("waits", "speaker").unwrap().pid;
    guest.sh(&format!("kill -STOP {brain}; touch /proc/{pid}/root/go"));
    guest.agent().wait_until(&format!("[ -e /proc/{pid}/root/said ]"), SOON).unwrap();
    guest.sh(&format!("kill -KILL {brain}"));
    guest.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();

    let row = guest.wait_status("waits", "here");
    assert_eq!((row.state, row.pid), (JailState::Up, before.pid));
    guest.agent().kill_jailsupd().unwrap();
    assert_eq!(guest.agent().listed("waits").unwrap().state, JailState::Up);
    guest.remove("waits");
}

#[test]
fn adopted_jails_are_checked_and_have_their_watchdog() {
    let mut guest = guest();
    let health = format!(
        "[health]\nexec = [\"/bin/speaker\", \"exists\", \"/good\"]\ninterval = \"500ms\"\nretries = 2\n\
         start_period = \"10m\"\non_failure = \"stop\"\n{NEVER_AGAIN}"
    );
    guest.put("checked", &speaker(&["stay"], "notify = \"healthy\"", &health));
    let watched = "notify = \"ready\"\nwatchdog = \"2s\"";
    let steps = ["say", "READY=1", "every", "200", "WATCHDOG=1", "stay"];
    let watched = guest.put_up("watched", &speaker(&steps, watched, NEVER_AGAIN));
    guest.agent().wait_state("checked", JailState::Activating).unwrap();
    // Killed between the start and the first success, and between that and the next check.
    guest.agent().kill_jailsupd().unwrap();
    assert_eq!(guest.agent().listed("checked").unwrap().state, JailState::Activating);
    guest.touch("checked", "/good");
    guest.up("checked");
    guest.agent().kill_jailsupd().unwrap();
    assert_eq!(guest.wait_health("checked", HealthState::Healthy).state, JailState::Up);
    let now = guest.checks("checked").last_at;
    wait_checked_after(&mut guest, "checked", now);
    assert_eq!(guest.agent().listed("watched").unwrap().pid, watched.pid);

    guest.take("checked", "/good");
    guest.touch("watched", "/quiet");

    for (jail, reason) in [("checked", ExitReason::Unhealthy), ("watched", ExitReason::Watchdog)] {
        super::failed(&mut guest, jail);
        assert_eq!(guest.agent().last_exit(jail).unwrap().reason, reason);
        guest.remove(jail);
    }
}

#[test]
fn a_check_that_hangs_does_not_outlive_its_jailsupd() {
    let mut guest = guest();
    let health =
        "[health]\nexec = [\"/bin/speaker\", \"hang\"]\ntimeout = \"1h\"\non_failure = \"none\"";
    guest.put_up("hangs", &speaker(&["stay"], "", health));
    let procs = "/sys/fs/cgroup/jails/hangs/check/cgroup.procs";
    guest.agent().wait_until(&format!("[ $(wc -l <{procs}) = 3 ]"), SOON).unwrap();
    let old = guest.sh(&format!("cat {procs}"));
    guest.agent().kill_jailsupd().unwrap();
    for pid in old.split_whitespace() {
        guest.agent().wait_until(&format!("[ ! -e /proc/{pid} ]"), SOON).unwrap();
    }
    guest.remove("hangs");
}

/// Waits until the jail has said this so many times.
fn wait_said(guest: &mut Guest<'_>, jail: &str, text: &str, times: usize) {
    let condition = format!("[ $(/usr/bin/jailctl logs {jail} | grep -c '{text}') = {times} ]");
    guest.agent().wait_until(&condition, SOON).unwrap();
}

#[test]
fn jail_that_gave_no_sign_of_life_is_asked_again_as_it_was_before() {
    let mut guest = guest();
    let silent = "notify = \"ready\"\nwatchdog = \"1s\"";
    let rest = format!("[stop]\ntimeout = \"1h\"\n{NEVER_AGAIN}");
    guest.put_up("silent", &speaker(&["say", "READY=1", "tell"], silent, &rest));
    wait_said(&mut guest, "silent", "told by signal 6", 1);
    guest.agent().kill_jailsupd().unwrap();
    wait_said(&mut guest, "silent", "told by signal 6", 2);
    guest.touch_from_outside("silent", "/end");
    super::failed(&mut guest, "silent");
    assert_eq!(guest.agent().last_exit("silent").unwrap().reason, ExitReason::Watchdog);
    let log = guest.ctl(&["logs", "silent"]);
    assert!(!log.contains("told by signal 15"), "{log}");
    guest.remove("silent");
}

#[test]
fn hook_that_its_jailsupd_has_left_runs_again() {
    let mut guest = guest();
    let hooks = "[stop]\ntimeout = \"2h\"\n[hooks]\nstart_container = [\"/bin/speaker\", \"print\", \"before\"]\npoststart_timeout = \"1h\"\nprestop_timeout = \"1h\"\n\
         poststart = [\"/bin/speaker\", \"print\", \"coming\", \"wait\", \"/go\", \"print\", \"came\"]\n\
         prestop = [\"/bin/speaker\", \"print\", \"leaving\", \"wait\", \"/leave\", \"print\", \"left\"]";
    let before = guest.put_up("hooked", &speaker(&["stay"], "", hooks));
    wait_said(&mut guest, "hooked", "poststart: coming", 1);
    guest.agent().kill_jailsupd().unwrap();
    wait_said(&mut guest, "hooked", "poststart: coming", 2);
    guest.touch("hooked", "/go");
    wait_said(&mut guest, "hooked", "poststart: came", 1);
    // One that has ended does not come again.
    guest.agent().kill_jailsupd().unwrap();
    assert_eq!(guest.up("hooked").pid, before.pid);

    guest.ctl(&["stop", "hooked", "--no-wait"]);
    wait_said(&mut guest, "hooked", "prestop: leaving", 1);
    guest.agent().kill_jailsupd().unwrap();
    wait_said(&mut guest, "hooked", "prestop: leaving", 2);
    guest.sh(&format!("touch /proc/{}/root/leave", before.pid.unwrap()));
    guest.agent().wait_state("hooked", JailState::Down).unwrap();

    let log = guest.ctl(&["logs", "hooked"]);
    let count = |text| log.matches(text).count();
    assert_eq!(["coming", "came", "leaving", "left"].map(count), [2, 1, 2, 1], "{log}");
    assert!(log.find("prestop: left") < log.find("exited with 0"), "{log}");
    guest.remove("hooked");
}
