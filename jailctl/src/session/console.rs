//! A terminal of a jail as if it were ours, for a while.
//!
//! Keys go to its master; what it shows comes over a socket of jailsupd, for others may look, too. When
//! jailsupd is replaced, the terminal stays: we ask the next one.

use std::io;
use std::time::{Duration, Instant};

use jailsupd::control::wire::Attached;
use nix::sys::signal::Signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;

use super::screen::Screen;
use super::streams::{Input, Output};
use super::{signals, timespec};
use crate::error::Error;
use crate::keys::{Detach, Keys};
use crate::varlink::Client;

/// How long a jailsupd that is replaced may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long until it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A jail's terminal, with the call that it was given by.
pub(crate) struct Place {
    pub(crate) call: Client,
    pub(crate) terminal: OwnedFd,
    pub(crate) output: OwnedFd,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By our own keys, or a signal to us.
    Detached,
    /// With the program.
    Ended(String),
}

/// Joins our terminal to the jail's until the program ends, or we detach. `again` asks for it once more.
pub(crate) fn attend(
    place: Place,
    keys: &Keys,
    again: impl Fn() -> Result<Place, Error>,
) -> Result<End, Error> {
    let broken = Error::Session;
    let mut console = Console::new(place, keys).map_err(broken)?;
    loop {
        if let Some(end) = console.turn().map_err(broken)? {
            return Ok(end);
        }
        let Some(since) = console.lost else { continue };
        match again() {
            Ok(place) => console.take(place).map_err(broken)?,
            Err(Error::Connect { .. } | Error::Connection(_) | Error::HungUp)
                if since.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
    }
}

struct Console {
    signals: SignalFd,
    input: Input,
    screen: Screen,
    /// None while there is no jailsupd.
    connected: Option<(Client, Output)>,
    /// Since when there is none.
    lost: Option<Instant>,
}

impl Console {
    fn new(place: Place, keys: &Keys) -> io::Result<Self> {
        let Place { call, terminal, output } = place;
        let signals = signals()?;
        let input = Input::of_console(terminal.try_clone()?, Detach::new(keys))?;
        let output = Output::new(output, rustix::stdio::stdout())?;
        let screen = Screen::new(terminal, true);
        Ok(Self { signals, input, screen, connected: Some((call, output)), lost: None })
    }

    /// The same terminal as before, or that of the jail's next life.
    fn take(&mut self, place: Place) -> io::Result<()> {
        let Place { call, terminal, output } = place;
        self.input.replace(terminal.try_clone()?)?;
        self.screen.replace(terminal);
        self.connected = Some((call, Output::new(output, rustix::stdio::stdout())?));
        self.lost = None;
        Ok(())
    }

    /// Waits for one thing to happen, or for a moment when there is nobody to wait for.
    fn turn(&mut self) -> io::Result<Option<End>> {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let with_input = self.input.wants_more();
        if with_input {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let sink = self.input.has_more_for();
        if let Some(sink) = sink {
            fds.push(PollFd::new(sink, PollFlags::OUT));
        }
        let with_sink = sink.is_some();
        if let Some((_, output)) = &self.connected {
            fds.push(PollFd::new(output.from(), PollFlags::IN));
        }
        let pause = self.lost.map(|_| timespec(PAUSE));
        rustix::io::retry_on_intr(|| poll(&mut fds, pause.as_ref()))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        let mut next = |there: bool| there && ready.next().unwrap_or(false);
        if next(true) && self.on_signals() {
            return Ok(Some(End::Detached));
        }
        if next(with_input) {
            self.input.fill();
        }
        if next(with_sink) {
            self.input.drain();
        }
        if self.input.is_detached() {
            // What was typed before them, as far as the program takes it.
            self.input.drain();
            return Ok(Some(End::Detached));
        }
        Ok(if next(self.connected.is_some()) { self.on_output() } else { None })
    }

    /// Shows what there is. The output ends with the program, or with jailsupd; then the call tells which.
    fn on_output(&mut self) -> Option<End> {
        let (call, output) = self.connected.as_mut()?;
        output.pass();
        if output.is_refused() {
            return Some(End::Detached);
        }
        if output.is_open() {
            return None;
        }
        let last = call.receive().ok().and_then(|reply| reply.results::<Attached>().ok());
        self.connected = None;
        let end = last.and_then(|attached| attached.end);
        if end.is_none() {
            self.lost = Some(Instant::now());
        }
        end.map(End::Ended)
    }

    /// Whether one of them means that we are to leave.
    fn on_signals(&mut self) -> bool {
        let mut leave = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            match number {
                _ if number == SIGWINCH as i32 => self.screen.resize(),
                _ if number == SIGCONT as i32 => self.screen.set_raw(),
                _ => {
                    let ends = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
                    leave |= ends.iter().any(|signal| *signal as i32 == number);
                }
            }
        }
        leave
    }
}
