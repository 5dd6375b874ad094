//! Memory of the idle host with the nginx jail. Only the debug image can be asked; what it runs
//! beyond the production image is taken off.

use qemu_tests::{Error, Image, Machine, Result, Vm};

use crate::{figure::Figures, floor::used_kib};

/// PID 1 is to have at most this, KiB.
const OF_INIT: f64 = 1024.0;
/// And the host without jails.
const OF_HOST: f64 = 64.0 * 1024.0;

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let mut vm = Machine::new("bench-memory", Image::Debug).start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    let jail_init = first_of_jail(&mut vm)?;
    let of_init = to_float(pss(&mut vm, "1")?);
    figures.add_limited("PSS of PID 1 (debug image)", "KiB", of_init, OF_INIT);
    let mut add = |name: &str, value: u64| figures.add(name, "KiB", to_float(value));
    add("PSS of jailsupd (debug image)", pss(&mut vm, "$(pidof jailsupd)")?);
    add("PSS of nginx's in-jail init (debug image)", pss(&mut vm, &jail_init)?);
    let used = used(&mut vm)?;
    add("used memory, nginx served (debug image less its tools)", used);
    vm.agent().shell("/usr/bin/jailctl stop nginx")?;
    let used = to_float(self::used(&mut vm)?);
    let name = "used memory, no jail runs (debug image less its tools)";
    figures.add_limited(name, "KiB", used, OF_HOST);
    Ok(())
}

/// As the floor's, without what only the debug image runs.
fn used(vm: &mut Vm) -> Result<u64> {
    let beyond = pss(vm, "$(pidof warder-agent)")? + pss(vm, "$(pidof busybox getty sh)")?;
    Ok(used_kib(&vm.agent().read("/proc/meminfo")?).saturating_sub(beyond))
}

/// The in-jail init is the first process of its jail.
fn first_of_jail(vm: &mut Vm) -> Result<String> {
    let all = vm.agent().jail_processes("nginx")?;
    let first = all.iter().map(|process| process.pid).min();
    first.map(|pid| pid.to_string()).ok_or_else(|| Error::Answer {
        peer: "the guest",
        answer: "no process in the nginx jail".into(),
    })
}

/// Proportional set size of all of `pids`, as the guest's shell expands it, in KiB.
fn pss(vm: &mut Vm, pids: &str) -> Result<u64> {
    let script = format!("for p in {pids}; do grep ^Pss: /proc/$p/smaps_rollup; done; true");
    let text = vm.agent().shell(&script)?;
    let values = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    Ok(values.sum())
}

#[allow(clippy::cast_precision_loss, reason = "figures are far below 2^52")]
pub(crate) fn to_float(value: u64) -> f64 {
    value as f64
}
