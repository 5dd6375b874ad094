//! What must be true of the lives of a jail: judged by its own record on the volume, and by what can be
//! asked of jailsupd. Shares nothing with jailsupd but the forms of its answers.

use std::collections::BTreeSet;

/// How a life ended, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(u32),
    /// By itself, by SIGKILL.
    Killed,
    /// It was asked to.
    Asked,
}

/// One life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Lines that it has written.
    pub(crate) beats: u64,
    /// None while it goes on, or when it was taken away without a word.
    pub(crate) end: Option<End>,
}

/// All of them, the first first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) lives: Vec<Life>,
    pub(crate) faults: Vec<String>,
}

impl Story {
    /// Reads a record.
    pub(crate) fn read(record: &str) -> Self {
        let mut story = Self::default();
        for (number, line) in record.lines().enumerate() {
            if let Err(fault) = story.line(line) {
                story.faults.push(format!("line {}, \"{line}\": {fault}", number + 1));
            }
        }
        let lives = story.lives.len();
        for (index, life) in story.lives.iter().enumerate() {
            if life.end.is_none() && index + 1 < lives {
                story.faults.push(format!("life {} was taken away without a word", index + 1));
            }
        }
        story
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let (Some(of), kind) = (number(1), words[0]) else {
            return Err(match words[0] {
                "collision" => "two lives at once".to_owned(),
                _ => "not a line of a record".to_owned(),
            });
        };
        let now = self.lives.len() as u64;
        // Of these, `hooks_wrong` knows.
        if kind == "hook" {
            return if of == now { Ok(()) } else { Err(format!("while life {now} is the last")) };
        }
        if kind == "start" {
            self.lives.push(Life { beats: 0, end: None });
            return if of == now + 1 { Ok(()) } else { Err(format!("after life {now}")) };
        }
        let Some(life) = self.lives.last_mut().filter(|_| of == now) else {
            return Err(format!("while life {now} goes on"));
        };
        if life.end.is_some() {
            return Err("after its end".to_owned());
        }
        life.end = match (kind, number(2)) {
            ("beat", Some(beat)) if beat == life.beats + 1 => {
                life.beats = beat;
                None
            }
            ("beat", _) => return Err(format!("after beat {}", life.beats)),
            ("asked", _) => Some(End::Asked),
            ("killed", _) => Some(End::Killed),
            ("exited", Some(code)) => Some(End::Exited(u32::try_from(code).unwrap_or(0))),
            _ => return Err("not a line of a record".to_owned()),
        };
        Ok(())
    }

    /// Lives that were asked to end.
    pub(crate) fn asked(&self) -> usize {
        self.lives.iter().filter(|life| life.end == Some(End::Asked)).count()
    }

    /// The ends, by themselves or asked for, of which jailsupd has no word: `said` is what it has said of
    /// ends of this jail, each once for each time that it was said.
    pub(crate) fn ends_unheard(&self, said: &[String]) -> Vec<String> {
        let ends: Vec<String> = self.lives.iter().filter_map(|life| life.end).map(words).collect();
        let mut missing = Vec::new();
        for end in ends.iter().collect::<BTreeSet<_>>() {
            let count = |all: &[String]| all.iter().filter(|other| *other == end).count();
            let (happened, heard) = (count(&ends), count(said));
            if heard < happened {
                missing.push(format!("\"{end}\" happened {happened} times, {heard} were heard of"));
            }
        }
        missing
    }

    /// How often an end was told that had not happened.
    pub(crate) fn ends_told_again(&self, said: &[String]) -> usize {
        let ended = self.lives.iter().filter(|life| life.end.is_some()).count();
        said.len().saturating_sub(ended)
    }
}

/// In jailsupd's words.
pub(crate) fn words(end: End) -> String {
    match end {
        End::Exited(code) => format!("exited with {code}"),
        End::Killed => "was killed by SIGKILL".to_owned(),
        End::Asked => "exited with 0".to_owned(),
    }
}

/// What is wrong with the hooks of a jail that nobody has stopped, but at the last: one before each life and one after
/// it; the one beside it only then.
pub(crate) fn hooks_wrong(record: &str) -> Vec<String> {
    let kind = |line: &str| {
        let mut words = line.split(' ');
        match words.next() {
            Some("hook") => words.nth(1).unwrap_or_default().to_owned(),
            Some("exited" | "killed" | "asked") => "end".to_owned(),
            first => first.unwrap_or_default().to_owned(),
        }
    };
    let (mut wrong, mut last) = (Vec::new(), "after".to_owned());
    let lines: Vec<&str> = record.lines().filter(|line| !line.starts_with("beat ")).collect();
    for (number, line) in lines.iter().enumerate() {
        let now = kind(line);
        let is_last = number + 1 == lines.len();
        let fits = match (last.as_str(), now.as_str()) {
            ("after", "before")
            | ("before", "start")
            | ("start", "end")
            | ("end", "after")
            | ("start" | "end", "beside") => true,
            // Stopped before its program had written a word.
            ("before", "after") => is_last,
            _ => false,
        };
        if !fits {
            wrong.push(format!("\"{line}\" after \"{last}\""));
        }
        if now != "beside" {
            last = now;
        }
    }
    wrong
}

/// Whether the log has the line when the record has it. A hook beside the program speaks to jailsupd, and what it has
/// said goes with a jailsupd that dies.
pub(crate) fn is_in_log(line: &str) -> bool {
    !(line.starts_with("hook ") && line.contains(" beside "))
}

/// Lines of the record that the log does not have.
pub(crate) fn lines_lost(record: &str, log: &[String]) -> Vec<String> {
    let log: BTreeSet<&str> = log.iter().map(String::as_str).collect();
    let lost = |line: &&str| is_in_log(line) && !log.contains(line);
    record.lines().filter(lost).map(str::to_owned).collect()
}

/// Lines that the log has more than once. No two lines of a record are alike.
pub(crate) fn lines_doubled(log: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    log.iter().filter(|line| !seen.insert(line.as_str())).cloned().collect()
}

mod tests {
    use super::*;

    const FINE: &str = "start 1 2\nbeat 1 1\nbeat 1 2\nexited 1 2\nstart 2 2\nbeat 2 1\nasked 2\nstart 3 2\nbeat 3 1\n";

    fn faults(record: &str) -> usize {
        Story::read(record).faults.len()
    }

    #[test]
    fn checker_takes_a_good_record() {
        let story = Story::read(FINE);
        assert_eq!(story.faults, [""; 0]);
        assert_eq!((story.lives.len(), story.asked()), (3, 1));
        let said = ["exited with 0".to_owned(), "exited with 2".to_owned()];
        assert_eq!(story.ends_unheard(&said), [""; 0]);
    }

    #[test]
    fn checker_finds_what_is_wrong() {
        assert_eq!(faults(&format!("{FINE}collision\n")), 1, "two at once");
        assert_eq!(faults(&format!("{FINE}beat 2 2\n")), 1, "an earlier life goes on");
        assert_eq!(faults(&format!("{FINE}beat 3 3\n")), 1, "a gap");
        assert_eq!(faults(&format!("{FINE}start 4 2\n")), 1, "life 3 was taken away");
        assert_eq!(faults("start 1 2\nasked 1\nbeat 1 1\n"), 1, "after its end");
        assert_eq!(faults("start 2 2\n"), 1, "a life is missing");
        let story = Story::read(FINE);
        assert_eq!(story.ends_unheard(&["exited with 0".to_owned()]).len(), 1);
        let again = ["exited with 0", "exited with 2", "exited with 2"].map(str::to_owned);
        assert_eq!(story.ends_told_again(&again), 1);
        let log: Vec<String> = FINE.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines_lost(FINE, &log), ["start 1 2"]);
        assert_eq!(lines_doubled(&[log.clone(), log].concat()).len(), 8);
    }

    const HOOKED: &str = "hook 0 before 1\nstart 1 2\nbeat 1 1\nhook 1 beside 2\nbeat 1 2\nexited 1 2\nhook 1 after 3\n";

    #[test]
    fn checker_finds_hooks_that_were_left_out_or_doubled() {
        assert_eq!(Story::read(HOOKED).faults, [""; 0]);
        assert_eq!(hooks_wrong(HOOKED), [""; 0]);
        let next = HOOKED.replace(" 1 ", " 2 ").replace(" 0 ", " 1 ");
        assert_eq!(hooks_wrong(&format!("{HOOKED}{next}")), [""; 0]);
        for hook in ["hook 0 before 1\n", "hook 1 after 3\n"] {
            let more = format!("{HOOKED}{next}");
            assert_eq!(hooks_wrong(&more.replacen(hook, "", 1)).len(), 1, "without {hook}");
            let twice = format!("{hook}{hook}");
            assert_eq!(hooks_wrong(&more.replacen(hook, &twice, 1)).len(), 1, "twice {hook}");
        }
        let late = format!("{HOOKED}hook 1 beside 4\n");
        assert_eq!(hooks_wrong(&late).len(), 1, "beside nothing");
        assert_eq!(lines_lost("hook 1 beside 2\nhook 1 after 3\n", &[]), ["hook 1 after 3"]);
    }
}
