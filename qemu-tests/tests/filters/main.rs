//! What a unit may ask for, and what its jail then can do: host policy, capabilities, system call filters. The
//! tests take turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;
mod paths;
mod policy;
mod privileges;

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, image, proto::Status, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);
/// `jailctl check` found problems, and `jailctl` was refused what it asked for (docs/control.md).
const PROBLEMS: Status = Status::Exit(6);
const REFUSED: Status = Status::Exit(1);

/// The guest without a policy or a unit, whatever an earlier test has left behind.
fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| {
        let jails =
            Jails::new().and_then(|jails| jails.image("trier", &image::program("trier")?)).unwrap();
        Machine::new("filters", Image::Debug).jails(jails)
    });
    guest.sh(
        "rm -rf /etc/warder/policy.toml /etc/warder/seccomp /etc/jails.d/*; /usr/bin/jailctl apply",
    );
    guest
}

/// A unit that runs `nuisance` with these words; `rest` is more of it.
fn unit(words: &[&str], rest: &str) -> String {
    unit_of("nuisance", words, rest)
}

/// A unit that runs `trier`, which also reads these files.
fn trier(files: &[&str], rest: &str) -> String {
    unit_of("trier", files, rest)
}

/// What `trier` has found, a line each.
struct Tried(String);

impl Tried {
    fn of(&self, name: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or("was not tried")
    }
}

/// What the tests do with the host's files, as its administrator at a shell would.
trait Host {
    /// Writes `/etc/warder/policy.toml`: version 1, and this.
    fn policy(&mut self, rest: &str);
    /// Writes a seccomp profile, as editors do: in one step.
    fn put_profile(&mut self, path: &str, text: &str);
    /// [`qemu_tests::Vm::put`] of a unit of [`trier`], and what that finds.
    fn tried(&mut self, name: &str, text: &str) -> Tried;
    /// What the `trier` that runs has found.
    fn read_tried(&mut self, name: &str) -> Tried;
    /// The foremost problem of a jail that is in this state.
    fn problem(&mut self, name: &str, state: JailState) -> String;
}

impl Host for Guest<'_> {
    fn policy(&mut self, rest: &str) {
        self.agent().write("/etc/warder/policy.toml", &format!("version = 1\n{rest}")).unwrap();
    }

    fn put_profile(&mut self, path: &str, text: &str) {
        self.sh("mkdir -p /etc/warder/seccomp");
        self.agent().write(&format!("{path}.new"), text).unwrap();
        self.sh(&format!("mv {path}.new {path}"));
    }

    fn tried(&mut self, name: &str, text: &str) -> Tried {
        self.put(name, text);
        // The jail of the page may be refused by the policy of the test, which is a problem to this command.
        self.sh("/usr/bin/jailctl apply || [ $? = 6 ]");
        self.read_tried(name)
    }

    fn read_tried(&mut self, name: &str) -> Tried {
        self.agent().wait_state(name, JailState::Up).unwrap();
        let pid = self.agent().service(name, "trier").unwrap().pid;
        let file = format!("/proc/{pid}/root/tried");
        self.agent().wait_until(&format!("[ -s {file} ]"), SOON).unwrap();
        Tried(self.agent().read(&file).unwrap())
    }

    fn problem(&mut self, name: &str, state: JailState) -> String {
        self.agent().wait_state(name, state).unwrap().problem.unwrap_or_default()
    }
}
