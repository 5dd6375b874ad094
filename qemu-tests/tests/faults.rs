//! What happens when services, orphans and jailsupd itself end: tests that take turns on one boot
//! of the debug image and leave everything up again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use jailsupd::control::wire::ExitReason;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, http};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(10);
const NEVER_AGAIN: &str = "[restart]\npolicy = \"no\"";

fn guest() -> Guest<'static> {
    let jails = || {
        Jails::new()?
            .nuisance_unit("exits", &["exit", "7"], NEVER_AGAIN)?
            .nuisance_unit("faults", &["fault"], NEVER_AGAIN)?
            .nuisance_unit("victim", &["stay"], NEVER_AGAIN)?
            .nuisance_unit("witness", &["stay"], NEVER_AGAIN)?
            .nuisance_unit("orphans", &["stay"], "")
    };
    SHARED.guest(|| Machine::new("faults", Image::Debug).jails(jails().unwrap()))
}

#[test]
fn service_that_exits_7_is_reported_as_that() {
    let mut guest = guest();
    guest.wait_jail(0, "exits", "failed").unwrap();

    let exit = guest.agent().last_exit("exits").unwrap();

    assert_eq!((exit.reason, exit.code, exit.signal), (ExitReason::Exited, Some(7), None));
}

#[test]
fn service_killed_by_sigsegv_is_reported_as_that() {
    let mut guest = guest();
    guest.wait_jail(0, "faults", "failed").unwrap();

    let exit = guest.agent().last_exit("faults").unwrap();

    assert_eq!((exit.reason, exit.code), (ExitReason::Signaled, None));
    assert_eq!(exit.signal.as_deref(), Some("SIGSEGV"));
}

#[test]
fn service_killed_from_outside_is_reported_as_killed() {
    let mut guest = guest();
    guest.wait_jail(0, "victim", "up").unwrap();
    let service = guest.agent().service("victim", "nuisance").unwrap();

    guest.agent().shell(&format!("kill -KILL {}", service.pid)).unwrap();
    guest.wait_jail(0, "victim", "failed").unwrap();

    let exit = guest.agent().last_exit("victim").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Signaled, None));
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
}

#[test]
fn orphans_are_reaped_while_an_exit_record_waits() {
    let mut guest = guest();
    guest.wait_jail(0, "witness", "up").unwrap();
    guest.wait_jail(0, "orphans", "up").unwrap();
    let witness = guest.agent().service("witness", "nuisance").unwrap().pid;
    let parent = guest.agent().service("orphans", "nuisance").unwrap().pid;
    let brain = guest.agent().jailsupd().unwrap();
    let forks = forks(&mut guest);

    // A brain that stands still acknowledges nothing.
    while_stopped(&mut guest, brain, |guest| {
        guest.agent().shell(&format!("kill -KILL {witness}")).unwrap();
        guest.agent().wait_until(&format!("[ ! -e /proc/{witness} ]"), SOON).unwrap();
        guest.agent().shell(&format!("kill -USR1 {parent}")).unwrap();
        let orphan = "(sleep 0.1 </dev/null >/dev/null 2>&1 &)";
        guest.agent().shell(&format!("for i in $(seq 200); do {orphan}; done")).unwrap();
        let made = format!("[ \"$(cat /proc/{parent}/root/orphans)\" = 200 ]");
        guest.agent().wait_until(&made, SOON * 3).unwrap();
        guest.agent().wait_until("! pidof sleep", SOON).unwrap();
        guest.agent().wait_until("! grep -l '^State:.Z' /proc/[0-9]*/status", SOON).unwrap();
    });

    assert!(self::forks(&mut guest) >= forks + 800, "two processes for each orphan");
    guest.wait_jail(0, "witness", "failed").unwrap();
    let exit = guest.agent().last_exit("witness").unwrap();
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
}

#[test]
fn killed_jailsupd_leaves_the_page_served_and_the_next_one_adopts_the_jail() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    let before = guest.agent().inspect("nginx").unwrap();
    let brain = guest.agent().jailsupd().unwrap();

    let without = while_stopped(&mut guest, brain, |guest| http::get(guest.address()).unwrap());
    guest.agent().kill_jailsupd().unwrap();
    let after = guest.agent().inspect("nginx").unwrap();

    assert_eq!(without.status, 200);
    assert_ne!(guest.agent().jailsupd().unwrap(), brain);
    assert!(before.summary.pid.is_some() && before.start_time.is_some(), "{before:?}");
    assert_eq!(after.summary.pid, before.summary.pid);
    assert_eq!(after.start_time, before.start_time);
    assert_eq!(after.summary.state, before.summary.state);
    assert_eq!(http::get(guest.address()).unwrap().status, 200);
}

/// Runs `test` while jailsupd stands still, and lets it go on even when `test` fails: the tests
/// after it need it.
fn while_stopped<T>(
    guest: &mut Guest<'_>,
    brain: u32,
    test: impl FnOnce(&mut Guest<'_>) -> T,
) -> T {
    guest.agent().shell(&format!("kill -STOP {brain}")).unwrap();
    let result = panic::catch_unwind(AssertUnwindSafe(|| test(guest)));
    guest.agent().shell(&format!("kill -CONT {brain}")).unwrap();
    result.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// How many processes the guest's kernel has made since its boot.
fn forks(guest: &mut Guest<'_>) -> u64 {
    let stat = guest.agent().read("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    line.unwrap().parse().unwrap()
}
