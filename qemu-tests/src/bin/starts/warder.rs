//! Warder as a client sees it: the control socket.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use jailsupd::control::wire::{
    Decoder, JailState, LogLine, Reached, Reply, Request, SOCKET, encode,
};
use serde::de::DeserializeOwned;

use crate::contender::{now, stamp};

/// Longer than a start takes, as a rule: a longer one costs only the precision of its time.
const SETTLED: Duration = Duration::from_millis(50);

/// How often its log is looked at.
const LOOKS: usize = 40;

/// Where jailsupd puts what a jail has left.
const TRASH: &str = "/proc/1/root/data/jails/.trash";

pub(crate) struct Warder {
    jail: String,
    socket: UnixStream,
    decoder: Decoder,
}

impl Warder {
    /// The host's socket, out of whatever mount namespace this runs in.
    pub(crate) fn new(jail: &str) -> io::Result<Self> {
        let socket = UnixStream::connect(format!("/proc/1/root{SOCKET}"))?;
        Ok(Self { jail: jail.into(), socket, decoder: Decoder::of_replies() })
    }

    /// Starts the jail, whose program says a stamp and ends, and waits until nothing of it is left.
    pub(crate) fn start_and_end(&mut self) -> io::Result<(u64, u64)> {
        let begin = now();
        self.send(&Request::Start { name: self.jail.clone(), wait: true })?;
        // On a machine with one processor, reading the answer would put the program's first instruction
        // off: the answer is sent when it is executed.
        thread::sleep(SETTLED);
        self.receive().and_then(results::<Reached>)?;
        self.wait(JailState::Down)?;
        self.executed_after(begin)
    }

    /// Kills the program of the jail, which the unit has restarted after a millisecond. That millisecond counts.
    pub(crate) fn crash(&mut self) -> io::Result<(u64, u64)> {
        self.wait(JailState::Up)?;
        let program = self.program()?;
        let begin = now();
        sys::signal::send(program, libc::SIGKILL)?;
        while !self.program().is_ok_and(|now| now != program) {
            thread::sleep(SETTLED);
        }
        self.wait(JailState::Up)?;
        self.executed_after(begin)
    }

    /// The process that the in-jail init has started.
    fn program(&self) -> io::Result<i32> {
        let path = format!("/sys/fs/cgroup/jails/{}/cgroup.procs", self.jail);
        let text = fs::read_to_string(path)?;
        let mut processes: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        processes.sort_unstable();
        match processes[..] {
            [_, program] => Ok(program),
            _ => Err(io::Error::other(format!("not an init and its program: {text}"))),
        }
    }

    fn wait(&mut self, state: JailState) -> io::Result<()> {
        let name = self.jail.clone();
        self.ask::<Reached>(&Request::Wait { name, state, timeout_ms: Some(60_000) }).map(drop)
    }

    /// When the program says that it was executed, which must be later than `begin`; and that.
    fn executed_after(&mut self, begin: u64) -> io::Result<(u64, u64)> {
        let mut said = String::new();
        // A jail is up before its first line is stored.
        for _ in 0..LOOKS {
            said = self.log()?;
            // Lines of earlier starts may be among them.
            let last = said.lines().rev().find_map(stamp);
            if let Some(executed) = last.filter(|executed| *executed > begin) {
                Self::wait_until_cleared();
                return Ok((begin, executed));
            }
            thread::sleep(SETTLED);
        }
        Err(io::Error::other(format!("no stamp in the jail's log: {said}")))
    }

    /// What is cleared away later counts, too.
    fn wait_until_cleared() {
        while fs::read_dir(TRASH).is_ok_and(|mut left| left.next().is_some()) {
            thread::sleep(SETTLED);
        }
    }

    /// The last lines of its log.
    fn log(&mut self) -> io::Result<String> {
        let (name, names, lines) = (Some(self.jail.clone()), None, Some(4));
        let (follow, since, until, kernel) = (false, None, None, None);
        let request = Request::Logs { name, names, lines, follow, since, until, kernel };
        let mut said = String::new();
        self.send(&request)?;
        loop {
            let reply = self.receive()?;
            let more = reply.continues;
            let line: LogLine = results(reply)?;
            if let Some(entry) = line.entry {
                said.push_str(&entry.text);
                said.push('\n');
            }
            if !more {
                break;
            }
        }
        Ok(said)
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> io::Result<T> {
        self.send(request)?;
        self.receive().and_then(results)
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        self.socket.write_all(&encode(&request.to_call()))
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let mut bytes = [0; 16 << 10];
        loop {
            if let Some(reply) = self.decoder.pop().map_err(io::Error::other)? {
                return Ok(reply);
            }
            match self.socket.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.push(&bytes[..count]),
            }
        }
    }
}

fn results<T: DeserializeOwned>(reply: Reply) -> io::Result<T> {
    reply.results().map_err(|error| io::Error::other(format!("{error:?}")))
}
