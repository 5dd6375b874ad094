//! The daily interface: unit files that people drop, edit and delete, and `jailctl`. The tests take
//! turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod edits;
mod orders;
mod reboot;
mod sources;
mod unseen;
mod views;

use std::time::Duration;

use jailsupd::control::wire::{JailState, JailSummary};
use qemu_tests::{Guest, Image, Jails, Machine, Shared, proto::Status};

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
    let words: String = words.iter().map(|word| format!(", \"{word}\"")).collect();
    format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nuisance.erofs\"\n\
         [network]\nmode = \"none\"\n[process]\nexec = [\"/bin/nuisance\"{words}]\n{rest}\n"
    )
}

fn stay(rest: &str) -> String {
    unit(&["stay"], rest)
}

fn etc(name: &str) -> String {
    format!("/etc/jails.d/{name}.toml")
}

/// What the tests do with the files, as a person at a shell would.
trait Files {
    fn put(&mut self, name: &str, text: &str);
    /// [`Files::put`], then waits until the jail is up.
    fn put_up(&mut self, name: &str, text: &str) -> JailSummary;
    fn up(&mut self, name: &str) -> JailSummary;
    /// A jail that is up and whose program has said so: it handles its signals.
    fn put_ready(&mut self, name: &str, rest: &str) -> JailSummary;
    /// Deletes the file and waits until the jail is gone.
    fn remove(&mut self, name: &str);
    /// `jailctl WORDS`, which must succeed: its output.
    fn ctl(&mut self, words: &[&str]) -> String;
    fn sh(&mut self, script: &str) -> String;
}

impl Files for Guest<'_> {
    fn put(&mut self, name: &str, text: &str) {
        self.agent().write(&etc(name), text).unwrap();
    }

    fn put_up(&mut self, name: &str, text: &str) -> JailSummary {
        self.put(name, text);
        self.up(name)
    }

    fn put_ready(&mut self, name: &str, rest: &str) -> JailSummary {
        let row = self.put_up(name, &unit(&["say", "ready"], rest));
        let said = format!("/usr/bin/jailctl logs {name} | grep -q ready");
        self.agent().wait_until(&said, SOON).unwrap();
        row
    }

    fn up(&mut self, name: &str) -> JailSummary {
        self.agent().wait_state(name, JailState::Up).unwrap()
    }

    fn remove(&mut self, name: &str) {
        self.sh(&format!("rm -rf {0} {0}.d", etc(name)));
        self.agent().wait_gone(name).unwrap();
    }

    fn ctl(&mut self, words: &[&str]) -> String {
        let output = self.agent().jailctl(words).unwrap();
        assert_eq!(output.status, Status::Exit(0), "jailctl {words:?}: {output:?}");
        output.stdout
    }

    fn sh(&mut self, script: &str) -> String {
        self.agent().shell(script).unwrap()
    }
}
