//! Says how far the container reaches in which it runs: one JSON object with a number for each row of
//! `qemu_tests::probe::ROWS`. Everything is tried, not read off a configuration.
//!
//! usage: probe KIND:INODE...    the host's namespaces, as in its /proc/self/ns

mod calls;
mod files;
#[path = "../hostile/raw.rs"]
mod raw;

use std::{fs, process::ExitCode};

use qemu_tests::probe::{Measured, ROWS, Report};

/// How many things of a row are named.
const NAMED: usize = 12;

/// The things that a row counts.
type Seen = Vec<String>;

fn main() -> ExitCode {
    let host: Vec<String> = std::env::args().skip(1).collect();
    let mut report = Report::new();
    // The last ones may change this process.
    for row in ROWS {
        let measured = match measure(row.id, &host) {
            Some(measured) => measured,
            None => return ExitCode::FAILURE,
        };
        report.insert(row.id.into(), measured);
    }
    match serde_json::to_string(&report) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn measure(id: &str, host: &[String]) -> Option<Measured> {
    let seen = match id {
        "namespaces" => own_namespaces(host),
        "host-root" => host_root(),
        "mapped-ids" => {
            return Some(Measured { value: mapped_ids(), seen: vec![text("/proc/self/uid_map")] });
        }
        "effective-capabilities" => capabilities("CapEff"),
        "bounding-capabilities" => capabilities("CapBnd"),
        "no-new-privileges" => status_is("NoNewPrivs", "1"),
        "seccomp" => status_is("Seccomp", "2"),
        "system-calls" => calls::answered(),
        "i386-calls" => calls::i386(),
        "socket-families" => calls::socket_families(),
        "netlink-protocols" => calls::netlink_protocols(),
        "raw-sockets" => calls::raw_sockets(),
        "terminal-input" => calls::terminal_input(),
        "nested-namespaces" => calls::nested_namespaces(),
        "keyrings" => calls::keyrings(),
        "kernel-log" => calls::kernel_log(),
        "io-uring" => calls::modern(),
        "proc-writable" => files::proc_writable(),
        "proc-visible" => files::proc_visible(),
        "sys-writable" => files::writable("/sys"),
        "sys-visible" => files::sys_visible(),
        "dev-nodes" => files::dev_nodes(),
        "dev-host" => files::dev_host(),
        "mounts-shared" => files::mounts_shared(),
        "mounts-setuid" => files::mounts_setuid(),
        "cgroup-writable" => files::writable("/sys/fs/cgroup"),
        "cgroup-path" => files::cgroup_path(),
        "leaked-files" => files::leaked(),
        _ => return None,
    };
    let value = seen.len() as u64;
    Some(Measured { value, seen: seen.into_iter().take(NAMED).collect() })
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn own_namespaces(host: &[String]) -> Seen {
    let own = |entry: &String| {
        let (kind, inode) = entry.split_once(':')?;
        let here = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
        (here.to_string_lossy() != format!("{kind}:[{inode}]")).then(|| kind.to_owned())
    };
    host.iter().filter_map(own).collect()
}

/// The ranges of the user namespace: inside, outside, length.
fn ranges() -> Vec<[u64; 3]> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap_or(0));
        [(); 3].map(|()| numbers.next().unwrap_or(0))
    };
    text("/proc/self/uid_map").lines().map(range).collect()
}

fn host_root() -> Seen {
    let root = ranges().into_iter().find(|[inside, outside, _]| *inside == 0 && *outside == 0);
    root.map(|_| "0 is 0".to_owned()).into_iter().collect()
}

fn mapped_ids() -> u64 {
    ranges().iter().map(|[_, _, length]| length).sum()
}

fn status(field: &str) -> String {
    let status = text("/proc/self/status");
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

fn status_is(field: &str, value: &str) -> Seen {
    if status(field) == value { vec![format!("{field}: {value}")] } else { Vec::new() }
}

fn capabilities(field: &str) -> Seen {
    let set = u64::from_str_radix(&status(field), 16).unwrap_or(u64::MAX);
    (0..64).filter(|number| set & 1 << number != 0).map(|number: u32| number.to_string()).collect()
}
