//! Times of one boot of the production image, from its console: the kernel stamps each line with the
//! time since its own entry.

use std::time::{Duration, Instant};

use qemu_tests::{End, Error, Image, Machine, Result, console::Line, http};

use crate::figure::Figures;

const LIMIT: Duration = Duration::from_secs(60);

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let start = Instant::now();
    let mut vm = Machine::new("bench", Image::Production).start()?;
    let up = vm.wait_jail(0, "nginx", "up")?;
    http::wait(vm.address(), LIMIT, || vm.console.has_ended())?;
    let answered = Instant::now();
    vm.console.wait_for("init: boot complete", LIMIT)?;
    let lines = vm.console.lines();
    vm.qmp.press_power_button()?;
    if vm.wait_end()? != End::PowerOff {
        return Err(Error::Answer { peer: "the guest", answer: "no clean power off".into() });
    }
    let entry = entry(&lines)?;
    let mut add = |name: &str, time: Duration| figures.add(name, "ms", milliseconds(time));
    add("QEMU's start to kernel entry (firmware, loader)", entry.saturating_duration_since(start));
    add("kernel entry to PID 1", stamp(&lines, "Run /init as init process")?);
    add("kernel entry to verified root", stamp(&lines, "init: initrd: root verified")?);
    for (name, time) in stages(&lines) {
        add(&format!("  stage {name}"), time);
    }
    add("kernel entry to boot complete", stamp(&lines, "init: boot complete")?);
    add("kernel entry to jailsupd's first line", stamp(&lines, "jailsupd: ")?);
    add("kernel entry to nginx's exec", up.stamp().unwrap_or_default());
    add("kernel entry to first answered request", answered.saturating_duration_since(entry));
    Ok(())
}

/// The moment of the kernel's stamp 0 on the build machine's clock: no line arrives before it is
/// stamped, so the quickest one tells best.
fn entry(lines: &[Line]) -> Result<Instant> {
    let entries = lines.iter().filter_map(|line| line.at.checked_sub(line.stamp()?));
    entries.min().ok_or_else(|| missing("any stamped line"))
}

fn stamp(lines: &[Line], text: &str) -> Result<Duration> {
    let line = lines.iter().find(|line| line.text.contains(text));
    line.and_then(Line::stamp).ok_or_else(|| missing(text))
}

/// `init: stage NAME ok DURms`.
fn stages(lines: &[Line]) -> impl Iterator<Item = (String, Duration)> {
    lines.iter().filter_map(|line| {
        let (_, rest) = line.text.split_once("init: stage ")?;
        let (name, rest) = rest.split_once(" ok ")?;
        let time = rest.trim().strip_suffix("ms")?.parse().ok()?;
        Some((name.into(), Duration::from_millis(time)))
    })
}

fn missing(what: &str) -> Error {
    Error::Answer { peer: "the console", answer: format!("no line with \"{what}\"") }
}

/// With a fraction.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
