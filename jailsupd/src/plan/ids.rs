//! Ranges of user and group ids: 65536 for each jail, no two alike, kept for a name once given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// Ids in a range.
pub const LENGTH: u32 = 65536;
/// The first range: above what Debian gives to people, services, `subuid` and systemd (524288 up to
/// 1879048191 is its container range, of which no other program takes any on a Warder host).
const FIRST: u32 = 524_288;
/// One past the last usable id; the highest values are special to the kernel.
const END: u32 = 0x7000_0000;

/// A jail's ids on the host: inside it they count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    base: u32,
}

impl IdRange {
    /// The range that starts at `base`; `None` when it is not one that [`Ids`] gives.
    #[must_use]
    pub fn at(base: u32) -> Option<Self> {
        let aligned = (FIRST..END).contains(&base) && (base - FIRST) % LENGTH == 0;
        aligned.then_some(Self { base })
    }

    /// The host's id of the jail's root.
    #[must_use]
    pub fn base(self) -> u32 {
        self.base
    }

    /// The host's id of `id` in the jail.
    #[must_use]
    pub fn host_id(self, id: u32) -> u32 {
        self.base + id.min(LENGTH - 1)
    }

    /// The line for uid_map and gid_map (user_namespaces(7)).
    #[must_use]
    pub fn map(self) -> String {
        format!("0 {} {LENGTH}\n", self.base)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{LENGTH}", self.base)
    }
}

/// Which name has which range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    ranges: BTreeMap<String, IdRange>,
}

/// A line of the stored table that is not `NAME BASE`, or a range given twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not `NAME BASE` with a range of its own: {text:?}")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Ids {
    /// Reads what [`Ids::to_text`] wrote.
    ///
    /// # Errors
    /// For the first line that is wrong. Guessing would give one jail another's files.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut ids = Self::default();
        for (index, line) in text.lines().enumerate() {
            let range = line.split_once(' ').and_then(|(name, base)| {
                let range = IdRange::at(base.parse().ok()?)?;
                (!ids.ranges.values().any(|taken| *taken == range)).then_some((name, range))
            });
            let Some((name, range)) = range else {
                return Err(Malformed { line: index + 1, text: line.to_owned() });
            };
            ids.ranges.insert(name.to_owned(), range);
        }
        Ok(ids)
    }

    /// One line `NAME BASE` for each.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.ranges.iter().fold(String::new(), |mut text, (name, range)| {
            let _ = writeln!(text, "{name} {}", range.base);
            text
        })
    }

    /// The range of `name`, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<IdRange> {
        self.ranges.get(name).copied()
    }

    /// Gives each of `names` that has none the lowest free range; when all 28,664 are taken, the rest get
    /// none. Says whether any was given.
    pub fn allocate<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let taken: BTreeSet<u32> = self.ranges.values().map(|range| range.base).collect();
        let free = (FIRST..END).step_by(LENGTH as usize).filter(|base| !taken.contains(base));
        let mut free = free.filter_map(IdRange::at);
        let before = self.ranges.len();
        for name in names {
            if self.ranges.contains_key(name) {
                continue;
            }
            let Some(range) = free.next() else { break };
            self.ranges.insert(name.to_owned(), range);
        }
        self.ranges.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_jails_get_ten_thousand_ranges() {
        let mut ids = Ids::default();
        let names: Vec<String> = (0..10_000).map(|n| format!("j{n}")).collect();
        assert!(ids.allocate(names.iter().map(String::as_str)));
        let bases: BTreeSet<u32> = names.iter().map(|name| ids.get(name).unwrap().base()).collect();
        assert_eq!(bases.len(), 10_000);
        assert!(bases.last().unwrap().checked_add(LENGTH).is_some());
    }

    #[test]
    fn a_name_keeps_its_range_through_the_file() {
        let mut ids = Ids::default();
        ids.allocate(["web", "db"]);
        let mut read = Ids::parse(&ids.to_text()).unwrap();
        assert_eq!(read, ids);
        assert!(!read.allocate(["db", "web"]), "nothing new was given");
        assert_eq!(read, ids);
    }

    #[test]
    fn the_lowest_gap_is_used() {
        let mut ids = Ids::parse("a 524288\nc 655360\n").unwrap();
        ids.allocate(["b", "d"]);
        assert_eq!(ids.get("b").unwrap().base(), 589_824);
        assert_eq!(ids.get("d").unwrap().base(), 720_896);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        for text in ["web", "web x", "web 5", "a 524288\nb 524288"] {
            assert!(Ids::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_map_is_one_line_for_the_kernel() {
        assert_eq!(IdRange::at(524_288).unwrap().map(), "0 524288 65536\n");
    }
}
