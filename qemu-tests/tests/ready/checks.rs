//! Checks by exec, http and tcp, and what follows when they fail.

use jailsupd::control::wire::{Evidence, ExitReason, HealthState, JailState};
use qemu_tests::Guest;

use super::{SOON, Shell as _, failed, guest, speaker, wait_checked_after};

/// Healthy as long as there is `/good`.
fn guarded(on_failure: &str, restart: &str) -> String {
    let health = format!(
        "[health]\nexec = [\"speaker\", \"exists\", \"/good\"]\ninterval = \"200ms\"\nretries = 2\n\
         on_failure = \"{on_failure}\"\n[restart]\npolicy = \"{restart}\"\ndelay = \"10ms\""
    );
    speaker(&["touch", "/good", "stay"], "environment = { PATH = \"/sbin:/bin\" }", &health)
}

#[test]
fn nginx_is_asked_by_http_and_tcp_inside_its_jail() {
    let mut guest = guest();
    let dropped = |guest: &mut qemu_tests::Guest<'_>, health: &str| {
        guest.sh("mkdir -p /etc/jails.d/nginx.toml.d");
        let text =
            format!("[health]\ninterval = \"300ms\"\nretries = 2\non_failure = \"none\"\n{health}");
        guest.agent().write("/etc/jails.d/nginx.toml.d/health.toml", &text).unwrap();
        guest.ctl(&["apply"]);
    };
    let pid = guest.up("nginx").pid;
    dropped(&mut guest, "http = \"http://127.0.0.1/\"");
    guest.wait_health("nginx", HealthState::Healthy);
    let checks = guest.checks("nginx");
    assert_eq!(checks.what, "http://127.0.0.1/");
    assert_eq!(checks.output.as_deref(), Some("HTTP/1.1 200 OK"));

    dropped(&mut guest, "http = \"http://localhost/missing\"");
    guest.wait_health("nginx", HealthState::Unhealthy);
    assert_eq!(guest.checks("nginx").output.as_deref(), Some("HTTP/1.1 404 Not Found"));
    let why = guest.why("nginx");
    assert!(why.contains("It is unhealthy: its check http://localhost/missing failed"), "{why}");
    assert!(guest.ctl(&["ls"]).contains("up, unhealthy"));

    dropped(&mut guest, "tcp = \"127.0.0.1:80\"");
    guest.wait_health("nginx", HealthState::Healthy);
    assert_eq!(guest.checks("nginx").output.as_deref(), Some("connected"));

    dropped(&mut guest, "tcp = \"127.0.0.1:81\"");
    guest.wait_health("nginx", HealthState::Unhealthy);
    let output = guest.checks("nginx").output.unwrap();
    assert_eq!(output, "127.0.0.1:81: connection refused");
    // All of that was told to one life of it.
    assert_eq!(guest.agent().listed("nginx").unwrap().pid, pid);
    guest.sh("rm -r /etc/jails.d/nginx.toml.d");
    guest.ctl(&["apply"]);
    assert_eq!(guest.agent().listed("nginx").unwrap().health, None);
}

/// Kills the jail; the milliseconds until it is tried again, as they are told at once.
fn wait_after_crash(guest: &mut Guest<'_>, jail: &str) -> u64 {
    guest.ctl(&["kill", jail, "--no-wait"]);
    guest.agent().wait_state(jail, JailState::Backoff).unwrap();
    guest.agent().ask::<Evidence>(&["why", jail]).unwrap().next_try_ms.unwrap()
}

#[test]
fn only_a_life_that_was_long_enough_well_makes_the_next_wait_short_again() {
    let mut guest = guest();
    let restart = "[restart]\ndelay = \"8s\"\njitter = 0\nreset_after = \"2s\"\n";
    let unit = |steps: &[&str]| {
        let health = "[health]\nexec = [\"speaker\", \"exists\", \"/good\"]\ninterval = \"200ms\"\n\
                      retries = 2\non_failure = \"none\"\n";
        let path = "environment = { PATH = \"/sbin:/bin\" }";
        speaker(steps, path, &format!("{health}{restart}"))
    };
    guest.put_up("well", &unit(&["touch", "/good", "stay"]));
    guest.put_up("sick", &unit(&["stay"]));
    for round in 0..2 {
        guest.wait_health("well", HealthState::Healthy);
        guest.wait_health("sick", HealthState::Unhealthy);
        guest.let_pass(3);
        if round == 1 {
            // What was before it counts for the next jailsupd, too.
            guest.agent().kill_jailsupd().unwrap();
        }
        let (well, sick) =
            (wait_after_crash(&mut guest, "well"), wait_after_crash(&mut guest, "sick"));
        let doubled = if round == 0 { 0..=8000 } else { 8001..=16_000 };
        assert!(well <= 8000, "round {round}: {well} ms");
        assert!(doubled.contains(&sick), "round {round}: {sick} ms");
        if round == 0 {
            guest.up("well");
            guest.up("sick");
        }
    }
    guest.remove("well");
    guest.remove("sick");
}

#[test]
fn one_that_is_unhealthy_is_restarted_whatever_its_policy() {
    let mut guest = guest();
    let first = guest.put_up("again", &guarded("restart", "no"));
    guest.wait_health("again", HealthState::Healthy);
    guest.take("again", "/good");
    let again = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.restarts == 1 && row.state == JailState::Up)
    };
    let second = guest.agent().wait_listed("again", "again", again).unwrap().unwrap();

    let exit = guest.agent().last_exit("again").unwrap();

    assert_ne!(second.pid, first.pid);
    assert_eq!(exit.reason, ExitReason::Unhealthy, "{exit:?}");
    let detail = "its check speaker failed 2 times in a row: exit code 1: there is no /good";
    assert_eq!(exit.detail.as_deref(), Some(detail));
    guest.wait_health("again", HealthState::Healthy);
    let why = guest.why("again");
    assert!(why.contains("was not healthy"), "{why}");
    guest.remove("again");
}

#[test]
fn one_that_is_unhealthy_is_killed_or_stopped_or_only_told_as_its_unit_says() {
    let mut guest = guest();
    for (name, unit) in [
        ("killed", guarded("kill", "no")),
        ("stopped", guarded("stop", "always")),
        ("told", guarded("none", "always")),
    ] {
        guest.put_up(name, &unit);
        guest.wait_health(name, HealthState::Healthy);
        guest.take(name, "/good");
    }
    failed(&mut guest, "killed");
    failed(&mut guest, "stopped");
    guest.wait_health("told", HealthState::Unhealthy);

    let killed = guest.agent().last_exit("killed").unwrap();
    let stopped = guest.agent().last_exit("stopped").unwrap();

    assert_eq!(killed.reason, ExitReason::Unhealthy, "{killed:?}");
    assert_eq!(killed.signal, None.or(Some("SIGKILL".to_owned())));
    assert_eq!((stopped.reason, stopped.code), (ExitReason::Unhealthy, Some(0)), "{stopped:?}");
    assert_eq!(guest.agent().listed("told").unwrap().state, JailState::Up);
    // It heals.
    guest.touch("told", "/good");
    guest.wait_health("told", HealthState::Healthy);
    for name in ["killed", "stopped", "told"] {
        guest.remove(name);
    }
}

#[test]
fn checks_that_hang_are_killed_with_all_that_they_have_started() {
    let mut guest = guest();
    let health = "[health]\nexec = [\"/bin/speaker\", \"hang\"]\ninterval = \"100ms\"\ntimeout = \"500ms\"\n\
                  retries = 2\non_failure = \"none\"";
    let unit = speaker(&["stay"], "", health);
    let jails = ["hangs-1", "hangs-2", "hangs-3"];
    for jail in jails {
        guest.put_up(jail, &unit);
    }
    for jail in jails {
        guest.wait_health(jail, HealthState::Unhealthy);
        let output = guest.checks(jail).output.unwrap();
        assert!(output.starts_with("it did not end within 500ms: this check hangs"), "{output}");
    }
    // The next one begins after the end of the last one.
    let both = "for n in $(seq 200); do
        [ $(cat /sys/fs/cgroup/jails/hangs-1/check/cgroup.procs | wc -l) -le 3 ] || exit 1
    done";
    guest.sh(both);
    let at = guest.checks("hangs-1").last_at;
    wait_checked_after(&mut guest, "hangs-1", at);

    // Without a check, nothing of them is left.
    for jail in jails {
        guest.put(jail, &speaker(&["stay"], "", ""));
    }
    guest.ctl(&["apply"]);
    for jail in jails {
        // The in-jail init and its service.
        let two = format!("[ $(cat /sys/fs/cgroup/jails/{jail}/pids.current) = 2 ]");
        guest.agent().wait_until(&two, SOON).unwrap();
        guest.remove(jail);
    }
}

#[test]
fn server_that_takes_connections_and_never_answers_is_unhealthy() {
    let mut guest = guest();
    let unit = "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nginx.erofs\"\n\
                [process]\nexec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]\nuser = \"www-data\"\n\
                [security]\nadd_capability = [\"NET_BIND_SERVICE\"]\n[network]\nmode = \"none\"\n\
                [health]\nhttp = \"http://127.0.0.1/\"\ninterval = \"200ms\"\ntimeout = \"700ms\"\n\
                retries = 2\non_failure = \"none\"\n";
    let signal = |guest: &mut Guest<'_>, name: &str| {
        guest.sh(&format!(
            "for p in $(cat $(find /sys/fs/cgroup/jails/mute -name cgroup.procs)); do \
             [ $(cat /proc/$p/comm) = nginx ] && kill -{name} $p; done; true"
        ));
    };
    guest.put_up("mute", unit);
    guest.wait_health("mute", HealthState::Healthy);
    // The kernel still takes connections for it.
    signal(&mut guest, "STOP");
    guest.wait_health("mute", HealthState::Unhealthy);
    let output = guest.checks("mute").output.unwrap();
    assert_eq!(output, "http://127.0.0.1/: no answer in time");
    signal(&mut guest, "CONT");
    guest.wait_health("mute", HealthState::Healthy);
    guest.remove("mute");
}

#[test]
fn failures_count_from_the_end_of_the_start_period() {
    let mut guest = guest();
    let health = "[health]\nexec = [\"speaker\", \"exists\", \"/good\"]\ninterval = \"200ms\"\nretries = 1\n\
                  start_period = \"3s\"\non_failure = \"stop\"\n[restart]\npolicy = \"no\"";
    let path = "environment = { PATH = \"/sbin:/bin\" }";
    let since = guest.put_up("slow", &speaker(&["stay"], path, health)).since;
    let ended = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| matches!(row.state, JailState::Down | JailState::Failed))
    };
    guest.agent().wait_listed("slow", "ended", ended).unwrap();
    let exit = guest.agent().last_exit("slow").unwrap();
    assert_eq!(exit.reason, ExitReason::Unhealthy, "{exit:?}");
    assert!(exit.at - since >= 3000, "{} ms", exit.at - since);
    guest.remove("slow");
}

#[test]
fn one_that_is_frozen_is_not_asked() {
    let mut guest = guest();
    guest.put_up("frozen", &guarded("restart", "no"));
    guest.wait_health("frozen", HealthState::Healthy);
    guest.ctl(&["freeze", "frozen"]);
    let before = guest.checks("frozen").last_at;
    guest.let_pass(2);
    assert_eq!(guest.checks("frozen").last_at, before);

    guest.ctl(&["thaw", "frozen"]);

    let after = wait_checked_after(&mut guest, "frozen", before);
    assert_eq!((after.succeeded, after.failures), (Some(true), 0));
    guest.remove("frozen");
}
