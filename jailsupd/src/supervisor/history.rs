//! What happened to jails: kept in a bounded file beside the jails' logs, passed on to who follows.

use super::jail::Jail;
use super::losses::Unstored;
use super::syncing::Of;
use super::{Supervisor, clock, end};
use crate::control::server::ClientId;
use crate::control::wire::{Event, EventLine, ExitReason, JailState, Reply};
use crate::exec::Layout;
use crate::exec::logs::{Line, Log, Stream};
use crate::machine::{Moment, State, Want};
use crate::unit::amount::show_duration;
use std::io;
use std::time::Duration;

/// The file; no jail's name starts like this.
const FILE: &str = "_events.log";
/// The most that is kept; half of that at least.
const SIZE_MAX: u64 = 1 << 20;
/// Events that `why` shows.
const RECENT: usize = 10;

/// The events of all jails.
#[derive(Debug)]
pub(super) struct History {
    pub(super) log: Log,
    unstored: Unstored,
}

impl History {
    pub(super) fn new(layout: &Layout) -> Self {
        let log = Log::in_file(layout.logs().join(FILE), SIZE_MAX);
        Self { log, unstored: Unstored::default() }
    }

    /// When events that are missing are to be told.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.unstored.deadline()
    }

    fn store(&mut self, event: &Event) -> io::Result<()> {
        let text = serde_json::to_string(event)?;
        self.log.append(&[Line { time: event.time, stream: Stream::Warder, text }])
    }

    /// Stores an event, and before it how many are missing, if any are. Gives what is to be passed on.
    fn add(&mut self, event: Event, now: Moment) -> Vec<Event> {
        let told = self.tell_unstored(now);
        let stored = told.and_then(|told| self.store(&event).map(|()| told));
        let told = stored.unwrap_or_else(|error| {
            if self.unstored.add(1, now) {
                log::error!("events cannot be stored: {error}");
            }
            None
        });
        told.into_iter().chain([event]).collect()
    }

    /// Tells how many events are missing, if any are.
    fn tell_unstored(&mut self, now: Moment) -> io::Result<Option<Event>> {
        let Some(why) = self.unstored.sentence("event") else { return Ok(None) };
        let (time, jail) = (clock::wall_ms(), String::new());
        let event = Event { time, jail, from: None, to: None, reason: None, why };
        if let Err(error) = self.store(&event) {
            self.unstored.put_off(now);
            return Err(error);
        }
        self.unstored = Unstored::default();
        Ok(Some(event))
    }
}

impl Supervisor {
    /// Records a change of state, or with no states something else that people should know.
    pub(super) fn record(&mut self, jail: &str, states: Option<(JailState, JailState)>, why: &str) {
        let event = Event {
            time: clock::wall_ms(),
            jail: jail.to_owned(),
            from: states.map(|(from, _)| from),
            to: states.map(|(_, to)| to),
            reason: states.and_then(|states| self.reason_of(jail, states)),
            why: why.to_owned(),
        };
        for event in self.history.add(event, clock::now()) {
            self.pass_on(&event);
        }
        self.grown_log(Of::Events);
        self.note_event(jail, states.map(|(_, to)| to), why);
    }

    /// Why a jail that has just changed its state so has ended, or is to end.
    fn reason_of(&self, jail: &str, states: (JailState, JailState)) -> Option<ExitReason> {
        let jail = self.jails.get(self.jails.find(jail)?)?;
        let ended = jail.last_exit.as_ref().map(|exit| exit.reason);
        match states {
            (_, JailState::Stopping) => end::reason_of(jail.machine.cause()?),
            // Of one that nobody wants any more nothing follows; before it was started, nothing has ended either.
            (JailState::Cleaning, _) | (JailState::Preparing, JailState::Cleaning) => {
                ended.filter(|_| jail.machine.want == Want::Up)
            }
            (_, JailState::Cleaning) => ended,
            _ => None,
        }
    }

    /// Tells how many events are missing, when its time has come.
    pub(super) fn tell_unstored_events(&mut self, now: Moment) {
        if self.history.deadline().is_none_or(|at| at > now) {
            return;
        }
        if let Ok(Some(event)) = self.history.tell_unstored(now) {
            self.grown_log(Of::Events);
            self.pass_on(&event);
        }
    }

    /// Sends it to who follows.
    fn pass_on(&mut self, event: &Event) {
        let following: Vec<ClientId> = self
            .event_followers
            .iter()
            .filter(|(_, name)| concerns(event, name.as_deref()))
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
            Some(to @ JailState::Backoff) => {
                let state = self.jails.get(id).map(|jail| jail.machine.state);
                if let Some(State::Backoff { until }) = state {
                    let wait = show_wait(until.saturating_sub(clock::now()));
                    self.note(id, &format!("{to}: the next try is in {wait}"));
                }
            }
            // What it waits for is told without a state.
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
        let mut past = past(&self.history.log, name.as_deref());
        // Of a jail that is to come one may wait for events.
        let unknown = name.as_deref().filter(|name| self.jails.find(name).is_none());
        let is_its = |event: &Event| !event.jail.is_empty();
        if let Some(name) = unknown.filter(|_| !past.iter().any(is_its) && !follow) {
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
        let mut events = past(&self.history.log, Some(name));
        events.split_off(events.len().saturating_sub(RECENT))
    }
}

/// To tenths of a second, upwards.
fn show_wait(wait: Duration) -> String {
    let tenths = u64::try_from(wait.as_millis().div_ceil(100)).unwrap_or(u64::MAX);
    show_duration(Duration::from_millis(tenths.saturating_mul(100)))
}

fn past(history: &Log, name: Option<&str>) -> Vec<Event> {
    let lines = history.tail(usize::MAX).unwrap_or_else(|error| {
        log::warn!("the events cannot be read: {error}");
        Vec::new()
    });
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Event>(&line.text).ok());
    events.filter(|event| concerns(event, name)).collect()
}

/// Whether who asks for this jail, or for all, is to see it. That some are missing concerns everyone.
fn concerns(event: &Event, name: Option<&str>) -> bool {
    event.jail.is_empty() || name.is_none_or(|name| event.jail == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(why: &str) -> Event {
        let (jail, why) = ("web".into(), why.into());
        Event { time: 1, jail, from: None, to: None, reason: None, why }
    }

    fn whys(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.why.as_str()).collect()
    }

    #[test]
    fn a_wait_is_told_in_tenths_of_a_second() {
        for (ms, shown) in [(0, "0s"), (998, "1s"), (1001, "1s100ms"), (90_000, "1m30s")] {
            assert_eq!(show_wait(Duration::from_millis(ms)), shown);
        }
    }

    #[test]
    fn events_without_room_are_passed_on_and_told_as_soon_as_there_is_some() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("log");
        let log = Log::in_file(place.join(FILE), SIZE_MAX);
        let mut history = History { log, unstored: Unstored::default() };
        let now = Moment::ZERO;
        // A file where the directory should be.
        std::fs::write(&place, "").unwrap();
        assert_eq!(whys(&history.add(event("one"), now)), ["one"]);
        assert_eq!(whys(&history.add(event("two"), now)), ["two"]);
        assert!(history.tell_unstored(now).is_err() && history.deadline().is_some());
        std::fs::remove_file(&place).unwrap();
        let told = "2 events were not stored: the data partition had no room for them";
        assert_eq!(whys(&history.add(event("three"), now)), [told, "three"]);
        assert_eq!(history.deadline(), None);
        assert_eq!(whys(&past(&history.log, Some("web"))), [told, "three"]);
        assert_eq!(whys(&past(&history.log, Some("other"))), [told]);
    }
}
