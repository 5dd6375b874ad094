//! The two files of a log, and where the good part of one ends.

use super::Stream;
use super::record::{RECORD_MAX, Record};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What is looked at first when a file is opened again: enough for the longest record and some more.
const TAIL: u64 = 4 * RECORD_MAX as u64;

/// The file that was moved aside: `NAME.log.1` beside `NAME.log`.
pub(super) fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The state of a file that was opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes up to which it is good: what follows is the torn end of a write that the power was cut in.
    pub(super) length: u64,
    /// The log's position there; nothing when the file holds no record at all.
    pub(super) end: Option<u64>,
    /// Streams whose last record is a part: standard output, standard error.
    pub(super) open: [bool; 2],
}

/// Finds the end of the last good record.
pub(super) fn tail(file: &File) -> io::Result<Tail> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TAIL);
    let found = tail_from(file, start, size)?;
    if found.end.is_some() || start == 0 {
        return Ok(found);
    }
    // All of it is damaged: look at the whole file before any of it is given up.
    tail_from(file, 0, size)
}

fn tail_from(file: &File, start: u64, size: u64) -> io::Result<Tail> {
    let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    let mut found = Tail { length: start, end: None, open: [false; 2] };
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
        let line = &bytes[at..at + length];
        at += length + 1;
        let Some(record) = Record::read(line) else { continue };
        found.length = start + at as u64;
        found.end = Some(record.end);
        if let Some(open) = place(record.stream).and_then(|place| found.open.get_mut(place)) {
            *open = !record.whole;
        }
    }
    Ok(found)
}

/// The place of a stream that can end in the middle of a line.
pub(super) const fn place(stream: Stream) -> Option<usize> {
    match stream {
        Stream::Stdout => Some(0),
        Stream::Stderr => Some(1),
        Stream::Warder | Stream::Kernel => None,
    }
}
