//! Where jails' files are: images, volumes, and the kinds and modes of roots. The tests take turns on one boot of the debug image; the jails'
//! programs are scripts of its busybox.
#![allow(clippy::unwrap_used, reason = "tests")]

mod images;
mod roots;
mod volumes;

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::{Image, Jails, Machine, Result, Shared, Vm, proto::Status};

static SHARED: Shared = Shared::new();

/// From a jail's start to the last line of its script (idle machine).
const SOON: Duration = Duration::from_secs(30);

/// Exit codes of jailctl, as docs/control.md tells them.
const REFUSED: Status = Status::Exit(1);
const NOT_THERE: Status = Status::Exit(3);
const PROBLEMS: Status = Status::Exit(6);

/// An image in a directory: busybox, and places for volumes, one of them with an owner of its own.
const BOX: &str = "
    set -e
    mkdir -p /data/images/box && cd /data/images/box
    mkdir -p bin dev proc sys etc tmp run mnt data var/lib/app var/empty
    cp /usr/bin/busybox bin/
    for word in sh cat ls dd cmp touch chmod cp id mkdir ln rm stat grep sleep mv sync; do ln -s busybox bin/$word; done
    printf 'root:x:0:0::/:/bin/sh\\napp:x:100:101::/:/bin/sh\\n' > etc/passwd
    printf 'root:x:0:\\napp:x:101:\\n' > etc/group
    chown 100:101 var/lib/app && chmod 750 var/lib/app
    ln -s /../../../../data outside
";

fn machine(name: &str) -> Machine {
    let jails = Jails::new().and_then(Jails::squashfs).and_then(|jails| {
        jails.directory(concat!(env!("CARGO_MANIFEST_DIR"), "/../jailsupd/tests/tars"))
    });
    Machine::new(name, Image::Debug).jails(jails.unwrap())
}

fn guest() -> qemu_tests::Guest<'static> {
    let mut guest = SHARED.guest(|| machine("storage"));
    if guest.agent().shell("test -d /data/images/box").is_err() {
        guest.agent().shell(BOX).unwrap();
    }
    guest
}

/// A unit without network that runs a script in the box; `rest` is more of it.
fn unit(script: &str, rest: &str) -> String {
    let source =
        if rest.contains("[image]") { "" } else { "[image]\nsource = \"dir:/data/images/box\"\n" };
    format!(
        "version = 1\n{source}[network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n{rest}\n\
         [process]\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n"
    )
}

/// The same as this user.
fn unit_as(user: &str, script: &str, rest: &str) -> String {
    unit(script, rest) + &format!("user = \"{user}\"\n")
}

trait Boxes {
    /// Puts the unit there and waits until its script has ended: all that it has printed in this life.
    fn run(&mut self, name: &str, text: &str) -> String;
    /// Starts it once more.
    fn again(&mut self, name: &str) -> String;
    /// Why the jail does not start, once it has failed to.
    fn failure(&mut self, name: &str, text: &str) -> String;
}

impl Boxes for Vm {
    fn run(&mut self, name: &str, text: &str) -> String {
        self.put(name, text);
        let ended = ended(self, name);
        assert!(ended.is_ok(), "{ended:?}");
        ended.unwrap()
    }

    fn again(&mut self, name: &str) -> String {
        // The log has what earlier lives have printed, too.
        let before = self.ctl(&["logs", name]).lines().count();
        // Its script may have ended before anybody has seen it up.
        self.agent().jailctl(&["start", name]).unwrap();
        let ended = ended(self, name).unwrap();
        ended.lines().skip(before).map(|line| format!("{line}\n")).collect()
    }

    fn failure(&mut self, name: &str, text: &str) -> String {
        self.put(name, text);
        let failed = self.agent().wait_state(name, JailState::Failed).unwrap();
        failed.problem.unwrap()
    }
}

fn ended(vm: &mut Vm, name: &str) -> Result<String> {
    let exited = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| matches!(row.state, JailState::Down | JailState::Failed))
    };
    let row = vm.agent().wait_listed(name, "ended", exited)?;
    let log = vm.agent().output(&["/usr/bin/jailctl", "logs", name])?;
    let problem = row.and_then(|row| row.problem).unwrap_or_default();
    Ok(log + &problem)
}
