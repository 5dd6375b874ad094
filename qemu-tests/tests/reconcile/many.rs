//! Many units at once; and jailsupd killed while they are dropped and started.

use std::{collections::BTreeSet, time::Duration};

use jailsupd::control::wire::JailState;
use qemu_tests::{
    Image, Machine, Vm,
    agent::Agent,
    random::{Random, seed},
    time::{Deadline, stretched},
};

use super::{PRELUDE, SOON, boot, populated};

/// The large drop, and how long an idle machine may need for it.
const MANY: usize = 2000;
const MANY_UP: Duration = Duration::from_secs(600);
const MANY_MIB: u32 = 4096;
/// The same in small, for `make test`.
const FEW: usize = 60;
const FEW_UP: Duration = Duration::from_secs(60);
const FEW_MIB: u32 = 1024;

const PER_CALL: usize = 200;
/// Beside the directory of the units, on the same file system: from there a file appears as a whole.
const ASIDE: &str = "/data/etc/many";

#[test]
#[ignore = "takes minutes without KVM, and 4 GiB of memory: make test-long"]
fn two_thousand_units_dropped_at_once_all_come_up() {
    let mut vm = boot(Machine::new("many", Image::Debug).memory_mib(MANY_MIB));
    let agent = vm.agent();
    put_aside(agent, MANY);

    agent.shell(&format!("mv {ASIDE}/* /data/etc/jails.d/")).unwrap();

    assert_all_up_once(&mut vm, MANY, MANY_UP);
}

#[test]
#[ignore = "takes minutes without KVM, and 4 GiB of memory: make test-long"]
fn two_thousand_units_all_come_up_once_though_jailsupd_is_killed_meanwhile() {
    drop_and_kill("many-killed", (MANY, MANY_MIB), 12, MANY_UP);
}

#[test]
fn sixty_units_all_come_up_once_though_jailsupd_is_killed_meanwhile() {
    drop_and_kill("few-killed", (FEW, FEW_MIB), 4, FEW_UP);
}

/// Drops units in batches; after each but the last, when a random number of them has a cgroup, jailsupd gets
/// SIGKILL, and the next batch comes while nobody is there.
fn drop_and_kill(name: &str, (count, memory): (usize, u32), kills: usize, limit: Duration) {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut vm = boot(Machine::new(name, Image::Debug).memory_mib(memory));
    let agent = vm.agent();
    put_aside(agent, count);
    let (mut dropped, mut killed) = (0, BTreeSet::new());
    let mut ran = BTreeSet::new();
    for left in (1..=kills).rev() {
        // At least one for each kill that is to come.
        let most = (2 * (count - dropped) / (left + 1)).max(1);
        dropped = move_in(agent, dropped, 1 + random.index(most.min(count - dropped - left)));
        let begun = begun(agent).min(dropped - 1);
        let wanted = begun + 1 + random.index(dropped - begun);
        agent.wait_until(&have_begun(wanted), limit).unwrap();
        let brain = agent.jailsupd().unwrap();
        assert!(killed.insert(brain), "another jailsupd each time");
        ran.extend(pids(agent));
        agent.shell(&format!("kill -KILL {brain}")).unwrap();
        eprintln!("SEED={seed} killed {brain}: {wanted} of {dropped} had begun");
    }
    move_in(agent, dropped, count - dropped);

    assert_all_up_once(&mut vm, count, limit);
    let agent = vm.agent();
    let lost: Vec<u32> = ran.difference(&pids(agent)).copied().collect();
    assert!(lost.is_empty(), "services that ran when jailsupd was killed are gone: {lost:?}");
    assert!(!killed.contains(&agent.jailsupd().unwrap()));
}

/// The cgroups of the jails that are, or were, being started.
const CGROUPS: &str = "/sys/fs/cgroup/jails/many-*";

fn put_aside(agent: &mut Agent, count: usize) {
    for start in (0..count).step_by(PER_CALL) {
        let end = (start + PER_CALL).min(count) - 1;
        let each = format!("for i in $(seq {start} {end}); do good $i 20 >many-$i.toml; done");
        agent.shell(&format!("{PRELUDE}mkdir -p {ASIDE}; cd {ASIDE}\n{each}")).unwrap();
    }
}

/// How many are dropped then.
fn move_in(agent: &mut Agent, first: usize, count: usize) -> usize {
    if count > 0 {
        let numbers = format!("$(seq {first} {})", first + count - 1);
        let names = format!("$(for i in {numbers}; do echo many-$i.toml; done)");
        agent.shell(&format!("cd {ASIDE}; mv {names} /data/etc/jails.d/")).unwrap();
    }
    first + count
}

fn have_begun(count: usize) -> String {
    format!("[ $(ls -d {CGROUPS} 2>/dev/null | wc -l) -ge {count} ]")
}

fn begun(agent: &mut Agent) -> usize {
    let text = agent.shell(&format!("ls -d {CGROUPS} 2>/dev/null | wc -l")).unwrap();
    text.trim().parse().unwrap()
}

fn pids(agent: &mut Agent) -> BTreeSet<u32> {
    let text = agent.shell("pidof nuisance; true").unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// By jailctl and by the kernel: a process for each, below a user of its own.
fn assert_all_up_once(vm: &mut Vm, count: usize, limit: Duration) {
    let agent = vm.agent();
    // Cheaper than to ask for all of them.
    agent.wait_until(&have_begun(count), limit).unwrap();
    agent.wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    let names: BTreeSet<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let deadline = Deadline::after(limit);
    let up = loop {
        let rows = agent.list().unwrap().into_iter();
        let up = rows.filter(|row| row.state == JailState::Up).map(|row| row.name);
        let up: BTreeSet<String> = up.filter(|name| name != "nginx").collect();
        if up == names || deadline.left().is_none() {
            break up;
        }
    };
    let missing: Vec<&String> = names.difference(&up).collect();
    assert!(missing.is_empty(), "not up within {:?}: {missing:?}", stretched(limit));
    assert_eq!(up, names);
    assert_eq!(pids(agent).len(), count, "one process for each");
    let users = "for p in $(pidof nuisance); do stat -c %u /proc/$p; done | sort -u | wc -l";
    assert_eq!(agent.shell(users).unwrap().trim(), count.to_string(), "one user for each");
    assert_eq!(populated(vm), names, "a cgroup for each");
}
