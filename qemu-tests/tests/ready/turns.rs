//! How many jails are on their way up at once.

use jailsupd::control::wire::{Event, JailState};
use qemu_tests::Guest;

use super::{SOON, Shell as _, guest, speaker};

const HOST: &str = "/etc/warder/host.toml";
const MOST: usize = 2;
const JAILS: [&str; 5] = ["turn-1", "turn-2", "turn-3", "turn-4", "turn-5"];
/// Milliseconds after which a start is not counted any more (docs/host-toml.md).
const COUNTS_FOR: u64 = 10_000;

/// Those of [`JAILS`] in this state.
fn in_state(guest: &mut Guest<'_>, state: JailState) -> Vec<String> {
    let rows = guest.agent().list().unwrap();
    let rows = rows.into_iter().filter(|row| row.state == state);
    rows.map(|row| row.name).filter(|name| JAILS.contains(&name.as_str())).collect()
}

/// What has happened to [`JAILS`].
fn events(guest: &mut Guest<'_>) -> Vec<Event> {
    let text = guest.ctl(&["events", "--json"]);
    let events = text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    events.filter(|event| JAILS.contains(&event.jail.as_str())).collect()
}

#[test]
fn no_more_jails_start_at_once_than_the_host_wants() {
    let mut guest = guest();
    let host = format!("version = 1\n[jails]\nstarts_max = {MOST}\n");
    guest.agent().write(HOST, &host).unwrap();
    guest.agent().kill_jailsupd().unwrap();
    let steps = ["wait", "/go", "say", "READY=1", "stay"];
    for jail in JAILS {
        guest.put(jail, &speaker(&steps, "notify = \"ready\"", ""));
    }

    // One after the other may go on, as soon as there are as many on their way as there may be.
    for done in 0..JAILS.len() {
        let wanted = MOST.min(JAILS.len() - done);
        let there = format!("[ $(/usr/bin/jailctl ls | grep -c activating) -ge {wanted} ]");
        guest.agent().wait_until(&there, SOON).unwrap();
        let next = in_state(&mut guest, JailState::Activating).remove(0);
        guest.touch_from_outside(&next, "/go");
        guest.up(&next);
    }

    let (mut on_their_way, mut most) = (Vec::new(), 0);
    for event in events(&mut guest) {
        match event.to {
            Some(JailState::Starting) => {
                on_their_way.push((event.jail, event.time));
            }
            Some(JailState::Up) => {
                let own = on_their_way.iter().find(|(jail, _)| *jail == event.jail);
                let took = own.map_or(COUNTS_FOR, |(_, since)| event.time - since);
                assert!(took < COUNTS_FOR, "{} took {took} ms: nothing is shown", event.jail);
                on_their_way.retain(|(jail, _)| *jail != event.jail);
            }
            _ => {}
        }
        most = most.max(on_their_way.len());
    }
    assert_eq!(most, MOST);
    assert_eq!(in_state(&mut guest, JailState::Up), JAILS);
    guest.sh(&format!("rm {HOST}"));
    guest.agent().kill_jailsupd().unwrap();
    JAILS.iter().for_each(|jail| guest.remove(jail));
}
