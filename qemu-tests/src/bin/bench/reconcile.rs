//! From a change of a unit file to its effect: drop to exec, edit to exec, delete to gone. All times
//! are the kernel's stamps of the guest: of a line that the shell writes just before the change, and
//! of jailsupd's line about the state.

use std::time::Duration;

use qemu_tests::{Error, Image, Jails, Machine, Result, Vm, console::Line};

use crate::{boot::milliseconds, figure::Figures};

/// Drops, edits and deletions.
const ROUNDS: usize = 10;
/// What the shell says before it changes the file.
const MARK: &str = "bench: now";
const LIMIT: Duration = Duration::from_secs(20);

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let machine = Machine::new("bench-reconcile", Image::Debug).jails(Jails::new()?);
    let mut vm = machine.start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    for round in 0..ROUNDS {
        let mut add = |name: &str, time: Duration| figures.add(name, "ms", milliseconds(time));
        add("unit dropped to exec", time(&mut vm, &write("first", round), "up")?);
        add(
            "unit edited to exec of the new program",
            time(&mut vm, &write("second", round), "up")?,
        );
        add("unit deleted to gone", time(&mut vm, "rm /etc/jails.d/bench.toml", "down")?);
    }
    Ok(())
}

/// A command of the shell alone, so that no program's start counts. The texts differ in a key that
/// needs a new start.
fn write(version: &str, round: usize) -> String {
    let unit = format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nuisance.erofs\"\n[process]\n\
         exec = [\"/bin/nuisance\", \"stay\"]\nenvironment = {{ TEXT = \"{version} {round}\" }}\n\
         [network]\nmode = \"none\"\n"
    );
    format!("printf %s '{unit}' >/etc/jails.d/bench.toml")
}

/// From just before `change` to the jail's `state`.
fn time(vm: &mut Vm, change: &str, state: &str) -> Result<Duration> {
    let before = vm.console.mark();
    vm.agent().shell(&format!("echo '{MARK}' >/dev/kmsg; {change}"))?;
    let start = stamp(&vm.console.wait_for_after(before, MARK, LIMIT)?)?;
    let end = stamp(&vm.wait_jail(before, "bench", state)?)?;
    Ok(end.saturating_sub(start))
}

/// The kernel's stamp of a line.
pub(crate) fn stamp(line: &Line) -> Result<Duration> {
    let missing =
        || Error::Answer { peer: "the console", answer: format!("no stamp: {}", line.text) };
    line.stamp().ok_or_else(missing)
}
