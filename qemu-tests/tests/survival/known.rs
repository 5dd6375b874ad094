//! What is known of a jail, and wanted of it, though jailsupd dies just before it has dealt with that.

use jailsupd::control::wire::{ExitReason, JailState};
use qemu_tests::unit_of;

use super::points::{SELECTOR, START_FAILED, TO_START, guest_with_weak_jailsupd, has_happened};

#[test]
fn end_is_known_with_its_signal() {
    let mut vm = guest_with_weak_jailsupd();
    let unit = unit_of("nuisance", &["stay"], "[restart]\npolicy = \"no\"\n");
    for point in ["end-seen", "end-read"] {
        vm.put_up("signalled", &unit);
        let what = format!("kill {point}");
        vm.agent().write(SELECTOR, &what).unwrap();
        let pid = vm.agent().service("signalled", "nuisance").unwrap().pid;
        vm.sh(&format!("kill -ABRT {pid}"));
        has_happened(&mut vm, &what);
        vm.agent().wait_state("signalled", JailState::Failed).unwrap();
        let exit = vm.agent().last_exit("signalled").unwrap();
        assert_eq!(exit.reason, ExitReason::Signaled, "{what}: {exit:?}");
        assert_eq!(exit.signal.as_deref(), Some("SIGABRT"), "{what}: {exit:?}");
        assert!(exit.usage.is_some(), "{what}: {exit:?}");
        vm.remove("signalled");
    }
}

#[test]
fn failed_start_is_known_with_its_stage_and_is_no_life() {
    let mut vm = guest_with_weak_jailsupd();
    let what = format!("kill {START_FAILED}");
    vm.agent().write(SELECTOR, &what).unwrap();
    let unit = unit_of("nuisance", &["stay"], "[restart]\npolicy = \"always\"\n");
    vm.agent()
        .write("/etc/jails.d/absent.toml", &unit.replace("/bin/nuisance", "/bin/no"))
        .unwrap();
    has_happened(&mut vm, &what);
    // It can never start, and is not tried again.
    vm.agent().wait_state("absent", JailState::Failed).unwrap();
    let exit = vm.agent().last_exit("absent").unwrap();
    assert_eq!(exit.reason, ExitReason::StartFailed, "{exit:?}");
    assert_eq!(exit.stage.as_deref(), Some("cannot execute its program"), "{exit:?}");
    assert!(exit.errno.as_deref().is_some_and(|errno| errno.starts_with("ENOENT")), "{exit:?}");
    let events = vm.ctl(&["events", "absent"]);
    assert!(!events.contains("its program was executed"), "{events}");
    vm.remove("absent");
}

#[test]
fn start_that_was_asked_for_or_follows_from_a_failure_happens() {
    let mut vm = guest_with_weak_jailsupd();
    let what = format!("kill {TO_START}");
    let spare = unit_of("nuisance", &["stay"], "[restart]\npolicy = \"no\"\n");
    let disabled = spare.replacen("version = 1\n", "version = 1\nenabled = false\n", 1);
    vm.agent().write("/etc/jails.d/spare.toml", &disabled).unwrap();
    vm.agent().wait_state("spare", JailState::Down).unwrap();

    vm.agent().write(SELECTOR, &what).unwrap();
    vm.sh("/usr/bin/jailctl start spare --no-wait >/dev/null 2>&1; true");
    has_happened(&mut vm, &what);
    vm.up("spare");
    vm.ctl(&["stop", "spare"]);

    // A jail that someone has stopped.
    vm.put_up("again", &spare);
    vm.ctl(&["stop", "again"]);
    vm.agent().write(SELECTOR, &what).unwrap();
    vm.sh("/usr/bin/jailctl start again --no-wait >/dev/null 2>&1; true");
    has_happened(&mut vm, &what);
    vm.up("again");
    vm.remove("again");

    // What starts when another one fails. Nobody has stopped this one.
    vm.remove("spare");
    vm.agent().write("/etc/jails.d/spare.toml", &disabled).unwrap();
    vm.agent().wait_state("spare", JailState::Down).unwrap();
    let fragile = unit_of(
        "nuisance",
        &["stay"],
        "[restart]\npolicy = \"no\"\n[dependencies]\non_failure = [\"spare\"]\n",
    );
    vm.put_up("fragile", &fragile);
    vm.agent().write(SELECTOR, &what).unwrap();
    let pid = vm.agent().service("fragile", "nuisance").unwrap().pid;
    vm.sh(&format!("kill -ABRT {pid}"));
    has_happened(&mut vm, &what);
    vm.up("spare");
    vm.remove("fragile");
    vm.remove("spare");
}
