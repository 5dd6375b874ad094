//! A full data partition.

use jailsupd::control::wire::{JailState, JailSummary, Stream};
use qemu_tests::Guest;

use crate::{SOON, guest, in_order, logs, printer, texts};

/// Whether the jail's program has written nothing for a moment, since it waits.
fn stands_still(jail: &str) -> String {
    let wrote = format!(
        "cat $(for p in $(cat /sys/fs/cgroup/jails/{jail}/cgroup.procs); do echo /proc/$p/io; done) 2>&1 | grep wchar"
    );
    format!("a=$({wrote}); usleep 300000; [ \"$a\" = \"$({wrote})\" ]")
}

fn fill(guest: &mut Guest<'_>) {
    guest.sh("dd if=/dev/zero of=/data/filler bs=1M 2>/dev/null; dd if=/dev/zero of=/data/filler2 bs=4k 2>/dev/null; sync; true");
}

/// Has a jail crash and start again.
fn crash(guest: &mut Guest<'_>, name: &str) {
    let restarts = guest.agent().listed(name).unwrap().restarts;
    guest.ctl(&["kill", name, "-s", "SIGKILL"]);
    let is_again = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.restarts > restarts && row.state == JailState::Up)
    };
    guest.agent().wait_listed(name, "up again", is_again).unwrap();
}

#[test]
fn jails_run_on_when_the_disk_is_full_and_what_is_lost_is_told() {
    let mut guest = guest();
    let size = "size_max = \"64M\"\n";
    for (name, on_full) in
        [("waits", "on_full = \"block\""), ("drops", "on_full = \"drop\""), ("usual", "")]
    {
        guest.put_up(name, &printer(&["flood-on-usr1", "3"], &format!("{size}{on_full}")));
        let ready = format!("/usr/bin/jailctl logs {name} | grep -q 'stderr waits'");
        guest.agent().wait_until(&ready, SOON).unwrap();
    }
    guest.put_up("crashes", &printer(&["burst", "1"], ""));
    let brain = guest.agent().jailsupd().unwrap();
    let mark = guest.console.mark();
    fill(&mut guest);

    for name in ["waits", "drops", "usual"] {
        guest.ctl(&["kill", name, "-s", "SIGUSR1"]);
    }

    // Named at once where people look, and the jails are there.
    let told = "log lines of jails cannot be stored";
    guest.console.wait_for_after(mark, told, SOON).unwrap();
    guest.agent().wait_until(&stands_still("waits"), SOON).unwrap();
    guest.agent().wait_until(&stands_still("drops"), SOON).unwrap();
    guest
        .agent()
        .wait_until("/usr/bin/jailctl why usual | grep -q 'are not in its log'", SOON)
        .unwrap();
    crash(&mut guest, "crashes");
    guest.sh("echo 'a word for a full disk' >/dev/kmsg");
    for name in ["waits", "drops", "usual", "nginx"] {
        guest.up(name);
    }
    guest.wait_page().unwrap();

    guest.sh("rm /data/filler /data/filler2; sync");

    let unstored = "/usr/bin/jailctl events crashes | grep -q ' not stored: '";
    guest.agent().wait_until(unstored, SOON).unwrap();
    let unstored = "/usr/bin/jailctl logs -k | grep -q 'records before this were not stored'";
    guest.agent().wait_until(unstored, SOON).unwrap();

    for name in ["drops", "usual"] {
        let dropped =
            format!("/usr/bin/jailctl logs {name} --stream warder | grep -q 'dropped .* lines'");
        guest.agent().wait_until(&dropped, SOON).unwrap();
        let log = logs(&mut guest, &[name, "--stream", "warder"]);
        let log = texts(&log, Stream::Warder);
        assert!(
            log.iter().any(|text| text.contains("no room") || text.contains("No space")),
            "{log:?}"
        );
    }
    let over = "/usr/bin/jailctl logs waits --stream stderr | grep -q 'flood is over'";
    guest.agent().wait_until(over, SOON).unwrap();
    // Who waited has lost nothing.
    let (in_order, count) = in_order(&mut guest, "waits", "flood");
    assert!(in_order && count * 100 >= 3 << 20, "{count}");
    assert_eq!(guest.agent().jailsupd().unwrap(), brain);
    for name in ["waits", "drops", "usual", "crashes"] {
        guest.remove(name);
    }
}
