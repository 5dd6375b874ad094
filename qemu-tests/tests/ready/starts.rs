//! How many jails are started at once.

use std::time::Duration;

use jailsupd::control::wire::{Event, JailState};
use qemu_tests::Guest;

use super::{Shell as _, guest, speaker};

const JAILS: [&str; 5] = ["turn-1", "turn-2", "turn-3", "turn-4", "turn-5"];
/// A start counts for 10 s. It does from before its program is started, with which it is an event.
const COUNTED: u64 = 7000;

/// Has the next jailsupd read this as the host's file.
fn host(guest: &mut Guest<'_>, text: &str) {
    guest.sh("mkdir -p /etc/warder");
    guest.agent().write("/etc/warder/host.toml", text).unwrap();
    guest.agent().kill_jailsupd().unwrap();
}

/// When each program was started, the first one first.
fn started(guest: &mut Guest<'_>) -> Vec<u64> {
    let text = guest.ctl(&["events", "--json"]);
    let all = text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let ours = all.filter(|event| {
        JAILS.contains(&event.jail.as_str()) && event.to == Some(JailState::Starting)
    });
    ours.map(|event| event.time).collect()
}

#[test]
fn two_are_on_their_way_at_once_where_the_host_says_so_and_one_that_hangs_counts_for_ten_seconds() {
    let mut guest = guest();
    host(&mut guest, "version = 1\n[jails]\nstarts_max = 2\n");
    let slow = speaker(
        &["stay"],
        "notify = \"healthy\"\nenvironment = { PATH = \"/sbin:/bin\" }",
        "[start]\ntimeout = \"5m\"\n[health]\nexec = [\"speaker\", \"exists\", \"/go\"]\ninterval = \"500ms\"",
    );
    guest.sh("mkdir -p /etc/jails.d/.next");
    for jail in JAILS {
        guest.agent().write(&format!("/etc/jails.d/.next/{jail}.toml"), &slow).unwrap();
    }
    guest.sh("cd /etc/jails.d && mv .next/*.toml . && rmdir .next");
    let all = format!("[ $(/usr/bin/jailctl ls | grep -c 'turn-.*activating') = {} ]", JAILS.len());
    guest.agent().wait_until(&all, Duration::from_secs(60)).unwrap();
    let times = started(&mut guest);
    JAILS.iter().for_each(|jail| guest.touch_from_outside(jail, "/go"));
    JAILS.iter().for_each(|jail| drop(guest.up(jail)));

    let [first, second, third, fourth, fifth] = times[..] else { panic!("{times:?}") };
    // Two by two.
    assert!(second - first < COUNTED && third - first >= COUNTED, "{times:?}");
    assert!(fourth - second >= COUNTED && fourth - third < COUNTED, "{times:?}");
    assert!(fifth - third >= COUNTED, "{times:?}");
    JAILS.iter().for_each(|jail| guest.remove(jail));
    guest.sh("rm /etc/warder/host.toml");
    guest.agent().kill_jailsupd().unwrap();
}
