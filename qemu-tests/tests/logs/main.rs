//! What jails print: stored once whatever is killed, bounded, told when it is lost, and read in every way that
//! `jailctl logs` has. The tests take turns on one boot of the debug image; the power is cut on another.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cut;
mod full;
mod killed;
mod loud;
mod views;

use std::time::Duration;

use jailsupd::control::wire::{LogEntry, Stream};
use qemu_tests::{Guest, Image, Jails, Machine, Shared, image, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);

/// The guest without any unit that an earlier test has left behind.
fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| Machine::new("logs", Image::Debug).jails(jails()));
    guest.sh("rm -rf /etc/jails.d/*; /usr/bin/jailctl apply");
    guest
}

fn jails() -> Jails {
    Jails::new().and_then(|jails| jails.image("printer", &image::program("printer")?)).unwrap()
}

/// A unit that runs `printer` with these words, and with these keys of `[logs]`.
fn printer(words: &[&str], logs: &str) -> String {
    // Its root is nothing that a full disk could have a part in.
    unit_of("printer", words, &format!("[root]\nmode = \"read-only\"\n[logs]\n{logs}"))
}

fn entries(text: &str) -> Vec<LogEntry> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `jailctl logs` shows as JSON.
fn logs(guest: &mut Guest<'_>, words: &[&str]) -> Vec<LogEntry> {
    entries(&guest.ctl(&[&["logs", "--json"], words].concat()))
}

/// The texts of one stream.
fn texts(entries: &[LogEntry], stream: Stream) -> Vec<&str> {
    entries.iter().filter(|e| e.stream == stream).map(|e| e.text.as_str()).collect()
}

/// The numbers of lines `WORD NUMBER ...`, looked at in the guest, as there are many: whether each is one more than the
/// one before it, and how many there are.
fn in_order(guest: &mut Guest<'_>, jail: &str, word: &str) -> (bool, u64) {
    let script = format!(
        "/usr/bin/jailctl logs {jail} --grep '^{word} [0-9]' | \
         awk '{{ n = $4 + 0; if (count++ && n != last + 1) bad = bad \" \" last \"-\" n; last = n }} \
         END {{ print count + 0 \"|\" bad }}'"
    );
    let said = guest.sh(&script);
    let (count, bad) = said.trim().split_once('|').unwrap();
    if !bad.is_empty() {
        eprintln!("{jail}: {word}: after which comes which:{bad}");
    }
    (bad.is_empty(), count.parse().unwrap())
}
