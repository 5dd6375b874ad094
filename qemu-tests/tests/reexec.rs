//! PID 1 executes its program anew while jails run, end and are looked after: nothing of them is lost,
//! whatever is wrong with the new program.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use jailsupd::control::wire::{ExitReason, JailState};
use qemu_tests::{End, Guest, Image, Jails, Machine, Shared, Vm, proto::Status};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(10);
const AGAIN: &[&str] = &["host", "reexec"];
/// In the log of whoever has taken over.
const TAKEN_OVER: &str = "init: executed anew: ";
const STAYING: [&str; 3] = ["one", "two", "three"];

fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| Machine::new("reexec", Image::Debug).jails(jails()));
    // One that failed may have left its own in place.
    guest.sh("while umount -l /usr/lib/warder/init 2>/dev/null; do :; done");
    guest.set_flaw("").unwrap();
    guest
}

fn jails() -> Jails {
    let mut jails = Jails::new().unwrap().weak_init().unwrap();
    for name in STAYING {
        jails = jails.nuisance_unit(name, &["stay"], "").unwrap();
    }
    let never = "[restart]\npolicy = \"no\"";
    let always = "[restart]\npolicy = \"always\"\ndelay = \"100ms\"\ndelay_max = \"200ms\"";
    jails = jails.nuisance_unit("restless", &["exit", "3"], always).unwrap();
    for name in ["ender", "late"] {
        jails = jails.nuisance_unit(name, &["wait-exit", "7"], never).unwrap();
    }
    jails
}

/// What must not change: jailsupd's process, the agent's, and one for each jail that stays.
fn processes(vm: &mut Vm) -> BTreeMap<String, u32> {
    let brain = vm.agent().jailsupd().unwrap();
    let mut all = BTreeMap::from([("jailsupd".to_owned(), brain)]);
    let agent = vm.sh("pidof warder-agent");
    all.insert("agent".to_owned(), agent.trim().parse().unwrap());
    for name in STAYING {
        all.insert(name.to_owned(), vm.agent().service(name, "nuisance").unwrap().pid);
    }
    let master = vm.agent().jail_processes("nginx").unwrap().iter().map(|p| p.pid).min().unwrap();
    all.insert("nginx".to_owned(), master);
    all
}

/// `jailctl host reexec`, which must succeed.
fn execute_anew(vm: &mut Vm) {
    let mark = vm.console.mark();
    assert_eq!(vm.ctl(AGAIN), "PID 1 was executed anew\n");
    vm.console.wait_for_after(mark, TAKEN_OVER, SOON).unwrap();
}

/// The file that PID 1 runs.
fn program(vm: &mut Vm) -> String {
    vm.sh("stat -L -c %d:%i /proc/1/exe")
}

#[test]
fn twenty_times_under_load_no_jail_and_no_end_is_lost() {
    let mut vm = guest();
    for name in STAYING {
        vm.up(name);
    }
    let before = processes(&mut vm);
    let started = vm.sh("cut -d ' ' -f 22 /proc/1/stat");
    let restarts = vm.agent().inspect("restless").unwrap().summary.restarts;
    for round in 0..20 {
        vm.up("ender");
        let ender = vm.agent().service("ender", "nuisance").unwrap().pid;
        // It ends within a moment: before, during or after.
        let moment = round % 5;
        vm.sh(&format!("(sleep 0.0{moment}; kill -USR1 {ender}) </dev/null >/dev/null 2>&1 &"));

        execute_anew(&mut vm);

        vm.agent().wait_state("ender", JailState::Failed).unwrap();
        let exit = vm.agent().last_exit("ender").unwrap();
        assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(7)), "round {round}");
        vm.ctl(&["start", "ender"]);
    }
    assert_eq!(processes(&mut vm), before);
    assert_eq!(vm.sh("cut -d ' ' -f 22 /proc/1/stat"), started, "the same process");
    let now = vm.agent().inspect("restless").unwrap();
    assert!(now.summary.restarts > restarts, "{now:?}");
    assert_eq!(now.last_exit.unwrap().code, Some(3));
    assert!(vm.sh("cat /proc/1/comm") == "init\n");
    let zombies = "! grep -l '^State:.Z' /proc/[0-9]*/status";
    vm.agent().wait_until(zombies, SOON).unwrap();
    // Nothing of it is kept or let go meanwhile.
    vm.ctl(&["stop", "restless"]);
    let kept = vm.sh("ls /proc/1/fd | wc -l");
    execute_anew(&mut vm);
    assert_eq!(vm.sh("ls /proc/1/fd | wc -l"), kept, "no descriptor is left over");
    vm.agent().jailctl(&["start", "restless"]).unwrap();
}

#[test]
fn jailsupd_that_is_killed_at_once_is_replaced_and_its_successor_adopts_all() {
    let mut vm = guest();
    for name in STAYING {
        vm.up(name);
    }
    let before = processes(&mut vm);

    execute_anew(&mut vm);
    vm.agent().kill_jailsupd().unwrap();

    let mut after = processes(&mut vm);
    let brain = after.insert("jailsupd".to_owned(), before["jailsupd"]);
    assert_ne!(brain, Some(before["jailsupd"]));
    assert_eq!(after, before);
}

#[test]
fn end_that_nobody_has_heard_of_is_known_after_it() {
    let mut vm = guest();
    vm.up("late");
    vm.put_weak_init().unwrap();
    vm.set_flaw("waits").unwrap();
    let mark = vm.console.mark();
    let service = vm.agent().service("late", "nuisance").unwrap().pid;
    let brain = vm.agent().jailsupd().unwrap();
    vm.sh("/usr/bin/jailctl host reexec </dev/null >/run/said 2>&1 &");
    vm.agent().wait_until("grep -l -e '--self-tes[t]' /proc/[0-9]*/cmdline", SOON).unwrap();

    // From here on nobody acknowledges anything.
    vm.sh(&format!("kill -STOP {brain}; kill -USR1 {service}"));
    vm.agent().wait_until(&format!("[ ! -e /proc/{service} ]"), SOON).unwrap();
    vm.set_flaw("").unwrap();
    vm.console.wait_for_after(mark, TAKEN_OVER, SOON).unwrap();
    vm.sh(&format!("kill -CONT {brain}"));

    vm.agent().wait_state("late", JailState::Failed).unwrap();
    let exit = vm.agent().last_exit("late").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(7)));
    vm.agent().wait_until("grep -q 'was executed anew' /run/said", SOON).unwrap();
    vm.take_weak_init_away().unwrap();
    execute_anew(&mut vm);
    vm.ctl(&["start", "late"]);
}

#[test]
fn program_that_fails_leaves_the_old_one_in_its_place_and_says_why() {
    let mut vm = guest();
    for name in STAYING {
        vm.up(name);
    }
    let (before, own) = (processes(&mut vm), program(&mut vm));
    vm.put_weak_init().unwrap();
    for (flaw, why) in [
        ("fails", "its self-test exited with 1 and said: failing as I was told to"),
        ("hangs", "its self-test had not ended after 10 s"),
        ("misreads", "its self-test exited with 0 and said: read a state of format 1, sum "),
        ("cannot-restore", "the new program could not take over: failing as I was told to"),
        ("dies", "dying as I was told to"),
    ] {
        vm.set_flaw(flaw).unwrap();
        let mark = vm.console.mark();

        let said = vm.refused(AGAIN, Status::Exit(1));

        assert!(
            said.contains("PID 1 was not executed anew") && said.contains(why),
            "{flaw}: {said}"
        );
        vm.console.wait_for_after(mark, why, SOON).unwrap();
        assert_eq!(program(&mut vm), own, "{flaw}");
        assert_eq!(processes(&mut vm), before, "{flaw}");
    }
    vm.sh("mount -o remount,noexec /run/weak-init; chmod 644 /run/weak-init/init");
    vm.set_flaw("").unwrap();
    let said = vm.refused(AGAIN, Status::Exit(1));
    assert!(said.contains("self-test exited with 127"), "{said}");
    assert_eq!(program(&mut vm), own);

    vm.take_weak_init_away().unwrap();
    execute_anew(&mut vm);
    assert_eq!(processes(&mut vm), before);
}

#[test]
fn later_version_takes_over_and_the_earlier_one_does_not_misread_its_state() {
    let mut vm = guest();
    for name in STAYING {
        vm.up(name);
    }
    let (before, own) = (processes(&mut vm), program(&mut vm));
    vm.put_weak_init().unwrap();
    vm.set_flaw("newer").unwrap();
    let later = vm.sh("stat -c %d:%i /usr/lib/warder/init");

    execute_anew(&mut vm);
    assert_eq!(program(&mut vm), later);
    execute_anew(&mut vm);
    assert_eq!(program(&mut vm), later);

    vm.take_weak_init_away().unwrap();
    let said = vm.refused(AGAIN, Status::Exit(1));
    assert!(said.contains("the state is of format 2, and this program knows 1"), "{said}");
    assert_eq!(program(&mut vm), later);
    assert_eq!(processes(&mut vm), before);

    // It can write the earlier format, too.
    vm.set_flaw("").unwrap();
    execute_anew(&mut vm);
    assert_eq!(program(&mut vm), own);
    assert_eq!(processes(&mut vm), before);
}

#[test]
fn power_button_is_heard_by_the_new_program() {
    let mut vm = Machine::new("reexec-power", Image::Debug).start().unwrap();
    vm.wait_boot().unwrap();
    vm.wait_page().unwrap();
    execute_anew(&mut vm);

    vm.qmp.press_power_button().unwrap();

    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
    assert!(vm.console.find("all jails are down").is_some());
    assert!(vm.console.find("init: unmounted /data").is_some());
}
