//! What is seen and can be written in /proc, /sys, /dev, and how the mounts are.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::{Seen, text};

/// No tree of a kernel file system that is looked at is deeper.
const DEEPEST: usize = 9;

/// Files and directories that tell of the host, or reach into it.
const PROC: [&str; 11] = [
    "acpi",
    "asound",
    "interrupts",
    "kallsyms",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
const SYS: [&str; 13] = [
    "block",
    "bus/pci/devices",
    "class/block",
    "class/dmi",
    "class/tty",
    "dev/block",
    "devices/virtual/dmi",
    "devices/virtual/powercap",
    "firmware",
    "fs/selinux",
    "kernel/debug",
    "kernel/security",
    "kernel/tracing",
];

pub(crate) fn writable(root: &str) -> Seen {
    let mut found = Seen::new();
    collect(Path::new(root), DEEPEST, &mut found);
    found
}

/// All of /proc but processes.
pub(crate) fn proc_writable() -> Seen {
    let mut found = Seen::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.parse::<u32>().is_ok() || name.ends_with("self");
        if !process {
            collect(&entry.path(), DEEPEST, &mut found);
        }
    }
    found
}

fn collect(path: &Path, depth: usize, found: &mut Seen) {
    let Ok(kind) = fs::symlink_metadata(path) else { return };
    if kind.is_dir() && depth > 0 {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            collect(&entry.path(), depth - 1, found);
        }
    } else if kind.is_file() {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        if options.open(path).is_ok() {
            found.push(path.display().to_string());
        }
    }
}

pub(crate) fn proc_visible() -> Seen {
    PROC.iter().map(|name| format!("/proc/{name}")).filter(|path| shows_something(path)).collect()
}

pub(crate) fn sys_visible() -> Seen {
    SYS.iter().map(|name| format!("/sys/{name}")).filter(|path| shows_something(path)).collect()
}

/// A directory with an entry, a file with a byte.
fn shows_something(path: &str) -> bool {
    if Path::new(path).is_dir() {
        return fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let mut byte = [0];
    File::open(path).is_ok_and(|mut file| file.read(&mut byte).is_ok_and(|read| read > 0))
}

/// Nodes, not links to them, pts/ptmx included, terminals of its own not.
pub(crate) fn dev_nodes() -> Seen {
    let mut found = Seen::new();
    for directory in ["/dev", "/dev/pts", "/dev/net", "/dev/input", "/dev/mapper", "/dev/vfio"] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let terminal = directory == "/dev/pts" && entry.file_name() != "ptmx";
            // Not the entry's own kind: a node may be mounted on a plain file.
            let kind = fs::symlink_metadata(entry.path()).map(|node| node.file_type());
            if !terminal && kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

pub(crate) fn dev_host() -> Seen {
    let own = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"];
    let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    dev_nodes().into_iter().filter(|path| !own.contains(&name(path).as_str())).collect()
}

fn mounts(wanted: impl Fn(&str) -> bool) -> Seen {
    let text = text("/proc/self/mountinfo");
    let place = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    text.lines().filter(|line| wanted(line)).map(place).collect()
}

pub(crate) fn mounts_shared() -> Seen {
    mounts(|line| line.contains(" shared:") || line.contains(" master:"))
}

pub(crate) fn mounts_setuid() -> Seen {
    mounts(|line| {
        !line.split(' ').nth(5).unwrap_or_default().split(',').any(|option| option == "nosuid")
    })
}

pub(crate) fn cgroup_path() -> Seen {
    let text = text("/proc/self/cgroup");
    let path = text.trim_end().rsplit(':').next().unwrap_or_default();
    if path == "/" { Seen::new() } else { vec![path.to_owned()] }
}

/// This program opens none itself.
pub(crate) fn leaked() -> Seen {
    let link = |number: i32| fs::read_link(format!("/proc/self/fd/{number}")).ok();
    (3..1024)
        .filter_map(|number| link(number).map(|target| format!("{number} -> {}", target.display())))
        .collect()
}
