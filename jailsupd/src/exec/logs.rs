//! What jails print: a bounded log file for each on the data partition.
//!
//! One line of text a line: `MILLISECONDS STREAM TEXT`. The file is moved aside when it is full, and
//! the one moved aside before it goes, so a jail has between one and two [`FILE_MAX`] of its past.

use super::{Layout, private_directory};
use rustix::fd::OwnedFd;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// Largest size of one file.
pub const FILE_MAX: u64 = 4 << 20;
/// Longest line that is kept in one piece.
const LINE_MAX: usize = 16 << 10;
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
    file: Option<File>,
    size: u64,
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
        let path = layout.logs().join(format!("{jail}.log"));
        Self { path, file: None, size: 0, stdout: Vec::new(), stderr: Vec::new() }
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
        let partial = match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout | Stream::Warder => &mut self.stdout,
        };
        let state = read_some(pipe, partial);
        let texts = split_lines(partial, state == Pipe::Closed);
        let lines = texts.into_iter().map(|text| Line { time: now, stream, text }).collect();
        (state, self.append(lines))
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
        if self.size >= FILE_MAX {
            self.file = None;
            std::fs::rename(&self.path, self.older())?;
        }
        Ok(lines)
    }

    /// The last `count` stored lines, or all.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tail(&self, count: Option<usize>) -> io::Result<Vec<Line>> {
        let mut text = read_file(self.older())?;
        text.push_str(&read_file(self.path.clone())?);
        let mut lines: Vec<Line> = text.lines().filter_map(Line::parse).collect();
        let first = lines.len().saturating_sub(count.unwrap_or(usize::MAX));
        Ok(lines.split_off(first))
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }
}

fn read_file(path: PathBuf) -> io::Result<String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        result => result?,
    };
    // A file of another size than ours was tampered with or is left from another version.
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2 * FILE_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_some(pipe: &OwnedFd, partial: &mut Vec<u8>) -> Pipe {
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
        assert_eq!(log.tail(Some(2)).unwrap(), [line("b c"), line("")]);
        assert_eq!(log.tail(None).unwrap().len(), 3);
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
        assert!(log.tail(Some(1)).unwrap()[0].text.starts_with("19 "));
    }
}
