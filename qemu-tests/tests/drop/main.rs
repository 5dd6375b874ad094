//! The daily interface: unit files that people drop, edit and delete, and `jailctl`. The tests take
//! turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod edits;
mod mistakes;
mod orders;
mod reboot;
mod restarts;
mod sources;
mod unseen;
mod views;

use std::time::Duration;

use jailsupd::control::wire::JailSummary;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, proto::Status, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);

/// Exit codes of jailctl, as docs/control.md tells them.
const REFUSED: Status = Status::Exit(1);
const NO_SUCH_JAIL: Status = Status::Exit(3);
const NOT_REACHED: Status = Status::Exit(5);
const PROBLEMS: Status = Status::Exit(6);

/// The guest with the shipped units alone, whatever an earlier test has left behind.
fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(machine);
    guest.sh("rm -rf /etc/jails.d/* /etc/jails.d/.[!.]* /run/jails.d/*; /usr/bin/jailctl apply");
    guest
}

fn machine() -> Machine {
    Machine::new("drop", Image::Debug).jails(shipped())
}

/// Jails of the distribution, in /usr/lib/jails.d.
fn shipped() -> Jails {
    Jails::new().and_then(|jails| jails.nuisance_unit("shipped", &["stay"], "")).unwrap()
}

/// A unit that runs `nuisance` with these words; `rest` is more of it.
fn unit(words: &[&str], rest: &str) -> String {
    unit_of("nuisance", words, rest)
}

fn stay(rest: &str) -> String {
    unit(&["stay"], rest)
}

fn etc(name: &str) -> String {
    format!("/etc/jails.d/{name}.toml")
}

/// A jail that is up and whose program has said so: it handles its signals.
fn put_ready(guest: &mut Guest<'_>, name: &str, rest: &str) -> JailSummary {
    let row = guest.put_up(name, &unit(&["say", "ready"], rest));
    let said = format!("/usr/bin/jailctl logs {name} | grep -q ready");
    guest.agent().wait_until(&said, SOON).unwrap();
    row
}
