//! The guest's serial console: every line with the time at which it arrived, on record in a file.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{Error, Result, time::Deadline};

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it arrived on the build machine.
    pub at: Instant,
    /// Without line end and terminal sequences.
    pub text: String,
}

impl Line {
    /// The kernel's own time stamp, `[    1.234567]`: time since the kernel's entry.
    #[must_use]
    pub fn stamp(&self) -> Option<Duration> {
        let (stamp, _) = self.text.strip_prefix('[')?.split_once(']')?;
        stamp.trim().parse().ok().map(Duration::from_secs_f64)
    }
}

/// All lines so far, shared with the thread that reads them.
#[derive(Clone, Default)]
pub struct Console(Arc<(Mutex<Record>, Condvar)>);

#[derive(Default)]
struct Record {
    lines: Vec<Line>,
    ended: bool,
}

impl Console {
    /// Records `stream` to its end, in `log` and, for a person to see, on standard output.
    pub(crate) fn record(&self, stream: impl Read, log: &mut File, echo: bool) {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = Line { at: Instant::now(), text: plain(&bytes) };
            // A full disk must not stop the guest.
            let _ = log.write_all(&bytes);
            if echo {
                println!("{}", line.text);
            }
            bytes.clear();
            self.lock().lines.push(line);
            self.0.1.notify_all();
        }
        self.lock().ended = true;
        self.0.1.notify_all();
    }

    /// The first line that contains `text`, waited for until `limit` (of an idle machine).
    ///
    /// # Errors
    /// The time is over, or the guest ended first.
    pub fn wait_for(&self, text: &str, limit: Duration) -> Result<Line> {
        self.wait_for_after(0, text, limit)
    }

    /// As [`Self::wait_for`], without the first `mark` lines (from [`Self::mark`]).
    ///
    /// # Errors
    /// The time is over, or the guest ended first.
    pub fn wait_for_after(&self, mark: usize, text: &str, limit: Duration) -> Result<Line> {
        let what = || format!("console line \"{text}\"");
        self.wait(mark, |line| line.contains(text), what, Deadline::after(limit))
    }

    /// The first line after `mark` that `wanted` accepts; `what` names it.
    pub(crate) fn wait(
        &self,
        mark: usize,
        wanted: impl Fn(&str) -> bool,
        what: impl Fn() -> String,
        deadline: Deadline,
    ) -> Result<Line> {
        let mut seen = mark;
        let mut record = self.lock();
        loop {
            let new = record.lines.get(seen..).unwrap_or_default();
            if let Some(line) = new.iter().find(|line| wanted(&line.text)) {
                return Ok(line.clone());
            }
            seen = seen.max(record.lines.len());
            if record.ended {
                return Err(Error::Ended { what: what() });
            }
            let Some(left) = deadline.left() else {
                return Err(Error::Timeout { what: what(), limit: deadline.limit });
            };
            record = self.0.1.wait_timeout(record, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until QEMU has closed the console. False when it has not at the deadline.
    pub(crate) fn wait_end(&self, deadline: Option<Deadline>) -> bool {
        let mut record = self.lock();
        while !record.ended {
            record = match deadline.map(|deadline| deadline.left()) {
                None => self.0.1.wait(record).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => {
                    self.0.1.wait_timeout(record, left).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(None) => return false,
            };
        }
        true
    }

    /// Whether QEMU has closed the console: the guest is gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// How many lines there are now.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// All lines up to now.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// The first line up to now that contains `text`.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Line> {
        self.lock().lines.iter().find(|line| line.text.contains(text)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `bytes` as text, without what only moves a terminal's cursor or colours (firmware does both).
fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    let raw = String::from_utf8_lossy(bytes);
    let mut chars = raw.trim_end().chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                while chars.next().is_some_and(|char| !char.is_ascii_alphabetic()) {}
            } else {
                chars.next();
            }
        } else if !char.is_control() {
            text.push(char);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_dropped() {
        assert_eq!(plain(b"\x1b[2J\x1b[01;01H\x1b=BdsDxe: loading\r\n"), "BdsDxe: loading");
    }

    #[test]
    fn kernel_stamp_is_read() {
        let line = Line { at: Instant::now(), text: "[    1.250000] init: boot".into() };
        assert_eq!(line.stamp(), Some(Duration::from_millis(1250)));
    }

    #[test]
    fn end_of_the_guest_ends_the_wait() {
        let console = Console::default();
        let dir = std::env::temp_dir().join(format!("warder-console-{}", std::process::id()));
        console.record(&b"one\ntwo"[..], &mut File::create(&dir).unwrap(), false);
        std::fs::remove_file(dir).unwrap();
        assert!(console.find("two").is_some());
        let missed = console.wait_for("three", Duration::from_secs(60));
        assert!(matches!(missed, Err(Error::Ended { .. })));
    }
}
