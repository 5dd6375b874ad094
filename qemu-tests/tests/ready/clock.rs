//! A host whose clock is set to another year: nothing is started, ended, tried or held back for that.

use jailsupd::control::wire::{Evidence, ExitReason, HealthState, JailState, JailSummary};
use qemu_tests::Guest;

use super::{SOON, Shell as _, guest, speaker};

const YEAR: i64 = 365 * 24 * 60 * 60;

/// Changes the guest's clock by so many seconds.
fn jump(guest: &mut Guest<'_>, seconds: i64) {
    guest.sh(&format!("date -s @$(( $(date +%s) + {seconds} )) >/dev/null"));
}

fn rows(guest: &mut Guest<'_>) -> Vec<JailSummary> {
    ["watched", "checked", "limited", "resting", "waits"]
        .map(|name| guest.agent().listed(name).unwrap())
        .into()
}

/// Each jail's state, process and restarts.
fn decided(rows: &[JailSummary]) -> Vec<(String, JailState, Option<u32>, u64)> {
    rows.iter().map(|row| (row.name.clone(), row.state, row.pid, row.restarts)).collect()
}

#[test]
fn a_clock_that_jumps_by_a_year_changes_no_decision() {
    let mut guest = guest();
    let signs = ["say", "READY=1", "every", "200", "WATCHDOG=1", "stay"];
    guest.put_up("watched", &speaker(&signs, "notify = \"ready\"\nwatchdog = \"20s\"", ""));
    let health = "[health]\nexec = [\"speaker\", \"exists\", \"/good\"]\ninterval = \"300ms\"\n\
                  retries = 2\non_failure = \"none\"";
    let path = "environment = { PATH = \"/sbin:/bin\" }";
    guest.put_up("checked", &speaker(&["touch", "/good", "stay"], path, health));
    guest.put_up("limited", &speaker(&["stay"], "runtime_max = \"1h\"", ""));
    guest.put("resting", &speaker(&["exit", "0"], "", ""));
    let backoff = "[restart]\ndelay = \"1h\"\ndelay_max = \"1h\"\nstart_limit_burst = 5";
    guest.put("waits", &speaker(&["exit", "1"], "", backoff));
    guest.agent().wait_state("waits", JailState::Backoff).unwrap();
    guest.wait_health("checked", HealthState::Healthy);
    let rests = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Down && row.pid.is_none())
    };
    guest.agent().wait_listed("resting", "at rest", rests).unwrap();
    let before = decided(&rows(&mut guest));

    for years in [1, -2, 1] {
        jump(&mut guest, years * YEAR);
        // Checks go on in their time.
        guest.take("checked", "/good");
        guest.wait_health("checked", HealthState::Unhealthy);
        guest.touch("checked", "/good");
        guest.wait_health("checked", HealthState::Healthy);
        let at: u64 = guest.sh("date +%s").trim().parse::<u64>().unwrap() * 1000;
        let now = rows(&mut guest);
        assert_eq!(decided(&now), before, "{years}");
        // Since when is told by the clock as it is now.
        let age = |row: &JailSummary| at.abs_diff(row.since) / 1000;
        assert!(now.iter().all(|row| age(row) < 3600), "{years}: {now:?}");
        let why: Evidence = guest.agent().ask(&["why", "waits"]).unwrap();
        let next = why.next_try_ms.unwrap();
        assert!((3_000_000..=3_600_000).contains(&next), "{years}: {next} ms");
        let told = why.next_try_at.unwrap();
        assert!(told.abs_diff(at + next) < 3_600_000, "{years}: {told}, {at}");
        // Neither does the next jailsupd decide otherwise.
        guest.agent().kill_jailsupd().unwrap();
        guest.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
        guest.wait_health("checked", HealthState::Healthy);
        assert_eq!(decided(&rows(&mut guest)), before, "{years}, the next jailsupd");
    }
    for name in ["watched", "checked", "limited", "resting", "waits"] {
        guest.remove(name);
    }
}

/// Seconds that the machine runs, which no clock changes.
fn uptime(guest: &mut Guest<'_>) -> u64 {
    guest.sh("cut -d. -f1 /proc/uptime").trim().parse().unwrap()
}

const GOOD: &str = "its new version is good";

fn told_good(guest: &mut Guest<'_>) -> usize {
    guest.ctl(&["events", "tried"]).matches(GOOD).count()
}

#[test]
fn a_stop_and_a_trial_that_are_under_way_take_their_own_time_in_every_year() {
    let mut guest = guest();
    let version = |number: i64, healthy: u32| {
        let process = format!("environment = {{ VERSION = \"{number}\" }}");
        speaker(&["stay"], &process, &format!("[deploy]\nmin_healthy_time = \"{healthy}s\"\n"))
    };
    guest.put_up("tried", &version(0, 1));
    guest.agent().wait_until("[ -e /data/deploys/tried.good ]", SOON).unwrap();
    for years in [1, -1] {
        let good = told_good(&mut guest);
        let deaf = guest.put_up("deaf", &speaker(&["hang"], "", "[stop]\ntimeout = \"10s\""));
        guest.agent().wait_heeds("deaf", "speaker", SOON).unwrap();
        let before = guest.agent().listed("tried").unwrap();
        let asked = uptime(&mut guest);
        guest.put("tried", &version(years, 20));
        let is_new = |row: Option<&JailSummary>| {
            row.is_some_and(|row| row.state == JailState::Up && row.pid != before.pid)
        };
        guest.agent().wait_listed("tried", "another process", is_new).unwrap();
        guest.ctl(&["stop", "deaf", "--no-wait"]);

        jump(&mut guest, years * YEAR);
        // Neither is over for that,
        let stopping = guest.agent().listed("deaf").unwrap();
        assert_eq!((stopping.state, stopping.pid), (JailState::Stopping, deaf.pid), "{years}");
        assert_eq!(told_good(&mut guest), good, "{years}");
        // and both come to their end.
        guest.agent().wait_state("deaf", JailState::Down).unwrap();
        let exit = guest.agent().last_exit("deaf").unwrap();
        assert_eq!(exit.reason, ExitReason::Killed, "{years}");
        assert!(uptime(&mut guest) >= asked + 10, "{years}: the stop");
        let told = format!("[ $(/usr/bin/jailctl events tried | grep -c '{GOOD}') -gt {good} ]");
        guest.agent().wait_until(&told, SOON).unwrap();
        assert!(uptime(&mut guest) >= asked + 20, "{years}: the trial");
        guest.remove("deaf");
    }
    guest.remove("tried");
}
