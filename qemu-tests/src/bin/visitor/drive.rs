//! A person at a terminal: `drive ROWSxCOLUMNS STEP... -- COMMAND...`, with the steps `expect:TEXT`,
//! `send:TEXT` (^C and ^] are keys), `resize:ROWSxCOLUMNS`, `await:PATH` and `hangup`. Shows what the screen showed, says whether the
//! terminal is as it was, and ends as the command did.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::{self, Child, Command},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::OpenptFlags,
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// What a step may take: guests are slow, and their hosts busy.
const PATIENCE: Duration = Duration::from_secs(60);

struct Terminal {
    master: Option<OwnedFd>,
    /// Kept open, so that its settings can be looked at when the command has ended.
    peer: OwnedFd,
    screen: Vec<u8>,
    /// What of the screen was expected already.
    seen: usize,
}

pub(crate) fn drive(size: &str, rest: &[&str]) -> io::Result<()> {
    let split = rest.iter().position(|word| *word == "--").unwrap_or(rest.len());
    let (steps, command) = (&rest[..split], &rest[(split + 1).min(rest.len())..]);
    let mut terminal = Terminal::open(size)?;
    let before = tcgetattr(&terminal.peer)?;
    let mut child = terminal.start(command)?;
    let done = steps.iter().try_for_each(|step| terminal.step(step));
    let end = match done {
        Ok(()) => terminal.wait(&mut child),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    };
    println!("{}", String::from_utf8_lossy(&terminal.screen));
    let after = tcgetattr(&terminal.peer)?;
    println!("terminal is {}", if same(&before, &after) { "as it was" } else { "left changed" });
    process::exit(end?)
}

impl Terminal {
    fn open(size: &str) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&master)?;
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        tcsetwinsize(&master, winsize(size)?)?;
        Ok(Self { master: Some(master), peer, screen: Vec::new(), seen: 0 })
    }

    fn start(&self, command: &[&str]) -> io::Result<Child> {
        // Its path is one of the jail's image.
        Command::new("/proc/self/exe")
            .arg("take-terminal")
            .args(command)
            .env("TERM", "xterm-test")
            .stdin(self.peer.try_clone()?)
            .stdout(self.peer.try_clone()?)
            .stderr(self.peer.try_clone()?)
            .spawn()
    }

    fn step(&mut self, step: &str) -> io::Result<()> {
        match step.split_once(':') {
            Some(("expect", text)) => self.expect(text),
            Some(("send", text)) => {
                let keys = text.replace("^C", "\u{3}").replace("^]", "\u{1d}").replace("^M", "\r");
                let keys = keys.replace("^D", "\u{4}");
                let Some(master) = &self.master else { return Ok(()) };
                rustix::io::write(master, keys.as_bytes())?;
                Ok(())
            }
            Some(("resize", size)) => {
                let Some(master) = &self.master else { return Ok(()) };
                Ok(tcsetwinsize(master, winsize(size)?)?)
            }
            Some(("await", path)) => {
                let end = Instant::now() + PATIENCE;
                while !Path::new(path).exists() && Instant::now() < end {
                    self.look()?;
                }
                Ok(())
            }
            None if step == "hangup" => {
                self.master = None;
                Ok(())
            }
            _ => Err(io::Error::other(format!("no step {step}"))),
        }
    }

    fn expect(&mut self, text: &str) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let new = &self.screen[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|part| part == text.as_bytes()) {
                self.seen += at + text.len();
                return Ok(());
            }
            // Only what comes later can have its end.
            self.seen = self.seen.max(self.screen.len().saturating_sub(text.len() - 1));
            if Instant::now() >= end || !self.look()? {
                return Err(io::Error::other(format!("the screen does not show {text:?}")));
            }
        }
    }

    /// Reads what comes within a moment; false when nothing more will.
    fn look(&mut self) -> io::Result<bool> {
        let Some(master) = &self.master else { return Ok(false) };
        let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&moment))? == 0 {
            return Ok(true);
        }
        let mut bytes = [0; 4096];
        let length = rustix::io::read(master, &mut bytes)?;
        self.screen.extend(&bytes[..length]);
        Ok(length > 0)
    }

    fn wait(&mut self, child: &mut Child) -> io::Result<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = child.try_wait()?;
            if self.master.is_some() {
                self.look()?;
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
            if let Some(status) = ended {
                return Ok(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
            }
            if Instant::now() >= end {
                child.kill()?;
                return Err(io::Error::other("the command does not end"));
            }
        }
    }
}

fn winsize(text: &str) -> io::Result<Winsize> {
    let numbers = text
        .split_once('x')
        .and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
    let (ws_row, ws_col) = numbers.ok_or_else(|| io::Error::other("a size is ROWSxCOLUMNS"))?;
    Ok(Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
}

fn same(one: &Termios, other: &Termios) -> bool {
    one.input_modes == other.input_modes
        && one.output_modes == other.output_modes
        && one.local_modes == other.local_modes
        && one.control_modes == other.control_modes
}
