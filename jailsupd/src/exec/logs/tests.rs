//! The store as a whole: what is written is read back, whatever happens in between.

use super::staging::stored_of;
use super::{Batch, Cursor, Filled, Line, Log, Staging, Stream};
use proptest::prelude::*;
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};

const TIME: u64 = 1_795_343_509_123;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log").join("web.log");
    (directory, path)
}

fn log(path: &Path, size_max: u64) -> Log {
    Log::in_file(path.to_owned(), size_max)
}

fn note(text: &str) -> Line {
    Line { time: TIME, stream: Stream::Warder, text: text.into() }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.text.clone()).collect()
}

fn all(log: &Log) -> Vec<Line> {
    log.tail(usize::MAX).unwrap()
}

fn rest(cursor: &mut Cursor) -> Vec<Line> {
    let mut lines = Vec::new();
    while let Some(more) = cursor.next_lines().unwrap() {
        lines.extend(more);
    }
    lines
}

#[test]
fn lines_of_all_streams_are_read_back_in_their_order() {
    let (_directory, path) = directory();
    let mut log = log(&path, 1 << 20);
    log.store(b"one\ntwo\r\n", Stream::Stdout, TIME).unwrap();
    log.append(&[note("exited with 0")]).unwrap();
    log.store(b"bad \xff\n", Stream::Stderr, TIME + 1).unwrap();
    let lines = all(&log);
    assert_eq!(texts(&lines), ["one", "two", "exited with 0", "bad \u{fffd}"]);
    assert_eq!((lines[3].stream, lines[3].time), (Stream::Stderr, TIME + 1));
    assert_eq!(log.position(), 9 + 14 + 6);
}

#[test]
fn parts_of_a_line_are_put_together_and_an_end_that_never_comes_is_made() {
    let (_directory, path) = directory();
    let mut log = log(&path, 1 << 20);
    log.store(b"he", Stream::Stdout, TIME).unwrap();
    log.store(b"err", Stream::Stderr, TIME).unwrap();
    log.append(&[note("between")]).unwrap();
    log.store(b"llo\nwor", Stream::Stdout, TIME).unwrap();
    assert_eq!(texts(&all(&log)), ["between", "hello", "wor", "err"]);
    // Another jailsupd knows of the open lines, too.
    let mut next = Log::in_file(path, 1 << 20);
    next.finish(TIME).unwrap();
    next.store(b"new\n", Stream::Stdout, TIME).unwrap();
    assert_eq!(texts(&all(&next)), ["between", "hello", "wor", "err", "new"]);
}

#[test]
fn last_lines_are_found_over_both_files() {
    let (_directory, path) = directory();
    let mut log = log(&path, 4000);
    for number in 0..60 {
        log.store(format!("{number}\n").as_bytes(), Stream::Stdout, TIME).unwrap();
    }
    assert!(path.with_extension("log.1").exists());
    for count in [0, 1, 5, 35, 40] {
        let wanted: Vec<String> = (60 - count..60).map(|number| number.to_string()).collect();
        assert_eq!(texts(&log.tail(count).unwrap()), wanted, "{count}");
    }
    let (mut cursor, found) = log.cursor(Some(7)).unwrap();
    assert_eq!((found, rest(&mut cursor).len()), (7, 7));
}

#[test]
fn a_log_stays_within_its_size() {
    let (directory, path) = directory();
    let mut log = log(&path, 64 << 10);
    for number in 0..40 {
        let long = "x".repeat(8 << 10);
        log.store(format!("{number} {long}\n").as_bytes(), Stream::Stdout, TIME).unwrap();
    }
    let files = std::fs::read_dir(directory.path().join("log")).unwrap();
    let used: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(used <= 64 << 10, "{used}");
    assert!(log.tail(1).unwrap()[0].text.starts_with("39 "));
}

#[test]
fn a_cursor_goes_on_after_a_rotation_and_tells_what_it_missed() {
    let (_directory, path) = directory();
    let mut log = log(&path, 1000);
    let mut write = |range: std::ops::Range<u64>| {
        for number in range {
            log.store(format!("{number:03}\n").as_bytes(), Stream::Stdout, TIME).unwrap();
        }
    };
    write(0..5);
    let mut cursor = Log::in_file(path.clone(), 1000).cursor(Some(2)).unwrap().0;
    assert_eq!(texts(&rest(&mut cursor)), ["003", "004"]);
    write(5..12);
    assert_eq!(rest(&mut cursor).len(), 7);
    assert_eq!(cursor.seen().missed, 0);
    write(12..112);
    let after = rest(&mut cursor);
    let missed = cursor.seen().missed;
    assert_eq!(missed + 4 * after.len() as u64, 400, "{after:?}");
    assert!(missed > 0);
    assert_eq!(after.last().unwrap().text, "111");
}

#[test]
fn a_skipped_part_counts_and_ends_the_line_that_it_is_of() {
    let (_directory, path) = directory();
    let mut log = log(&path, 1 << 20);
    log.store(b"begun", Stream::Stdout, TIME).unwrap();
    log.skip(Stream::Stdout, 100, TIME).unwrap();
    log.store(b"next\n", Stream::Stdout, TIME).unwrap();
    assert_eq!(texts(&all(&log)), ["begun", "next"]);
    assert_eq!(log.position(), 110);
}

#[test]
fn a_file_without_any_record_is_begun_anew() {
    let (_directory, path) = directory();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![0; 200_000]).unwrap();
    let mut log = log(&path, 1 << 20);
    log.store(b"one\n", Stream::Stdout, TIME).unwrap();
    assert_eq!(texts(&all(&log)), ["one"]);
}

#[test]
fn damage_in_the_middle_costs_its_line_only() {
    let (_directory, path) = directory();
    let mut log = log(&path, 1 << 20);
    log.store(b"one\ntwo\nthree\n", Stream::Stdout, TIME).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[at] = b'x';
    std::fs::write(&path, &bytes).unwrap();
    let mut again = Log::in_file(path, 1 << 20);
    again.store(b"four\n", Stream::Stdout, TIME).unwrap();
    let (mut cursor, _) = again.cursor(None).unwrap();
    assert_eq!(texts(&rest(&mut cursor)), ["one", "three", "four"]);
    assert_eq!(cursor.seen().damaged, 1);
}

proptest! {
    /// The power is cut: the file has lost its end, or has something else there.
    #[test]
    fn a_torn_end_costs_nothing_before_it(
        lines in proptest::collection::vec("[a-z]{0,30}", 1..40),
        lost in 0usize..200,
        garbage in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let (_directory, path) = directory();
        let mut before = log(&path, 1 << 20);
        let mut ends = Vec::new();
        for line in &lines {
            before.store(format!("{line}\n").as_bytes(), Stream::Stdout, TIME).unwrap();
            ends.push(usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap());
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let kept = bytes.len().saturating_sub(lost);
        bytes.truncate(kept);
        bytes.extend(&garbage);
        std::fs::write(&path, &bytes).unwrap();

        let mut after = Log::in_file(path.clone(), 1 << 20);
        after.store(b"NEW\n", Stream::Stdout, TIME).unwrap();

        // A record that has lost its line feed alone is whole again if the garbage begins with one.
        let kept = kept + usize::from(garbage.first() == Some(&b'\n'));
        let whole = ends.iter().filter(|end| **end <= kept).count();
        let mut wanted: Vec<String> = lines[..whole].to_vec();
        wanted.push("NEW".into());
        prop_assert_eq!(texts(&all(&after)), wanted);
    }
}

/// A jailsupd of this test: as much of one as has to do with the staging pipe, killed at a point.
struct Brain<'a> {
    staging: Staging,
    log: Log,
    kill: &'a mut dyn FnMut() -> bool,
}

/// It was killed.
struct Killed;

impl Brain<'_> {
    fn point(&mut self) -> Result<(), Killed> {
        if (self.kill)() { Err(Killed) } else { Ok(()) }
    }

    /// What a jailsupd does first.
    fn recover(&mut self) -> Result<(), Killed> {
        if let Some((batch, left)) = self.staging.left().unwrap() {
            self.log.skip_to(batch.position);
            let stored = stored_of(&batch, left, self.log.position());
            let bytes = self.staging.look().unwrap();
            self.point()?;
            self.store(&bytes[usize::try_from(stored).unwrap()..], batch.stream)?;
        }
        self.staging.empty().unwrap();
        self.point()
    }

    /// Stores the first half, and may be killed in between: a write is cut short.
    fn store(&mut self, bytes: &[u8], stream: Stream) -> Result<(), Killed> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.log.store(first, stream, TIME).unwrap();
        self.point()?;
        self.log.store(second, stream, TIME).unwrap();
        self.point()
    }

    fn turn(&mut self, pipe: &OwnedFd, stream: Stream) -> Result<(), Killed> {
        let position = self.log.position();
        let batch = Batch { jail: "web".into(), stream, position };
        let filled = self.staging.fill(&batch, pipe).unwrap();
        self.point()?;
        if let Filled::Bytes(length) = filled {
            let bytes = self.staging.look().unwrap();
            assert_eq!(bytes.len(), length);
            self.store(&bytes, stream)?;
            self.staging.put_back(bytes);
            // Emptied only in part.
            let mut some = vec![0; length / 3];
            rustix::io::read(self.staging.fds()[0], &mut some).unwrap();
            self.point()?;
            self.staging.empty().unwrap();
            self.point()?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whenever jailsupd is killed, each byte is stored once.
    #[test]
    fn every_byte_is_stored_once_whenever_jailsupd_is_killed(
        writes in proptest::collection::vec((any::<bool>(), 0usize..50), 1..30),
        kills in proptest::collection::vec(any::<bool>(), 0..200),
        fragments: bool,
    ) {
        let (_directory, path) = directory();
        let pipes: Vec<(OwnedFd, OwnedFd)> = (0..2).map(|_| {
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap()
        }).collect();
        let keeper = Staging::new().unwrap();
        let (mut numbers, mut kills) = ([0u32; 2], kills.into_iter());
        let mut kill = || kills.next().unwrap_or(false);
        let streams = [Stream::Stdout, Stream::Stderr];
        let mut writes = writes.into_iter();
        let mut rounds = 0;
        loop {
            rounds += 1;
            prop_assert!(rounds < 1000);
            let [read, write, note] = keeper.fds().map(|fd| fd.try_clone_to_owned().unwrap());
            let staging = Staging::adopt(read, write, note).unwrap();
            let log = Log::in_file(path.clone(), 1 << 20);
            let mut brain = Brain { staging, log, kill: &mut kill };
            if brain.recover().is_err() {
                continue;
            }
            let result = (|| {
                loop {
                    let write = writes.next();
                    if let Some((second, count)) = write {
                        let which = usize::from(second);
                        for _ in 0..count {
                            let end = if fragments && numbers[which] % 3 == 0 { " " } else { "\n" };
                            let text = format!("{}{end}", numbers[which]);
                            rustix::io::write(&pipes[which].1, text.as_bytes()).unwrap();
                            numbers[which] += 1;
                        }
                    }
                    for (pipe, stream) in pipes.iter().zip(streams) {
                        brain.turn(&pipe.0, stream)?;
                    }
                    if write.is_none() {
                        return Ok(());
                    }
                }
            })();
            if let Ok(()) = result {
                break;
            }
            let _: Killed = result.err().unwrap();
        }
        let stored = all(&Log::in_file(path, 1 << 20));
        for (stream, last) in streams.into_iter().zip(numbers) {
            let of = stored.iter().filter(|line| line.stream == stream);
            let seen: Vec<u32> = of
                .flat_map(|line| line.text.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<u32>>())
                .collect();
            prop_assert_eq!(seen, (0..last).collect::<Vec<_>>());
        }
    }
}
