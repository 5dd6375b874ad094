//! Many jails of a trivial service, with and without a link to the network: until all are up, what that costs, what each
//! of Warder's programs has of memory, what they do while nothing is to be done; how long until the jails of a killed
//! jailsupd are adopted, and until a crashed service is executed again.

use std::time::Duration;

use qemu_tests::{Error, Image, Jails, Machine, Result, Vm, console::Line, unit_of};

use crate::{boot::milliseconds, figure::Figures, memory::to_float, reconcile::stamp};

/// How many jails, and how often they are started: a few are up in a second, in which anything may happen.
const COUNTS: [(usize, usize); 4] = [(1, 10), (10, 10), (100, 3), (1000, 1)];
/// How much longer each of a thousand may take than each of ten.
const GROWTH_MAX: f64 = 1.2;
/// Seconds in which nothing is to be done.
const IDLE: u32 = 30;
const CRASHES: usize = 20;
const MARK: &str = "bench: now";
const LIMIT: Duration = Duration::from_secs(120);
/// PID 1, jailsupd and all jails.
const CGROUPS: &str = "init jailsupd jails";

/// Adds the figures of three boots.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    for (kind, has_link) in [("no network", false), ("macvlan", true)] {
        let machine = Machine::new("bench-jails", Image::Debug).jails(Jails::new()?);
        let mut vm = machine.memory_mib(4096).start()?;
        vm.wait_boot()?;
        vm.wait_page()?;
        for (count, times) in COUNTS {
            eprintln!("{count} jails, {kind}");
            for _ in 1..times {
                start(&mut vm, figures, kind, count, has_link).inspect_err(|_| vm.report())?;
                remove(&mut vm)?;
            }
            round(&mut vm, figures, kind, count, has_link).inspect_err(|_| vm.report())?;
        }
        growth(figures, kind);
    }
    crashes(figures)
}

/// A thousand jails beside ten.
fn growth(figures: &mut Figures, kind: &str) {
    for what in ["up, per jail", "CPU per jail"] {
        let of = |count: usize| figures.median(&format!("{count} jails, {kind}: {what}"));
        if let Some((many, few)) = of(1000).zip(of(10)) {
            let name = format!("1000 jails by 10, {kind}: {what}");
            figures.add_limited(&name, "times", many / few, GROWTH_MAX);
        }
    }
}

fn round(
    vm: &mut Vm,
    figures: &mut Figures,
    kind: &str,
    count: usize,
    has_link: bool,
) -> Result<()> {
    let names = start(vm, figures, kind, count, has_link)?;
    let kind = format!("{count} jails, {kind}");
    memory(vm, figures, &kind, count)?;
    idle(vm, figures, &kind, count)?;
    adopted(vm, figures, &kind, &names)?;
    remove(vm)
}

/// Has so many jails come up at once.
fn start(
    vm: &mut Vm,
    figures: &mut Figures,
    kind: &str,
    count: usize,
    has_link: bool,
) -> Result<Vec<String>> {
    let names = write(vm, count, has_link)?;
    up(vm, figures, &format!("{count} jails, {kind}"), &names)?;
    Ok(names)
}

fn remove(vm: &mut Vm) -> Result<()> {
    vm.agent().shell("rm -f /etc/jails.d/many-*")?;
    vm.agent().wait_until("! ls -d /sys/fs/cgroup/jails/many-* 2>/dev/null", LIMIT)
}

/// Writes the units while jailsupd stands still: it is to find all of them at once.
fn write(vm: &mut Vm, count: usize, has_link: bool) -> Result<Vec<String>> {
    // A process that it had for the trash of the jails before may be gone by now.
    vm.agent().shell("kill -STOP $(pidof jailsupd) || true")?;
    let text = unit_of("nuisance", &["stay"], "");
    let link = "address = [\"10.0.'$((10 + i / 250))'.'$((1 + i % 250))'/16\"]";
    let text = if has_link { text.replace("mode = \"none\"", link) } else { text };
    vm.agent().shell(&format!(
        "i=0; while [ $i -lt {count} ]; do \
         printf %s '{text}' >/etc/jails.d/many-$(printf %04d $i).toml; i=$((i+1)); done"
    ))?;
    Ok((0..count).map(|number| format!("many-{number:04}")).collect())
}

/// From when jailsupd goes on, and sees the units, to the last jail's exec.
fn up(vm: &mut Vm, figures: &mut Figures, kind: &str, names: &[String]) -> Result<()> {
    let before = vm.console.mark();
    let used = cpu_us(vm)?;
    vm.agent().shell(&format!("echo '{MARK}' >/dev/kmsg; kill -CONT $(pidof jailsupd)"))?;
    let lines = names.iter().map(|name| vm.wait_jail(before, name, "up"));
    let lines: Vec<Line> = lines.collect::<Result<_>>()?;
    let took = since_mark(vm, before, &lines)?;
    let used = cpu_us(vm)? - used;
    figures.add(&format!("{kind}: all up"), "ms", milliseconds(took));
    figures.add(&format!("{kind}: up, per jail"), "ms", milliseconds(took) / float(names));
    figures.add(&format!("{kind}: CPU per jail"), "ms", used / 1000.0 / float(names));
    Ok(())
}

fn float(names: &[String]) -> f64 {
    to_float(names.len() as u64)
}

/// From the mark to the last of these lines, by the kernel's stamps.
fn since_mark(vm: &Vm, before: usize, lines: &[Line]) -> Result<Duration> {
    let start = stamp(&vm.console.wait_for_after(before, MARK, LIMIT)?)?;
    let stamps = lines.iter().map(stamp).collect::<Result<Vec<_>>>()?;
    Ok(stamps.into_iter().max().unwrap_or_default().saturating_sub(start))
}

fn memory(vm: &mut Vm, figures: &mut Figures, kind: &str, count: usize) -> Result<()> {
    let inits = "$(for jail in /sys/fs/cgroup/jails/many-*; do head -n 1 $jail/cgroup.procs; done)";
    let jails = to_float(count as u64);
    let ours = "1 $(pidof jailsupd)";
    for (who, pids, among, limit) in [
        ("PID 1", "1", 1.0, None),
        ("jailsupd", "$(pidof jailsupd)", 1.0, None),
        ("both", ours, 1.0, Some(8192.0 + 16.0 * jails)),
        // Few of them share what all have in common.
        ("an in-jail init", inits, jails, (count >= 1000).then_some(64.0)),
    ] {
        let all = number(
            vm,
            &format!(
                "for p in {pids}; do grep ^Pss: /proc/$p/smaps_rollup; done | awk '{{ n += $2 }} END {{ print n }}'"
            ),
        )?;
        let name = format!("{kind}: PSS of {who}");
        match limit {
            Some(limit) => figures.add_limited(&name, "KiB", all / among, limit),
            None => figures.add(&name, "KiB", all / among),
        }
    }
    Ok(())
}

/// What Warder's programs do in a time in which nothing is to be done.
fn idle(vm: &mut Vm, figures: &mut Figures, kind: &str, count: usize) -> Result<()> {
    let pids = "1 $(pidof jailsupd) $(for jail in /sys/fs/cgroup/jails/many-*; do head -n 1 $jail/cgroup.procs; done)";
    let switches = format!(
        "for p in {pids}; do cat /proc/$p/status; done | awk '/ctxt_switches/ {{ n += $2 }} END {{ print n }}'"
    );
    // What a start leaves to be done soon after it is no part of that; the last of it is that its version is good.
    let good = "ls /data/deploys | grep -c '^many-.*[.]good$'";
    vm.agent().wait_until(&format!("[ $({good}) -eq {count} ]"), LIMIT)?;
    vm.agent().shell("sleep 1")?;
    let (before, used) = (number(vm, &switches)?, cpu_us(vm)?);
    vm.agent().shell(&format!("sleep {IDLE}"))?;
    let used = cpu_us(vm)? - used;
    let woken = number(vm, &switches)? - before;
    figures.add(&format!("{kind}: wake-ups in {IDLE} s"), "", woken);
    figures.add(&format!("{kind}: CPU in {IDLE} s"), "ms", used / 1000.0);
    Ok(())
}

fn adopted(vm: &mut Vm, figures: &mut Figures, kind: &str, names: &[String]) -> Result<()> {
    let before = vm.console.mark();
    vm.agent().shell(&format!("echo '{MARK}' >/dev/kmsg; kill -KILL $(pidof jailsupd)"))?;
    let line =
        |name: &String| vm.console.wait_for_after(before, &format!("jail={name} adopted"), LIMIT);
    let lines: Vec<Line> = names.iter().map(line).collect::<Result<_>>()?;
    let took = since_mark(vm, before, &lines)?;
    figures.add(&format!("{kind}: SIGKILL of jailsupd to adopted"), "ms", milliseconds(took));
    vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", LIMIT)
}

/// From the signal at which a service ends to its next exec; a millisecond of it is the policy's.
fn crashes(figures: &mut Figures) -> Result<()> {
    let mut vm = Machine::new("bench-crashes", Image::Debug).jails(Jails::new()?).start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    let restart = "[restart]\ndelay = \"1ms\"\ndelay_max = \"1ms\"\njitter = 0";
    vm.put_up("bench", &unit_of("nuisance", &["wait-exit", "3"], restart));
    for _ in 0..CRASHES {
        let pid = vm.agent().service("bench", "nuisance")?.pid;
        let handles = format!("grep -q '^SigCgt:.*[2367abef]..$' /proc/{pid}/status");
        vm.agent().wait_until(&handles, LIMIT)?;
        let before = vm.console.mark();
        vm.agent().shell(&format!("echo '{MARK}' >/dev/kmsg; kill -USR1 {pid}"))?;
        let line = vm.wait_jail(before, "bench", "up")?;
        let took = since_mark(&vm, before, &[line])?;
        figures.add("crash to next exec, without network", "ms", milliseconds(took));
        vm.up("bench");
    }
    Ok(())
}

/// Microseconds of a processor that Warder has used.
fn cpu_us(vm: &mut Vm) -> Result<f64> {
    number(
        vm,
        &format!(
            "cd /sys/fs/cgroup; for c in {CGROUPS}; do cat $c/cpu.stat; done 2>/dev/null | \
         awk '/^usage_usec/ {{ n += $2 }} END {{ print n }}'"
        ),
    )
}

fn number(vm: &mut Vm, script: &str) -> Result<f64> {
    let text = vm.agent().shell(script)?;
    let number = text.trim().parse();
    number.map_err(|_| Error::Answer { peer: "the guest", answer: text })
}
