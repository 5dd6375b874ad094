//! Jails that print without end, and readers that do not read.

use std::time::Instant;

use jailsupd::control::wire::Stream;
use qemu_tests::{Guest, time::stretched};

use crate::{SOON, guest, logs, printer, texts};

/// How old the lines of a quiet jail are when they are stored, at most, in milliseconds.
fn delay(guest: &mut Guest<'_>, jail: &str) -> u64 {
    let entries = logs(guest, &[jail, "-n", "50", "--grep", "^(out|err) "]);
    assert!(!entries.is_empty());
    let age = |entry: &jailsupd::control::wire::LogEntry| {
        let said: u64 = entry.text.rsplit(' ').next().unwrap().parse().unwrap();
        entry.time.saturating_sub(said)
    };
    entries.iter().map(age).max().unwrap()
}

/// Resident memory of jailsupd, in KiB.
fn memory(guest: &mut Guest<'_>) -> u64 {
    let brain = guest.agent().jailsupd().unwrap();
    let status = guest.sh(&format!("grep VmRSS /proc/{brain}/status"));
    status.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_line_without_end_is_no_way_past_the_rate_limit() {
    let mut guest = guest();
    let limits = "rate_limit_interval = \"1h\"\nrate_limit_burst = 2";
    guest.put_up("endless", &printer(&["bytes", "100000"], limits));
    let lost = "/usr/bin/jailctl why endless | tr -s '\\n ' ' ' | sed -n 's/.*(\\([0-9]*\\) bytes) are not in its log.*/\\1/p'";
    guest.agent().wait_until(&format!("[ \"$({lost})\" -gt 50000 ]"), SOON).unwrap();

    let size = guest.sh("cat /data/log/endless.log* | wc -c");
    // Three pieces of 16 KiB, and what is written beside each.
    assert!(size.trim().parse::<u64>().unwrap() < 52 << 10, "{size}");
    guest.remove("endless");
}

#[test]
fn a_jail_that_prints_without_end_holds_up_nobody_else() {
    let mut guest = guest();
    guest.put_up("quiet", &printer(&["count", "100000", "20000"], ""));
    guest.put_up("loud", &printer(&["flood"], ""));
    guest.put_up("lossy", &printer(&["flood"], "on_full = \"drop\""));
    let dropped =
        "/usr/bin/jailctl logs lossy --stream warder | grep -q 'faster than could be stored'";
    guest.agent().wait_until(dropped, SOON * 3).unwrap();
    // What the quiet one says from now on, while the others do not stop.
    let now = guest.sh("date +%s").trim().parse::<u64>().unwrap() * 1000 + 1000;
    let newer = format!(
        "[ \"$(/usr/bin/jailctl logs quiet -n 1 --grep '^out ' | awk '{{print $NF}}')\" -gt {now} ]"
    );
    guest.agent().wait_until(&newer, SOON).unwrap();

    let before = Instant::now();
    guest.ctl(&["ls"]);
    guest.ctl(&["stop", "loud"]);
    let answered = before.elapsed();
    let delay = delay(&mut guest, "quiet");
    let memory = memory(&mut guest);
    let size = guest.sh("cat /data/log/lossy.log* | wc -c");

    assert!(answered < stretched(SOON), "{answered:?}");
    assert!(u128::from(delay) < stretched(SOON).as_millis() / 4, "{delay} ms");
    assert!(memory < 32 << 10, "{memory} KiB");
    assert!(size.trim().parse::<u64>().unwrap() <= 8 << 20, "{size}");
    for name in ["quiet", "loud", "lossy"] {
        guest.remove(name);
    }
}

#[test]
fn a_reader_that_does_not_read_is_told_what_it_missed() {
    let mut guest = guest();
    guest.put_up("noisy", &printer(&["flood"], "size_max = \"256K\""));
    let follow = "/usr/bin/jailctl logs -f noisy </dev/null >/run/missed 2>&1 & echo $!";
    let reader = guest.sh(follow);
    guest.agent().wait_until("[ -s /run/missed ]", SOON).unwrap();
    guest.sh(&format!("kill -STOP {}", reader.trim()));
    let brain = guest.agent().jailsupd().unwrap();

    // Two more times its log's size goes by.
    let position =
        "tail -c 300 /data/log/noisy.log | grep -o 'F:[0-9]*' | tail -n 1 | cut -d : -f 2";
    let begin: u64 = guest
        .sh(&format!("while p=$({position}); [ -z \"$p\" ]; do :; done; echo $p"))
        .trim()
        .parse()
        .unwrap();
    let passed = format!("now=$({position}); [ ${{now:-0}} -gt {} ]", begin + (4 << 20));
    guest.agent().wait_until(&passed, SOON).unwrap();
    let memory = memory(&mut guest);
    guest.sh(&format!("kill -CONT {}", reader.trim()));
    let told = "grep -q 'bytes were gone before they were read here' /run/missed";
    guest.agent().wait_until(told, SOON).unwrap();

    assert!(memory < 32 << 10, "{memory} KiB");
    assert_eq!(guest.agent().jailsupd().unwrap(), brain);
    guest.sh(&format!("kill {}; rm /run/missed", reader.trim()));
    guest.remove("noisy");
}

#[test]
fn more_lines_than_the_rate_limit_are_dropped_and_counted() {
    let mut guest = guest();
    let limit = "rate_limit_interval = \"3s\"\nrate_limit_burst = 100";
    guest.put_up("chatty", &printer(&["count", "500", "0"], limit));

    // A loss is told when its interval is over.
    let told = "/usr/bin/jailctl logs chatty | awk '$2 != \"warder\" { n++ } $2 == \"warder\" && $3 == \"dropped\" { n += $4 } END { exit n != 1001 }'";
    guest.agent().wait_until(told, SOON).unwrap();
    let log = logs(&mut guest, &["chatty"]);

    let kept = texts(&log, Stream::Stdout).len() + texts(&log, Stream::Stderr).len();
    let warder = texts(&log, Stream::Warder);
    let dropped =
        |text: &&str| text.strip_prefix("dropped ")?.split(' ').next()?.parse::<usize>().ok();
    let dropped: usize = warder.iter().filter_map(dropped).sum();
    // Two streams of 500 lines and one more.
    assert_eq!(kept + dropped, 1001, "{kept} and {dropped}: {warder:?}");
    assert!((100..=500).contains(&kept) && dropped > 0, "{kept} kept");
    guest.remove("chatty");
}
