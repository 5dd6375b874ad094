//! What the host keeps for itself, and the limits of the kernel that its jails share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The host's memory, in bytes (proc_meminfo(5)).
///
/// # Errors
/// When `/proc/meminfo` does not say it.
pub fn memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.ok_or(io::ErrorKind::InvalidData)?.saturating_mul(1024))
}

/// How many processes and threads the host can have.
///
/// # Errors
/// When the kernel does not say it.
pub fn threads() -> io::Result<u64> {
    read(&path("kernel.threads-max"))
}

/// Makes a kernel setting at least that large. Whether it was smaller.
///
/// # Errors
/// When it cannot be written. One that this kernel has not is fine.
pub fn raise(name: &str, least: u64) -> io::Result<bool> {
    let path = path(name);
    match read(&path) {
        Ok(now) if now >= least => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(_) => fs::write(&path, least.to_string()).map(|()| true),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

fn read(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_threads() {
        assert!(memory().unwrap() > 64 << 20);
        assert!(threads().unwrap() > 100);
    }

    #[test]
    fn what_is_large_enough_or_unknown_is_left_alone() {
        assert!(!raise("kernel.threads-max", 1).unwrap());
        assert!(!raise("kernel.no-such-setting", 1).unwrap());
    }
}
