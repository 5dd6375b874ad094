//! `[user]` as types: which ids of the host a jail's users and groups are.

use std::fmt;

use super::value::{Fault, FromText, FromToml, Kind, Value, shown};

/// `[user]`: the jail's ids on the host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct User {
    /// How many ids the jail has, from 0 on.
    pub size: IdCount,
    /// Users of the jail that are certain users of the host; none overlaps another.
    pub uid_map: Vec<Mapping>,
    /// The same of groups.
    pub gid_map: Vec<Mapping>,
}

/// How many ids a jail has: 1 to 16 ranges of 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdCount(u32);

impl IdCount {
    /// Ids in one range.
    pub const RANGE: u32 = 65_536;
    const MOST_RANGES: u32 = 16;

    /// The number of ids.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number of ranges that they are in.
    pub const fn ranges(self) -> u32 {
        self.0 / Self::RANGE
    }
}

impl Default for IdCount {
    fn default() -> Self {
        Self(Self::RANGE)
    }
}

impl FromToml for IdCount {
    const KIND: Kind =
        Kind::Integer { min: Self::RANGE as u64, max: (Self::RANGE * Self::MOST_RANGES) as u64 };

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let integer =
            value.get_ref().as_integer().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        let number: Option<u32> = super::value::number(integer);
        let number = number.filter(|n| {
            n % Self::RANGE == 0 && (1..=Self::MOST_RANGES).contains(&(n / Self::RANGE))
        });
        number.map(Self).ok_or_else(|| {
            Fault::new(format!("{integer} is not a number of ids that a jail can have"))
                .help("give a multiple of 65536, up to 1048576")
                .alone()
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// `JAIL:HOST:COUNT`, as Quadlet's `UIDMap`: ids of the jail that are ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// The first of them in the jail; never 0, which is the jail's root.
    pub jail: u32,
    /// The first of them on the host; never root, nor one that Warder gives to jails.
    pub host: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl Mapping {
    /// Ids of the host that Warder gives to jails: from there on, up to there.
    pub const OF_JAILS: (u32, u32) = (524_288, 0x7000_0000);

    /// Whether the two share an id of the jail, or one of the host.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: u32, b: u32| a < b + other.count && b < a + self.count;
        meet(self.jail, other.jail) || meet(self.host, other.host)
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.jail, self.host, self.count)
    }
}

impl FromText for Mapping {
    const KIND: Kind = Kind::text("ids of jail and host", "^[0-9]+:[0-9]+(:[0-9]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "write the first id in the jail, the first on the host and how many, such as \"1000:1000:1\"";
        let fault = || Fault::new(format!("{} is not a map of ids", shown(text))).help(help);
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits).ok_or_else(fault)
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (jail, host, count) = match parts[..] {
            [jail, host] => (number(jail)?, number(host)?, 1),
            [jail, host, count] => (number(jail)?, number(host)?, number(count)?),
            _ => return Err(fault()),
        };
        if jail == 0 || host == 0 || count == 0 {
            return Err(Fault::new(format!("{} holds a 0", shown(text))).help(
                "root stays the jail's own, and is never the host's; at least one id is mapped",
            ));
        }
        let ends = jail.checked_add(count).zip(host.checked_add(count));
        let Some((_, host_end)) = ends
            .filter(|(jail, host)| i32::try_from(*jail).is_ok() && i32::try_from(*host).is_ok())
        else {
            return Err(Fault::new(format!("{} goes beyond the highest id", shown(text))));
        };
        let (first, end) = Self::OF_JAILS;
        if host < end && first < host_end {
            return Err(Fault::new(format!(
                "{} takes ids that Warder gives to jails",
                shown(text)
            ))
            .help(format!("ids of the host are those up to {}", first - 1)));
        }
        Ok(Self { jail, host, count })
    }
}

/// Ids of the host that a policy opens to units: `"1000"` or `"1000-1999"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostIds {
    first: u32,
    last: u32,
}

impl HostIds {
    /// Whether all of the mapping's ids of the host are among these.
    pub fn holds(&self, mapping: &Mapping) -> bool {
        self.first <= mapping.host && mapping.host + (mapping.count - 1) <= self.last
    }
}

impl fmt::Display for HostIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromText for HostIds {
    const KIND: Kind = Kind::text("ids of the host", "^[0-9]+(-[0-9]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{} is not a range of ids", shown(text)))
                .help("write one id, or the first and the last one: \"1000-1999\"")
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits).ok_or_else(fault)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ids = Self { first: number(first)?, last: number(last)? };
        if ids.first == 0 || ids.first > ids.last { Err(fault()) } else { Ok(ids) }
    }
}
