//! Reading a log while it grows.
//!
//! A cursor holds no file: a client that reads nothing for a week keeps nothing alive. What went before it was
//! read is told.

use super::record::{RECORD_MAX, Record};
use super::rotation::{older, place};
use super::{Line, Stream};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a file that are read at once.
const BLOCK: usize = 2 * RECORD_MAX;
/// The same where many logs are read.
const BLOCK_OF_MANY: usize = 4 << 10;
/// The longest line that is put together from parts.
const JOINED_MAX: usize = 64 << 10;
/// The first look for the last lines of a file; each further one is four times as far back.
const LOOK: u64 = 8 << 10;

/// A place in a log.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    /// None before the first reading: the oldest line there is.
    at: Option<Place>,
    /// The log's position there, once a record was read.
    end: Option<u64>,
    /// Parts of lines whose ends were not read yet: standard output, standard error.
    parts: [Vec<u8>; 2],
    parts_time: u64,
    seen: Seen,
    /// Bytes of a file that are read at once, if they hold a line.
    block: usize,
}

/// What a cursor could not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes that were gone before their turn came.
    pub missed: u64,
    /// Lines that are damaged.
    pub damaged: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    inode: u64,
    offset: u64,
}

impl Cursor {
    /// At the beginning of the log at `path`, or `count` lines before its end; and how many lines that is.
    pub(super) fn new(path: &Path, count: Option<usize>) -> io::Result<(Self, usize)> {
        let mut cursor = Self {
            path: path.to_owned(),
            at: None,
            end: None,
            parts: [Vec::new(), Vec::new()],
            parts_time: 0,
            seen: Seen::default(),
            block: BLOCK,
        };
        let Some(count) = count else { return Ok((cursor, 0)) };
        let mut left = count;
        for path in [path.to_owned(), older(path)] {
            let Some(file) = open(&path)? else { continue };
            let (offset, found) = last_lines(&file, left)?;
            left -= found;
            cursor.at = Some(Place { inode: file.metadata()?.ino(), offset });
            if left == 0 {
                break;
            }
        }
        Ok((cursor, count - left))
    }

    /// Reads less at once: there are many others.
    pub fn read_less(&mut self) {
        self.block = BLOCK_OF_MANY;
    }

    /// The next lines, those of a block of the file; `None` at the end of what there is now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_lines(&mut self) -> io::Result<Option<Vec<Line>>> {
        let newer = open(&self.path)?;
        let newer_inode = newer.as_ref().map(inode).transpose()?;
        if let Some(file) = newer.as_ref().filter(|_| self.is_at(newer_inode)) {
            return self.read(file);
        }
        let old = open(&older(&self.path))?;
        let old_inode = old.as_ref().map(inode).transpose()?;
        if let Some(file) = old.as_ref().filter(|_| self.is_at(old_inode)) {
            if let Some(lines) = self.read(file)? {
                return Ok(Some(lines));
            }
        } else if let Some((file, inode)) = old.as_ref().zip(old_inode) {
            // Never read from, or what was read from is gone.
            self.at = Some(Place { inode, offset: 0 });
            if let Some(lines) = self.read(file)? {
                return Ok(Some(lines));
            }
        }
        match newer.as_ref().zip(newer_inode) {
            Some((file, inode)) => {
                self.at = Some(Place { inode, offset: 0 });
                self.read(file)
            }
            None => Ok(None),
        }
    }

    /// Whether the line at this position of the log, or a later one, was read.
    #[must_use]
    pub fn has_reached(&self, position: u64) -> bool {
        self.end.unwrap_or(0) >= position
    }

    /// What was left out since the last call.
    pub fn seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Lines without an end: for who does not wait for it.
    pub fn rest(&mut self) -> Vec<Line> {
        let time = self.parts_time;
        let streams = [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.parts);
        let unfinished = streams.filter(|(_, part)| !part.is_empty());
        unfinished
            .map(|(stream, part)| Line { time, stream, text: text(&std::mem::take(part)) })
            .collect()
    }

    fn is_at(&self, inode: Option<u64>) -> bool {
        self.at.is_some_and(|place| Some(place.inode) == inode)
    }

    fn read(&mut self, file: &File) -> io::Result<Option<Vec<Line>>> {
        let Some(place) = &mut self.at else { return Ok(None) };
        let mut block = vec![0; self.block];
        let mut length = file.read_at(&mut block, place.offset)?;
        if length == block.len() && !block.contains(&b'\n') {
            block.resize(BLOCK, 0);
            length = file.read_at(&mut block, place.offset)?;
        }
        let used = match memchr::memrchr(b'\n', &block[..length]) {
            Some(last) => last + 1,
            // Longer than any record: no text of ours.
            None if length == BLOCK => length,
            None => return Ok(None),
        };
        place.offset += used as u64;
        let mut lines = Vec::new();
        for line in block[..used].split_inclusive(|byte| *byte == b'\n') {
            match Record::read(line.strip_suffix(b"\n").unwrap_or(line)) {
                Some(record) => self.take(&record, &mut lines),
                None => self.seen.damaged += 1,
            }
        }
        Ok(Some(lines))
    }

    fn take(&mut self, record: &Record<'_>, lines: &mut Vec<Line>) {
        if let Some(end) = self.end {
            // The kernel's numbers are of lines, and begin anew with each boot.
            if record.stream != Stream::Kernel {
                self.seen.missed += record.start().saturating_sub(end);
            }
        }
        self.end = Some(record.end);
        let Record { time, stream, .. } = *record;
        let Some(part) = place(stream).and_then(|place| self.parts.get_mut(place)) else {
            return lines.push(Line { time, stream, text: text(record.text) });
        };
        if record.whole && part.is_empty() {
            return lines.push(Line { time, stream, text: text(record.text) });
        }
        part.extend_from_slice(record.text);
        self.parts_time = time;
        if record.whole || part.len() >= JOINED_MAX {
            lines.push(Line { time, stream, text: text(part) });
            part.clear();
        }
    }
}

/// The bytes of a line as text, without the end of a line of other systems.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // A carriage return would let a jail overwrite what a terminal shows before it.
    text.trim_end_matches('\r').replace('\r', "\u{240d}")
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Where the last `count` lines of a file begin, and how many there are.
fn last_lines(file: &File, count: usize) -> io::Result<(u64, usize)> {
    let size = file.metadata()?.len();
    if count == 0 {
        return Ok((size, 0));
    }
    let mut look = LOOK;
    loop {
        let start = size.saturating_sub(look);
        let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(0)];
        file.read_exact_at(&mut bytes, start)?;
        // The first line may be only a part of one.
        let first = match start {
            0 => 0,
            _ => memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1),
        };
        let (mut found, mut end) = (0, bytes.len());
        while end > first {
            let line =
                memchr::memrchr(b'\n', &bytes[first..end - 1]).map_or(first, |at| first + at + 1);
            let record = Record::read(&bytes[line..end - 1]);
            // A part belongs to the line that ends after it, or is all there is of the last one.
            let ends = record.is_some_and(|record| record.whole);
            if ends && found == count {
                return Ok((start + end as u64, found));
            }
            found += usize::from(ends);
            end = line;
        }
        if start == 0 {
            return Ok((0, found));
        }
        look *= 4;
    }
}
