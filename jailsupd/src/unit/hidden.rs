//! Paths of the jail that are hidden: the kernel's that tell of the host, and those that a unit names.

use std::fmt;

use super::path::JailPath;
use super::value::{Fault, FromText, Kind, shown};

/// Files and directories of /proc that tell of the host or reach into it: the masks of the OCI runtimes'
/// default, and what newer kernels added. Of /sys nothing is there but what services need.
pub const OF_PROC: [&str; 10] = [
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
];

/// A path that is hidden in every jail, unless its unit may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden(JailPath);

impl Hidden {
    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Below /sys, without a leading slash; empty for all of it.
    pub fn of_sys(&self) -> Option<&str> {
        let rest = self.as_str().strip_prefix("/sys")?;
        Some(rest.strip_prefix('/').unwrap_or(rest))
    }

    /// Whether the other is this one, or below it.
    pub fn holds(&self, other: &Self) -> bool {
        let below = other.as_str().strip_prefix(self.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for Hidden {
    const KIND: Kind = Kind::text("path of /proc or /sys that is hidden", "^/(proc|sys)(/|$)");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let path = JailPath::new(text)?;
        let in_sys = path.as_str() == "/sys" || path.as_str().starts_with("/sys/");
        if !in_sys && !OF_PROC.contains(&path.as_str()) {
            return Err(Fault::new(format!("nothing hides {}", shown(text)))
                .help(format!("what is hidden is {}, and /sys", OF_PROC.join(", "))));
        }
        Ok(Self(path))
    }
}

/// A path of the jail that is to be hidden, or read-only. Its image, volumes or kernel files may have it, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered(JailPath);

impl Covered {
    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for Covered {
    const KIND: Kind = Kind::text("absolute path in the jail, not /", "^/.");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let path = JailPath::new(text)?;
        if path.as_str() == "/" {
            return Err(Fault::new("that is the whole jail").help(
                "name a path in it; for a root that cannot be written, `root.mode = \"read-only\"`",
            ));
        }
        let first = path.as_str().strip_prefix("/proc/").and_then(|rest| rest.split('/').next());
        let of_process =
            |name: &str| name.ends_with("self") || name.chars().all(|c| c.is_ascii_digit());
        if first.is_some_and(of_process) {
            return Err(Fault::new(format!("{} is a process's", shown(text)))
                .help("processes come and go: name a file of all of them, such as /proc/cpuinfo"));
        }
        Ok(Self(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_hidden_can_be_shown() {
        for good in ["/proc/interrupts", "/sys", "/sys/dev/char"] {
            assert_eq!(Hidden::from_text(good).map(|path| path.to_string()), Ok(good.into()));
        }
        for wrong in ["/proc/cpuinfo", "/system", "/proc", "/", "sys", "/sys/../proc"] {
            assert!(Hidden::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_holds_what_is_below_it() {
        let path = |text| Hidden::from_text(text).unwrap();
        assert!(path("/sys").holds(&path("/sys/dev/char")));
        assert!(path("/sys/dev").holds(&path("/sys/dev")));
        assert!(!path("/sys/dev").holds(&path("/sys/devices")));
        assert!(!path("/sys/dev/char").holds(&path("/sys/dev")));
    }

    #[test]
    fn neither_the_whole_jail_nor_a_process_is_covered() {
        for good in ["/proc/cpuinfo", "/srv/x", "/proc", "/sys", "/proc/net"] {
            assert!(Covered::from_text(good).is_ok(), "{good}");
        }
        for wrong in ["/", "/proc/1/root", "/proc/self", "/proc/thread-self/fd", "x"] {
            assert!(Covered::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
