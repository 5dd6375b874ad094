//! What of sysfs a jail sees: little. It tells of the host's disks, buses, firmware and drivers, which are
//! no business of a service, and the little that services read is known.

use super::c_string;
use crate::unit::Hidden;
use std::ffi::CString;

/// One part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOfSys {
    /// Where it is, below /sys.
    pub path: CString,
    /// Directories that lead there and are no part of an earlier one, the outermost first.
    pub parents: Vec<CString>,
    /// It is only a place, on which something else is mounted.
    pub is_place: bool,
}

/// What services, their runtimes and the C library look at: their links, how many processors and memory nodes
/// there are and what they are like, and the sizes of huge pages.
const PARTS: [&str; 6] = [
    "class/net",
    "devices/system/cpu",
    "devices/system/node",
    "devices/virtual/net",
    "kernel/mm/hugepages",
    "kernel/mm/transparent_hugepage",
];

/// The jail's cgroup.
const CGROUP: &str = "fs/cgroup";

/// Those that every jail sees, and those that a unit shows; none when that is all of it.
pub(super) fn parts(shown: &[Hidden]) -> Option<Vec<PartOfSys>> {
    let shown: Vec<&str> = shown.iter().filter_map(Hidden::of_sys).collect();
    if shown.contains(&"") {
        return None;
    }
    let mut all: Vec<&str> = PARTS.into_iter().chain(shown).chain([CGROUP]).collect();
    all.sort_unstable();
    all.dedup();
    let (mut parts, mut made): (Vec<PartOfSys>, Vec<&str>) = (Vec::new(), Vec::new());
    for path in all.iter().filter(|path| !all.iter().any(|other| is_below(path, other))) {
        let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
        let new: Vec<&str> = ends.filter(|parent| !made.contains(parent)).collect();
        let parents = new.iter().map(|parent| c_string(parent)).collect();
        made.extend(new);
        parts.push(PartOfSys { path: c_string(path), parents, is_place: *path == CGROUP });
    }
    Some(parts)
}

fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::value::FromText as _;

    fn paths(shown: &[&str]) -> Option<Vec<String>> {
        let shown: Vec<Hidden> =
            shown.iter().map(|path| Hidden::from_text(path).unwrap()).collect();
        let text = |part: PartOfSys| part.path.into_string().unwrap();
        parts(&shown).map(|parts| parts.into_iter().map(text).collect())
    }

    #[test]
    fn all_of_it_is_narrowed_to_nothing_else() {
        assert_eq!(paths(&["/proc/keys", "/sys"]), None);
    }

    #[test]
    fn a_part_of_a_part_is_no_part_of_its_own() {
        let shown = paths(&["/sys/devices", "/sys/devices/pci0000:00", "/sys/fs"]).unwrap();
        assert_eq!(
            shown,
            ["class/net", "devices", "fs", "kernel/mm/hugepages", "kernel/mm/transparent_hugepage"]
        );
    }

    #[test]
    fn each_directory_is_made_once_and_before_what_is_in_it() {
        let mut there = vec![String::new()];
        for part in parts(&[]).unwrap() {
            for directory in part.parents.iter().chain([&part.path]) {
                let directory = directory.to_str().unwrap().to_owned();
                let parent = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
                assert!(there.iter().any(|other| other == parent), "{directory}");
                assert!(!there.contains(&directory), "{directory}");
                there.push(directory);
            }
        }
    }
}
