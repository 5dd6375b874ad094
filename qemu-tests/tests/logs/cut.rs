//! The power is cut while a jail prints: a guest of its own, which QEMU is killed under, so that all that is in the
//! guest's memory is gone.

use std::time::Duration;

use jailsupd::control::wire::LogEntry;
use qemu_tests::{Image, Jails, Machine, Vm};
use serde_json::{Value, json};

use crate::{entries, jails, printer};

const SECOND: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(30);

/// Its unit is on a disk that no power cut changes.
fn ticking() -> Jails {
    let unit = printer(&["count", "1000000", "2000"], "size_max = \"64M\"");
    jails().unit("ticks", &unit).unwrap()
}

fn last(vm: &mut Vm) -> Option<(u64, LogEntry)> {
    let words = ["logs", "ticks", "--json", "-n", "1", "--grep", "^out "];
    let entry = entries(&vm.ctl(&words)).pop()?;
    Some((number(&entry.text), entry))
}

fn number(text: &str) -> u64 {
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// How often the guest has told its disk to keep what it was given.
fn flushes(vm: &mut Vm) -> u64 {
    let disks = vm.qmp.execute("query-blockstats", &json!({})).unwrap();
    let is_root = |disk: &&Value| disk["device"] == "root";
    let root = disks.as_array().unwrap().iter().find(is_root).unwrap();
    root["stats"]["flush_operations"].as_u64().unwrap()
}

#[test]
fn a_power_cut_costs_at_most_the_last_second_and_nothing_before_it() {
    let mut first = Machine::new("logs-cut", Image::Debug).jails(ticking()).start().unwrap();
    first.wait_boot().unwrap();
    first.up("ticks");
    let some = "[ $(/usr/bin/jailctl logs ticks --grep '^out ' | wc -l) -gt 300 ]";
    first.agent().wait_until(some, LIMIT).unwrap();

    let (old, at) = last(&mut first).unwrap();
    let flushed = flushes(&mut first);
    while last(&mut first).unwrap().1.time < at.time + SECOND {}
    let flushed_later = flushes(&mut first);
    first.kill();
    assert!(flushed_later > flushed, "{flushed}");

    let again = Machine::new("logs-cut-again", Image::Debug).jails(ticking());
    let mut second = again.own_disk(first.disk()).start().unwrap();
    second.wait_boot().unwrap();
    second.up("ticks");
    let log = entries(&second.ctl(&["logs", "ticks", "--json"]));
    let kernel = second.ctl(&["logs", "-k", "--grep", "init: boot complete"]);

    // The second boot counts from 0, too.
    assert!(log.contains(&at), "{at:?}");
    let of_first = |word: &str| {
        log.iter().filter(|entry| entry.time <= at.time && entry.text.starts_with(word)).count()
            as u64
    };
    assert!(of_first("out ") > old, "{old}");
    let texts: Vec<&str> = log.iter().map(|entry| entry.text.as_str()).collect();
    assert!(!texts.iter().any(|text| text.contains("damaged")), "{texts:?}");
    for word in ["out ", "err "] {
        let numbers: Vec<u64> =
            texts.iter().filter(|text| text.starts_with(word)).map(|text| number(text)).collect();
        // The program of the second boot begins anew.
        let end = numbers.iter().skip(1).position(|number| *number == 0);
        let before: Vec<u64> = numbers[..end.map_or(numbers.len(), |end| end + 1)].to_vec();
        let wanted: Vec<u64> = (0..before.len() as u64).collect();
        assert_eq!(before, wanted, "{word}");
        assert!(before.len() as u64 > old, "{word}: {} of more than {old}", before.len());
    }
    assert_eq!(kernel.lines().count(), 2, "{kernel}");
}

/// Has the jail print, and kills jailsupd as soon as the last line is stored, which is before it has the disk keep it.
/// Says when that was, in seconds.
fn print_and_kill(vm: &mut Vm) -> u64 {
    let brain = vm.agent().jailsupd().unwrap();
    let script = format!(
        "/usr/bin/jailctl kill bursts -s SIGUSR1 >/dev/null; \
         while ! grep -q ' burst 499$' /data/log/bursts.log; do :; done; kill -KILL {brain}; \
         cut -d . -f 1 /proc/uptime"
    );
    vm.sh(&script).trim().parse().unwrap()
}

#[test]
fn a_power_cut_after_jailsupds_death_costs_at_most_the_last_second_too() {
    let bursting = || jails().unit("bursts", &printer(&["burst", "500"], "")).unwrap();
    let mut first = Machine::new("logs-cut-dead", Image::Debug).jails(bursting()).start().unwrap();
    first.wait_boot().unwrap();
    first.up("bursts");
    let waits = "/usr/bin/jailctl logs bursts | grep -q 'stderr waits'";
    first.agent().wait_until(waits, LIMIT).unwrap();

    let killed = print_and_kill(&mut first);
    // Another one answers, and has had more than a second.
    let later = format!(
        "/usr/bin/jailctl ls >/dev/null && [ $(cut -d . -f 1 /proc/uptime) -gt {} ]",
        killed + 3
    );
    first.agent().wait_until(&later, LIMIT).unwrap();
    first.kill();

    let again = Machine::new("logs-cut-dead-again", Image::Debug).jails(bursting());
    let mut second = again.own_disk(first.disk()).start().unwrap();
    second.wait_boot().unwrap();
    second.up("bursts");
    let log = entries(&second.ctl(&["logs", "bursts", "--json", "--grep", "^burst [0-9]"]));
    let numbers: Vec<u64> = log.iter().map(|entry| number(&entry.text)).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<u64>>());
}

#[test]
#[ignore = "a minute without KVM: make test-long"]
fn a_power_cut_just_after_a_rotation_costs_no_more() {
    let unit = printer(&["count", "1000000", "500"], "size_max = \"256K\"");
    let printing = jails().unit("ticks", &unit).unwrap();
    let mut first = Machine::new("logs-cut-moved", Image::Debug).jails(printing).start().unwrap();
    first.wait_boot().unwrap();
    first.up("ticks");
    first.agent().wait_until("[ -e /data/log/ticks.log.1 ]", LIMIT).unwrap();
    let moved = first.sh("stat -c %i /data/log/ticks.log.1");
    let again = format!("[ $(stat -c %i /data/log/ticks.log.1) != {} ]", moved.trim());
    first.agent().wait_until(&again, LIMIT).unwrap();

    let (old, at) = last(&mut first).unwrap();
    while last(&mut first).unwrap().1.time < at.time + SECOND {}
    first.kill();

    // Its program prints nothing, so that what was there stays.
    let silent = jails().unit("ticks", &printer(&["burst", "1"], "")).unwrap();
    let again = Machine::new("logs-cut-moved-again", Image::Debug).jails(silent);
    let mut second = again.own_disk(first.disk()).start().unwrap();
    second.wait_boot().unwrap();
    second.up("ticks");
    let log = entries(&second.ctl(&["logs", "ticks", "--json"]));
    assert!(!log.iter().any(|entry| entry.text.contains("damaged")), "{log:?}");
    for word in ["out ", "err "] {
        let texts = log.iter().map(|entry| entry.text.as_str());
        let numbers: Vec<u64> = texts.filter(|text| text.starts_with(word)).map(number).collect();
        let (begin, end) = (numbers[0], numbers[numbers.len() - 1]);
        assert_eq!(numbers, (begin..=end).collect::<Vec<u64>>(), "{word}");
        assert!(begin < old && end >= old, "{word}: {begin} to {end}, and not {old}");
    }
}
