//! What services say of themselves (sd_notify(3)): heard, done, and kept where it outlives this program.

use super::clock::microseconds;
use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::exec::notify::{Message, Socket, Watchdog};
use crate::exec::state::Notified;
use crate::machine::{Event, Moment, News, State};
use crate::unit::{Notify, Unit};
use rustix::fd::OwnedFd;
use std::time::Duration;

/// Messages of one jail that are heard in one turn of the loop.
const A_TURN: u32 = 16;
/// Messages of one jail that are heard in a [`SPAN`]; then its socket waits for the next one, and its senders with it.
const A_SPAN: u32 = 200;
const SPAN: Duration = Duration::from_secs(1);

/// One jail's socket, and how much it may still say.
#[derive(Debug)]
pub(super) struct Voice {
    socket: Option<Socket>,
    /// When the present span began, and the messages in it.
    span: (Moment, u32),
    /// It said too much: when it is heard again.
    deaf_until: Option<Moment>,
}

impl Voice {
    pub(super) fn new(socket: Option<OwnedFd>) -> Self {
        Self { socket: socket.map(Socket::of), span: (Moment::ZERO, 0), deaf_until: None }
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// When something is to be done about it.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.deaf_until
    }

    /// Whether one more message may be heard now.
    fn may_speak(&mut self, now: Moment) -> bool {
        if now.saturating_sub(self.span.0) >= SPAN {
            self.span = (now, 0);
        }
        let may = self.span.1 < A_SPAN;
        self.span.1 += u32::from(may);
        may
    }
}

/// What a jail that is started must say, to be remembered.
pub(super) fn expected(unit: &Unit) -> Notified {
    let must = unit.process.notify != Notify::None;
    Notified {
        within_us: must.then(|| microseconds(unit.start.timeout)),
        watchdog_us: unit.process.watchdog.map(microseconds),
        ..Notified::default()
    }
}

impl Supervisor {
    /// A service has said something.
    pub(super) fn on_notify(&mut self, id: JailId) {
        for _ in 0..A_TURN {
            let now = clock::now();
            let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else {
                return;
            };
            let Some(message) = life.voice.socket().and_then(Socket::peek) else { return };
            if !life.voice.may_speak(now) {
                return self.turn_away(id);
            }
            self.heed(id, &message);
            self.store_notified(id);
            // Only now: whoever comes after a sudden end of this program hears it again.
            let life = self.jails.get(id).and_then(|jail| jail.life.as_ref());
            if let Some(socket) = life.and_then(|life| life.voice.socket()) {
                socket.take();
            }
        }
    }

    /// It says too much to be listened to all the time.
    fn turn_away(&mut self, id: JailId) {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else { return };
        let voice = &mut life.voice;
        voice.deaf_until = Some(voice.span.0.saturating_add(SPAN));
        if let Some(socket) = voice.socket() {
            self.poller.forget(socket);
        }
    }

    /// Its time has come: it is heard again.
    pub(super) fn tick_notify(&mut self, id: JailId, now: Moment) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = &mut jail.life else { return };
        if life.voice.deaf_until.is_none_or(|until| until > now) {
            return;
        }
        life.voice.deaf_until = None;
        if let Some(socket) = life.voice.socket() {
            if let Err(error) = self.poller.watch(socket, Source::Notify(id)) {
                log::error!(
                    "jail={} its notifications are not heard any more: {error}; restart it",
                    jail.name
                );
            }
        }
    }

    fn heed(&mut self, id: JailId, message: &Message) {
        // The pipe that tells of the execution may be read after what the program says at once.
        let is_starting = |state| matches!(state, State::Starting { .. });
        if self.jails.get(id).is_some_and(|jail| is_starting(jail.machine.state)) {
            self.apply(id, Event::Executed, "its program speaks");
        }
        let Some(jail) = self.jails.get_mut(id) else { return };
        let must_say =
            jail.loaded.as_ref().is_some_and(|loaded| loaded.unit.process.notify == Notify::Ready);
        let Some(life) = jail.life.as_mut() else { return };
        let notified = &mut life.stored.notified;
        if let Some(status) = &message.status {
            notified.status.clone_from(status);
        }
        notified.errno = message.errno.or(notified.errno);
        notified.reloading = (notified.reloading || message.reloading) && !message.ready;
        if let Some(time) = message.watchdog_time {
            // Zero is systemd's word for "not any more".
            notified.watchdog_us = Some(microseconds(time)).filter(|time| *time != 0);
        }
        if message.ready && must_say {
            self.apply(id, Event::News(News::Ready), "it says that it is ready");
        }
        if message.watchdog_time.is_some() {
            // As one that is thawed: it is to give signs by what holds from now on.
            let frozen = self.jails.get(id).is_some_and(|jail| jail.frozen);
            self.apply(
                id,
                Event::News(News::Frozen(frozen)),
                "it gives signs of life at another pace",
            );
        } else if message.watchdog == Some(Watchdog::Alive) {
            self.apply(id, Event::News(News::Alive), "it gave a sign of life");
        }
        if message.watchdog == Some(Watchdog::Trigger) {
            self.apply(id, Event::News(News::Stuck), "it says that it is stuck");
        }
        if message.stopping {
            self.apply(id, Event::News(News::Stopping), "it says that it is about to end");
        }
        // For what it is doing from now on, where it says that, too.
        if let Some(time) = message.extend {
            self.apply(id, Event::News(News::Extend(time)), "it asks for more time");
        }
    }

    /// Has the keeper remember what a running jail has said, if that is new.
    pub(super) fn store_notified(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = &mut jail.life else { return };
        let notified = &mut life.stored.notified;
        match jail.machine.state {
            State::Activating { ready_by } => notified.ready_by_us = Some(microseconds(ready_by)),
            // A jail that need not say anything is ready as of its start.
            State::Up { since, well_since, runtime_until, .. } => {
                notified.well_us = well_since.filter(|well| *well != since).map(microseconds);
                if notified.within_us.is_some() {
                    notified.ready_us = Some(microseconds(since));
                }
                notified.runtime_until_us = runtime_until.map(microseconds);
            }
            _ => {}
        }
        self.store_life(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_has_its_share_of_each_span() {
        let mut voice = Voice::new(None);
        let second = Duration::from_secs;
        let heard = |voice: &mut Voice, now| (0..1000).filter(|_| voice.may_speak(now)).count();
        assert_eq!(heard(&mut voice, second(5)), 200);
        assert_eq!(heard(&mut voice, second(5) + SPAN / 2), 0);
        assert_eq!(heard(&mut voice, second(6)), 200);
    }
}
