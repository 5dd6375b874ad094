//! What follows when a jail ends by itself, as `[restart]` and `process.runtime_max` say.

use jailsupd::control::wire::{Evidence, ExitReason, JailState, JailSummary};

use crate::{NOT_REACHED, SOON, guest, put_ready, unit};

/// Fails at once; a burst of restarts takes no time that a test would notice.
fn fails(rest: &str) -> String {
    unit(&["exit", "7"], &format!("[restart]\ndelay = \"10ms\"\n{rest}"))
}

#[test]
fn a_crash_loop_ends_at_its_start_limit_and_begins_anew_by_hand() {
    let mut guest = guest();

    guest.put("looping", &fails("start_limit_burst = 3"));
    let failed = guest.agent().wait_state("looping", JailState::Failed).unwrap();
    let why = guest.ctl(&["why", "looping"]);
    guest.agent().kill_jailsupd().unwrap();
    guest.refused(&["apply"], NOT_REACHED);
    let still = guest.agent().listed("looping").unwrap();
    let after = guest.ctl(&["why", "looping"]);
    // It may be seen up in between, or not.
    guest.agent().jailctl(&["start", "looping"]).unwrap();
    let anew = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Failed && row.since > failed.since)
    };
    let again = guest.agent().wait_listed("looping", "failed anew", anew).unwrap().unwrap();

    assert_eq!(failed.restarts, 3);
    assert!(why.contains("it was restarted 3 times"), "{why}");
    assert_eq!((still.state, still.restarts), (JailState::Failed, 3));
    assert!(after.contains("it was restarted 3 times"), "{after}");
    assert_eq!(again.restarts, 3);
    guest.remove("looping");
}

#[test]
fn exit_codes_are_what_the_unit_says_they_are() {
    let mut guest = guest();

    guest.put("succeeds", &fails("success_exit_status = [7]"));
    guest.put("prevents", &fails("policy = \"always\"\nprevent_exit_status = [7, \"SIGABRT\"]"));
    let down = guest.agent().wait_state("succeeds", JailState::Down).unwrap();
    let failed = guest.agent().wait_state("prevents", JailState::Failed).unwrap();

    for row in [down, failed] {
        let exit = guest.agent().last_exit(&row.name).unwrap();
        assert_eq!((row.restarts, exit.reason, exit.code), (0, ExitReason::Exited, Some(7)));
        guest.remove(&row.name);
    }
}

#[test]
fn signals_are_what_the_unit_says_they_are() {
    let mut guest = guest();
    let stays = |rest: &str| unit(&["stay"], &format!("[restart]\ndelay = \"10ms\"\n{rest}"));
    guest.put_up("succeeds", &stays("success_exit_status = [\"SIGABRT\"]"));
    guest.put_up("prevents", &stays("policy = \"always\"\nprevent_exit_status = [\"SIGABRT\"]"));
    for (name, state) in [("succeeds", JailState::Down), ("prevents", JailState::Failed)] {
        let pid = guest.agent().service(name, "nuisance").unwrap().pid;
        guest.sh(&format!("kill -ABRT {pid}"));
        let row = guest.agent().wait_state(name, state).unwrap();
        let exit = guest.agent().last_exit(name).unwrap();
        assert_eq!((row.restarts, exit.signal.as_deref()), (0, Some("SIGABRT")));
        guest.remove(name);
    }
}

#[test]
fn why_says_at_what_time_the_next_attempt_is() {
    let mut guest = guest();
    let rest = "[restart]\ndelay = \"1h\"\ndelay_max = \"1h\"\njitter = 0\n";
    guest.put("patient", &unit(&["exit", "7"], rest));
    guest.agent().wait_state("patient", JailState::Backoff).unwrap();
    let before = guest.sh("date -u +%H:%M:%S -d @$(($(date +%s) + 3590))");
    let why = guest.ctl(&["why", "patient"]).split_whitespace().collect::<Vec<_>>().join(" ");
    let at = why.split_once("tried again at ").map_or("", |(_, at)| at);
    let (at, wait) = at.split_once(" UTC, in ").unwrap_or_default();
    let seconds = |text: &str| {
        let parts: Vec<u32> = text.trim().split(':').map(|part| part.parse().unwrap()).collect();
        parts.iter().fold(0, |sum, part| sum * 60 + part)
    };
    assert!(wait.starts_with("35") || wait.starts_with("3600 s"), "{why}");
    // Within the minute; around midnight, too.
    assert!((seconds(at) + 86_400 - seconds(&before)) % 86_400 <= 60, "{why}: {before}");
    guest.remove("patient");
}

#[test]
fn a_service_that_goes_to_the_background_ends_with_its_jail_and_why_says_so() {
    let mut guest = guest();
    // As people know it from elsewhere: without "daemon off;".
    guest.put(
        "background",
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nginx.erofs\"\n\
         [process]\nexec = [\"/usr/sbin/nginx\"]\nuser = \"www-data\"\n\
         [security]\nadd_capability = [\"NET_BIND_SERVICE\"]\n[network]\nmode = \"none\"\n",
    );
    let told = "/usr/bin/jailctl why background | grep -q 'must stay in the foreground'";
    guest.agent().wait_until(told, SOON).unwrap();

    let down = guest.agent().wait_state("background", JailState::Down).unwrap();
    let exit = guest.agent().last_exit("background").unwrap();
    let why = guest.ctl(&["why", "background"]);

    assert_eq!((down.restarts, exit.reason, exit.code), (0, ExitReason::Exited, Some(0)));
    assert!(why.contains("exited with 0 (it left nginx"), "{why}");
    let left = guest.sh("ls -d /sys/fs/cgroup/jails/background 2>/dev/null; true");
    assert_eq!(left, "", "nothing of it runs");
    guest.remove("background");
}

#[test]
fn a_jail_that_has_run_long_enough_is_ended_also_by_the_next_jailsupd() {
    let mut guest = guest();
    let limits = "[restart]\npolicy = \"no\"";
    let unit = |time: &str| {
        unit(&["say", "ready"], limits)
            .replace("[process]", &format!("[process]\nruntime_max = \"{time}\""))
    };

    guest.put("brief", &unit("200ms"));
    let brief = guest.agent().wait_state("brief", JailState::Failed).unwrap();
    let brief_exit = guest.agent().last_exit("brief").unwrap();
    guest.remove("brief");
    put_ready(&mut guest, "longer", limits);
    let before = guest.agent().listed("longer").unwrap();
    // An edit of it restarts nothing.
    guest.put("longer", &unit("20s"));
    guest.ctl(&["apply"]);
    let edited = guest.agent().listed("longer").unwrap();
    guest.agent().kill_jailsupd().unwrap();
    let adopted = guest.agent().listed("longer").unwrap();
    let longer = guest.agent().wait_state("longer", JailState::Failed).unwrap();

    // On a slow machine it is ended before it can heed that.
    assert_eq!(brief_exit.reason, ExitReason::RuntimeMax);
    let exit = guest.agent().last_exit("longer").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::RuntimeMax, Some(0)));
    assert_eq!((edited.pid, adopted.pid), (before.pid, before.pid));
    assert!(brief.problem.unwrap().contains("had run as long as it may"));
    assert!(longer.problem.unwrap().contains("had run as long as it may"));
    guest.remove("longer");
}

#[test]
fn jails_that_fail_together_are_not_tried_again_together() {
    const JAILS: [&str; 5] = ["same-1", "same-2", "same-3", "same-4", "same-5"];
    let mut guest = guest();
    let unit = unit(&["exit", "1"], "[restart]\ndelay = \"1h\"\ndelay_max = \"2h\"");
    JAILS.iter().for_each(|jail| guest.put(jail, &unit));

    let mut waits: Vec<u64> = JAILS
        .iter()
        .map(|jail| {
            guest.agent().wait_state(jail, JailState::Backoff).unwrap();
            let why: Evidence = guest.agent().ask(&["why", jail]).unwrap();
            why.next_try_at.unwrap() - why.jail.since
        })
        .collect();

    // An hour, and up to a tenth of it more or less.
    waits.sort_unstable();
    let (first, last) = (waits[0], waits[4]);
    assert!(3_230_000 < first && last < 3_970_000, "{waits:?}");
    // Far more than what clocks are read by, one after the other.
    assert!(last - first > 5000, "{waits:?}");
    JAILS.iter().for_each(|jail| guest.remove(jail));
}
