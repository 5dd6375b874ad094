//! What people have done with jails by hand.

use jailsupd::control::wire::{Exit, ExitReason, JailState, JailSummary, Reached};

use crate::{NO_SUCH_JAIL, NOT_REACHED, REFUSED, SOON, guest, put_ready, stay, unit};

const NEVER_AGAIN: &str = "[restart]\npolicy = \"no\"";

#[test]
fn stopped_jail_stays_down_over_the_death_of_jailsupd_until_someone_starts_it() {
    let mut guest = guest();
    let before = guest.put_up("held", &stay("[restart]\npolicy = \"always\""));

    let stopped: Reached = guest.agent().ask(&["stop", "held"]).unwrap();
    guest.agent().kill_jailsupd().unwrap();
    guest.ctl(&["apply"]);
    let still = guest.agent().listed("held").unwrap();
    let started: Reached = guest.agent().ask(&["start", "held"]).unwrap();

    assert_eq!((stopped.jail.state, stopped.jail.pid), (JailState::Down, None));
    assert_eq!(still.state, JailState::Down);
    assert_eq!(started.jail.state, JailState::Up);
    assert_ne!(started.jail.pid, before.pid);
    guest.remove("held");
}

#[test]
fn stop_that_jailsupd_does_not_outlive_is_still_a_stop() {
    let mut guest = guest();
    put_ready(&mut guest, "half-stopped", "[restart]\npolicy = \"always\"");
    let service = guest.agent().service("half-stopped", "nuisance").unwrap().pid;

    // It cannot end before jailsupd is dead.
    guest.sh(&format!("kill -STOP {service}"));
    guest.ctl(&["stop", "half-stopped", "--no-wait"]);
    guest.agent().kill_jailsupd().unwrap();
    guest.sh(&format!("kill -CONT {service}"));
    let row = guest.agent().wait_listed("half-stopped", "without a process", |row| {
        row.is_some_and(|row| row.pid.is_none() || row.restarts > 0)
    });

    let row = row.unwrap().unwrap();
    assert_eq!((row.state, row.restarts), (JailState::Down, 0), "{row:?}");
    guest.remove("half-stopped");
}

#[test]
fn restart_that_jailsupd_does_not_outlive_is_still_a_restart() {
    let mut guest = guest();
    let before = put_ready(&mut guest, "half-restarted", "");
    let service = guest.agent().service("half-restarted", "nuisance").unwrap().pid;

    guest.sh(&format!("kill -STOP {service}"));
    guest.ctl(&["restart", "half-restarted", "--no-wait"]);
    guest.agent().kill_jailsupd().unwrap();
    guest.sh(&format!("kill -CONT {service}"));
    let other = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.pid != before.pid)
    };
    guest.agent().wait_listed("half-restarted", "up anew", other).unwrap();

    guest.remove("half-restarted");
}

#[test]
fn restart_makes_new_processes() {
    let mut guest = guest();
    let before = guest.put_up("again", &stay(""));

    let after: Reached = guest.agent().ask(&["restart", "again"]).unwrap();

    assert_eq!(after.jail.state, JailState::Up);
    assert_ne!(after.jail.pid, before.pid);
    guest.remove("again");
}

#[test]
fn killed_jail_ends_at_once() {
    let mut guest = guest();
    guest.put_up("killed", &stay(NEVER_AGAIN));

    let killed: Reached = guest.agent().ask(&["kill", "killed"]).unwrap();
    let exit = guest.agent().last_exit("killed").unwrap();
    let twice = guest.agent().jailctl(&["kill", "killed"]).unwrap();

    assert_eq!((killed.jail.state, killed.jail.pid), (JailState::Failed, None));
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
    assert_eq!(twice.status, REFUSED);
    assert!(twice.stderr.contains("does not run"), "{twice:?}");
    guest.remove("killed");
}

#[test]
fn frozen_jail_stands_still_until_it_is_thawed() {
    let mut guest = guest();
    put_ready(&mut guest, "frozen", "");
    let service = guest.agent().service("frozen", "nuisance").unwrap().pid;

    let frozen: Reached = guest.agent().ask(&["freeze", "frozen"]).unwrap();
    guest.sh(&format!("kill -USR1 {service}"));
    let events = guest.agent().read("/sys/fs/cgroup/jails/frozen/cgroup.events").unwrap();
    let said = guest.ctl(&["logs", "frozen"]);
    let thawed: Reached = guest.agent().ask(&["thaw", "frozen"]).unwrap();
    let again = "/usr/bin/jailctl logs frozen | grep -q again";
    guest.agent().wait_until(again, crate::SOON).unwrap();

    assert!(frozen.jail.frozen && frozen.jail.state == JailState::Up, "{frozen:?}");
    assert!(events.contains("frozen 1"), "{events}");
    assert!(!said.contains("again"), "{said}");
    assert!(!thawed.jail.frozen);
    guest.remove("frozen");
}

#[test]
fn frozen_jail_can_be_stopped() {
    let mut guest = guest();
    put_ready(&mut guest, "ice", "");

    guest.ctl(&["freeze", "ice"]);
    let stopped: Reached = guest.agent().ask(&["stop", "ice"]).unwrap();
    let exit = guest.agent().last_exit("ice").unwrap();

    assert_eq!(stopped.jail.state, JailState::Down);
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(0)), "{exit:?}");
    guest.remove("ice");
}

#[test]
fn wait_gives_up_in_time_and_says_where_the_jail_is() {
    let mut guest = guest();
    guest.put_up("waited", &stay(""));

    let up = guest.agent().jailctl(&["wait", "waited", "--timeout", "10s"]).unwrap();
    let down = ["wait", "waited", "--state", "down", "--timeout", "300ms"];
    let late = guest.agent().jailctl(&down).unwrap();
    let unknown = guest.agent().jailctl(&["wait", "nobody"]).unwrap();

    assert_eq!(up.status, qemu_tests::proto::Status::Exit(0), "{up:?}");
    assert_eq!(late.status, NOT_REACHED);
    assert!(late.stderr.contains("is not down but up"), "{late:?}");
    assert_eq!(unknown.status, NO_SUCH_JAIL);
    guest.remove("waited");
}

#[test]
fn failing_jail_is_started_again_with_growing_delays() {
    let mut guest = guest();

    let restart = "[restart]\npolicy = \"on-failure\"\ndelay = \"50ms\"\ndelay_max = \"1h\"";
    guest.put("failing", &unit(&["exit", "7"], restart));
    // The delay is doubled until a look falls into it.
    let row = guest.agent().wait_listed("failing", "restarted, in backoff", |row| {
        row.is_some_and(|row| row.restarts >= 3 && row.state == JailState::Backoff)
    });
    let exit: Exit = guest.agent().last_exit("failing").unwrap();
    // A look that falls between two delays finds a jail that is starting, so this one waits, too.
    let told = "/usr/bin/jailctl why failing | grep -q 'in a row'";
    guest.agent().wait_until(told, SOON).unwrap();

    assert!(row.unwrap().unwrap().problem.unwrap_or_default().contains('7'));
    assert_eq!(exit.code, Some(7));
    guest.remove("failing");
}

#[test]
fn policy_decides_whether_an_end_with_success_is_followed_by_a_start() {
    let mut guest = guest();
    guest.put("ended", &unit(&["exit", "0"], "[restart]\npolicy = \"on-failure\""));
    guest.put("always", &unit(&["exit", "0"], "[restart]\npolicy = \"always\"\ndelay = \"10ms\""));

    let ended = guest
        .agent()
        .wait_listed("ended", "ended", |row| row.is_some_and(|row| row.state == JailState::Down));
    let again = |row: Option<&JailSummary>| row.is_some_and(|row| row.restarts >= 2);
    guest.agent().wait_listed("always", "restarted", again).unwrap();

    assert_eq!(ended.unwrap().unwrap().restarts, 0);
    guest.remove("ended");
    guest.remove("always");
}
