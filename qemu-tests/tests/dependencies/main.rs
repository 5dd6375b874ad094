//! Jails that depend on others: who waits for whom, who ends with whom, and in which order; hooks. The tests take
//! turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ending;
mod hooks;
mod refused;
mod shutdown;
mod waiting;

use std::{fs, time::Duration};

use jailsupd::control::wire::{Event, Evidence, JailState, JailSummary};
use qemu_tests::{Guest, Image, Jails, Machine, Shared, image, proto::Status, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);
const NEVER_AGAIN: &str = "[restart]\npolicy = \"no\"";

/// Exit codes of jailctl, as docs/control.md tells them.
const NOT_REACHED: Status = Status::Exit(5);
const PROBLEMS: Status = Status::Exit(6);

/// The guest with the shipped units alone, whatever an earlier test has left behind.
fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| Machine::new("dependencies", Image::Debug).jails(images()));
    guest.sh("rm -rf /etc/jails.d/* /etc/jails.d/.[!.]* /run/jails.d/*; /usr/bin/jailctl apply");
    guest
}

fn images() -> Jails {
    let (postgresql, _) = image::example("postgresql").unwrap();
    Jails::new().and_then(|jails| jails.copy(&postgresql, "images/postgresql.erofs")).unwrap()
}

/// The unit of an example, with another address and more of it.
fn example(name: &str, (address, other): (&str, &str), rest: &str) -> String {
    let (_, unit) = match name {
        "nginx" => image::nginx_example(),
        _ => image::example(name),
    }
    .unwrap();
    let text = fs::read_to_string(unit).unwrap();
    assert!(text.contains(address), "{text}");
    format!("{}\n{rest}\n", text.replace(address, other))
}

/// A unit that runs `nuisance` with these words; `rest` is more of it.
fn unit(words: &[&str], rest: &str) -> String {
    unit_of("nuisance", words, rest)
}

/// A jail that runs until it is stopped.
fn stay(dependencies: &str) -> String {
    unit(&["stay"], &format!("[dependencies]\n{dependencies}"))
}

/// A unit that does not get up: its program is never executed.
fn failing() -> String {
    let hook = "[hooks]\nstart_container = [\"/bin/nuisance\", \"exit\", \"7\"]";
    unit(&["stay"], &format!("{hook}\n{NEVER_AGAIN}"))
}

/// What one that needs it tells then, and whether it does.
const FAILED: [&str; 2] = ["which failed: ", "start_container` hook: it exited with 7"];

fn tells_of_failure(row: Option<&JailSummary>) -> bool {
    let problem = row.and_then(|row| row.problem.as_deref()).unwrap_or_default();
    FAILED.iter().all(|text| problem.contains(text))
}

/// All events, the oldest first.
fn events(guest: &mut Guest<'_>) -> Vec<Event> {
    let text = guest.ctl(&["events", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What has happened since.
fn since(guest: &mut Guest<'_>, before: &[Event]) -> Vec<Event> {
    let all = events(guest);
    let start = before.last().map_or(0, |last| all.iter().rposition(|e| e == last).unwrap() + 1);
    all[start..].to_vec()
}

/// Where in these events the jail came into the state for the first time.
#[track_caller]
fn at(events: &[Event], jail: &str, state: JailState) -> usize {
    let found = events.iter().position(|event| event.jail == jail && event.to == Some(state));
    assert!(found.is_some(), "{jail} did not become {state}: {events:#?}");
    found.unwrap()
}

fn why(guest: &mut Guest<'_>, jail: &str) -> Evidence {
    guest.agent().ask(&["why", jail]).unwrap()
}

/// Drops several units at once: no reading of the units sees only some of them.
fn put_together(guest: &mut Guest<'_>, units: &[(&str, String)]) {
    guest.sh("mkdir -p /etc/jails.d/.next");
    for (name, text) in units {
        guest.agent().write(&format!("/etc/jails.d/.next/{name}.toml"), text).unwrap();
    }
    guest.sh("cd /etc/jails.d && mv .next/*.toml .");
}

/// Takes jails away that may depend on each other.
fn remove(guest: &mut Guest<'_>, names: &[&str]) {
    for name in names {
        guest.sh(&format!("rm -rf /etc/jails.d/{name}.toml /etc/jails.d/{name}.toml.d"));
    }
    for name in names {
        guest.agent().wait_gone(name).unwrap();
    }
}
