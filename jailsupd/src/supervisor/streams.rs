//! Logs on their way to clients: a block at a time, as fast as the client reads and no faster than
//! everything else allows.

use super::poller::JailId;
use super::{Supervisor, report};
use crate::control::server::ClientId;
use crate::control::wire::{LogLine, Reply};
use crate::exec::logs::{Cursor, Line};

/// A log that is being sent.
#[derive(Debug)]
pub(super) struct LogStream {
    pub(super) client: ClientId,
    jail: JailId,
    cursor: Cursor,
    since: Option<u64>,
    /// Go on with new lines when everything stored is sent.
    follow: bool,
}

impl Supervisor {
    /// Begins to send a log: all of it or its last lines, from a time on.
    pub(super) fn send_log(
        &mut self,
        client: ClientId,
        jail: JailId,
        (lines, since): (Option<u64>, Option<u64>),
        follow: bool,
    ) {
        let count = lines.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let Some(of) = self.jails.get(jail) else { return };
        match of.log.cursor(count) {
            Ok(cursor) => {
                self.streams.push(LogStream { client, jail, cursor, since, follow });
            }
            Err(error) => {
                log::warn!("jail={} its log cannot be read: {error}", of.name);
                self.reply(client, &Reply::with(&LogLine::default()));
            }
        }
    }

    /// Whether a client could take more of a log at once.
    pub(super) fn has_streams_to_feed(&self) -> bool {
        self.streams.iter().any(|stream| !self.server.is_behind(stream.client))
    }

    /// Sends the next block of each log whose client has read the last one.
    pub(super) fn feed_streams(&mut self) {
        for mut stream in std::mem::take(&mut self.streams) {
            if self.server.is_behind(stream.client) {
                self.streams.push(stream);
                continue;
            }
            let more = self.jails.get(stream.jail).map(|jail| stream.cursor.next_lines(&jail.log));
            match more {
                Some(Ok(Some(lines))) => {
                    let client = stream.client;
                    let wanted =
                        lines.iter().filter(|line| stream.since.is_none_or(|at| line.time >= at));
                    let replies: Vec<Reply> = wanted.map(line_reply).collect();
                    self.streams.push(stream);
                    for reply in replies {
                        self.reply(client, &reply);
                    }
                    self.want_output(client);
                }
                Some(Ok(None) | Err(_)) | None => self.end_stream(&stream),
            }
        }
    }

    fn end_stream(&mut self, stream: &LogStream) {
        let follower = (stream.client, stream.jail);
        if !stream.follow || self.jails.get(stream.jail).is_none() {
            self.reply(stream.client, &Reply::with(&LogLine::default()));
        } else if !self.followers.contains(&follower) {
            self.followers.push(follower);
        }
        self.answer_calls(stream.client);
    }

    /// Passes new lines on to whoever follows this jail's log.
    pub(super) fn send_to_followers(&mut self, id: JailId, lines: &[Line]) {
        let of_jail = |(_, jail): &&(ClientId, JailId)| *jail == id;
        let following: Vec<ClientId> =
            self.followers.iter().filter(of_jail).map(|(client, _)| *client).collect();
        for client in following {
            for line in lines {
                self.reply(client, &line_reply(line));
            }
            self.want_output(client);
        }
    }
}

fn line_reply(line: &Line) -> Reply {
    Reply::with(&LogLine { entry: Some(report::entry(line)) }).continued()
}
