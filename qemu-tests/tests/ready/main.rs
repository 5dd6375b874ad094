//! Readiness, health and watchdog: what services say of themselves, and what is found out about them. The tests take
//! turns on one boot of the debug image; each takes away what it has dropped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod adopted;
mod checks;
mod clock;
mod hostile;
mod notify;
mod probes;
mod turns;
mod watchdog;

use std::time::Duration;

use jailsupd::control::wire::{Checks, HealthState, JailState, JailSummary};
use qemu_tests::{Guest, Image, Jails, Machine, Shared, image, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);

/// Ended by itself or not, it stays so.
const NEVER_AGAIN: &str = "[restart]\npolicy = \"no\"";

fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| {
        let jails = Jails::new().and_then(|jails| {
            jails
                .image("speaker", &image::program("speaker")?)?
                .unit("idle", &speaker(&["stay"], "", ""))
        });
        Machine::new("ready", Image::Debug).jails(jails.unwrap())
    });
    guest.sh("rm -rf /etc/jails.d/*; /usr/bin/jailctl apply");
    guest
}

/// A unit that runs `speaker` with these steps; more of its `[process]`, and more tables.
fn speaker(steps: &[&str], process: &str, rest: &str) -> String {
    unit_of("speaker", steps, &format!("{process}\n{rest}"))
}

/// What the tests do, as a person at a shell of the host would.
trait Shell {
    /// Has a jail's root hold this file, by `jailctl exec`.
    fn touch(&mut self, jail: &str, file: &str);
    /// The same of one in which nothing can be executed.
    fn touch_from_outside(&mut self, jail: &str, file: &str);
    /// Takes a file away.
    fn take(&mut self, jail: &str, file: &str);
    /// Waits until the jail says this of itself.
    fn wait_status(&mut self, jail: &str, status: &str) -> JailSummary;
    /// Waits until its checks say this.
    fn wait_health(&mut self, jail: &str, health: HealthState) -> JailSummary;
    /// Waits until that much time has passed in the guest: for what must not happen meanwhile.
    fn let_pass(&mut self, seconds: u32);
    /// Its checks.
    fn checks(&mut self, jail: &str) -> Checks;
    /// `jailctl why`, in one line.
    fn why(&mut self, jail: &str) -> String;
}

impl Shell for Guest<'_> {
    fn touch(&mut self, jail: &str, file: &str) {
        self.ctl(&["exec", jail, "/bin/speaker", "touch", file]);
    }

    fn touch_from_outside(&mut self, jail: &str, file: &str) {
        let pid = self.agent().service(jail, "speaker").unwrap().pid;
        self.sh(&format!("touch /proc/{pid}/root{file}"));
    }

    fn take(&mut self, jail: &str, file: &str) {
        self.ctl(&["exec", jail, "/bin/speaker", "remove", file]);
    }

    fn wait_status(&mut self, jail: &str, status: &str) -> JailSummary {
        let says = |row: Option<&JailSummary>| {
            row.and_then(|row| row.status.as_deref()).is_some_and(|said| said == status)
        };
        self.agent().wait_listed(jail, status, says).unwrap().unwrap()
    }

    fn wait_health(&mut self, jail: &str, health: HealthState) -> JailSummary {
        let is = |row: Option<&JailSummary>| row.is_some_and(|row| row.health == Some(health));
        self.agent().wait_listed(jail, health.word(), is).unwrap().unwrap()
    }

    fn let_pass(&mut self, seconds: u32) {
        let end = format!("$(( $(cut -d. -f1 /proc/uptime) + {seconds} + 1 ))");
        let end = self.sh(&format!("echo {end}"));
        let passed = format!("[ $(cut -d. -f1 /proc/uptime) -ge {} ]", end.trim());
        self.agent().wait_until(&passed, SOON + Duration::from_secs(seconds.into())).unwrap();
    }

    fn checks(&mut self, jail: &str) -> Checks {
        self.agent().inspect(jail).unwrap().checks.unwrap()
    }

    fn why(&mut self, jail: &str) -> String {
        self.ctl(&["why", jail]).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Waits until its last check is later than that.
fn wait_checked_after(guest: &mut Guest<'_>, jail: &str, at: Option<u64>) -> Checks {
    let script = format!(
        "[ \"$(/usr/bin/jailctl inspect {jail} --json | sed -n 's/.*\"last_at\": *\\([0-9]*\\).*/\\1/p')\" -gt {} ]",
        at.unwrap_or(0)
    );
    guest.agent().wait_until(&script, SOON).unwrap();
    guest.checks(jail)
}

fn failed(guest: &mut Guest<'_>, jail: &str) {
    guest.agent().wait_state(jail, JailState::Failed).unwrap();
}
