//! jailsupd is killed at random moments while jails start, stop, end by themselves, print, and are
//! edited: no jail, end or stored line is lost, and none is started twice. Each jail keeps its own record
//! on a volume ([`checker`] reads it), so jailsupd is not asked what jailsupd has done.
//!
//! `SEED=N` repeats what is done; the moments fall together differently.
#![allow(clippy::unwrap_used, reason = "tests")]

mod checker;
mod killer;
mod known;
mod load;
mod points;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use checker::{Story, hooks_wrong, is_in_log, lines_doubled, lines_lost, words};
use jailsupd::control::wire::{Event, HealthState, JailState, JailSummary, LogEntry, Stream};
use killer::Killer;
use load::{CHECKED, HOOKED, Jail, Kind, SERVED, disturb, pack_first};
use qemu_tests::{
    Image, Jails, Machine, Vm,
    random::{Random, seed},
    time::stretched,
};

const SOON: Duration = Duration::from_secs(20);
/// Kills between two looks at everything.
const ROUND: usize = 25;

#[test]
fn nothing_is_lost_though_jailsupd_is_killed_100_times() {
    survive("survival", 100);
}

#[test]
#[ignore = "takes 20 minutes without KVM: make test-long"]
fn nothing_is_lost_though_jailsupd_is_killed_1000_times() {
    survive("survival-long", 1000);
}

fn survive(name: &str, kills: usize) {
    let seed = seed();
    // The moments of its own: how much is disturbed in between depends on the machine.
    let (mut random, mut moments) = (Random::new(seed), Random::new(!seed));
    let mut vm = Machine::new(name, Image::Debug).jails(Jails::new().unwrap()).start().unwrap();
    vm.wait_boot().unwrap();
    let mut jails = Jail::all();
    jails[0].drop_in(&mut vm);
    vm.up(&jails[0].name);
    pack_first(&mut jails, &mut vm);
    for jail in &mut jails {
        jail.drop_in(&mut vm);
    }
    for jail in &jails {
        comes_up(jail, 0, &mut vm);
    }
    let mut said = Said::default();
    let mut killed = 0;
    while killed < kills {
        let count = ROUND.min(kills - killed);
        let mut killer = Killer::start(&mut vm, &mut moments, count);
        while killer.is_at_work(&mut vm) {
            disturb(&mut jails, &mut random, &mut vm);
        }
        killed += count;
        vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
        said.listen(&mut vm);
        // Each archive that was imported is an image on the disk.
        vm.ctl(&["image", "gc"]);
        for jail in jails.iter().filter(|jail| jail.kind == Kind::Steady) {
            assert_eq!(
                story(jail, &mut vm).lives.len(),
                1,
                "SEED={seed} after {killed} kills: {jail:?}"
            );
        }
        eprintln!("SEED={seed} killed {killed} times");
    }
    bring_all_up(&mut jails, &mut vm);
    stop_all(&jails, &mut vm);
    // Now that nothing else goes on: all logs of all jails are a lot to read.
    check_logs(&jails, &mut vm, seed);
    said.listen(&mut vm);
    check_lives(&jails, &said, kills, &mut vm, seed);
}

/// Whatever was done to them: each is wanted now, and comes up.
fn bring_all_up(jails: &mut [Jail], vm: &mut Vm) {
    for jail in jails.iter_mut() {
        jail.drop_in(vm);
        if jail.kind == Kind::Ordered {
            vm.ctl(&["start", &jail.name]);
        }
        if jail.kind == Kind::Packed {
            jail.asked += 1;
            vm.ctl(&["restart", &jail.name]);
            let pid = vm.agent().service(&jail.name, "witness").unwrap().pid;
            let contents = vm.sh(&format!("cat /proc/{pid}/root/contents"));
            assert_eq!(contents.trim(), jail.contents(), "{jail:?}");
        }
    }
    // Who requires it ends with it, and comes again.
    for jail in jails.iter_mut().filter(|jail| jail.name == SERVED || jail.depends_on(SERVED)) {
        jail.asked += 1;
    }
    vm.ctl(&["restart", SERVED]);
    for jail in jails.iter() {
        let lives = story(jail, vm).lives.len();
        comes_up(jail, lives, vm);
    }
}

/// Waits until the jail is up, and well; one that ends all the time may never be seen so, and begins one more life than these.
fn comes_up(jail: &Jail, lives: usize, vm: &mut Vm) {
    if matches!(jail.kind, Kind::Mortal | Kind::Bound(_)) {
        let deadline = Instant::now() + stretched(SOON);
        while story(jail, vm).lives.len() <= lives {
            assert!(Instant::now() < deadline, "no life after {lives}: {jail:?}");
        }
        return;
    }
    let up = |row: Option<&JailSummary>| {
        row.is_some_and(|row| {
            let is_well = !jail.is(CHECKED) || row.health == Some(HealthState::Healthy);
            row.state == JailState::Up && is_well
        })
    };
    vm.agent().wait_listed(&jail.name, "up", up).unwrap();
}

/// Asked to, all end, and nothing of them is left.
fn stop_all(jails: &[Jail], vm: &mut Vm) {
    for jail in jails {
        vm.ctl(&["stop", &jail.name]);
        vm.agent().wait_state(&jail.name, JailState::Down).unwrap();
    }
    assert_eq!(vm.sh("pidof witness; true"), "", "processes that are nobody's");
    assert_eq!(vm.sh("ls -d /sys/fs/cgroup/jails/*-[0-9] 2>/dev/null; true"), "", "cgroups");
}

fn story(jail: &Jail, vm: &mut Vm) -> Story {
    Story::read(&jail.record(vm))
}

/// What jailsupd has said of ends.
#[derive(Debug, Default)]
struct Said {
    /// Each event once, as it was told: they are kept for a while only.
    events: BTreeMap<String, BTreeSet<(u64, String)>>,
}

impl Said {
    fn listen(&mut self, vm: &mut Vm) {
        for line in vm.ctl(&["events", "--json"]).lines() {
            let event: Event = serde_json::from_str(line).unwrap();
            let why = end_alone(&event.why);
            let is_end = why.starts_with("exited with") || why.starts_with("was killed by");
            if event.from.is_some() && is_end {
                self.events.entry(event.jail).or_default().insert((event.time, why.to_owned()));
            }
        }
    }

    fn of(&self, jail: &Jail) -> Vec<String> {
        let events = self.events.get(&jail.name).into_iter().flatten();
        events.map(|(_, why)| why.clone()).collect()
    }
}

/// An end without why it was asked for.
fn end_alone(why: &str) -> &str {
    why.strip_prefix("lost a jail that it needs: ").unwrap_or(why)
}

/// The record on the volume, the ends that were told, and what was asked for.
fn check_lives(jails: &[Jail], said: &Said, kills: usize, vm: &mut Vm, seed: u64) {
    let mut wrong = Vec::new();
    let (mut lives, mut again) = (0, 0);
    let ends = |vm: &mut Vm, name: &str| {
        let jail = jails.iter().find(|jail| jail.name == name).unwrap();
        story(jail, vm).lives.iter().filter(|life| life.end.is_some()).count()
    };
    for jail in jails {
        let story = story(jail, vm);
        let name = &jail.name;
        wrong.extend(story.faults.iter().map(|fault| format!("{name}: {fault}")));
        let of = said.of(jail);
        wrong.extend(story.ends_unheard(&of).into_iter().map(|end| format!("{name}: {end}")));
        let asked = match jail.kind {
            Kind::Bound(on) => ends(vm, on),
            _ => jail.asked,
        };
        // Once more each was asked to end at last.
        if story.asked() > asked + 1 {
            wrong.push(format!("{name}: ended {} times, asked {}", story.asked(), asked + 1));
        }
        if jail.kind != Kind::Mortal && story.lives.len() > asked + 1 {
            wrong.push(format!("{name}: {} lives, {asked} ends asked", story.lives.len()));
        }
        let least = match jail.kind {
            Kind::Mortal => kills / 10,
            Kind::Bound(_) => kills / 20,
            Kind::Dependent(_) => 2,
            _ => 1,
        };
        if story.lives.len() < least {
            wrong.push(format!("{name}: only {} lives", story.lives.len()));
        }
        if jail.is(HOOKED) {
            wrong.extend(
                hooks_wrong(&jail.record(vm)).iter().map(|fault| format!("{name}: {fault}")),
            );
        }
        let (exit, last) = (vm.agent().last_exit(name).unwrap(), story.lives.last());
        let shown = match (exit.code, &exit.signal) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was killed by {}", signal.clone().unwrap_or_default()),
        };
        let last_end = last.and_then(|life| life.end);
        // It was asked to end just after it had started again, before its program had written a word or could heed that, or
        // while the hook before the program ran.
        let by_sigterm = exit.signal.as_deref() == Some("SIGTERM")
            || jail.is(HOOKED) && exit.errno.as_deref() == Some("SIGTERM killed it");
        let is_unwritten = jail.kind == Kind::Mortal && last_end.is_some() && by_sigterm;
        if last_end.map(words) != Some(shown) && !is_unwritten {
            wrong.push(format!("{name}: its last end is {last:?}, and shown is {exit:?}"));
        }
        lives += story.lives.len();
        again += story.ends_told_again(&of);
    }
    eprintln!("SEED={seed}: {kills} kills, {lives} lives, {again} ends told twice");
    assert!(wrong.is_empty(), "SEED={seed}: {wrong:#?}");
    assert!(again <= kills, "SEED={seed}: ends were told too often: {again}");
}

/// Every line of the records is in the logs.
fn check_logs(jails: &[Jail], vm: &mut Vm, seed: u64) {
    let mut wrong = Vec::new();
    let mut lines = 0;
    for jail in jails {
        let record = jail.record(vm);
        let last = record.lines().rfind(|line| is_in_log(line)).unwrap_or_default().to_owned();
        // It is in the pipe before it is in the record.
        wait_for_line(jail, &last, vm);
        let log = printed(jail, &[], vm);
        lines += log.len();
        let (lost, doubled) = (lines_lost(&record, &log), lines_doubled(&log));
        if !lost.is_empty() || !doubled.is_empty() {
            wrong.push((jail.name.clone(), lost, doubled));
        }
    }
    eprintln!("SEED={seed}: {lines} lines in the logs");
    assert!(wrong.is_empty(), "SEED={seed}: lost, and doubled: {wrong:#?}");
}

/// Looks at the end of a jail's log until this line is there; all of it takes seconds.
fn wait_for_line(jail: &Jail, line: &str, vm: &mut Vm) {
    let deadline = Instant::now() + stretched(SOON);
    while !printed(jail, &["--lines", "200"], vm).iter().any(|printed| printed == line) {
        assert!(Instant::now() < deadline, "{}: \"{line}\" is not in its log", jail.name);
    }
}

/// What the jail has printed, as far as `jailctl logs` with these words shows it.
fn printed(jail: &Jail, words: &[&str], vm: &mut Vm) -> Vec<String> {
    let text = vm.ctl(&[&["logs", &jail.name, "--json"], words].concat());
    let entries = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let printed = entries.filter(|entry: &LogEntry| entry.stream == Stream::Stdout);
    printed.map(|entry| entry.text).collect()
}
