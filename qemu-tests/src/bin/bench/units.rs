//! Many units: reading, checking, planning and listing 10, 1000 and 10,000 of them. They are not
//! enabled, so that nothing starts. Each time is that of a `jailctl` on the host, as a person has it:
//! its start, jailsupd's reading of all files, its answer, the output into a file.

use std::time::Duration;

use qemu_tests::{Error, Image, Machine, Result, Vm, proto::Status};

use crate::{boot::milliseconds, figure::Figures, memory::to_float, reconcile::stamp};

/// How many units there are, one after the other.
const COUNTS: [usize; 3] = [10, 1000, 10_000];
/// For how many `jailctl ls` is measured.
const LISTED: usize = 1000;
/// How often each command runs.
const ROUNDS: usize = 5;
/// Files that one call of the agent writes.
const BATCH: usize = 1000;
/// A command that takes longer is left out, and with it the larger numbers of units.
const BOUND: Duration = Duration::from_secs(60);
const BEGIN: &str = "bench: begin";
const END: &str = "bench: end";
const OUTPUT: &str = "/run/bench";
const UNIT: &str = "version = 1\nenabled = false\n[image]\nsource = \"erofs:/usr/share/jails/nginx.erofs\"\n\
    [process]\nexec = [\"/usr/sbin/nginx\"]\n[network]\nmode = \"none\"\n";

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let mut vm = Machine::new("bench-units", Image::Debug).start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    let mut there = 0;
    for count in COUNTS {
        write(&mut vm, there, count)?;
        there = count;
        if let Some(slow) = measure_some(&mut vm, figures, count)? {
            eprintln!("{count} units: jailctl {slow} is too slow, left out with all that follow");
            break;
        }
    }
    Ok(())
}

/// The command that took too long, if one did.
fn measure_some(vm: &mut Vm, figures: &mut Figures, count: usize) -> Result<Option<&'static str>> {
    // The new ones are taken in before anything else is measured.
    let Some(took) = time(vm, "apply")? else { return Ok(Some("apply")) };
    figures.add(&format!("{count} units: jailctl apply of the new ones"), "ms", milliseconds(took));
    let commands: &[_] =
        if count == LISTED { &["check", "plan", "ls"] } else { &["check", "plan"] };
    for _ in 0..ROUNDS {
        for command in commands {
            let Some(took) = time(vm, command)? else { return Ok(Some(command)) };
            figures.add(&format!("{count} units: jailctl {command}"), "ms", milliseconds(took));
        }
    }
    if count == LISTED {
        // The last command was `ls`.
        let lines = vm.agent().shell(&format!("wc -l <{OUTPUT}"))?;
        let lines = lines.trim().parse().unwrap_or(0);
        figures.add(&format!("{count} units: lines of jailctl ls"), "", to_float(lines));
    }
    Ok(None)
}

/// Writes the units from number `from` up to number `to`. jailsupd is held meanwhile: it would read
/// all files again and again, and reads them once when it goes on.
fn write(vm: &mut Vm, from: usize, to: usize) -> Result<()> {
    vm.agent().shell("kill -STOP $(pidof jailsupd)")?;
    for first in (from..to).step_by(BATCH) {
        let end = to.min(first + BATCH);
        vm.agent().shell(&format!(
            "i={first}; while [ $i -lt {end} ]; do \
             printf %s '{UNIT}' >/etc/jails.d/bench-$i.toml; i=$((i+1)); done"
        ))?;
    }
    vm.agent().shell("kill -CONT $(pidof jailsupd)").map(drop)
}

/// How long this command of jailctl takes, by the guest's clock; nothing when it is over the bound.
fn time(vm: &mut Vm, command: &str) -> Result<Option<Duration>> {
    time_with(vm, ":", command)
}

/// The same with what the shell is to do at the beginning of it.
pub(crate) fn time_with(vm: &mut Vm, first: &str, command: &str) -> Result<Option<Duration>> {
    let before = vm.console.mark();
    let bound = BOUND.as_secs();
    let script = format!(
        "echo '{BEGIN}' >/dev/kmsg; {first}; timeout {bound} /usr/bin/jailctl {command} >{OUTPUT}; \
         status=$?; echo '{END}' >/dev/kmsg; exit $status"
    );
    let output = vm.agent().run(&["/usr/bin/busybox", "sh", "-c", &script])?;
    if output.status == Status::TimedOut {
        return Ok(None);
    }
    let at = |text| vm.console.wait_for_after(before, text, BOUND).and_then(|line| stamp(&line));
    let time = at(END)?.saturating_sub(at(BEGIN)?);
    match output.status {
        Status::Exit(0) => Ok(Some(time)),
        // jailctl itself waits for an answer for half of that.
        _ if time >= BOUND / 2 => Ok(None),
        status => Err(Error::Tool {
            command: format!("(guest) jailctl {command}"),
            status: format!("{status:?}"),
            output: output.stdout + &output.stderr,
        }),
    }
}
