//! Lines from a service to its log on the disk: how many a second, by the stamps of the first and the last as they are
//! stored, and what they cost jailsupd; beside Debian's journald in the
//! same guest, which writes to the same file system, with its limits of rate off.

use std::time::Duration;

use qemu_tests::{Error, Image, Jails, Machine, Result, Vm, image, peers, unit_of};

use crate::figure::Figures;

/// Rounds of each, in turns.
const ROUNDS: usize = 5;
/// MiB of lines of a hundred bytes, for each: journald takes a minute for 20,000 lines in a guest without hardware help.
const MEGABYTES: u32 = 16;
const MEGABYTES_OF_JOURNALD: u32 = 1;
/// Lines of a MiB: 16 blocks, as `printer flood` writes them.
const LINES: u32 = 16 * 656;
const LIMIT: Duration = Duration::from_secs(60);

const OURS: &str = "/sys/fs/cgroup/jailsupd/cpu.stat";
const JOURNALD: &str = "/sys/fs/cgroup/peers/journald/cpu.stat";

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let printer = image::program("printer")?;
    let jails = Jails::new()?.image("printer", &printer)?.copy(&printer, "images/bench/printer")?;
    let machine = Machine::new("bench-logs", Image::Debug).jails(jails).peers().memory_mib(2048);
    let mut vm = machine.start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    start_journald(&mut vm)?;
    for _ in 0..ROUNDS {
        let (used, took) = jailsupd(&mut vm)?;
        add(figures, "jailsupd", LINES * MEGABYTES, used, took);
        let (used, took) = journald(&mut vm)?;
        add(figures, "journald", LINES * MEGABYTES_OF_JOURNALD, used, took);
    }
    Ok(())
}

/// Seconds of a processor, and seconds from the first line to the last.
fn jailsupd(vm: &mut Vm) -> Result<(f64, f64)> {
    let flood = MEGABYTES.to_string();
    let unit = unit_of("printer", &["flood-on-usr1", &flood], "[logs]\nsize_max = \"64M\"");
    vm.put_up("bench", &unit);
    let file = "/data/log/bench.log";
    wait(vm, &format!("grep -q 'stderr.* waits$' {file}"))?;
    let used = used_by(vm, OURS, |vm| {
        vm.agent().jailctl(&["kill", "bench", "-s", "SIGUSR1"])?;
        wait(vm, &format!("grep -hq 'flood is over' {file}*"))
    })?;
    let lines = format!("cat {file}.1 {file} 2>/dev/null | grep ' flood 0'");
    let ends = vm.agent().shell(&format!("{lines} | head -n 1; {lines} | tail -n 1"))?;
    vm.remove("bench");
    vm.agent().shell(&format!("rm -f {file}*"))?;
    // 2026-11-25T23:38:00.516Z: only the time of the day.
    let seconds = |line: &str| {
        let time = line.get(11..23)?;
        let parts = time.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<f64>>>()?;
        Some(parts.iter().fold(0.0, |seconds, part| seconds * 60.0 + part))
    };
    Ok((used, between(&ends, seconds)?))
}

/// As [`jailsupd`].
fn journald(vm: &mut Vm) -> Result<(f64, f64)> {
    let said = "/run/printer.said";
    let used = used_by(vm, JOURNALD, |vm| {
        let flood = format!("./printer flood {MEGABYTES_OF_JOURNALD} 2>{said}");
        vm.agent().peer_output(&format!(
            "cd /root && (systemd-cat sh -c '{flood}' </dev/null >/dev/null 2>&1 &)"
        ))?;
        let over = format!("nsenter -t $(cat {}) -m grep -q over {said}", peers::HOLDER);
        wait(vm, &over)
    })?;
    let count = LINES * MEGABYTES_OF_JOURNALD;
    let ends = vm.agent().peer_output(&format!(
        "kill $(pidof printer); rm {said}; \
         journalctl --quiet -o short-unix -n {count} | sed -n '1p;$p'"
    ))?;
    // 1764113880.516123 HOST printer[387]: ...
    let seconds = |line: &str| line.split(' ').next()?.parse().ok();
    Ok((used, between(&ends, seconds)?))
}

/// Seconds between the stamps of two lines.
fn between(lines: &str, seconds: impl Fn(&str) -> Option<f64>) -> Result<f64> {
    let stamps: Option<Vec<f64>> = lines.lines().map(seconds).collect();
    match stamps.as_deref() {
        Some([first, last]) if last > first => Ok(last - first),
        _ => Err(Error::Answer { peer: "the log", answer: lines.to_owned() }),
    }
}

fn start_journald(vm: &mut Vm) -> Result<()> {
    vm.agent().enter_peers()?;
    let conf = "[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\nForwardToSyslog=no\\n\
                ForwardToKMsg=no\\nForwardToWall=no\\nReadKMsg=no\\nSystemMaxUse=512M\\n";
    vm.agent().peer_output(&format!(
        "mkdir -p /etc/systemd /run/systemd/journal && : >/run/systemd/journal/flushed && \
         printf '{conf}' >/etc/systemd/journald.conf && \
         cp /srv/bench/printer /root/printer && chmod 755 /root/printer && \
         (setsid /usr/lib/systemd/systemd-journald </dev/null >/dev/null 2>&1 & )"
    ))?;
    wait(vm, "pidof systemd-journald >/dev/null")?;
    vm.agent().shell(
        "mkdir -p /sys/fs/cgroup/peers/journald && \
         echo $(pidof systemd-journald) >/sys/fs/cgroup/peers/journald/cgroup.procs",
    )?;
    let there = format!(
        "nsenter -t $(cat {}) -m /usr/bin/test -S /run/systemd/journal/stdout && [ -n \"$(ls {})\" ]",
        peers::HOLDER,
        peers::JOURNAL
    );
    wait(vm, &there)
}

/// Seconds of a processor that a cgroup uses for a flood, until it rests again.
fn used_by(vm: &mut Vm, cgroup: &str, flood: impl FnOnce(&mut Vm) -> Result<()>) -> Result<f64> {
    let before = used(vm, cgroup)?;
    flood(vm)?;
    // What was in pipes and sockets is stored by then.
    let text = format!("$(grep usage_usec {cgroup})");
    wait(vm, &format!("a=\"{text}\"; usleep 700000; [ \"$a\" = \"{text}\" ]"))?;
    Ok(used(vm, cgroup)? - before)
}

fn used(vm: &mut Vm, cgroup: &str) -> Result<f64> {
    let text = vm.agent().shell(&format!("grep usage_usec {cgroup}"))?;
    let number = text.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    number.map(|us| us / 1e6).ok_or(Error::Answer { peer: "cpu.stat", answer: text })
}

fn wait(vm: &mut Vm, condition: &str) -> Result<()> {
    vm.agent().wait_until(condition, LIMIT)
}

fn add(figures: &mut Figures, who: &str, lines: u32, used: f64, took: f64) {
    let lines = f64::from(lines);
    figures.add(&format!("logs, {who}: lines stored a second"), "lines", lines / took);
    figures.add(&format!("logs, {who}: CPU for a million lines"), "s", used / (lines / 1e6));
}
