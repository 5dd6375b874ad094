//! A jail's ids on the host, as the kernel gets them: the extents of uid_map and gid_map
//! (user_namespaces(7)).

use super::IdRange;
use super::ids::LENGTH;
use crate::unit::user::{Mapping, User};
use std::fmt::Write as _;

/// So many ids of the jail, from `jail` on, are those of the host from `host` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    jail: u32,
    host: u32,
    count: u32,
}

/// Both maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    users: Vec<Extent>,
    groups: Vec<Extent>,
}

impl IdMap {
    /// The map of a jail that has these ranges, the first one from id 0 on, with what its unit maps to ids of
    /// the host in their places.
    #[must_use]
    pub fn new(ranges: &[IdRange], user: &User) -> Self {
        let first = (0u32..).step_by(LENGTH as usize);
        let own: Vec<Extent> = first
            .zip(ranges)
            .map(|(jail, range)| Extent { jail, host: range.base(), count: LENGTH })
            .collect();
        Self { users: replace(&own, &user.uid_map), groups: replace(&own, &user.gid_map) }
    }

    /// The host's id of a user of the jail; none when the jail does not have it.
    #[must_use]
    pub fn host_user(&self, id: u32) -> Option<u32> {
        find(&self.users, id)
    }

    /// The same of a group.
    #[must_use]
    pub fn host_group(&self, id: u32) -> Option<u32> {
        find(&self.groups, id)
    }

    /// The jail's id of a user of the host; none when it is not the jail's.
    #[must_use]
    pub fn jail_user(&self, id: u32) -> Option<u32> {
        find_back(&self.users, id)
    }

    /// The same of a group.
    #[must_use]
    pub fn jail_group(&self, id: u32) -> Option<u32> {
        find_back(&self.groups, id)
    }

    /// The text for uid_map.
    #[must_use]
    pub fn users(&self) -> String {
        text(&self.users)
    }

    /// The text for gid_map.
    #[must_use]
    pub fn groups(&self) -> String {
        text(&self.groups)
    }
}

/// In one line, for people: `0=524288+65536`.
impl std::fmt::Display for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |extents: &[Extent]| {
            let extents: Vec<String> =
                extents.iter().map(|e| format!("{}={}+{}", e.jail, e.host, e.count)).collect();
            extents.join(" ")
        };
        f.write_str(&show(&self.users))?;
        if self.groups == self.users {
            Ok(())
        } else {
            write!(f, ", groups {}", show(&self.groups))
        }
    }
}

fn find_back(extents: &[Extent], id: u32) -> Option<u32> {
    extents.iter().find_map(|extent| {
        let offset = id.checked_sub(extent.host).filter(|offset| *offset < extent.count)?;
        extent.jail.checked_add(offset)
    })
}

fn find(extents: &[Extent], id: u32) -> Option<u32> {
    extents.iter().find_map(|extent| {
        let offset = id.checked_sub(extent.jail).filter(|offset| *offset < extent.count)?;
        Some(extent.host + offset)
    })
}

fn text(extents: &[Extent]) -> String {
    extents.iter().fold(String::new(), |mut text, extent| {
        let _ = writeln!(text, "{} {} {}", extent.jail, extent.host, extent.count);
        text
    })
}

/// Cuts `mappings`, which do not overlap, out of `own` and puts them there.
fn replace(own: &[Extent], mappings: &[Mapping]) -> Vec<Extent> {
    let mut mappings = mappings.to_vec();
    mappings.sort_unstable();
    let mut extents = Vec::new();
    for extent in own {
        let end = extent.jail + extent.count;
        let mut at = extent.jail;
        for mapping in &mappings {
            let (from, to) = (mapping.jail.max(at), (mapping.jail + mapping.count).min(end));
            if from >= to {
                continue;
            }
            push(&mut extents, extent, at, from);
            at = to;
        }
        push(&mut extents, extent, at, end);
    }
    extents.extend(mappings.iter().map(|m| Extent { jail: m.jail, host: m.host, count: m.count }));
    extents.sort_unstable_by_key(|extent| extent.jail);
    extents
}

/// The part of `extent` from one id of the jail up to another.
fn push(extents: &mut Vec<Extent>, extent: &Extent, from: u32, to: u32) {
    if from < to {
        let host = extent.host + (from - extent.jail);
        extents.push(Extent { jail: from, host, count: to - from });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(number: u32) -> IdRange {
        IdRange::at(524_288 + number * LENGTH).unwrap()
    }

    #[test]
    fn one_range_is_one_line() {
        let map = IdMap::new(&[range(0)], &User::default());
        assert_eq!(map.users(), "0 524288 65536\n");
        assert_eq!(map.groups(), map.users());
        assert_eq!(map.to_string(), "0=524288+65536");
    }

    #[test]
    fn ids_of_the_host_take_the_place_of_the_jails_own() {
        let mapping = |jail, host, count| Mapping { jail, host, count };
        let uid_map = vec![mapping(65_530, 2000, 10), mapping(1000, 1000, 1)];
        let user = User { uid_map, ..User::default() };
        let map = IdMap::new(&[range(0), range(5)], &user);
        assert_eq!(
            map.users(),
            "0 524288 1000\n1000 1000 1\n1001 525289 64529\n65530 2000 10\n65540 851972 65532\n"
        );
        assert_eq!(map.groups(), "0 524288 65536\n65536 851968 65536\n");
        assert_eq!((map.host_user(1000), map.host_group(1000)), (Some(1000), Some(525_288)));
        assert_eq!(map.host_user(131_072), None);
    }

    proptest! {
        #[test]
        fn each_id_is_on_the_host_once(
            starts in prop::collection::vec((1u32..140_000, 1u32..300_000, 1u32..3000), 0..6),
            ids in prop::collection::vec((0u32..131_072, 0u32..131_072), 50)
        ) {
            let mut uid_map: Vec<Mapping> = Vec::new();
            for (jail, host, count) in starts {
                let new = Mapping { jail: jail.min(131_072 - count), host, count };
                if uid_map.iter().all(|other| !other.overlaps(&new)) {
                    uid_map.push(new);
                }
            }
            let map = IdMap::new(&[range(3), range(1)], &User { uid_map, ..User::default() });
            for (one, other) in ids {
                let (here, there) = (map.host_user(one), map.host_user(other));
                prop_assert!(here.is_some() && there.is_some());
                prop_assert_eq!(here == there, one == other);
            }
        }
    }
}
