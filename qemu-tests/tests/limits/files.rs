//! Limits as the kernel has them, and edits of them.

use jailsupd::control::wire::JailState;

use super::{Jailed as _, SOON, guest, stay};

const ALL: &str = "
[resources]
memory_min = \"8M\"
memory_low = \"16M\"
memory_high = \"40M\"
memory_max = \"48M\"
memory_swap_max = \"0B\"
oom_group = false
oom_score_adjust = -500
cpu_max = \"150%\"
cpu_weight = 200
allowed_cpus = \"0\"
allowed_memory_nodes = \"0\"
io_weight = 50
io_read_bandwidth_max = [\"data 10M\"]
io_write_bandwidth_max = [\"data 5M\"]
io_read_iops_max = [\"data 500\"]
io_write_iops_max = [\"data 100\"]
pids_max = 16
hugetlb_max = [\"2M 4M\"]
ulimit = [\"nofile=2048:600000\", \"memlock=64M\", \"stack=4M:unlimited\", \"nproc=50\", \"rtprio=3\"]
";

#[test]
fn each_key_is_what_the_kernel_has() {
    let mut guest = guest();
    guest.put_up("keys", &stay(ALL));

    let disk = guest.agent().shell("grep ' /data ' /proc/mounts | cut -d' ' -f1").unwrap();
    let disk =
        disk.trim().trim_start_matches("/dev/").trim_end_matches(|c: char| c.is_ascii_digit());
    let disk = guest.agent().read(&format!("/sys/class/block/{disk}/dev")).unwrap();
    let io_max = format!("{} rbps=10485760 wbps=5242880 riops=500 wiops=100", disk.trim());
    let wanted = [
        ("memory.min", "8388608"),
        ("memory.low", "16777216"),
        ("memory.high", "41943040"),
        ("memory.max", "50331648"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "0"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "200"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("io.weight", "default 50"),
        ("io.max", &io_max),
        ("pids.max", "16"),
        ("hugetlb.2MB.max", "4194304"),
    ];
    for (file, value) in wanted {
        // A kernel without swap has no such limit to read.
        if file == "memory.swap.max" && guest.agent().read("/proc/swaps").is_err() {
            continue;
        }
        assert_eq!(guest.cgroup("keys", file), value, "{file}");
    }
    let service = guest.agent().service("keys", "strain").unwrap().pid;
    let adjust = guest.agent().read(&format!("/proc/{service}/oom_score_adj")).unwrap();
    assert_eq!(adjust.trim(), "-500");
    let limits = guest.agent().read(&format!("/proc/{service}/limits")).unwrap();
    for (name, soft, hard) in [
        ("Max open files", "2048", "600000"),
        ("Max locked memory", "67108864", "67108864"),
        ("Max stack size", "4194304", "unlimited"),
        ("Max processes", "50", "50"),
        ("Max realtime priority", "3", "3"),
        ("Max core file size", "1", "1"),
        ("Max msgqueue size", "819200", "819200"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let words: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(words, [soft, hard], "{name}");
    }
    let shared = guest.agent().read("/sys/fs/cgroup/io.cost.qos").unwrap();
    assert!(
        shared.lines().any(|line| line.starts_with(&format!("{} enable=1", disk.trim()))),
        "{shared}"
    );
    // What the jail is protected by is protected above it too.
    let above = guest.agent().read("/sys/fs/cgroup/jails/memory.min").unwrap();
    assert_eq!(above.trim(), "8388608");
    guest.remove("keys");
}

#[test]
fn edit_is_taken_over_by_the_running_jail() {
    let mut guest = guest();
    guest.put_up("edited", &stay("[resources]\nmemory_max = \"64M\"\nallowed_cpus = \"0\"\nio_read_iops_max = [\"data 7\"]\nmemory_low = \"1M\""));
    let pid = guest.agent().listed("edited").unwrap().pid;
    assert_eq!(guest.cgroup("edited", "memory.max"), "67108864");
    assert_eq!(guest.agent().read("/sys/fs/cgroup/jails/memory.low").unwrap().trim(), "1048576");

    guest.put("edited", &stay("[resources]\nmemory_max = \"32M\"\ncpu_max = \"50%\""));
    let taken = "grep -qx 33554432 /sys/fs/cgroup/jails/edited/memory.max";
    guest.agent().wait_until(taken, SOON).unwrap();
    guest.ctl(&["apply"]);

    assert_eq!(guest.cgroup("edited", "cpu.max"), "50000 100000");
    let all = guest.agent().read("/sys/fs/cgroup/cpuset.cpus.effective").unwrap();
    assert_eq!(guest.cgroup("edited", "cpuset.cpus.effective"), all.trim());
    assert_eq!(guest.cgroup("edited", "io.max"), "");
    assert_eq!(guest.cgroup("edited", "memory.low"), "0");
    assert_eq!(guest.agent().read("/sys/fs/cgroup/jails/memory.low").unwrap().trim(), "0");
    assert_eq!(guest.agent().listed("edited").unwrap().pid, pid);
    guest.remove("edited");
}

#[test]
fn limit_that_the_host_cannot_keep_to_is_refused_by_its_key() {
    let mut guest = guest();
    for (rest, parts) in [
        ("allowed_cpus = \"4000\"", ["resources.allowed_cpus", "cpuset.cpus"]),
        ("io_read_iops_max = [\"/dev/nodisk 5\"]", ["resources.io_read_iops_max", "/dev/nodisk"]),
        ("io_read_iops_max = [\"/dev/null 5\"]", ["resources.io_read_iops_max", "ENOTBLK"]),
        ("ulimit = [\"nofile=100:9999999999\"]", ["", "resource limits"]),
    ] {
        guest.put("refused", &stay(&format!("[resources]\n{rest}\n[restart]\npolicy = \"no\"")));
        guest.agent().wait_state("refused", JailState::Failed).unwrap();

        let problem = guest.agent().listed("refused").unwrap().problem.unwrap_or_default();

        assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
        guest.remove("refused");
    }
}
