//! Programs that people run in jails: `jailctl exec`. The tests take turns on one boot of the debug image.
#![allow(clippy::unwrap_used, reason = "tests")]

mod consoles;
mod copies;
mod lives;
mod many;
mod programs;
mod runs;
mod terminal;
mod walls;

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::{
    Guest, Image, Jails, Machine, Shared,
    proto::{Output, Status},
    unit_of,
};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);

const VISITOR: &str = "/bin/visitor";
const NUISANCE: &str = "/bin/nuisance";

/// Whoever gives root's capabilities to a service has them in a unit; `walled` is a service of another
/// user, with one capability and less to open.
const WALLED: &str =
    "[security]\nadd_capability = [\"NET_BIND_SERVICE\"]\n[resources]\npids_max = 40";

fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| Machine::new("exec", Image::Debug).jails(jails()));
    for jail in ["room", "walled", "desk"] {
        guest.agent().wait_state(jail, JailState::Up).unwrap();
    }
    guest
}

fn jails() -> Jails {
    let walled = nuisance(&["stay"], "user = 33\ngroup = 44", WALLED);
    Jails::new()
        .and_then(|jails| jails.nuisance_unit("room", &["stay"], ""))
        .and_then(|jails| jails.unit("walled", &walled))
        .and_then(|jails| jails.unit("desk", &consoles::unit()))
        .unwrap()
}

/// A unit that runs `nuisance`; more of its `[process]`, and more tables.
fn nuisance(words: &[&str], process: &str, rest: &str) -> String {
    unit_of("nuisance", words, &format!("{process}\n{rest}"))
}

/// What the tests do, as a person at a shell of the host would.
trait Shell {
    /// `jailctl exec WORDS`, however it ends.
    fn exec(&mut self, words: &[&str]) -> Output;
    /// The same, which must succeed: its output.
    fn said(&mut self, words: &[&str]) -> String;
    /// The root of a jail, as a path of the host.
    fn root(&mut self, jail: &str) -> String;
    fn jailsupd(&mut self) -> u32;
}

impl Shell for Guest<'_> {
    fn exec(&mut self, words: &[&str]) -> Output {
        self.agent().jailctl(&[&["exec"], words].concat()).unwrap()
    }

    fn said(&mut self, words: &[&str]) -> String {
        let output = self.exec(words);
        assert_eq!(output.status, Status::Exit(0), "{words:?}: {output:?}");
        output.stdout
    }

    fn root(&mut self, jail: &str) -> String {
        format!("/proc/{}/root", self.agent().service(jail, "nuisance").unwrap().pid)
    }

    fn jailsupd(&mut self) -> u32 {
        self.agent().jailsupd().unwrap()
    }
}
