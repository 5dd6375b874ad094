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

/// Waits for what a jail that counts says from now on.
fn wait_heard(guest: &mut Guest<'_>, jail: &str) {
    let now = guest.sh("date +%s").trim().parse::<u64>().unwrap() * 1000 + 1000;
    let newer = format!(
        "[ \"$(/usr/bin/jailctl logs {jail} -n 1 --grep '^out ' | awk '{{print $NF}}')\" -gt {now} ]"
    );
    guest.agent().wait_until(&newer, SOON).unwrap();
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
    // While the others do not stop.
    wait_heard(&mut guest, "quiet");

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

/// What a jail's log has of its standard output, in lines and bytes: read in the files, which tell of a line that was
/// dropped from its middle on what of it is there. A record that only ends such a line has the position of the one before.
fn kept(guest: &mut Guest<'_>, jail: &str) -> (u64, u64) {
    pair(&guest.sh(&format!(
        "cat /data/log/{jail}.log.1 /data/log/{jail}.log 2>/dev/null | awk '{{ \
        split($3, tag, \":\"); text = length($0) - length($1 \" \" $2 \" \" $3 \" \"); \
        if ($2 == \"stdout\") {{ bytes += text; \
            if (tag[1] == \"F\" && (text > 0 || tag[2] != end)) {{ lines++; bytes++ }} }} \
        end = tag[2] }} END {{ printf \"%d %d\", lines, bytes }}'"
    )))
}

/// The same of what the log says was dropped.
fn dropped(guest: &mut Guest<'_>, jail: &str) -> (u64, u64) {
    pair(&guest.sh(&format!(
        "/usr/bin/jailctl logs {jail} --stream warder --grep '^dropped' | \
        awk '{{ lines += $4; sub(/.*\\(/, \"\"); bytes += $1 }} END {{ printf \"%d %d\", lines, bytes }}'"
    )))
}

/// Both, when they are all that was written. The last loss is told a second after it began.
fn kept_and_dropped(guest: &mut Guest<'_>, jail: &str, lines: u64) -> [(u64, u64); 2] {
    let deadline = Instant::now() + stretched(SOON * 3);
    loop {
        let both = [kept(guest, jail), dropped(guest, jail)];
        if both[0].0 + both[1].0 >= lines || Instant::now() > deadline {
            return both;
        }
    }
}

fn pair(text: &str) -> (u64, u64) {
    let (lines, bytes) = text.trim().split_once(' ').unwrap();
    (lines.parse().unwrap(), bytes.parse().unwrap())
}

#[test]
fn what_was_kept_and_what_was_dropped_are_all_that_was_written() {
    let mut guest = guest();
    let unit = printer(&["flood", "24"], "on_full = \"drop\"\nsize_max = \"128M\"");
    guest.put_up("exact", &unit);
    let over = "grep 'flood is over' /data/log/exact.log";
    guest.agent().wait_until(&format!("{over} >/dev/null"), SOON * 3).unwrap();
    let said = guest.sh(over);
    let written: u64 = said.trim().rsplit(' ').next().unwrap().parse().unwrap();

    let [kept, dropped] = kept_and_dropped(&mut guest, "exact", written);

    assert!(kept.0 > 0 && dropped.0 > 0, "{kept:?} and {dropped:?}");
    assert_eq!(kept.0 + dropped.0, written, "{kept:?} and {dropped:?}");
    assert_eq!(kept.1 + dropped.1, written * 100, "{kept:?} and {dropped:?}");
    guest.remove("exact");
}

/// What a jail has offered by its own counter, in lines, and the seconds that this took.
fn offered(guest: &mut Guest<'_>, jail: &str) -> (u64, f64) {
    let text = guest.agent().read(&format!("/data/volumes/{jail}/data/offered")).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let microseconds: f64 = words[1].parse().unwrap();
    (words[0].parse().unwrap(), microseconds / 1e6)
}

#[test]
#[ignore = "three minutes without KVM: make test-long"]
fn jails_that_offer_all_they_can_lose_what_their_units_say_and_no_more() {
    const JAILS: [&str; 2] = ["torrent", "dammed"];
    let mut guest = guest();
    guest.put_up("quiet", &printer(&["count", "100000", "20000"], ""));
    for (jail, on_full) in JAILS.into_iter().zip(["drop", "block"]) {
        let logs = format!("on_full = \"{on_full}\"\nsize_max = \"256M\"");
        let volume = format!("[[volume]]\nname = \"{jail}\"\npath = \"/tmp\"\n");
        guest.put_up(jail, &format!("{}\n{volume}", printer(&["offer", "/tmp"], &logs)));
    }
    let offers = |jail: &str, lines: u32| {
        let offered = format!("/data/volumes/{jail}/data/offered");
        format!("[ -s {offered} ] && [ $(cut -d' ' -f1 {offered}) -gt {lines} ]")
    };
    for jail in JAILS {
        guest.agent().wait_until(&offers(jail, 0), SOON).unwrap();
    }

    // Meanwhile the others are heard, and jailctl is answered.
    wait_heard(&mut guest, "quiet");
    let before = Instant::now();
    guest.ctl(&["ls"]);
    let answered = before.elapsed();
    let delay = delay(&mut guest, "quiet");
    guest.agent().wait_until(&offers(JAILS[0], 64_000), SOON * 3).unwrap();
    for jail in JAILS {
        guest.sh(&format!("touch /data/volumes/{jail}/data/enough"));
    }
    for jail in JAILS {
        let over = format!("grep -q over /data/volumes/{jail}/data/offered");
        guest.agent().wait_until(&over, SOON * 6).unwrap();
    }
    let [(torrent, seconds), (dammed, _)] = JAILS.map(|jail| offered(&mut guest, jail));
    let [kept, dropped] = kept_and_dropped(&mut guest, "torrent", torrent);
    let whole = kept_and_dropped(&mut guest, "dammed", dammed);
    eprintln!(
        "{:.0} MB/s were offered: {kept:?} kept and {dropped:?} dropped; {answered:?}, {delay} ms",
        torrent as f64 / 1e3 / seconds
    );

    assert!(answered < stretched(SOON) / 4, "{answered:?}");
    assert!(u128::from(delay) < stretched(SOON).as_millis() / 4, "{delay} ms");
    // Most of it was more than could be stored.
    assert!(kept.0 > 0 && dropped.0 > kept.0, "{kept:?} and {dropped:?}");
    assert_eq!((kept.0 + dropped.0, kept.1 + dropped.1), (torrent, torrent * 1000));
    assert_eq!(whole, [(dammed, dammed * 1000), (0, 0)]);
    for jail in ["quiet", "torrent", "dammed"] {
        guest.remove(jail);
    }
    guest.ctl(&["volume", "rm", JAILS[0], JAILS[1]]);
}

/// How many descriptors jailsupd has, as the guest's shell sees it.
fn descriptors(brain: u32) -> String {
    format!("$(ls /proc/{brain}/fd | wc -l)")
}

#[test]
fn readers_that_are_killed_leave_nothing_behind() {
    let mut guest = guest();
    guest.put_up("watched", &printer(&["count", "1000000", "20000"], ""));
    let stored = "/usr/bin/jailctl logs watched | grep -q 'out 50 '";
    guest.agent().wait_until(stored, SOON).unwrap();
    let brain = guest.agent().jailsupd().unwrap();
    let count = descriptors(brain);
    let before: u32 = guest.sh(&format!("echo {count}")).trim().parse().unwrap();

    let readers = guest.sh(
        "for i in $(seq 30); do /usr/bin/jailctl logs -f watched </dev/null >/dev/null 2>&1 & echo $!; done",
    );
    let all = format!("[ {count} -ge {} ]", before + 29);
    guest.agent().wait_until(&all, SOON).unwrap();
    guest.sh(&format!("kill -KILL {}", readers.replace('\n', " ")));

    let none = format!("[ {count} -le {before} ]");
    guest.agent().wait_until(&none, SOON).unwrap();
    let last = "/usr/bin/jailctl logs watched -n 1 --grep '^out ' | awk '{ print $(NF - 1) }'";
    let now = guest.sh(last);
    let more = format!("[ $({last}) -gt {} ]", now.trim());
    guest.agent().wait_until(&more, SOON).unwrap();
    assert_eq!(guest.agent().jailsupd().unwrap(), brain);
    guest.remove("watched");
}
