//! The store of one log: two files, the newer one appended to.
//!
//! A write that the power is cut in leaves a torn end, which is cut off when the file is opened again; what
//! was there before it is not touched. A write that fails (a full disk) is taken back whole.

use super::record::{Record, pieces};
use super::rotation::{self, place};
use super::{Cursor, Line, Stream, stamp};
use crate::exec::{Layout, private_directory};
use rustix::fd::{AsFd as _, BorrowedFd};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;

/// The log of one jail.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Size at which the file is moved aside.
    file_max: u64,
    file: Option<File>,
    size: u64,
    /// The position: how many bytes were ever logged. Known once the file was opened.
    end: u64,
    /// Standard output and error: their last line has no end so far.
    open: [bool; 2],
    /// The file has something that the disk need not have.
    unsynced: bool,
    /// One that was moved aside meanwhile.
    moved: Option<File>,
}

impl Log {
    /// The log of `jail`; its file is made with the first line. How large it may be is not known yet: until then
    /// nothing of it is thrown away.
    #[must_use]
    pub fn of(layout: &Layout, jail: &str) -> Self {
        Self::in_file(layout.logs().join(format!("{jail}.log")), u64::MAX)
    }

    /// A log in the file at `path` and the one beside it, which together have at most `size_max` bytes.
    #[must_use]
    pub fn in_file(path: PathBuf, size_max: u64) -> Self {
        let (file_max, open) = (size_max / 2, [false; 2]);
        Self { path, file_max, file: None, size: 0, end: 0, open, unsynced: false, moved: None }
    }

    /// Changes the most that both files together may have; it holds from the next lines on.
    pub fn set_size_max(&mut self, bytes: u64) {
        self.file_max = bytes / 2;
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The position after what is stored. Where the file cannot be opened, storing will fail and say why.
    pub fn position(&mut self) -> u64 {
        let _ = self.open_file();
        self.end
    }

    /// Raises the position: something came that is not stored, or is stored no more. A line of `stream` that
    /// it may have ended is ended.
    ///
    /// # Errors
    /// As [`Log::store`].
    pub fn skip(&mut self, stream: Stream, bytes: u64, time: u64) -> io::Result<()> {
        let ended = self.finish_one(stream, time);
        self.end += bytes;
        ended
    }

    /// Raises the position to at least this.
    pub fn skip_to(&mut self, position: u64) {
        self.end = self.end.max(position);
    }

    /// Stores what a stream has said, cut into lines. After an error all of it up to some record is stored, and the
    /// position says up to where.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn store(&mut self, bytes: &[u8], stream: Stream, time: u64) -> io::Result<()> {
        let stamp = stamp::show(time);
        let mut out = Vec::with_capacity(bytes.len().min(CHUNK) * 3 / 2 + 128);
        self.open_file()?;
        let (mut end, mut open) = (self.end, false);
        for (text, whole) in pieces(bytes) {
            end += text.len() as u64 + u64::from(whole);
            Record { time, stream, whole, end, text }.write(&stamp, &mut out);
            open = !whole;
            if out.len() >= CHUNK {
                self.write(&out, end)?;
                self.set_open(stream, open);
                out.clear();
            }
        }
        if !out.is_empty() {
            self.write(&out, end)?;
        }
        self.set_open(stream, open);
        Ok(())
    }

    /// Stores whole lines of our own.
    ///
    /// # Errors
    /// As [`Log::store`].
    pub fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut out = Vec::new();
        self.open_file()?;
        let mut end = self.end;
        for Line { time, stream, text } in lines {
            // Anything after a line feed would be no record.
            let text = text.replace('\n', " ");
            end += text.len() as u64 + 1;
            let record =
                Record { time: *time, stream: *stream, whole: true, end, text: text.as_bytes() };
            record.write(&stamp::show(*time), &mut out);
        }
        if out.is_empty() { Ok(()) } else { self.write(&out, end) }
    }

    /// Stores lines whose numbers their writer has given, and which are the log's positions.
    ///
    /// # Errors
    /// As [`Log::store`].
    pub fn append_numbered(&mut self, lines: &[(u64, Line)]) -> io::Result<()> {
        let mut out = Vec::new();
        self.open_file()?;
        let mut last = self.end;
        for (number, Line { time, stream, text }) in lines {
            let text = text.replace('\n', " ");
            let record = Record {
                time: *time,
                stream: *stream,
                whole: true,
                end: *number,
                text: text.as_bytes(),
            };
            record.write(&stamp::show(*time), &mut out);
            last = *number;
        }
        if out.is_empty() { Ok(()) } else { self.write(&out, last) }
    }

    /// Ends lines that have no end: nobody goes on with them.
    ///
    /// # Errors
    /// As [`Log::store`].
    pub fn finish(&mut self, time: u64) -> io::Result<()> {
        self.open_file()?;
        self.finish_one(Stream::Stdout, time)?;
        self.finish_one(Stream::Stderr, time)
    }

    /// Ends the line of one stream.
    ///
    /// # Errors
    /// As [`Log::store`].
    pub fn finish_one(&mut self, stream: Stream, time: u64) -> io::Result<()> {
        if !self.is_begun(stream) {
            return Ok(());
        }
        let mut out = Vec::new();
        let record = Record { time, stream, whole: true, end: self.end, text: b"" };
        record.write(&stamp::show(time), &mut out);
        self.write(&out, self.end)?;
        self.set_open(stream, false);
        Ok(())
    }

    /// The files that the disk need not have whole.
    pub fn unsynced(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let file = self.file.as_ref().filter(|_| self.unsynced);
        file.into_iter().chain(&self.moved).map(|file| file.as_fd())
    }

    /// Someone has taken it upon himself to have the disk keep them.
    pub fn forget_unsynced(&mut self) {
        self.unsynced = false;
        self.moved = None;
    }

    /// The last `count` stored lines.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tail(&self, count: usize) -> io::Result<Vec<Line>> {
        let (mut cursor, _) = self.cursor(Some(count))?;
        let mut lines = Vec::new();
        while let Some(more) = cursor.next_lines()? {
            lines.extend(more);
        }
        lines.extend(cursor.rest());
        let start = lines.len().saturating_sub(count);
        Ok(lines.split_off(start))
    }

    /// A place in the log from which it is read bit by bit: at its beginning, or `count` lines before its end. With it
    /// comes how many lines follow it, where they were counted.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn cursor(&self, count: Option<usize>) -> io::Result<(Cursor, usize)> {
        Cursor::new(&self.path, count)
    }

    /// Whether the last line of this stream has no end so far.
    #[must_use]
    pub fn is_begun(&self, stream: Stream) -> bool {
        place(stream).and_then(|place| self.open.get(place)).is_some_and(|open| *open)
    }

    fn set_open(&mut self, stream: Stream, is_open: bool) {
        if let Some(open) = place(stream).and_then(|place| self.open.get_mut(place)) {
            *open = is_open;
        }
    }

    fn open_file(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        if let Some(directory) = self.path.parent() {
            private_directory(directory)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let length = file.metadata()?.len();
        let tail = rotation::tail(&file)?;
        if tail.length < length {
            ::log::warn!(
                "{}: {} bytes at its end are damaged and go",
                self.path.display(),
                length - tail.length
            );
            file.set_len(tail.length)?;
            self.unsynced = true;
        }
        self.size = tail.length;
        self.open = tail.open;
        let end = match tail.end {
            Some(end) => end,
            // Moved aside just before jailsupd died or the power was cut.
            None => self.end_of_older()?,
        };
        self.end = self.end.max(end);
        self.file = Some(file);
        Ok(())
    }

    fn end_of_older(&mut self) -> io::Result<u64> {
        match File::open(rotation::older(&self.path)) {
            Ok(file) => {
                let tail = rotation::tail(&file)?;
                self.open = tail.open;
                Ok(tail.end.unwrap_or(0))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Writes records, all or none.
    fn write(&mut self, records: &[u8], end: u64) -> io::Result<()> {
        if self.size > 0 && self.size + records.len() as u64 > self.file_max {
            self.rotate()?;
        }
        self.open_file()?;
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = file.write_all(records) {
            if file.set_len(self.size).is_err() {
                // What is opened again is looked through.
                self.file = None;
            }
            return Err(error);
        }
        self.size += records.len() as u64;
        self.end = end;
        self.unsynced = true;
        Ok(())
    }

    /// Moves the file aside; the one moved aside before it goes.
    fn rotate(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, rotation::older(&self.path))?;
        let file = self.file.take();
        if std::mem::take(&mut self.unsynced) {
            self.moved = file;
        }
        self.size = 0;
        Ok(())
    }
}
