//! Whatever is done to unit files, the jails that run are those that the files ask for: a thousand
//! random operations against a model, and two thousand units at once, with jailsupd killed meanwhile.
//!
//! `SEED=N` repeats a run's operations; how they fall together with jailsupd's work differs.
#![allow(clippy::unwrap_used, reason = "tests")]

mod many;
mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jailsupd::control::wire::{JailState, Outcome};
use model::Model;
use qemu_tests::{
    End, Image, Jails, Machine, Vm,
    proto::Status,
    random::{Random, seed},
};

const OPERATIONS: usize = 1000;
/// Operations between two comparisons, at most.
const BURST: u64 = 50;
const SOON: Duration = Duration::from_secs(20);
const BOOT: Duration = Duration::from_secs(45);

/// Writes units; `good ENVIRONMENT PIDS`.
const PRELUDE: &str = r#"cd /etc/jails.d
good() { printf 'version = 1
[image]
source = "erofs:/usr/share/jails/nuisance.erofs"
[network]
mode = "none"
[process]
exec = ["/bin/nuisance", "stay"]
environment = { A = "%s" }
[resources]
pids_max = %s
' "$1" "$2"; }
"#;

#[test]
#[ignore = "takes 4 minutes without KVM: make test-long"]
fn running_jails_are_those_that_the_files_ask_for_after_each_of_1000_operations() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut vm = boot(Machine::new("reconcile", Image::Debug));
    let (mut done, mut burst, mut rebooted) = (0, 0, None);
    while done < OPERATIONS {
        burst += 1;
        let count = usize::try_from(random.below(BURST) + 1).unwrap().min(OPERATIONS - done);
        let killed = random.below(3) == 0;
        let script = model.burst(&mut random, count, killed);
        done += count;
        vm.agent().shell(&format!("{PRELUDE}{script}")).unwrap();
        if rebooted.is_none() && done >= OPERATIONS / 2 {
            let first = rebooted.insert(reboot(vm));
            let again = Machine::new("reconcile-again", Image::Debug).own_disk(first.disk());
            vm = boot(again);
            model.rebooted();
        }
        vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();

        let context = format!("SEED={seed} burst {burst} ({done} operations):\n{script}");
        let running = applied(&mut vm, &context);
        assert_eq!(running, populated(&mut vm), "jailctl and the kernel; {context}");
        let limits = limits(&mut vm);
        if let Err(difference) = model.compare(&running, &limits) {
            panic!("{difference}\n{context}");
        }
    }
}

fn boot(machine: Machine) -> Vm {
    let mut vm = machine.jails(Jails::new().unwrap()).start().unwrap();
    vm.wait_boot().unwrap();
    vm
}

/// Of this QEMU a reboot is the end.
fn reboot(mut vm: Vm) -> Vm {
    let agent = vm.agent();
    agent.wait_until("/usr/bin/jailctl host reboot", SOON).unwrap();
    vm.console.wait_for("init: unmounted /data", BOOT).unwrap();
    assert_eq!(vm.wait_end().unwrap(), End::Reset);
    vm
}

/// `jailctl apply`: the jails that are up then. All others must have come to rest.
fn applied(vm: &mut Vm, context: &str) -> BTreeSet<String> {
    let apply = vm.agent().jailctl(&["apply", "--json"]).unwrap();
    assert!(matches!(apply.status, Status::Exit(0 | 5 | 6)), "{apply:?}; {context}");
    let outcome: Outcome = serde_json::from_str(&apply.stdout).unwrap();
    let rows = vm.agent().list().unwrap();
    for (name, state) in rows
        .iter()
        .map(|row| (&row.name, row.state))
        .chain(outcome.jails.iter().map(|jail| (&jail.name, jail.reached)))
    {
        let rest = matches!(state, JailState::Up | JailState::Down | JailState::Invalid);
        assert!(rest, "{name} is {state} after apply; {context}");
    }
    let up = rows.into_iter().filter(|row| row.state == JailState::Up && row.name != "nginx");
    up.map(|row| row.name).collect()
}

/// The jails that have processes, as the kernel says.
fn populated(vm: &mut Vm) -> BTreeSet<String> {
    let script = "cd /sys/fs/cgroup/jails; grep -l 'populated 1' */cgroup.events; true";
    let found = vm.agent().shell(script).unwrap();
    let names = found.lines().filter_map(|line| line.split('/').next());
    names.filter(|name| *name != "nginx").map(str::to_owned).collect()
}

/// The limit of processes of each jail, as the kernel has it.
fn limits(vm: &mut Vm) -> BTreeMap<String, String> {
    let script = "cd /sys/fs/cgroup/jails; grep -H . */pids.max; true";
    let found = vm.agent().shell(script).unwrap();
    let limit = |line: &str| {
        let (file, value) = line.split_once(':')?;
        Some((file.split('/').next()?.to_owned(), value.to_owned()))
    };
    found.lines().filter_map(limit).collect()
}
