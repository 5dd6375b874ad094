//! What the kernel keeps jails to: each limit is really hit, and meanwhile the neighbour and the host
//! answer. The tests take turns on one boot of the debug image.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cores;
mod devices;
mod events;
mod files;
mod hits;
mod idle;
mod ids;
mod reserve;
mod told;
mod top;

use std::time::Duration;

use jailsupd::control::wire::{Evidence, JailState};
use qemu_tests::{Guest, Image, Jails, Machine, Result, Shared, http, image, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);
/// Started by the test that is about them.
const LATER: &str = "enabled = false\n";
const NEVER_AGAIN: &str = "[restart]\npolicy = \"no\"\n[stop]\ntimeout = \"100ms\"\n";

fn guest() -> Guest<'static> {
    SHARED.guest(|| Machine::new("limits", Image::Debug).jails(jails().unwrap()))
}

fn jails() -> Result<Jails> {
    let jails = Jails::new()?.image("strain", &image::program("strain")?)?;
    jails.image("trier", &image::program("trier")?)?.unit("neighbour", &stay(""))
}

/// A unit that runs `strain` with these words; `rest` is more of it.
fn strain(words: &[&str], rest: &str) -> String {
    unit_of("strain", words, rest)
}

fn stay(rest: &str) -> String {
    strain(&["stay"], rest)
}

trait Jailed {
    /// A file of the jail's cgroup.
    fn cgroup(&mut self, jail: &str, file: &str) -> String;
    /// A number of a flat keyed file of the jail's cgroup.
    fn count(&mut self, jail: &str, file: &str, key: &str) -> u64;
    fn why(&mut self, jail: &str) -> Evidence;
    /// The neighbour is the process that it was, nginx serves its page, and jailctl answers.
    fn assert_others_answer(&mut self);
}

impl Jailed for Guest<'_> {
    fn cgroup(&mut self, jail: &str, file: &str) -> String {
        let path = format!("/sys/fs/cgroup/jails/{jail}/{file}");
        self.agent().read(&path).unwrap().trim_end().to_owned()
    }

    fn count(&mut self, jail: &str, file: &str, key: &str) -> u64 {
        let text = self.cgroup(jail, file);
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        assert!(value.is_some(), "no {key} in {text}");
        value.unwrap().parse().unwrap()
    }

    fn why(&mut self, jail: &str) -> Evidence {
        self.agent().ask(&["why", jail]).unwrap()
    }

    fn assert_others_answer(&mut self) {
        let neighbour = self.agent().service("neighbour", "strain").unwrap();
        let row = self.agent().listed("neighbour").unwrap();
        assert_eq!((row.state, row.restarts), (JailState::Up, 0), "{neighbour:?}");
        assert_eq!(http::get(self.address()).unwrap().status, 200);
    }
}
