//! Amounts: bytes, processor time, durations. Each is written with its unit.

use std::fmt;
use std::time::Duration;

use super::value::{Fault, FromText, FromToml, Kind, Value, plain, quoted, shown};

/// A size in bytes, written with a unit of powers of 1024: `"512K"`, `"256M"`, `"2G"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u64);

/// Largest first, so that display finds the shortest spelling.
const SIZE_UNITS: [(&str, u64); 5] =
    [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("B", 1)];

impl Bytes {
    /// That many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |scale: &u64| self.0 != 0 && self.0 % scale == 0;
        match SIZE_UNITS.iter().find(|(_, scale)| fits(scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromToml for Bytes {
    const KIND: Kind = Kind::text("size", "^[0-9]+([KMGT](iB)?|B)$");

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        if let Some(integer) = value.get_ref().as_integer() {
            let shown = plain(&integer.to_string());
            return Err(no_unit(&shown).alone());
        }
        let text = value.get_ref().as_str().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        Self::parse(text).map_err(Fault::alone)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

fn no_unit(number: &str) -> Fault {
    if number.starts_with('-') {
        return Fault::new(format!("the size {number} is negative"))
            .help("leave the key out for no limit");
    }
    let meant = match number.parse::<u64>() {
        Ok(bytes) if bytes >= 1 << 20 => format!("write \"{}\"", Bytes(bytes)),
        _ => format!("write \"{number}M\" for MiB"),
    };
    Fault::new(format!("the size {number} has no unit"))
        .help(format!("{meant}; the units are B, K, M, G and T, each 1024 times the one before"))
}

impl Bytes {
    /// Reads a size with its unit.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (digits, unit) = split_number(text);
        if digits.is_empty() {
            return Err(Fault::new(format!("{} is not a size", shown(text)))
                .help("write a whole number and a unit, such as \"512K\", \"256M\" or \"2G\""));
        }
        if unit.is_empty() {
            return Err(no_unit(digits));
        }
        if unit.starts_with(['.', ',']) {
            return Err(Fault::new(format!("{} is not a whole number", shown(text)))
                .help("use a smaller unit, such as \"1536M\" for one and a half GiB"));
        }
        let short = unit.strip_suffix("iB").filter(|u| "KMGT".contains(*u)).unwrap_or(unit);
        let Some((_, scale)) = SIZE_UNITS.iter().find(|(known, _)| *known == short) else {
            let fault = Fault::new(format!("`{}` is not a unit of size", plain(unit)));
            return Err(fault.help("the units are B, K, M, G and T (or KiB, MiB, GiB, TiB), each 1024 times the one before"));
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*scale))
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or_else(|| {
                Fault::new(format!("the size {} is too large", plain(text)))
                    .help("leave the key out for no limit")
            })
    }
}

/// Processor time per time, 100 % being one processor all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuQuota(u32);

impl CpuQuota {
    /// The period of `cpu.max`, in microseconds.
    pub const PERIOD_US: u64 = 100_000;
    const MAX_PERCENT: u32 = 1_000_000;

    /// In percent of one processor.
    pub const fn percent(self) -> u32 {
        self.0
    }

    /// The quota of `cpu.max` for one [`Self::PERIOD_US`], in microseconds.
    pub fn quota_us(self) -> u64 {
        u64::from(self.0) * (Self::PERIOD_US / 100)
    }
}

impl fmt::Display for CpuQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromText for CpuQuota {
    const KIND: Kind = Kind::Percent;

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "100% is one processor all the time, \"150%\" one and a half; leave the key out for no limit";
        let Some(number) = text.strip_suffix('%') else {
            return Err(
                Fault::new(format!("{} is not a share of processor time", shown(text))).help(help)
            );
        };
        match number.parse::<u32>() {
            Ok(percent @ 1..=Self::MAX_PERCENT) if !number.starts_with('+') => Ok(Self(percent)),
            _ => Err(Fault::new(format!(
                "{} is not a whole number of percent from 1 to {}",
                shown(text),
                Self::MAX_PERCENT
            ))
            .help(help)),
        }
    }
}

/// Largest first; a duration is a sum of these.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The longest duration a unit can ask for: longer is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A time span, written with a unit: `"100ms"`, `"10s"`, `"1h30m"`.
impl FromToml for Duration {
    const KIND: Kind = Kind::text("duration", "^([0-9]+(us|ms|s|m|h|d))+$");

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        if let Some(integer) = value.get_ref().as_integer() {
            return Err(no_time_unit(&integer.to_string()).alone());
        }
        let text = value.get_ref().as_str().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        duration(text).map_err(Fault::alone)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&show_duration(*self)))
    }
}

fn no_time_unit(number: &str) -> Fault {
    if number.starts_with('-') {
        return Fault::new(format!("the duration {} is negative", plain(number)));
    }
    Fault::new(format!("the duration {} has no unit", plain(number))).help(format!(
        "write \"{}s\" for seconds; the units are us, ms, s, m, h and d",
        plain(number)
    ))
}

fn duration(text: &str) -> Result<Duration, Fault> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(Fault::new("the duration is empty")
            .help("write for example \"100ms\", \"10s\" or \"1h30m\""));
    }
    if text.contains(char::is_whitespace) {
        return Err(Fault::new(format!("the duration {} holds a blank", shown(text)))
            .help("write it without, such as \"10s\" or \"1h30m\""));
    }
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        if digits.is_empty() {
            return Err(Fault::new(format!("{} is not a duration", shown(text)))
                .help("write for example \"100ms\", \"10s\" or \"1h30m\""));
        }
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        if unit.is_empty() && next.is_empty() {
            return Err(no_time_unit(digits));
        }
        let Some((_, scale)) = TIME_UNITS.iter().find(|(known, _)| *known == unit) else {
            let shown = if unit.is_empty() { next } else { unit };
            return Err(Fault::new(format!("`{}` is not a unit of time", plain(shown))).help(
                "the units are us, ms, s, m (minutes), h and d, with whole numbers, such as \"1h30m\"",
            ));
        };
        let part = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*scale));
        total = match part.and_then(|us| total.checked_add(Duration::from_micros(us))) {
            Some(sum) if sum <= LONGEST => sum,
            _ => {
                return Err(Fault::new(format!("the duration {} is too long", plain(text)))
                    .help("at most 365 days"));
            }
        };
        rest = next;
    }
    Ok(total)
}

/// The canonical spelling, which is also the shortest.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, scale) in TIME_UNITS {
        let count = left / scale;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
            left -= count * scale;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// The digits in front, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}
