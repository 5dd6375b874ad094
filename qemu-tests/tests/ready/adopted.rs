//! jailsupd dies in the middle of it.

use jailsupd::control::wire::{ExitReason, HealthState, JailState};

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
