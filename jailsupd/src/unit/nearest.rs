//! The known word nearest to a misspelt one.

/// The candidate with the fewest edits from `word`, when that few still look like a slip.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is no slip of a known one, and the table below is quadratic.
    if word.len() > 64 {
        return None;
    }
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = fold(word);
    let most = ((word.len() + 1) / 4).max(1);
    known
        .into_iter()
        .map(|candidate| (edits(&word, &fold(candidate)), candidate))
        // Of a single letter each other one is one edit away.
        .filter(|(edits, _)| *edits <= most && *edits < word.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`
/// (optimal string alignment distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + same).min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["memory_max", "memory_high", "pids_max", "exec"];
        assert_eq!(nearest("memroy_max", known), Some("memory_max"));
        assert_eq!(nearest("MemoryMax", ["memory_max"]), Some("memory_max"));
        assert_eq!(nearest("pids-max", known), Some("pids_max"));
        assert_eq!(nearest("exce", known), Some("exec"));
        assert_eq!(nearest("volume", known), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
