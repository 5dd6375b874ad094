//! What a unit may ask for, and what its jail then can do: host policy, capabilities, system call filters. The
//! tests take turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod policy;

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, proto::Status};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);
/// `jailctl check` found problems, and `jailctl` was refused what it asked for (docs/control.md).
const PROBLEMS: Status = Status::Exit(6);
const REFUSED: Status = Status::Exit(1);

/// The guest without a policy or a unit, whatever an earlier test has left behind.
fn guest() -> Guest<'static> {
    let mut guest =
        SHARED.guest(|| Machine::new("filters", Image::Debug).jails(Jails::new().unwrap()));
    guest.sh("rm -rf /etc/warder/policy.toml /etc/jails.d/*; /usr/bin/jailctl apply");
    guest
}

/// A unit that runs `nuisance` with these words; `rest` is more of it.
fn unit(words: &[&str], rest: &str) -> String {
    let words: String = words.iter().map(|word| format!(", \"{word}\"")).collect();
    format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nuisance.erofs\"\n\
         [network]\nmode = \"none\"\n[process]\nexec = [\"/bin/nuisance\"{words}]\n{rest}\n"
    )
}

/// What the tests do with the host's files, as its administrator at a shell would.
trait Host {
    fn sh(&mut self, script: &str) -> String;
    /// Drops `/etc/jails.d/NAME.toml`.
    fn put(&mut self, name: &str, text: &str);
    /// [`Host::put`], then waits until the jail is up.
    fn put_up(&mut self, name: &str, text: &str);
    /// Writes `/etc/warder/policy.toml`: version 1, and this.
    fn policy(&mut self, rest: &str);
    /// The foremost problem of a jail that is in this state.
    fn problem(&mut self, name: &str, state: JailState) -> String;
}

impl Host for Guest<'_> {
    fn sh(&mut self, script: &str) -> String {
        self.agent().shell(script).unwrap()
    }

    fn put(&mut self, name: &str, text: &str) {
        self.agent().write(&format!("/etc/jails.d/{name}.toml"), text).unwrap();
    }

    fn put_up(&mut self, name: &str, text: &str) {
        self.put(name, text);
        self.agent().wait_state(name, JailState::Up).unwrap();
    }

    fn policy(&mut self, rest: &str) {
        self.agent().write("/etc/warder/policy.toml", &format!("version = 1\n{rest}")).unwrap();
    }

    fn problem(&mut self, name: &str, state: JailState) -> String {
        self.agent().wait_state(name, state).unwrap().problem.unwrap_or_default()
    }
}
