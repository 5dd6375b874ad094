//! What still runs in the jail when its main process has ended, and ends with it: a program that goes to the
//! background by itself leaves the service there.

use jail_init::Left;
use std::fs;

/// All processes but this one, and but those that have ended and nobody has waited for.
pub(crate) fn look() -> Left {
    let mut left = Left::default();
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_none_or(|pid| pid == own) {
            continue;
        }
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        // Z and X have ended.
        let Some((name, state)) = name_and_state(&stat) else { continue };
        if matches!(state, 'Z' | 'X') {
            continue;
        }
        left.count += 1;
        if left.name.is_empty() {
            left.name = name;
        }
    }
    left
}

/// The name and the state's letter of a line of `/proc/PID/stat` (proc_pid_stat(5)). A name may have blanks and
/// parentheses.
fn name_and_state(stat: &[u8]) -> Option<(String, char)> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(begin..end)?;
    let state = stat.get(end + 2)?;
    Some((String::from_utf8_lossy(name).into_owned(), char::from(*state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_are_read_whole() {
        let stat = b"12 (a) b (c) S 1 12 12 0";
        assert_eq!(name_and_state(stat), Some(("a) b (c".to_owned(), 'S')));
        assert_eq!(name_and_state(b"12 (a)"), None);
        assert_eq!(name_and_state(b""), None);
    }
}
