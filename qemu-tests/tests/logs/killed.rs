//! jailsupd is killed while jails print.

use std::time::Duration;

use qemu_tests::Guest;

use crate::{guest, in_order, printer};

fn kill_while_printing(guest: &mut Guest<'_>, lines: u64, kills: usize) {
    let unit = printer(&["count", &lines.to_string(), "200"], "size_max = \"64M\"");
    guest.put_up("counts", &unit);
    let kills = u64::try_from(kills).unwrap();
    for kill in 0..kills {
        // Between one kill and the next some is printed, and it is not over.
        let some = format!(
            "[ $(/usr/bin/jailctl logs counts --grep '^out ' | wc -l) -gt {} ]",
            lines * kill / (kills + 1)
        );
        guest.agent().wait_until(&some, Duration::from_secs(120)).unwrap();
        guest.agent().kill_jailsupd().unwrap();
    }
    let written = format!(
        "/usr/bin/jailctl logs counts --grep '^all written' | grep -q . && \
         [ $(/usr/bin/jailctl logs counts --grep '^err ' | wc -l) -ge {lines} ]"
    );
    guest.agent().wait_until(&written, Duration::from_secs(120)).unwrap();

    for word in ["out", "err"] {
        assert_eq!(in_order(guest, "counts", word), (true, lines), "{word}");
    }
    guest.remove("counts");
}

#[test]
fn every_line_is_stored_once_and_in_order_though_jailsupd_is_killed() {
    kill_while_printing(&mut guest(), 10_000, 5);
}

#[test]
#[ignore = "three minutes: make test-long"]
fn every_line_is_stored_once_though_jailsupd_is_killed_forty_times() {
    kill_while_printing(&mut guest(), 200_000, 40);
}

#[test]
fn a_line_without_an_end_outlives_jailsupd() {
    let mut guest = guest();
    guest.put_up("halves", &printer(&["bytes", "300"], ""));
    let begun = "/usr/bin/jailctl logs halves | grep -q 'stderr waits'";
    guest.agent().wait_until(begun, crate::SOON).unwrap();
    guest.agent().kill_jailsupd().unwrap();
    guest.ctl(&["kill", "halves", "-s", "SIGUSR1"]);
    let over = "/usr/bin/jailctl logs halves | grep -q ' end$'";
    guest.agent().wait_until(over, crate::SOON).unwrap();

    let said = crate::logs(&mut guest, &["halves", "--stream", "stdout"]);

    let whole = "x".repeat(300) + " end";
    assert_eq!(crate::texts(&said, jailsupd::control::wire::Stream::Stdout), [whole]);
    guest.remove("halves");
}
