//! What a contender uses, as the kernel counts it in the cgroups that it and its jails live in.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process,
};

/// Below it each contender has a cgroup of its own.
const BENCH: &str = "/sys/fs/cgroup/bench";

/// A set of cgroups, each with all that is below it.
pub(crate) struct Meter {
    cgroups: Vec<PathBuf>,
    /// `memory.peak`: since Linux 6.12 what is read from it is the peak since something was written to
    /// the same descriptor.
    peaks: Vec<File>,
    cpu: u64,
    memory: u64,
}

impl Meter {
    pub(crate) fn new(cgroups: Vec<PathBuf>) -> io::Result<Self> {
        let open = |cgroup: &PathBuf| {
            File::options().read(true).write(true).open(cgroup.join("memory.peak"))
        };
        let peaks = cgroups.iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self { cgroups, peaks, cpu: 0, memory: 0 })
    }

    /// What is used from here on counts.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        for peak in &mut self.peaks {
            peak.write_all(b"reset")?;
        }
        self.cpu = self.cpu_total()?;
        self.memory = 0;
        for cgroup in &self.cgroups {
            self.memory += number(&fs::read_to_string(cgroup.join("memory.current"))?);
        }
        Ok(())
    }

    /// CPU time since the beginning, in microseconds.
    pub(crate) fn cpu_us(&self) -> io::Result<u64> {
        Ok(self.cpu_total()?.saturating_sub(self.cpu))
    }

    /// The most memory above what was used at the beginning, in KiB.
    pub(crate) fn peak_kib(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for peak in &mut self.peaks {
            let mut text = String::new();
            peak.rewind()?;
            peak.read_to_string(&mut text)?;
            sum += number(&text);
        }
        Ok(sum.saturating_sub(self.memory) / 1024)
    }

    fn cpu_total(&self) -> io::Result<u64> {
        let mut sum = 0;
        for cgroup in &self.cgroups {
            let text = fs::read_to_string(cgroup.join("cpu.stat"))?;
            sum += text.lines().find_map(|line| line.strip_prefix("usage_usec ")).map_or(0, number);
        }
        Ok(sum)
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// Makes a contender's cgroup, with all controllers for what it makes below, and one in it for its own
/// processes. Both are kept.
pub(crate) fn make(name: &str) -> io::Result<PathBuf> {
    let cgroup = Path::new(BENCH).join(name);
    fs::create_dir_all(cgroup.join("own"))?;
    for parent in [Path::new(BENCH).to_owned(), cgroup.clone()] {
        for controller in fs::read_to_string(parent.join("cgroup.controllers"))?.split_whitespace()
        {
            // One that it cannot have is missing for all.
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(cgroup)
}

/// Moves this process into a contender's own cgroup, so that what it starts is born there.
pub(crate) fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("own/cgroup.procs"), process::id().to_string())
}
