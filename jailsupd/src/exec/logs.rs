//! What jails print: a bounded log file for each on the data partition.
//!
//! One line of text a line: `MILLISECONDS STREAM TEXT`. The file is moved aside when it is full, and
//! the one moved aside before it goes, so a jail has between one and two [`FILE_MAX`] of its past.

use super::{Layout, private_directory};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Largest size of one file.
pub const FILE_MAX: u64 = 4 << 20;
/// Longest line that is kept in one piece.
const LINE_MAX: usize = 16 << 10;
/// Bytes of a log file that are read at once.
const BLOCK: usize = 64 << 10;
/// Bytes read from one pipe at a turn, so that a jail that prints without end leaves time for others.
const TURN_MAX: usize = 256 << 10;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// jailsupd itself.
    Warder,
}

impl Stream {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Stdout, "stdout"), (Self::Stderr, "stderr"), (Self::Warder, "warder")];

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(stream, _)| *stream == self).map_or("", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, other)| *other == word).map(|(stream, _)| stream)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read, in milliseconds since 1970.
    pub time: u64,
    /// Where from.
    pub stream: Stream,
    /// Without its line feed.
    pub text: String,
}

impl Line {
    fn format(&self) -> String {
        format!("{} {} {}\n", self.time, self.stream.word(), self.text)
    }

    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (stream, text) = rest.split_once(' ')?;
        let stream = Stream::from_word(stream)?;
        Some(Self { time: time.parse().ok()?, stream, text: text.to_owned() })
    }
}

/// The log of one jail.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Size at which it is moved aside.
    file_max: u64,
    file: Option<File>,
    size: u64,
    /// How often it was moved aside.
    rotations: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Whether a pipe has more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// Nothing for now, or more at the next turn.
    Open,
    /// All its writers are gone.
    Closed,
}

impl Log {
    /// The log of `jail`; its file is made with the first line.
    #[must_use]
    pub fn of(layout: &Layout, jail: &str) -> Self {
        Self::in_file(layout.logs().join(format!("{jail}.log")), FILE_MAX)
    }

    /// A log in the file at `path`, moved aside when it has `file_max` bytes.
    #[must_use]
    pub fn in_file(path: PathBuf, file_max: u64) -> Self {
        let (stdout, stderr) = (Vec::new(), Vec::new());
        Self { path, file_max, file: None, size: 0, rotations: 0, stdout, stderr }
    }

    /// Reads what a pipe has, stores its whole lines and returns them.
    ///
    /// # Errors
    /// When they cannot be stored; they are returned by no later call then.
    pub fn take(
        &mut self,
        pipe: &OwnedFd,
        stream: Stream,
        now: u64,
    ) -> (Pipe, io::Result<Vec<Line>>) {
        let mut bytes = Vec::new();
        let state = read_some(pipe, &mut bytes);
        (state, self.push(&bytes, stream, state, now))
    }

    /// Stores the whole lines of what was read already, and returns them.
    ///
    /// # Errors
    /// As [`Log::take`].
    pub fn push(
        &mut self,
        bytes: &[u8],
        stream: Stream,
        state: Pipe,
        now: u64,
    ) -> io::Result<Vec<Line>> {
        let partial = match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout | Stream::Warder => &mut self.stdout,
        };
        partial.extend_from_slice(bytes);
        let texts = split_lines(partial, state == Pipe::Closed);
        let lines = texts.into_iter().map(|text| Line { time: now, stream, text }).collect();
        self.append(lines)
    }

    /// Stores lines and returns them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, lines: Vec<Line>) -> io::Result<Vec<Line>> {
        if lines.is_empty() {
            return Ok(lines);
        }
        let text: String = lines.iter().map(Line::format).collect();
        if self.file.is_none() {
            if let Some(directory) = self.path.parent() {
                private_directory(directory)?;
            }
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
            self.size += text.len() as u64;
        }
        if self.size >= self.file_max {
            self.file = None;
            self.rotations += 1;
            std::fs::rename(&self.path, self.older())?;
        }
        Ok(lines)
    }

    /// The last `count` stored lines.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tail(&self, count: usize) -> io::Result<Vec<Line>> {
        let mut cursor = self.cursor(Some(count))?;
        let mut lines = Vec::new();
        while let Some(more) = cursor.next_lines(self)? {
            lines.extend(more);
        }
        Ok(lines)
    }

    /// A place in the log from which it is read bit by bit: at its beginning, or `count` lines before
    /// its end.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn cursor(&self, count: Option<usize>) -> io::Result<Cursor> {
        let mut cursor = Cursor {
            files: VecDeque::new(),
            offset: 0,
            partial: Vec::new(),
            rotations: self.rotations,
        };
        let mut wanted = count;
        for path in [self.path.clone(), self.older()] {
            if wanted == Some(0) {
                break;
            }
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result?,
            };
            cursor.offset = match &mut wanted {
                Some(left) => start_of_last_lines(&file, left)?,
                None => 0,
            };
            cursor.files.push_front(file);
        }
        if cursor.files.is_empty() && wanted == Some(0) {
            cursor.skip_to_end(self)?;
        }
        Ok(cursor)
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }
}

/// A place in a log that is being read while it may grow.
#[derive(Debug)]
pub struct Cursor {
    /// The oldest first; kept open, so that a file that is moved aside is read to its end.
    files: VecDeque<File>,
    /// In the first of them.
    offset: u64,
    /// The start of a line whose end was not read yet.
    partial: Vec<u8>,
    rotations: u64,
}

impl Cursor {
    /// The next lines, at most some [`BLOCK`] bytes of them; `None` at the end of what there is now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_lines(&mut self, log: &Log) -> io::Result<Option<Vec<Line>>> {
        let mut block = vec![0; BLOCK];
        while let Some(file) = self.files.front() {
            let length = file.read_at(&mut block, self.offset)?;
            self.offset += length as u64;
            if length > 0 {
                self.partial.extend_from_slice(&block[..length]);
                let texts = split_lines(&mut self.partial, false);
                return Ok(Some(texts.iter().filter_map(|text| Line::parse(text)).collect()));
            }
            if self.files.len() == 1 && self.rotations == log.rotations {
                return Ok(None);
            }
            self.files.pop_front();
            self.offset = 0;
            if self.files.is_empty() {
                self.rotations = log.rotations;
                self.files.extend(File::open(&log.path).ok());
            }
        }
        Ok(None)
    }

    fn skip_to_end(&mut self, log: &Log) -> io::Result<()> {
        if let Ok(file) = File::open(&log.path) {
            self.offset = file.metadata()?.len();
            self.files.push_back(file);
        }
        Ok(())
    }
}

/// Where the last `left` lines of a file begin; `left` becomes what the file has too few.
fn start_of_last_lines(file: &File, left: &mut usize) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut end = file.metadata()?.len();
    let length = end;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = usize::try_from(end - start).unwrap_or(BLOCK);
        file.read_exact_at(&mut block[..size], start)?;
        for (at, byte) in block[..size].iter().enumerate().rev() {
            let position = start + at as u64;
            // The line feed at the very end ends the last line; each other one begins a line.
            if *byte != b'\n' || position + 1 == length {
                continue;
            }
            *left -= 1;
            if *left == 0 {
                return Ok(position + 1);
            }
        }
        end = start;
    }
    *left = left.saturating_sub(usize::from(length > 0));
    Ok(0)
}

/// Reads what there is, a turn's worth at most.
pub fn read_some(pipe: &OwnedFd, partial: &mut Vec<u8>) -> Pipe {
    let mut buffer = vec![0; 64 << 10];
    let mut taken = 0;
    while taken < TURN_MAX {
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => return Pipe::Closed,
            Ok(length) => {
                partial.extend_from_slice(&buffer[..length]);
                taken += length;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Pipe::Open,
            Err(_) => return Pipe::Closed,
        }
    }
    Pipe::Open
}

/// Takes the whole lines out of `partial`; a rest that is too long, or the last, counts as one.
fn split_lines(partial: &mut Vec<u8>, closed: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < partial.len() {
        let rest = &partial[start..];
        let window = &rest[..rest.len().min(LINE_MAX)];
        let (length, skip) = match window.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at, at + 1),
            None if window.len() == LINE_MAX || closed => (window.len(), window.len()),
            None => break,
        };
        let text = String::from_utf8_lossy(&rest[..length]);
        // A carriage return would let a jail overwrite what a terminal shows before it.
        lines.push(text.trim_end_matches('\r').replace('\r', "\u{240d}"));
        start += skip;
    }
    partial.drain(..start);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, Log) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let layout = Layout { data: path.clone(), run: path.clone(), cgroups: path };
        (directory, Log::of(&layout, "web"))
    }

    fn line(text: &str) -> Line {
        Line { time: 7, stream: Stream::Stderr, text: text.into() }
    }

    #[test]
    fn lines_are_cut_at_line_feeds_and_the_last_at_the_end() {
        let mut partial = b"one\ntwo\r\nthr".to_vec();
        assert_eq!(split_lines(&mut partial, false), ["one", "two"]);
        assert_eq!(split_lines(&mut partial, true), ["thr"]);
        assert!(partial.is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_into_pieces() {
        let mut partial = vec![b'x'; LINE_MAX + 5];
        assert_eq!(split_lines(&mut partial, false).len(), 1);
        assert_eq!(partial.len(), 5);
    }

    #[test]
    fn what_was_stored_is_read_back_from_the_end() {
        let (_directory, mut log) = log();
        log.append(vec![line("a"), line("b c"), line("")]).unwrap();
        assert_eq!(log.tail(2).unwrap(), [line("b c"), line("")]);
        assert_eq!(log.tail(3).unwrap().len(), 3);
        assert_eq!(log.tail(9).unwrap().len(), 3);
        assert_eq!(log.tail(0).unwrap().len(), 0);
    }

    #[test]
    fn the_log_stays_bounded_and_keeps_its_newest_lines() {
        let (directory, mut log) = log();
        let long = "x".repeat(1 << 20);
        for number in 0..20 {
            log.append(vec![line(&format!("{number} {long}"))]).unwrap();
        }
        let used: u64 = std::fs::read_dir(directory.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(used <= 2 * FILE_MAX + (2 << 20), "{used}");
        assert!(log.tail(1).unwrap()[0].text.starts_with("19 "));
    }

    #[test]
    fn a_cursor_reads_across_files_and_goes_on_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::in_file(directory.path().join("web.log"), 100);
        let texts = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        let write = |log: &mut Log, range| {
            for text in texts(range) {
                log.append(vec![line(&text)]).unwrap();
            }
        };
        let read = |cursor: &mut Cursor, log: &Log| {
            let mut seen = Vec::new();
            while let Some(lines) = cursor.next_lines(log).unwrap() {
                seen.extend(lines.into_iter().map(|line| line.text));
            }
            seen
        };
        write(&mut log, 0..13);
        let mut cursor = log.cursor(Some(11)).unwrap();
        assert_eq!(read(&mut cursor, &log), texts(2..13));
        write(&mut log, 13..17);
        assert_eq!(read(&mut cursor, &log), texts(13..17));
        assert!(log.rotations >= 1);
        let mut at_end = log.cursor(Some(0)).unwrap();
        write(&mut log, 17..18);
        assert_eq!(read(&mut at_end, &log), texts(17..18));
    }
}
