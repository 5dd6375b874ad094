//! Terminals of services: what they show goes to the log, and to whoever is attached to them.
//!
//! What a client types goes to the terminal without us, since it has a copy of the master. Only the output
//! passes here, for one reader must not take it away from another. Nobody is waited for: a client that does
//! not read is behind for a while, and then misses some.

use super::Supervisor;
use super::poller::{JailId, Poller, Source, swapped};
use crate::control::server::ClientId;
use crate::control::wire::{Attached, Reply, WireError};
use crate::exec::logs::{Pipe, read_some};
use crate::exec::terminal::{Look, Terminal};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, send};

/// What a client may be behind. It is then told how much it has missed.
const PENDING_MAX: usize = 256 << 10;

/// A client at a terminal.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) client: ClientId,
    jail: JailId,
    output: OwnedFd,
    /// What its socket did not take so far.
    pending: Vec<u8>,
    /// Bytes that there was no room for.
    missed: usize,
}

impl Console {
    /// False when nobody reads any more.
    fn show(&mut self, bytes: &[u8]) -> bool {
        let room = PENDING_MAX.saturating_sub(self.pending.len());
        // What comes after something was missed is missed, too, until that was told.
        let taken = if self.missed > 0 { 0 } else { bytes.len().min(room) };
        self.pending.extend_from_slice(&bytes[..taken]);
        self.missed += bytes.len() - taken;
        self.flush()
    }

    /// Sends what the socket takes; false as for [`Console::show`].
    fn flush(&mut self) -> bool {
        loop {
            if self.pending.is_empty() && self.missed > 0 {
                let missed = std::mem::take(&mut self.missed);
                self.pending = format!("\r\n[{missed} bytes were not read in time]\r\n").into();
            }
            if self.pending.is_empty() {
                return true;
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::io::retry_on_intr(|| send(&self.output, &self.pending, flags)) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl Supervisor {
    /// A terminal has arrived, or shows something.
    pub(super) fn on_terminal(&mut self, id: JailId) {
        if !self.has_terminal(id) {
            return;
        }
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = jail.life.as_mut() else { return };
        let Some(terminal) = &mut life.terminal else { return };
        let Some(master) = &terminal.master else { return };
        let mut bytes = Vec::new();
        let state = read_some(master, &mut bytes);
        if state == Pipe::Closed {
            self.poller.forget(master);
            life.terminal = None;
        } else {
            terminal.remember(&bytes);
        }
        self.store_shown(id, &bytes, state);
        self.show(id, &bytes);
    }

    /// Whether the jail's program has a terminal; looks for it if it has only now come.
    fn has_terminal(&mut self, id: JailId) -> bool {
        let Some(life) = self.jails.get_mut(id).and_then(|jail| jail.life.as_mut()) else {
            return false;
        };
        let Some(terminal) = &mut life.terminal else { return false };
        if terminal.master.is_some() {
            return true;
        }
        let found = match terminal.look() {
            Ok(Look::NotYet) => return false,
            Ok(Look::Found) => true,
            Ok(Look::Never) => false,
            Err(error) => {
                log::error!("the terminal of a jail cannot be had: {error}");
                return false;
            }
        };
        self.poller.forget(&terminal.socket);
        let watched = terminal.master.as_ref().map(|m| self.poller.watch(m, Source::Terminal(id)));
        if let Some(Err(error)) = watched {
            log::error!("the terminal of a jail cannot be watched: {error}");
        }
        if !found {
            life.terminal = None;
        }
        found
    }

    /// Everything that the terminal of a dead jail has shown.
    pub(super) fn drain_terminal(&mut self, id: JailId) {
        // What a terminal holds is bounded, and nobody writes any more: the kernel says so (EIO).
        for _ in 0..8 {
            if !self.has_terminal(id) {
                return;
            }
            self.on_terminal(id);
        }
    }

    fn show(&mut self, id: JailId, bytes: &[u8]) {
        let mut gone = Vec::new();
        for console in self.consoles.iter_mut().filter(|console| console.jail == id) {
            if !console.show(bytes) || !wait_for_room(&self.poller, console) {
                gone.push(console.client);
            }
        }
        gone.into_iter().for_each(|client| self.hang_up(client));
    }

    /// A client takes more, or is gone: it has nothing to say here.
    pub(super) fn on_console(&mut self, client: ClientId) {
        let Some(console) = self.consoles.iter_mut().find(|console| console.client == client)
        else {
            return;
        };
        let heard = rustix::net::recv(&console.output, &mut [0u8; 1], RecvFlags::DONTWAIT);
        let is_there = matches!(heard, Err(Errno::AGAIN | Errno::INTR));
        if !is_there || !console.flush() || !wait_for_room(&self.poller, console) {
            self.hang_up(client);
        }
    }

    /// Attaches a client to the terminal of a jail's program.
    pub(super) fn open_console(&mut self, client: ClientId, name: &str) {
        match self.attach(client, name) {
            Err(error) => self.reply(client, &Reply::refusal(&error)),
            Ok(fds) => {
                let places = Attached { terminal: Some(0), output: Some(1), end: None };
                if !self.server.reply_with(client, &Reply::with(&places).continued(), fds) {
                    self.hang_up(client);
                }
            }
        }
    }

    fn attach(&mut self, client: ClientId, name: &str) -> Result<Vec<OwnedFd>, WireError> {
        let impossible = |reason: String| WireError::NotPossible { name: name.to_owned(), reason };
        let Some(id) = self.jails.find(name) else {
            return Err(self.no_such_jail(name));
        };
        let here = self.has_terminal(id);
        let Some(jail) = self.jails.get(id) else { return Err(impossible(String::new())) };
        let life = jail.life.as_ref();
        let terminal = life.and_then(|life| life.terminal.as_ref());
        let (terminal, master) = match (life, terminal) {
            (_, Some(terminal @ Terminal { master: Some(master), .. })) if here => {
                (terminal, master)
            }
            (None, _) => {
                let state = jail.state();
                return Err(impossible(format!("it is {state}: only what runs has a terminal")));
            }
            (Some(_), Some(_)) => {
                return Err(impossible("its terminal is not there yet: it is starting".into()));
            }
            (Some(_), _) => {
                return Err(impossible(
                    "its program has no terminal: `process.terminal = true` gives it one".into(),
                ));
            }
        };
        let made = master.try_clone().and_then(|master| {
            let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
            let pair = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?;
            Ok((master, pair))
        });
        let (master, (output, theirs)) =
            made.map_err(|error| impossible(format!("it cannot be attached to: {error}")))?;
        let watched = self.poller.watch(&output, Source::Console(client));
        watched.map_err(|error| impossible(format!("it cannot be attached to: {error}")))?;
        let pending = terminal.recent().to_vec();
        let mut console = Console { client, jail: id, output, pending, missed: 0 };
        if console.flush() && wait_for_room(&self.poller, &console) {
            self.consoles.push(console);
        }
        Ok(vec![master, theirs])
    }

    /// Two lives change places, and who is at their terminals with them.
    pub(super) fn swap_consoles(&mut self, one: JailId, other: JailId) {
        for console in &mut self.consoles {
            console.jail = swapped(console.jail, one, other);
        }
    }

    /// The program has ended: whoever was at its terminal is told how.
    pub(super) fn end_consoles(&mut self, id: JailId, how: &str) {
        let (ended, others) = std::mem::take(&mut self.consoles)
            .into_iter()
            .partition::<Vec<_>, _>(|console| console.jail == id);
        self.consoles = others;
        for Console { client, .. } in ended {
            let end = Attached { end: Some(how.to_owned()), ..Attached::default() };
            self.reply(client, &Reply::with(&end));
            self.answer_calls(client);
        }
    }
}

/// Whether to be woken when the client can take more; false when that cannot be had.
fn wait_for_room(poller: &Poller, console: &Console) -> bool {
    let source = Source::Console(console.client);
    poller.watch_output(&console.output, source, !console.pending.is_empty()).is_ok()
}
