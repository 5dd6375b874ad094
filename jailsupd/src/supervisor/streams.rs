//! Logs on their way to clients, merged by time: a block at a time, as fast as the client reads and no faster than
//! everything else allows.
//!
//! Nothing is held for a client that does not read: what it has not seen is in the logs' files, and when it is gone from
//! there before its turn has come, the client is told how much that was.

use super::poller::JailId;
use super::syncing::Of;
use super::{Supervisor, clock, report};
use crate::control::server::ClientId;
use crate::control::wire::{LogLine, Reply};
use crate::exec::logs::{Cursor, Line, Log, Seen, Stream};
use std::collections::VecDeque;

/// Lines that are sent to one client at a turn.
const TURN: usize = 256;
/// Bytes of text that are sent to one client at a turn.
const TURN_BYTES: usize = 64 << 10;
/// Files that are read for one client at a turn.
const READS: usize = 64;
/// Beyond so many logs at once, less of each is read at once.
const MANY: usize = 16;
/// Streams of one client; the oldest goes.
const STREAMS_MAX: usize = 8;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// None: all jails.
    pub(super) names: Option<Vec<String>>,
    /// None: beside all jails.
    pub(super) kernel: Option<bool>,
    /// Only the last so many.
    pub(super) lines: Option<u64>,
    /// From and until when, in milliseconds since 1970.
    pub(super) times: (u64, u64),
    pub(super) follow: bool,
}

/// Logs that are being sent.
#[derive(Debug)]
pub(super) struct LogStream {
    pub(super) client: ClientId,
    parts: Vec<Part>,
    times: (u64, u64),
    /// Lines that are left out first.
    skip: usize,
    /// Go on with new lines when everything stored is sent.
    follow: bool,
    /// Jails that come later belong to it.
    of_all: bool,
    /// The client knows that everything stored was sent.
    told: bool,
    /// There may be something to send.
    ready: bool,
}

/// One log of several.
#[derive(Debug)]
struct Part {
    of: Of,
    /// The jail.
    name: Option<String>,
    cursor: Cursor,
    /// Read and not sent.
    lines: VecDeque<Line>,
    /// The log's position up to which it is read; none for what goes on. A jail that prints without end would
    /// never be read to its end.
    until: Option<u64>,
    /// There may be more to read.
    grown: bool,
    /// The jail is gone, or all that was asked for is read: nothing more will come.
    gone: bool,
}

impl Part {
    fn new(of: Of, name: Option<&str>, cursor: Cursor, until: Option<u64>) -> Self {
        let name = name.map(str::to_owned);
        Self { of, name, cursor, lines: VecDeque::new(), until, grown: true, gone: false }
    }

    fn read(&mut self) {
        match self.cursor.next_lines() {
            Ok(Some(lines)) => {
                self.lines.extend(lines);
                if self.until.is_some_and(|until| self.cursor.has_reached(until)) {
                    self.end();
                }
            }
            Ok(None) if self.gone || self.until.is_some() => self.end(),
            Ok(None) => self.grown = false,
            Err(error) => {
                self.grown = false;
                self.remark(format!("[the log cannot be read: {error}]"));
            }
        }
        let Seen { missed, damaged } = self.cursor.seen();
        if damaged > 0 {
            self.remark(format!("[{damaged} lines are damaged and left out]"));
        }
        if missed > 0 {
            self.remark(format!("[{missed} bytes were gone before they were read here]"));
        }
    }

    /// Nothing more of it is read.
    fn end(&mut self) {
        (self.grown, self.gone) = (false, true);
        self.lines.extend(self.cursor.rest());
    }

    /// A line before those that were read.
    fn remark(&mut self, text: String) {
        let time = self.lines.front().map_or_else(clock::wall_ms, |line| line.time);
        self.lines.push_front(Line { time, stream: Stream::Warder, text });
    }
}

impl LogStream {
    /// Whether calls of this client wait until everything stored was sent.
    pub(super) fn holds(&self, client: ClientId) -> bool {
        self.client == client && !self.told
    }

    /// The next lines to send; none when all are sent.
    fn advance(&mut self) -> Option<Vec<(Option<String>, Line)>> {
        let unread = |part: &&mut Part| part.grown && part.lines.is_empty();
        self.parts.iter_mut().filter(unread).take(READS).for_each(Part::read);
        self.parts.retain(|part| !part.gone || part.grown || !part.lines.is_empty());
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < TURN && bytes < TURN_BYTES {
            // Only when a line of each log is there, it is known which is next.
            if self.parts.iter().any(|part| part.grown && part.lines.is_empty()) {
                return Some(taken);
            }
            let with_time = |part: &Part| part.lines.front().map(|line| line.time);
            let next = self.parts.iter_mut().filter(|part| !part.lines.is_empty());
            let next = next.min_by_key(|part| with_time(part));
            let Some((part, line)) = next.and_then(|part| {
                let line = part.lines.pop_front()?;
                Some((part, line))
            }) else {
                return (!taken.is_empty()).then_some(taken);
            };
            let wanted = self.skip == 0 && (self.times.0..=self.times.1).contains(&line.time);
            self.skip = self.skip.saturating_sub(1);
            bytes += line.text.len();
            if wanted {
                taken.push((part.name.clone(), line));
            }
        }
        Some(taken)
    }

    /// Nothing more will ever come.
    fn is_over(&self) -> bool {
        !self.follow || (self.parts.is_empty() && !self.of_all)
    }
}

impl Supervisor {
    /// Begins to send logs: all of them or their last lines, from a time on.
    pub(super) fn send_logs(&mut self, client: ClientId, wanted: &Wanted) {
        let ids = match &wanted.names {
            None => self.jails.ids(),
            Some(names) => {
                let mut ids = Vec::new();
                for name in names {
                    match self.jails.find(name) {
                        Some(id) if !ids.contains(&id) => ids.push(id),
                        Some(_) => {}
                        None => {
                            let refusal = Reply::refusal(&self.no_such_jail(name));
                            return self.reply(client, &refusal);
                        }
                    }
                }
                ids
            }
        };
        let of_all = wanted.names.is_none();
        let kernel = wanted.kernel.unwrap_or(of_all);
        let count = wanted.lines.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let (mut parts, mut found) = (Vec::new(), 0usize);
        let mut add = |of: Of, name: Option<&str>, log: &Log, until| match log.cursor(count) {
            Ok((cursor, lines)) => {
                parts.push(Part::new(of, name, cursor, until));
                found += lines;
            }
            Err(error) => log::warn!("{} cannot be read: {error}", log.path().display()),
        };
        for id in ids {
            if let Some(jail) = self.jails.get_mut(id) {
                let until = (!wanted.follow).then(|| jail.log.position());
                add(Of::Jail(id), Some(&jail.name), &jail.log, until);
            }
        }
        if kernel {
            // Its positions begin anew with each boot: it is read to its end.
            add(Of::Kernel, None, &self.kernel.log, (!wanted.follow).then_some(u64::MAX));
        }
        if parts.len() > MANY {
            parts.iter_mut().for_each(|part| part.cursor.read_less());
        }
        let skip = count.map_or(0, |count| found.saturating_sub(count));
        let (times, follow) = (wanted.times, wanted.follow);
        let (told, ready) = (false, true);
        self.streams.push(LogStream { client, parts, times, skip, follow, of_all, told, ready });
        let mut of_client = self.streams.iter().filter(|stream| stream.client == client).count();
        self.streams.retain(|stream| {
            let goes = stream.client == client && of_client > STREAMS_MAX;
            of_client -= usize::from(goes);
            !goes
        });
    }

    /// Whether a client could take more of a log at once.
    pub(super) fn has_streams_to_feed(&self) -> bool {
        self.streams.iter().any(|stream| stream.ready && !self.server.is_behind(stream.client))
    }

    /// Sends the next lines to each client that has read the last ones.
    pub(super) fn feed_streams(&mut self) {
        // What their next calls lead to may concern streams that are not back in their place yet.
        let mut answered = Vec::new();
        for mut stream in std::mem::take(&mut self.streams) {
            if !stream.ready || self.server.is_behind(stream.client) {
                self.streams.push(stream);
                continue;
            }
            let client = stream.client;
            let next = stream.advance();
            let is_end = next.is_none();
            let mut replies: Vec<Reply> = next
                .into_iter()
                .flatten()
                .map(|(jail, line)| line_reply(jail.as_deref(), &line))
                .collect();
            let mut answers_others = false;
            if is_end && stream.is_over() {
                replies.push(Reply::with(&LogLine::default()));
                answers_others = true;
            } else {
                if is_end {
                    stream.ready = false;
                    if !std::mem::replace(&mut stream.told, true) {
                        replies.push(Reply::with(&LogLine::default()).continued());
                        answers_others = true;
                    }
                }
                self.streams.push(stream);
            }
            self.reply_all(client, &replies);
            answered.push((client, answers_others));
        }
        for (client, answers_others) in answered {
            if answers_others {
                self.answer_calls(client);
            }
            self.want_output(client);
        }
    }

    /// Something was stored in a jail's log.
    pub(super) fn grown(&mut self, id: JailId) {
        self.grown_log(Of::Jail(id));
    }

    /// Something was stored.
    pub(super) fn grown_log(&mut self, of: Of) {
        self.syncing.mark(of, clock::now());
        for stream in &mut self.streams {
            for part in stream.parts.iter_mut().filter(|part| part.of == of && !part.gone) {
                part.grown = true;
                stream.ready = true;
            }
        }
    }

    /// There is a new jail: it belongs to the streams of all.
    pub(super) fn follow_new(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        for stream in self.streams.iter_mut().filter(|stream| stream.of_all && stream.follow) {
            if let Ok((cursor, _)) = jail.log.cursor(Some(0)) {
                stream.parts.push(Part::new(Of::Jail(id), Some(&jail.name), cursor, None));
            }
        }
    }

    /// A jail is gone. What its log has is still sent.
    pub(super) fn follow_no_more(&mut self, id: JailId) {
        for stream in &mut self.streams {
            let part = |part: &&mut Part| part.of == Of::Jail(id) && !part.gone;
            for part in stream.parts.iter_mut().filter(part) {
                (part.gone, part.grown, stream.ready) = (true, true, true);
            }
        }
    }

    /// Sends replies at once.
    fn reply_all(&mut self, client: ClientId, replies: &[Reply]) {
        if !self.server.reply_all(client, replies) {
            self.hang_up(client);
        }
    }
}

fn line_reply(jail: Option<&str>, line: &Line) -> Reply {
    Reply::with(&LogLine { entry: Some(report::entry(line, jail)) }).continued()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(logs: &[&[(u64, &str)]], follow: bool) -> (tempfile::TempDir, LogStream) {
        let directory = tempfile::tempdir().unwrap();
        let mut parts = Vec::new();
        for (number, lines) in logs.iter().enumerate() {
            let mut log = Log::in_file(directory.path().join(format!("{number}.log")), 1 << 20);
            for (time, text) in *lines {
                log.store(format!("{text}\n").as_bytes(), Stream::Stdout, *time).unwrap();
            }
            let id = u32::try_from(number).unwrap();
            let cursor = log.cursor(None).unwrap().0;
            let until = (!follow).then(|| log.position());
            parts.push(Part::new(Of::Jail(id), Some(&number.to_string()), cursor, until));
        }
        let (times, skip) = ((0, u64::MAX), 0);
        let (of_all, told, ready) = (false, false, true);
        (directory, LogStream { client: 0, parts, times, skip, follow, of_all, told, ready })
    }

    fn all(stream: &mut LogStream) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(lines) = stream.advance() {
            texts.extend(lines.into_iter().map(|(_, line)| line.text));
        }
        texts
    }

    #[test]
    fn logs_are_merged_by_time() {
        let logs: [&[(u64, &str)]; 3] =
            [&[(1, "a"), (4, "d"), (4, "e")], &[(2, "b"), (9, "f")], &[(3, "c")]];
        assert_eq!(all(&mut stream(&logs, false).1).concat(), "abcdef");
        let (_directory, mut some) = stream(&logs, false);
        (some.skip, some.times) = (1, (3, 4));
        assert_eq!(all(&mut some).concat(), "cde");
    }

    #[test]
    fn who_does_not_follow_gets_what_was_there_when_it_asked() {
        let (directory, mut stream) = stream(&[&[(1, "a")]], false);
        stream.parts[0].cursor.read_less();
        let mut log = Log::in_file(directory.path().join("0.log"), 1 << 20);
        let mut read = Vec::new();
        // The writer is always ahead.
        for _ in 0..10 {
            let Some(lines) = stream.advance() else { break };
            let line = format!("{}\n", "x".repeat(5000));
            log.store(line.as_bytes(), Stream::Stdout, 2).unwrap();
            stream.parts.iter_mut().filter(|part| !part.gone).for_each(|part| part.grown = true);
            read.extend(lines.into_iter().map(|(_, line)| line.text));
        }
        assert_eq!(read, ["a"]);
    }

    #[test]
    fn a_stream_goes_on_with_what_grows_and_ends_with_the_jails() {
        let (directory, mut stream) = stream(&[&[(1, "a")], &[(2, "b")]], true);
        assert_eq!(all(&mut stream).concat(), "ab");
        let mut log = Log::in_file(directory.path().join("0.log"), 1 << 20);
        log.store(b"half", Stream::Stdout, 3).unwrap();
        stream.parts[0].grown = true;
        assert_eq!(all(&mut stream).concat(), "");
        for part in &mut stream.parts {
            (part.gone, part.grown) = (true, true);
        }
        assert!(!stream.is_over());
        assert_eq!(all(&mut stream).concat(), "half");
        assert!(stream.is_over());
    }
}
