//! What jails use, as `jailctl top` tells it.

use jailsupd::control::wire::{JailUsage, UsageTable};
use qemu_tests::{Guest, proto::Status};

use crate::{NEVER_AGAIN, SOON, guest, strain};

fn counters(guest: &mut Guest<'_>, words: &[&str]) -> UsageTable {
    guest.agent().ask(&[&["top"], words].concat()).unwrap()
}

fn of<'a>(table: &'a UsageTable, jail: &str) -> &'a JailUsage {
    table.jails.iter().find(|usage| usage.name == jail).unwrap()
}

#[test]
fn the_busiest_jail_is_told_with_its_busiest_process() {
    let mut guest = guest();
    let limits = format!("[resources]\ncpu_max = \"10%\"\nmemory_max = \"64M\"\n{NEVER_AGAIN}");
    guest.put_up("burner", &strain(&["processor", "1"], &limits));

    let before = counters(&mut guest, &[]);
    let stopped = "sed -n 's/nr_throttled //p' /sys/fs/cgroup/jails/burner/cpu.stat";
    let begin: u64 = guest.sh(stopped).trim().parse().unwrap();
    guest.agent().wait_until(&format!("[ $({stopped}) -ge {} ]", begin + 20), SOON * 3).unwrap();
    let after = counters(&mut guest, &["burner"]);
    let table = guest.ctl(&["top", "-p", "-d", "1s", "-n", "2"]);
    let unknown = guest.agent().jailctl(&["top", "nobody"]).unwrap();

    let (early, late) = (of(&before, "burner"), of(&after, "burner"));
    let share = (late.counters.cpu_us - early.counters.cpu_us) as f64
        / (after.time_us - before.time_us) as f64;
    assert!((0.01..0.2).contains(&share), "{share}: {before:?} {after:?}");
    assert!(late.counters.throttled_us > early.counters.throttled_us);
    // Two threads that want a processor wait for it (PSI): it is held back by its limit, and a processor is all there is.
    assert!(late.counters.cpu_wait_us > early.counters.cpu_wait_us, "{before:?} {after:?}");
    assert_eq!(late.memory_max, Some(64 << 20));
    assert_eq!(early.processes, None);
    let processes = late.processes.as_ref().unwrap();
    let busiest = processes.iter().max_by_key(|process| process.cpu_us).unwrap();
    assert!(busiest.command[0].ends_with("/strain") && busiest.memory > 0, "{busiest:?}");
    assert_eq!(after.jails.len(), 1);
    // Two tables, each with a heading, the burner first and its processes below it.
    let lines: Vec<&str> = table.lines().collect();
    let heads: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("NAME")).collect();
    assert_eq!(heads.len(), 2, "{table}");
    for head in heads {
        assert!(lines[head + 1].starts_with("burner "), "{table}");
        assert!(
            lines[head + 1..head + 4].iter().any(|line| line.contains("/bin/strain")),
            "{table}"
        );
    }
    assert_eq!(unknown.status, Status::Exit(3));
    guest.ctl(&["stop", "burner"]);
    guest.remove("burner");
}

#[test]
fn what_goes_over_the_network_and_to_the_disk_is_counted() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    let before = counters(&mut guest, &["nginx"]);
    let page = qemu_tests::http::get(guest.address()).unwrap();
    let after = counters(&mut guest, &["nginx"]);
    guest.put_up("writer", &strain(&["disk"], "[resources]\nmemory_max = \"32M\""));
    let written = "grep -q 'wbytes=[1-9][0-9]\\{6\\}' /sys/fs/cgroup/jails/writer/io.stat";
    guest.agent().wait_until(written, SOON).unwrap();
    let writer = counters(&mut guest, &["writer", "-p"]);

    let (early, late) = (of(&before, "nginx"), of(&after, "nginx"));
    assert!(
        late.counters.net_send - early.counters.net_send >= page.body.len() as u64,
        "{before:?} {after:?}"
    );
    assert!(late.counters.net_receive > early.counters.net_receive);
    assert!(of(&writer, "writer").counters.io_write > 1_000_000, "{writer:?}");
    let processes = of(&writer, "writer").processes.as_ref().unwrap();
    let of_program = |program: &str| {
        let ends = |words: &[String]| words[0].ends_with(program);
        processes.iter().find(|process| ends(&process.command)).unwrap()
    };
    assert!(of_program("/strain").io_write > 1_000_000, "{processes:?}");
    assert_eq!(processes.iter().filter(|process| process.io_write > 0).count(), 1, "{processes:?}");
    guest.ctl(&["stop", "writer"]);
    guest.remove("writer");
}

/// How often the jail has read its 8 MiB.
fn passes(guest: &mut Guest<'_>) -> u64 {
    let last = "/usr/bin/jailctl logs reader -n 1 --grep '^pass' | awk '{ print $NF }'";
    guest.sh(last).trim().parse().unwrap_or(0)
}

#[test]
fn memory_disk_and_waiting_are_those_of_the_jail_that_has_the_load() {
    let mut guest = guest();
    guest.put_up("holder", &strain(&["hold", "64"], NEVER_AGAIN));
    let held = "/usr/bin/jailctl logs holder | grep -q held";
    guest.agent().wait_until(held, SOON).unwrap();
    let limits = "[resources]\nmemory_max = \"32M\"\nio_read_bandwidth_max = [\"data 4M\"]\n";
    guest.put_up("reader", &strain(&["read"], &format!("{limits}{NEVER_AGAIN}")));
    let wanting = format!("[resources]\nmemory_high = \"24M\"\n{NEVER_AGAIN}");
    guest.put_up("wanting", &strain(&["memory"], &wanting));
    let read = "/usr/bin/jailctl logs reader | grep -q 'pass 1$'";
    guest.agent().wait_until(read, SOON).unwrap();

    let before = counters(&mut guest, &[]);
    let begin = passes(&mut guest);
    let more = format!("/usr/bin/jailctl logs reader | grep -q 'pass {}$'", begin + 4);
    guest.agent().wait_until(&more, SOON).unwrap();
    let end = passes(&mut guest);
    let after = counters(&mut guest, &[]);

    let change = |jail: &str, of_counter: fn(&JailUsage) -> u64| {
        of_counter(of(&after, jail)) - of_counter(of(&before, jail))
    };
    let told = format!("{before:?} {after:?}");
    let held = of(&after, "holder").counters.memory;
    assert!((64 << 20..80 << 20).contains(&held), "{held}: {told}");
    // It was at most in the middle of one when each was asked.
    let (least, most) = ((end - begin) * (8 << 20), (end - begin + 2) * (8 << 20));
    let read = change("reader", |usage| usage.counters.io_read);
    assert!((least..=most).contains(&read), "{least} <= {read} <= {most}: {told}");
    // Of two seconds a pass it waits for most.
    assert!(change("reader", |usage| usage.counters.io_wait_us) > 1_000_000, "{told}");
    assert!(change("wanting", |usage| usage.counters.memory_wait_us) > 1_000_000, "{told}");
    for counter in [
        |usage: &JailUsage| usage.counters.io_read,
        |usage: &JailUsage| usage.counters.io_wait_us,
        |usage: &JailUsage| usage.counters.memory_wait_us,
    ] {
        assert_eq!(change("holder", counter), 0, "{told}");
    }
    for jail in ["holder", "reader", "wanting"] {
        guest.ctl(&["stop", jail]);
        guest.remove(jail);
    }
}
