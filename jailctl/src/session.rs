//! A program in a jail as if it were here: its streams joined to ours, its end ours.
//!
//! jailsupd has given us the descriptors (docs/control.md, "Sessions"); from here on it has no part. One
//! loop, which only our own output may block: that makes the program wait for a slow reader.

pub(crate) mod console;
mod screen;
mod streams;

use std::io;
use std::time::Duration;

use jailsupd::control::wire::session::Message;
use jailsupd::control::wire::{ExitReport, StartError};
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{
    SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, send};

use crate::varlink::receive_fds;
use screen::Screen;
use streams::{Input, Output};

pub(crate) use screen::size;

/// After the program's end, how long its streams must be silent before no more is waited for: what it
/// left behind may hold them open.
const QUIET: Duration = Duration::from_millis(200);

/// The client's ends.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) session: OwnedFd,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The program was not executed.
    Failed(StartError),
    /// It ended.
    Ended(ExitReport),
    /// Nobody said: it was killed with its helper, as the jail's end does.
    Lost,
}

/// Joins the streams until the program has ended and all that it wrote is written. With `input` what we
/// read goes to a terminal, too; a pipe is there only when it was asked for.
pub(crate) fn attend(ends: Ends, input: bool) -> io::Result<End> {
    let mut session = Session::new(ends, input)?;
    loop {
        match session.end {
            Some(end) if session.is_silent()? => return Ok(end),
            _ => session.turn()?,
        }
    }
}

/// Waits for the end of a helper that copies.
pub(crate) fn wait(session: &OwnedFd) -> End {
    let mut bytes = [0; Message::LEN + 1];
    let received = receive_fds(session, &mut bytes, RecvFlags::empty());
    let length = received.map_or(0, |(length, _)| length);
    match bytes.get(..length).and_then(Message::decode) {
        Some(Message::Ended(report)) => End::Ended(report),
        Some(Message::Failed(error)) => End::Failed(error),
        _ => End::Lost,
    }
}

struct Session {
    socket: OwnedFd,
    signals: SignalFd,
    outputs: Vec<Output>,
    input: Input,
    /// The terminal, once it is there.
    screen: Option<Screen>,
    end: Option<End>,
}

/// What a descriptor of the loop is.
#[derive(Clone, Copy)]
enum What {
    Signals,
    Socket,
    Output(usize),
    Input,
    Sink,
}

impl Session {
    fn new(ends: Ends, input: bool) -> io::Result<Self> {
        let mut outputs = Vec::new();
        if let Some(stdout) = ends.stdout {
            outputs.push(Output::new(stdout, rustix::stdio::stdout())?);
        }
        if let Some(stderr) = ends.stderr {
            outputs.push(Output::new(stderr, rustix::stdio::stderr())?);
        }
        Ok(Self {
            socket: ends.session,
            signals: signals()?,
            outputs,
            input: Input::new(ends.stdin, input)?,
            screen: None,
            end: None,
        })
    }

    /// Whether nothing more is to be had from the streams.
    fn is_silent(&self) -> io::Result<bool> {
        let mut fds: Vec<PollFd<'_>> =
            self.outputs.iter().map(|output| PollFd::new(output.from(), PollFlags::IN)).collect();
        if fds.is_empty() {
            return Ok(true);
        }
        Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timespec(QUIET))))? == 0)
    }

    fn turn(&mut self) -> io::Result<()> {
        for what in self.wait()? {
            match what {
                What::Signals => self.on_signals(),
                What::Socket => self.on_socket()?,
                What::Output(index) => self.outputs[index].pass(),
                What::Input => self.input.fill(),
                What::Sink => self.input.drain(),
            }
        }
        self.outputs.retain(Output::is_open);
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<What>> {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![(What::Signals, PollFd::new(&self.signals, PollFlags::IN))];
        if self.end.is_none() {
            fds.push((What::Socket, PollFd::new(&self.socket, PollFlags::IN)));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            fds.push((What::Output(index), PollFd::new(output.from(), PollFlags::IN)));
        }
        if self.input.wants_more() {
            fds.push((What::Input, PollFd::new(&stdin, PollFlags::IN)));
        }
        if let Some(sink) = self.input.has_more_for() {
            fds.push((What::Sink, PollFd::new(sink, PollFlags::OUT)));
        }
        let (what, mut fds): (Vec<What>, Vec<PollFd<'_>>) = fds.into_iter().unzip();
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let ready = what.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(what, _)| what).collect())
    }

    /// The program gets our signals; the terminal's size is ours to set.
    fn on_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == SIGWINCH as i32 {
                if let Some(screen) = &self.screen {
                    screen.resize();
                }
            } else if number == SIGCONT as i32 {
                // Whoever had the terminal meanwhile may have set it otherwise.
                if let Some(screen) = &self.screen {
                    screen.set_raw();
                }
            } else {
                let _ = send(&self.socket, &Message::Signal(number).encode(), SendFlags::NOSIGNAL);
            }
        }
    }

    fn on_socket(&mut self) -> io::Result<()> {
        let mut bytes = [0; Message::LEN + 1];
        let (length, fds) = match receive_fds(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                return Ok(());
            }
            // It was closed with something of ours unread.
            Err(_) => (0, Vec::new()),
            Ok(received) => received,
        };
        match bytes.get(..length).and_then(Message::decode) {
            Some(Message::Failed(error)) => self.end = Some(End::Failed(error)),
            Some(Message::Ended(report)) => self.end = Some(End::Ended(report)),
            Some(Message::Terminal) if self.screen.is_none() => {
                if let Some(master) = fds.into_iter().next() {
                    self.on_terminal(&master)?;
                }
            }
            // No helper of ours says anything else.
            _ => self.end = Some(End::Lost),
        }
        Ok(())
    }

    fn on_terminal(&mut self, master: &OwnedFd) -> io::Result<()> {
        self.outputs.push(Output::new(master.try_clone()?, rustix::stdio::stdout())?);
        self.input.connect_terminal(master.try_clone()?)?;
        self.screen = Some(Screen::new(master.try_clone()?, self.input.wants_more()));
        Ok(())
    }
}

/// Those that are taken in the loop, and by nobody else.
fn signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&signals, flags)?)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
