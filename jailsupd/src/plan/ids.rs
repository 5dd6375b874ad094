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
        let mut taken = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let range = line.split_once(' ').and_then(|(name, base)| {
                let range = IdRange::at(base.parse().ok()?)?;
                let is_new = taken.insert(range) && !ids.ranges.contains_key(name);
                is_new.then_some((name, range))
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

    /// The names that the ranges of `name` stand under when it has `count`: no jail's name holds a `#`.
    pub fn names(name: &str, count: u32) -> impl Iterator<Item = String> {
        let more = (1..count).map(move |number| format!("{name}#{number}"));
        std::iter::once(name.to_owned()).chain(more)
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

    /// Takes the ranges of all jails back that are not `kept`. Says whether there was any.
    pub fn release(&mut self, kept: impl Fn(&str) -> bool) -> bool {
        let before = self.ranges.len();
        self.ranges.retain(|name, _| kept(name.split('#').next().unwrap_or(name)));
        self.ranges.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        /// Names come and go in any order, and the table goes through its file each time.
        #[test]
        fn ranges_are_never_shared_and_stay_with_their_names(
            steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0u8..40, 0..12)), 1..40)
        ) {
            let mut ids = Ids::default();
            for (give, names) in steps {
                let names: Vec<String> = names.iter().map(|n| format!("j{n}")).collect();
                let before = ids.clone();
                if give {
                    ids.allocate(names.iter().map(String::as_str));
                } else {
                    ids.release(|name| !names.iter().any(|gone| gone == name));
                }
                ids = Ids::parse(&ids.to_text()).unwrap();
                let bases: BTreeSet<u32> = ids.ranges.values().map(|range| range.base()).collect();
                prop_assert_eq!(bases.len(), ids.ranges.len());
                for name in &names {
                    prop_assert_eq!(ids.get(name).is_some(), give);
                }
                for (name, range) in &before.ranges {
                    prop_assert!(ids.get(name).is_none_or(|now| now == *range));
                }
            }
        }
    }

    #[test]
    fn all_ranges_can_be_given_and_then_no_more() {
        let mut ids = Ids::default();
        let names: Vec<String> = (0..30_000).map(|n| format!("j{n}")).collect();
        ids.allocate(names.iter().map(String::as_str));
        assert_eq!(ids.ranges.len(), 28_664);
        assert_eq!(Ids::parse(&ids.to_text()).unwrap(), ids);
        assert!(ids.release(|name| name != "j7"));
        ids.allocate(["late"]);
        assert_eq!(ids.get("late").unwrap(), IdRange::at(FIRST + 7 * LENGTH).unwrap());
    }

    #[test]
    fn a_damaged_table_is_refused() {
        for text in ["web", "web x", "web 5", "a 524288\nb 524288", "a 524288\na 589824"] {
            assert!(Ids::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_map_is_one_line_for_the_kernel() {
        assert_eq!(IdRange::at(524_288).unwrap().map(), "0 524288 65536\n");
    }
}
