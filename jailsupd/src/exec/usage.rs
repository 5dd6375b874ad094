//! What jails use, read when somebody asks: the counters of a jail's cgroup, of its network namespace and of
//! its processes. Counters only grow; who wants a rate asks twice.

use super::cgroup::Cgroup;
use super::{pressure, processes};
use crate::control::wire::Counters;
use std::fs;
use std::path::Path;

/// The kernel's `USER_HZ` is 100 on all processors that Warder runs on.
const TICK_US: u64 = 10_000;

/// What one process has used: proc_pid_stat(5), proc_pid_io(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfProcess {
    /// Processor time, in microseconds, as fine as the kernel's clock ticks.
    pub cpu_us: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Bytes that it had read from disks.
    pub io_read: u64,
    /// Bytes that it had written to disks, or will have.
    pub io_write: u64,
}

/// What the jail in this cgroup uses; `pid` is one of its processes. What the kernel does not say counts as nothing.
#[must_use]
pub fn of_jail(cgroup: &Cgroup, pid: i32) -> Counters {
    let read = |file: &str| text(&cgroup.path().join(file));
    let cpu = pressure::read_named(cgroup, "cpu.stat");
    let (io_read, io_write) = disks(&read("io.stat"));
    let (net_receive, net_send) = links(&text(Path::new(&format!("/proc/{pid}/net/dev"))));
    let number = |file: &str| read(file).trim().parse().unwrap_or(0);
    Counters {
        cpu_us: cpu.get("usage_usec"),
        throttled_us: cpu.get("throttled_usec"),
        memory: number("memory.current"),
        pids: number("pids.current"),
        io_read,
        io_write,
        net_receive,
        net_send,
        cpu_wait_us: waited(&read("cpu.pressure")),
        memory_wait_us: waited(&read("memory.pressure")),
        io_wait_us: waited(&read("io.pressure")),
    }
}

/// The processes of a jail with what each uses, by pid. One that ends meanwhile is left out.
#[must_use]
pub fn of_processes(cgroup: &Cgroup) -> Vec<(processes::Process, OfProcess)> {
    let read = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let used = |pid: u32| {
        let used = of_process(&read(pid, "stat")?, &read(pid, "status")?)?;
        let (io_read, io_write) = disks_of_process(&read(pid, "io").unwrap_or_default());
        Some(OfProcess { io_read, io_write, ..used })
    };
    let all = processes::of(cgroup).into_iter();
    all.filter_map(|process| used(process.pid).map(|used| (process, used))).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Sums of a nested keyed file: `8:0 rbytes=1 wbytes=2 ...` lines, one a disk.
fn disks(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key));
        values.filter_map(|value| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Sums over links: after two lines of headings `NAME: ` and 16 numbers, received bytes the first and sent
/// bytes the ninth.
fn links(text: &str) -> (u64, u64) {
    let rows = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    rows.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |(receive, send), (_, numbers)| {
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
        let (first, ninth): (u64, u64) = (numbers.next().unwrap_or(0), numbers.nth(7).unwrap_or(0));
        (receive.saturating_add(first), send.saturating_add(ninth))
    })
}

/// Of a pressure file (Documentation/accounting/psi.rst) the microseconds in which some have waited.
fn waited(text: &str) -> u64 {
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let total = some.and_then(|line| line.rsplit_once("total=")).map(|(_, total)| total);
    total.and_then(|total| total.trim().parse().ok()).unwrap_or(0)
}

/// Of `stat` fields 14 and 15; the name in field 2 may contain anything, so count from its end. Of `status`
/// `VmRSS`, which a process has not that is ending.
fn of_process(stat: &str, status: &str) -> Option<OfProcess> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok());
    Some(OfProcess {
        cpu_us: number(14)?.saturating_add(number(15)?).saturating_mul(TICK_US),
        memory: resident.unwrap_or(0_u64).saturating_mul(1024),
        ..OfProcess::default()
    })
}

/// Of `io` what went to and came from disks; what was read and written to pipes, or to files in memory, is not among it.
fn disks_of_process(io: &str) -> (u64, u64) {
    let value = |key: &str| {
        let value = io.lines().find_map(|line| line.strip_prefix(key));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    (value("read_bytes:"), value("write_bytes:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_added_up() {
        let text = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:0 rbytes=5 wbytes=1\n8:16 \n";
        assert_eq!(disks(text), (15, 21));
    }

    #[test]
    fn links_are_added_up_without_the_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n\
            lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n\
            eth0: 1200 9 0 0 0 0 0 0 340 4 0 0 0 0 0 0\n  eth1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(links(text), (1205, 347));
        assert_eq!(links(""), (0, 0));
    }

    #[test]
    fn waits_are_those_of_some() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(waited(text), 1234);
    }

    #[test]
    fn of_what_a_process_reads_and_writes_that_of_disks_counts() {
        let io = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 4096\nwrite_bytes: 8192\n\
            cancelled_write_bytes: 5\n";
        assert_eq!(disks_of_process(io), (4096, 8192));
        assert_eq!(disks_of_process(""), (0, 0));
    }

    #[test]
    fn a_name_with_brackets_and_blanks_hides_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 1 0 100 1000";
        let used = of_process(stat, "Name:\ta\nVmRSS:\t      40 kB\n").unwrap();
        assert_eq!((used.cpu_us, used.memory), (750_000, 40_960));
    }
}
