//! Lines from a service to its log on the disk: how fast, and what it costs jailsupd; beside Debian's journald in the
//! same guest, which writes to the same file system, with its limits of rate off.

use std::time::Duration;

use qemu_tests::{Error, Image, Jails, Machine, Result, Vm, image, peers, unit_of};

use crate::figure::Figures;

/// Rounds of each, in turns.
const ROUNDS: usize = 5;
/// MiB of lines of a hundred bytes.
const MEGABYTES: u64 = 16;
/// How many lines that is: blocks of 656 lines, as `printer flood` writes them.
const LINES: f64 = 16.0 * 1024.0 * 1024.0 / 100.0;
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
    let flood = MEGABYTES.to_string();
    let unit = unit_of("printer", &["flood-on-usr1", &flood], "");
    for _ in 0..ROUNDS {
        vm.put_up("bench", &unit);
        let file = "/data/log/bench.log";
        wait(&mut vm, &format!("grep -q 'stderr.* waits$' {file}"))?;
        let (used, taken) = run(&mut vm, OURS, |vm| {
            vm.agent().jailctl(&["kill", "bench", "-s", "SIGUSR1"])?;
            wait(vm, &format!("tail -n 9 {file} | grep -q 'flood is over'"))?;
            vm.agent().shell(&format!("grep -o 'flood is over.*' {file}"))
        })?;
        add(figures, "jailsupd", used, taken);
        vm.remove("bench");
        vm.agent().shell(&format!("rm -f {file}*"))?;

        let (used, taken) = run(&mut vm, JOURNALD, |vm| {
            let said = "/run/printer.said";
            vm.agent().peer_output(&format!(
                "cd /root && (systemd-cat sh -c './printer flood {flood} 2>{said}' </dev/null >/dev/null 2>&1 & echo $! >/run/cat.pid)"
            ))?;
            let over = format!("nsenter -t $(cat {}) -m grep -q over {said}", peers::HOLDER);
            wait(vm, &over)?;
            vm.agent().peer_output(&format!("cat {said}; kill $(pidof printer); rm {said}"))
        })?;
        add(figures, "journald", used, taken);
    }
    Ok(())
}

fn start_journald(vm: &mut Vm) -> Result<()> {
    vm.agent().enter_peers()?;
    let conf = "[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\nForwardToSyslog=no\\n\
                ForwardToKMsg=no\\nForwardToWall=no\\nReadKMsg=no\\nSystemMaxUse=512M\\n";
    vm.agent().peer_output(&format!(
        "mkdir -p /etc/systemd /run/systemd/journal && printf '{conf}' >/etc/systemd/journald.conf && \
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

/// Microseconds of a processor that a cgroup used until it rests again, and those that the writer says it took.
fn run(
    vm: &mut Vm,
    cgroup: &str,
    work: impl FnOnce(&mut Vm) -> Result<String>,
) -> Result<(f64, f64)> {
    let before = used(vm, cgroup)?;
    let said = work(vm)?;
    // What was in pipes and sockets is stored by then.
    wait(
        vm,
        &format!(
            "a=$(grep usage_usec {cgroup}); usleep 700000; [ \"$a\" = \"$(grep usage_usec {cgroup})\" ]"
        ),
    )?;
    let taken = said.split_whitespace().rev().find_map(|word| word.parse::<f64>().ok());
    let taken = taken.ok_or(Error::Answer { peer: "printer", answer: said })?;
    Ok((used(vm, cgroup)? - before, taken))
}

fn used(vm: &mut Vm, cgroup: &str) -> Result<f64> {
    let text = vm.agent().shell(&format!("grep usage_usec {cgroup}"))?;
    let number = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    number.ok_or(Error::Answer { peer: "cpu.stat", answer: text })
}

fn wait(vm: &mut Vm, condition: &str) -> Result<()> {
    vm.agent().wait_until(condition, LIMIT)
}

fn add(figures: &mut Figures, who: &str, used_us: f64, taken_us: f64) {
    let millions = LINES / 1e6;
    figures.add(&format!("logs, {who}: lines taken a second"), "lines", LINES / (taken_us / 1e6));
    figures.add(&format!("logs, {who}: CPU for a million lines"), "s", used_us / 1e6 / millions);
}
