//! `[resources]` as types: what the kernel keeps a jail to. What each key means to a user is told
//! once, in `keys`.

use std::fmt;
use std::time::Duration;

use super::amount::{Bytes, CpuQuota};
use super::path::HostPath;
use super::section::Reaction;
use super::ulimit::Ulimit;
use super::value::{Fault, FromText, FromToml, Kind, Value, Whole, shown};

/// `[resources]`: limits of the jail's cgroup and of its processes; none means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// `memory.min`, bytes.
    pub memory_min: Option<Bytes>,
    /// `memory.low`, bytes.
    pub memory_low: Option<Bytes>,
    /// `memory.high`, bytes; not above `memory_max`.
    pub memory_high: Option<Bytes>,
    /// `memory.max`, bytes.
    pub memory_max: Option<Bytes>,
    /// `memory.swap.max`, bytes.
    pub memory_swap_max: Option<Bytes>,
    /// `memory.oom.group`: out of memory kills the whole jail, not one process.
    pub oom_group: bool,
    /// What follows when the kernel kills some of it for want of memory.
    pub oom_action: Reaction,
    /// `/proc/PID/oom_score_adj` of all its processes.
    pub oom_score_adjust: OomScore,
    /// `cpu.max`.
    pub cpu_max: Option<CpuQuota>,
    /// `cpu.weight`; the kernel's own default is 100.
    pub cpu_weight: Option<CpuWeight>,
    /// `cpuset.cpus`.
    pub allowed_cpus: Option<Numbers>,
    /// `cpuset.mems`.
    pub allowed_memory_nodes: Option<Numbers>,
    /// `io.weight`; the kernel's own default is 100.
    pub io_weight: Option<IoWeight>,
    /// `rbps` of `io.max`, bytes per second.
    pub io_read_bandwidth_max: Vec<DeviceBandwidth>,
    /// `wbps` of `io.max`, bytes per second.
    pub io_write_bandwidth_max: Vec<DeviceBandwidth>,
    /// `riops` of `io.max`, operations per second.
    pub io_read_iops_max: Vec<DeviceIops>,
    /// `wiops` of `io.max`, operations per second.
    pub io_write_iops_max: Vec<DeviceIops>,
    /// Waiting for memory, of 2 s, that is told as an event.
    pub memory_pressure_threshold: Option<Duration>,
    /// The same of the processors.
    pub cpu_pressure_threshold: Option<Duration>,
    /// The same of disks.
    pub io_pressure_threshold: Option<Duration>,
    /// What follows when one of these thresholds is passed.
    pub pressure_action: Reaction,
    /// `pids.max`, processes and threads.
    pub pids_max: PidsMax,
    /// `hugetlb.SIZE.max`.
    pub hugetlb_max: Vec<Hugetlb>,
    /// What setrlimit(2) keeps each process to, beside Warder's defaults.
    pub ulimit: Vec<Ulimit>,
}

/// `cpu.weight`, 1 to 10000.
pub type CpuWeight = Whole<1, 10_000>;
/// `io.weight`, 1 to 10000.
pub type IoWeight = Whole<1, 10_000>;
/// `pids.max`, 1 to the kernel's largest pid.
pub type PidsMax = Whole<1, 4_194_304>;

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory_min: None,
            memory_low: None,
            memory_high: None,
            memory_max: None,
            memory_swap_max: None,
            oom_group: true,
            oom_action: Reaction::None,
            oom_score_adjust: OomScore::default(),
            cpu_max: None,
            cpu_weight: None,
            allowed_cpus: None,
            allowed_memory_nodes: None,
            io_weight: None,
            io_read_bandwidth_max: Vec::new(),
            io_write_bandwidth_max: Vec::new(),
            io_read_iops_max: Vec::new(),
            io_write_iops_max: Vec::new(),
            memory_pressure_threshold: None,
            cpu_pressure_threshold: None,
            io_pressure_threshold: None,
            pressure_action: Reaction::None,
            pids_max: PidsMax::DEFAULT,
            hugetlb_max: Vec::new(),
            ulimit: Vec::new(),
        }
    }
}

impl PidsMax {
    /// Enough for any service that was not made to fork without end.
    pub const DEFAULT: Self = Self::clamped(1024);
}

/// `oom_score_adj` of proc(5): -999 to 1000. -1000 would make the jail one that even its own limit
/// cannot end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomScore(i16);

impl OomScore {
    const MIN: i64 = -999;
    const MAX: i64 = 1000;

    /// The number.
    pub const fn get(self) -> i16 {
        self.0
    }
}

impl FromToml for OomScore {
    const KIND: Kind = Kind::Signed { min: Self::MIN, max: Self::MAX };

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let integer =
            value.get_ref().as_integer().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (Self::MIN..=Self::MAX).contains(number));
        number.and_then(|number| i16::try_from(number).ok()).map(Self).ok_or_else(|| {
            let what = Self::KIND.noun();
            Fault::new(format!("{integer} is out of range")).help(format!("give {what}")).alone()
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// Numbers of processors or memory nodes: `"0-3,8"`, as cpuset(7)'s list format, in order and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<(u16, u16)>);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromText for Numbers {
    const KIND: Kind = Kind::text("numbers and ranges", "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{} is not a list of numbers", shown(text))).help(
                "write numbers from 0 to 8191 and ranges, such as \"0\", \"0-3\" or \"0-3,8\"",
            )
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|n| digits && *n < 8192).ok_or_else(fault)
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (number(first)?, number(last)?);
            if range.0 > range.1 {
                return Err(Fault::new(format!("the range {} runs backwards", shown(part)))
                    .help(format!("write \"{}-{}\"", range.1, range.0)));
            }
            ranges.push(range);
        }
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Ok(Self(joined))
    }
}

/// A disk of the host whose use is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IoDevice {
    /// The one that holds the data partition.
    Data,
    /// A block device by its path; a partition stands for its disk.
    Path(String),
}

impl fmt::Display for IoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Path(path) => path,
        })
    }
}

/// `DEVICE AMOUNT`: the most bytes per second of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceBandwidth {
    /// The disk.
    pub device: IoDevice,
    /// Per second, at least 1.
    pub bytes: Bytes,
}

/// `DEVICE NUMBER`: the most operations per second of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIops {
    /// The disk.
    pub device: IoDevice,
    /// Per second, at least 1.
    pub operations: u32,
}

/// The device in front of an amount, and the amount's text.
fn split_device(text: &str, help: &'static str) -> Result<(IoDevice, String), Fault> {
    let fault = || Fault::new(format!("{} is not a limit of a disk", shown(text))).help(help);
    let (device, amount) = text.trim().rsplit_once(' ').ok_or_else(fault)?;
    let device = device.trim_end();
    let device = match device {
        "data" => IoDevice::Data,
        _ if device.starts_with("/dev/") => {
            IoDevice::Path(HostPath::new(device)?.as_str().to_owned())
        }
        _ => {
            return Err(Fault::new(format!("{} is not a disk", shown(device)))
                .help("write `data` for the disk of the data partition, or a path below /dev"));
        }
    };
    Ok((device, amount.to_owned()))
}

impl fmt::Display for DeviceBandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.device, self.bytes)
    }
}

impl FromText for DeviceBandwidth {
    const KIND: Kind =
        Kind::text("a disk and bytes per second", "^ *(data|/dev/.+) +[0-9]+([KMGT](iB)?|B) *$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "write the disk, a blank, and the bytes per second, such as \"data 10M\"";
        let (device, amount) = split_device(text, help)?;
        let bytes = Bytes::parse(&amount)?;
        if bytes.get() == 0 {
            return Err(zero());
        }
        Ok(Self { device, bytes })
    }
}

impl fmt::Display for DeviceIops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.device, self.operations)
    }
}

impl FromText for DeviceIops {
    const KIND: Kind =
        Kind::text("a disk and operations per second", "^ *(data|/dev/.+) +[0-9]+ *$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "write the disk, a blank, and the operations per second, such as \"data 500\"";
        let (device, amount) = split_device(text, help)?;
        let digits = amount.bytes().all(|b| b.is_ascii_digit());
        match amount.parse::<u32>().ok().filter(|_| digits) {
            Some(0) => Err(zero()),
            Some(operations) => Ok(Self { device, operations }),
            None => Err(Fault::new(format!("{} is not a whole number", shown(&amount))).help(help)),
        }
    }
}

fn zero() -> Fault {
    Fault::new("a limit of 0 would stop the jail for ever").help("at least 1")
}

/// `PAGE SIZE`: the most huge pages of one size, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hugetlb {
    /// The pages.
    pub page: HugePage,
    /// Bytes of them, a multiple of the page.
    pub bytes: Bytes,
}

/// A size of huge pages that the kernel has on x86.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePage {
    /// 2 MiB.
    Two,
    /// 1 GiB.
    Giga,
}

impl HugePage {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Two, Self::Giga];

    const fn size(self) -> Bytes {
        Bytes::new(match self {
            Self::Two => 2 << 20,
            Self::Giga => 1 << 30,
        })
    }
}

impl fmt::Display for HugePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.size().fmt(f)
    }
}

impl fmt::Display for Hugetlb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.page, self.bytes)
    }
}

impl FromText for Hugetlb {
    const KIND: Kind =
        Kind::text("a page size and bytes", "^ *(2M|1G)(iB)? +[0-9]+([KMGT](iB)?|B) *$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "write the size of the pages, a blank, and the bytes of all, such as \"2M 64M\"";
        let fault =
            || Fault::new(format!("{} is not a limit of huge pages", shown(text))).help(help);
        let (page, bytes) = text.trim().split_once(' ').ok_or_else(fault)?;
        let page = match page {
            "2M" | "2MiB" => HugePage::Two,
            "1G" | "1GiB" => HugePage::Giga,
            _ => {
                return Err(Fault::new(format!("{} is not a size of huge pages", shown(page)))
                    .help("the sizes are 2M and 1G"));
            }
        };
        let bytes = Bytes::parse(bytes.trim())?;
        if bytes.get() % page.size().get() != 0 {
            return Err(Fault::new(format!("{bytes} is not a whole number of pages"))
                .help(format!("give a multiple of {}", page.size())));
        }
        Ok(Self { page, bytes })
    }
}
