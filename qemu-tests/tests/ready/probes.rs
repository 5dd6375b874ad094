//! `notify = "healthy"`, the startup probe, and image work with a time-out of its own.

use jailsupd::control::wire::{ExitReason, HealthState, JailState};

use super::{NEVER_AGAIN, SOON, Shell as _, failed, guest, speaker};

const BY_HEALTH: &str = "notify = \"healthy\"";
const GOOD: &str = "exec = [\"/bin/speaker\", \"exists\", \"/good\"]";

#[test]
fn a_jail_is_up_when_its_startup_probe_has_succeeded_however_often_it_failed() {
    let mut guest = guest();
    // One failed regular check would be its end.
    let rest = format!(
        "[start]\ntimeout = \"10m\"\n[health]\n{GOOD}\ninterval = \"10m\"\nretries = 1\n\
         startup_interval = \"100ms\"\nstartup_success = 2\n{NEVER_AGAIN}"
    );
    guest.put("starts", &speaker(&["stay"], BY_HEALTH, &rest));
    guest.agent().wait_state("starts", JailState::Activating).unwrap();
    let often = "/usr/bin/jailctl inspect starts --json | grep -q '\"failures\": *[1-9][0-9]'";
    guest.agent().wait_until(often, SOON).unwrap();
    let checks = guest.checks("starts");
    assert!(checks.probing, "{checks:?}");
    let row = guest.agent().listed("starts").unwrap();
    assert_eq!((row.state, row.health), (JailState::Activating, Some(HealthState::Starting)));
    let why = guest.why("starts");
    assert!(why.contains("no check of its health has succeeded yet"), "{why}");

    guest.touch("starts", "/good");

    let row = guest.up("starts");
    assert_eq!(row.health, Some(HealthState::Healthy));
    assert!(!guest.checks("starts").probing);
    guest.remove("starts");
}

#[test]
fn a_startup_probe_that_fails_too_often_is_the_end() {
    let mut guest = guest();
    let rest = format!(
        "[health]\n{GOOD}\nstartup_interval = \"100ms\"\nstartup_retries = 3\non_failure = \"stop\"\n\
         startup_exec = [\"/bin/speaker\", \"exists\", \"/warm\"]"
    );
    guest.put("cold", &speaker(&["stay"], BY_HEALTH, &rest));
    failed(&mut guest, "cold");
    let exit = guest.agent().last_exit("cold").unwrap();
    assert_eq!(exit.reason, ExitReason::Unhealthy, "{exit:?}");
    let detail = exit.detail.unwrap();
    assert!(detail.starts_with("its startup probe /bin/speaker failed 3 times"), "{detail}");
    assert!(detail.ends_with("there is no /warm"), "{detail}");
    guest.remove("cold");
}

#[test]
fn one_that_does_not_become_healthy_in_time_was_not_ready_in_time() {
    let mut guest = guest();
    let rest = format!("[start]\ntimeout = \"2s\"\n[health]\n{GOOD}\n{NEVER_AGAIN}");
    guest.put("late", &speaker(&["stay"], BY_HEALTH, &rest));
    failed(&mut guest, "late");
    let exit = guest.agent().last_exit("late").unwrap();
    assert_eq!(exit.reason, ExitReason::StartTimeout, "{exit:?}");
    assert!(exit.detail.unwrap().contains("there is no /good"));
    guest.remove("late");
}

#[test]
fn work_on_an_image_has_a_time_of_its_own() {
    let mut guest = guest();
    // In memory, so that no block of it can be shared with the copy.
    guest.sh(
        "mkdir -p /data/images/large && cd /data/images && mount -t tmpfs none large && cd large &&
        mkdir dev proc sys && dd if=/dev/urandom of=blob bs=1M count=96 2>/dev/null",
    );
    let unit = |timeout: &str| {
        format!(
            "version = 1\n[image]\nsource = \"dir:/data/images/large\"\ntimeout = \"{timeout}\"\n\
             [root]\nmode = \"persistent\"\n[network]\nmode = \"none\"\n[process]\n\
             exec = [\"/bin/none\"]\nnotify = \"ready\"\n[start]\ntimeout = \"100ms\"\n\
             [restart]\ndelay = \"1h\"\ndelay_max = \"1h\""
        )
    };
    guest.put("large", &unit("100ms"));
    guest.agent().wait_state("large", JailState::Backoff).unwrap();
    let why = guest.why("large");
    assert!(why.contains("image.timeout"), "{why}");
    assert!(why.contains("cannot finish within 100ms"), "{why}");

    guest.put("large", &unit("10m"));
    // It is not to be reached.
    let _ = guest.agent().jailctl(&["start", "large"]).unwrap();

    // The copy was made, although it takes longer than the start may; there is no program in it.
    failed(&mut guest, "large");
    let why = guest.why("large");
    assert!(why.contains("cannot execute its program"), "{why}");
    guest.remove("large");
    guest.ctl(&["root", "rm", "large"]);
    guest.sh("umount /data/images/large && rmdir /data/images/large");
}
