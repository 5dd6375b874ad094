//! What still runs in the jail when its main process has ended, and ends with it: a program that goes to the
//! background by itself leaves the service there.

use jail_init::Left;
use std::{collections::BTreeMap, fs};

/// All processes that the service has made, but those that have ended and nobody has waited for.
pub(crate) fn look() -> Left {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let (Some(pid), Some(process)) = (pid, Process::read(&stat)) {
            all.insert(pid, process);
        }
    }
    left(&all, std::process::id())
}

/// Those that descend from this one. What was brought in from the host (a hook, a check, a program of `jailctl exec`) has
/// no parent here, and no service has left it.
fn left(all: &BTreeMap<u32, Process>, own: u32) -> Left {
    let mut left = Left::default();
    for (pid, process) in all {
        // Z and X have ended.
        if *pid == own || matches!(process.state, 'Z' | 'X') || is_from_outside(all, own, process) {
            continue;
        }
        left.count += 1;
        if left.name.is_empty() {
            left.name.clone_from(&process.name);
        }
    }
    left
}

/// A parent that is gone meanwhile was one that the service had made, as far as one can know.
fn is_from_outside(all: &BTreeMap<u32, Process>, own: u32, process: &Process) -> bool {
    let mut parent = process.parent;
    // Numbers may be used again while they are read: no circle is followed for ever.
    for _ in 0..all.len() {
        match all.get(&parent) {
            Some(process) if parent != own => parent = process.parent,
            _ => break,
        }
    }
    parent == 0
}

struct Process {
    name: String,
    state: char,
    /// 0 when it is not in the jail.
    parent: u32,
}

impl Process {
    /// Of a line of `/proc/PID/stat` (proc_pid_stat(5)). A name may have blanks and parentheses.
    fn read(stat: &[u8]) -> Option<Self> {
        let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let name = String::from_utf8_lossy(stat.get(begin..end)?).into_owned();
        let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        Some(Self { name, state, parent: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1;

    fn jail(processes: &[(u32, u32, char)]) -> BTreeMap<u32, Process> {
        let process = |(pid, parent, state): &(u32, u32, char)| {
            (*pid, Process { name: format!("p{pid}"), state: *state, parent: *parent })
        };
        processes.iter().map(process).collect()
    }

    #[test]
    fn names_with_parentheses_are_read_whole() {
        let process = Process::read(b"12 (a) b (c) S 1 12 12 0").unwrap();
        assert_eq!((process.name.as_str(), process.state, process.parent), ("a) b (c", 'S', 1));
        assert!(Process::read(b"12 (a)").is_none());
        assert!(Process::read(b"").is_none());
    }

    #[test]
    fn what_was_brought_in_was_not_left() {
        let all = jail(&[(OWN, 0, 'S'), (7, 0, 'S'), (8, 7, 'S'), (9, OWN, 'Z')]);
        assert_eq!(left(&all, OWN), Left::default());
        let all = jail(&[(OWN, 0, 'S'), (4, OWN, 'S'), (5, 4, 'R'), (6, 99, 'S'), (7, 0, 'S')]);
        assert_eq!(left(&all, OWN), Left { count: 3, name: "p4".into() });
    }
}
