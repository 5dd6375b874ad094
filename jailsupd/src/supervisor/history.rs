//! What happened to jails: kept in a bounded file beside the jails' logs, passed on to who follows.

use super::jail::Jail;
use super::syncing::Of;
use super::{Supervisor, clock};
use crate::control::server::ClientId;
use crate::control::wire::{Event, EventLine, JailState, Reply};
use crate::exec::logs::{Line, Log, Stream};

/// Events that `why` shows.
const RECENT: usize = 10;

impl Supervisor {
    /// Records a change of state, or with no states something else that people should know.
    pub(super) fn record(&mut self, jail: &str, states: Option<(JailState, JailState)>, why: &str) {
        let event = Event {
            time: clock::wall_ms(),
            jail: jail.to_owned(),
            from: states.map(|(from, _)| from),
            to: states.map(|(_, to)| to),
            why: why.to_owned(),
        };
        let Ok(text) = serde_json::to_string(&event) else { return };
        let line = Line { time: event.time, stream: Stream::Warder, text };
        // A full disk is said once, where jails' lines are lost.
        let _ = self.history.append(&[line]);
        self.grown_log(Of::Events);
        self.note_event(jail, states.map(|(_, to)| to), why);
        let following: Vec<ClientId> = self
            .event_followers
            .iter()
            .filter(|(_, name)| name.as_ref().is_none_or(|name| name == jail))
            .map(|(client, _)| *client)
            .collect();
        for client in following {
            let line = EventLine { event: Some(event.clone()) };
            self.reply(client, &Reply::with(&line).continued());
            self.want_output(client);
        }
    }

    /// What people look for in the jail's own log. Its end is there already.
    fn note_event(&mut self, jail: &str, to: Option<JailState>, why: &str) {
        let Some(id) = self.jails.find(jail) else { return };
        match to {
            None => self.note(id, why),
            // Lines of an earlier life that nobody has ended, since the power was cut.
            Some(JailState::Starting) => {
                let jail = self.jails.get_mut(id);
                let is_free = |jail: &&mut Jail| !jail.is_run() && self.output.is_free(&jail.name);
                if let Some(jail) = jail.filter(is_free) {
                    let result = jail.log.finish(clock::wall_ms());
                    self.stored(id, result);
                }
            }
            Some(to @ (JailState::Up | JailState::Stopping | JailState::Failed)) => {
                self.note(id, &format!("{to}: {why}"));
            }
            Some(_) => {}
        }
    }

    /// Sends what is remembered, and with `follow` what comes.
    pub(super) fn send_events(
        &mut self,
        client: ClientId,
        (name, lines): (Option<String>, Option<u64>),
        follow: bool,
    ) {
        let mut past = past(&self.history, name.as_deref());
        // Of a jail that is to come one may wait for events.
        let unknown = name.as_deref().filter(|name| self.jails.find(name).is_none());
        if let Some(name) = unknown.filter(|_| past.is_empty() && !follow) {
            return self.reply(client, &Reply::refusal(&self.no_such_jail(name)));
        }
        let lines = lines.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        for event in past.split_off(past.len().saturating_sub(lines)) {
            let line = EventLine { event: Some(event) };
            self.reply(client, &Reply::with(&line).continued());
        }
        if follow {
            // Once for each client, however often it asks: what is held for it stays bounded.
            self.event_followers.retain(|(follower, _)| *follower != client);
            self.event_followers.push((client, name));
        } else {
            self.reply(client, &Reply::with(&EventLine::default()));
        }
    }

    /// The last events of a jail, the oldest first.
    pub(super) fn recent_events(&self, name: &str) -> Vec<Event> {
        let mut events = past(&self.history, Some(name));
        events.split_off(events.len().saturating_sub(RECENT))
    }
}

fn past(history: &Log, name: Option<&str>) -> Vec<Event> {
    let lines = history.tail(usize::MAX).unwrap_or_else(|error| {
        log::warn!("the events cannot be read: {error}");
        Vec::new()
    });
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Event>(&line.text).ok());
    events.filter(|event| name.is_none_or(|name| event.jail == name)).collect()
}
