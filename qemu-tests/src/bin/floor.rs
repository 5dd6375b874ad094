//! A PID 1 that does nothing but say how much memory the guest uses under it, and power off.

#![forbid(unsafe_code)]

use std::{fs, io};

use qemu_tests::floor::SAYS;
use rustix::{
    mount::{MountFlags, mount},
    process::getpid,
    system::{RebootCommand, reboot},
};

fn main() -> io::Result<()> {
    if !getpid().is_init() {
        eprintln!("floor: this program is PID 1 of a test guest and has no use elsewhere");
        return Ok(());
    }
    mount("proc", "/proc", "proc", MountFlags::empty(), None)?;
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let kib = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    println!("{SAYS} {} kB", kib("MemTotal:").saturating_sub(kib("MemAvailable:")));
    reboot(RebootCommand::PowerOff)?;
    Ok(())
}
