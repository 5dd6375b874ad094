//! A running guest, from QEMU's start to its end.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::{
    Error, Machine, Result, accel,
    agent::Agent,
    console::{Console, Line},
    http, image, machine,
    qmp::Qmp,
    time::Deadline,
};

/// From QEMU's start to the end of Warder's boot stages, on an idle machine without KVM.
const BOOT_LIMIT: Duration = Duration::from_secs(45);
/// From there to a jail's page.
const PAGE_LIMIT: Duration = Duration::from_secs(20);
/// Stopping jails, unmounting, power off.
const END_LIMIT: Duration = Duration::from_secs(30);
/// For a message that is already under way.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(2);
/// How many console lines a failed test shows.
const TAIL: usize = 60;

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It switched its power off.
    PowerOff,
    /// It reset itself: a reboot, or the kernel's panic time-out.
    Reset,
    /// QEMU's word for anything else, or that it said nothing.
    Other(String),
}

/// A running guest. Dropping it kills it; while a test panics, first says what was seen.
pub struct Vm {
    /// The serial console.
    pub console: Console,
    /// QEMU's monitor.
    pub qmp: Qmp,
    /// The agent, on the debug image.
    agent: Option<Agent>,
    qemu: Qemu,
    address: SocketAddr,
    dir: PathBuf,
    keep: bool,
}

impl Vm {
    pub(crate) fn start(mut machine: Machine) -> Result<Self> {
        let keep = machine.directory.is_some();
        let dir = match machine.directory.take() {
            Some(directory) => image::ensure_dir(directory)?,
            None => image::scratch(&machine.name)?,
        };
        let sockets = Sockets::new()?;
        let address = machine.address()?;
        let arguments = machine.prepare(&dir, &sockets.dir, address, accel::choose()?)?;
        let console = Console::default();
        let qemu = spawn(arguments, &dir, &console, machine.echo)?;
        let qmp = sockets.accept(&sockets.qmp, &console, &dir).and_then(Qmp::new)?;
        let agent = match machine.has_agent() {
            true => Some(Agent::new(sockets.accept(&sockets.agent, &console, &dir)?)),
            false => None,
        };
        Ok(Self { console, qmp, agent, qemu, address, dir, keep })
    }

    /// Waits until Warder's stages are done and, on the debug image, the agent answers.
    ///
    /// # Errors
    /// It does not come so far.
    pub fn wait_boot(&mut self) -> Result<()> {
        self.console.wait_for("init: boot complete", BOOT_LIMIT)?;
        match &mut self.agent {
            Some(agent) => agent.ping(BOOT_LIMIT),
            None => Ok(()),
        }
    }

    /// Waits until jailsupd has reported that the jail came into a state, after the first `mark`
    /// lines of the console.
    ///
    /// # Errors
    /// It does not within the time of a boot, or the guest ended.
    pub fn wait_jail(&self, mark: usize, jail: &str, state: &str) -> Result<Line> {
        let (jail, to) = (format!("jailsupd: jail={jail} "), format!(" to={state} "));
        let wanted = |line: &str| line.contains(&jail) && line.contains(&to);
        let what = || format!("console line \"{jail}...{to}\"");
        self.console.wait(mark, wanted, what, Deadline::after(BOOT_LIMIT))
    }

    /// Waits until the nginx jail answers.
    ///
    /// # Errors
    /// It does not, or the guest ended.
    pub fn wait_page(&mut self) -> Result<http::Page> {
        let console = self.console.clone();
        http::wait(self.address, PAGE_LIMIT, || console.has_ended())
    }

    /// The loopback address that leads to the nginx jail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens another loopback address, which leads to this address and TCP port of the guest's
    /// network.
    ///
    /// # Errors
    /// QEMU refuses it.
    pub fn forward(&mut self, to: &str) -> Result<SocketAddr> {
        self.forward_by("tcp", to)
    }

    /// As [`Self::forward`] for UDP.
    ///
    /// # Errors
    /// QEMU refuses it.
    pub fn forward_udp(&mut self, to: &str) -> Result<SocketAddr> {
        self.forward_by("udp", to)
    }

    fn forward_by(&mut self, protocol: &str, to: &str) -> Result<SocketAddr> {
        let port = machine::free_port().map_err(Error::io("find a free loopback port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let line = format!("hostfwd_add net {protocol}:{address}-{to}");
        let command = json!({ "command-line": line });
        // The human monitor says nothing when all is well.
        match self.qmp.execute("human-monitor-command", &command)?.as_str() {
            Some("") => Ok(address),
            answer => Err(Error::Answer { peer: "QEMU", answer: format!("{line}: {answer:?}") }),
        }
    }

    /// The agent of the debug image.
    ///
    /// # Panics
    /// On the production image, which has none.
    #[allow(clippy::expect_used, reason = "a mistake in the test's source, not a state")]
    pub fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("only the debug image has an agent")
    }

    /// Waits for the guest's own end.
    ///
    /// # Errors
    /// It still runs when the time is over.
    pub fn wait_end(&mut self) -> Result<End> {
        let deadline = Deadline::after(END_LIMIT);
        if self.console.wait_end(Some(deadline)) {
            return Ok(self.end());
        }
        Err(Error::Timeout { what: "the guest's end".into(), limit: deadline.limit })
    }

    /// Waits for the guest's end, however long it lives.
    pub fn stay(&mut self) -> End {
        self.console.wait_end(None);
        self.end()
    }

    /// Whether QEMU is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.console.has_ended()
    }

    /// QEMU says how the guest ended before it closes the console, on another socket.
    fn end(&mut self) -> End {
        match self.qmp.wait_shutdown(LAST_WORD_LIMIT).as_deref() {
            Some("guest-shutdown") => End::PowerOff,
            Some("guest-reset") => End::Reset,
            other => End::Other(other.unwrap_or("QEMU ended without a word").into()),
        }
    }

    /// The file with all of the console.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The machine's copy of the disk.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.raw")
    }

    /// Where the test may put files that go away with the guest.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills QEMU.
    pub fn kill(&mut self) {
        self.qemu.kill();
    }

    /// What a person needs to see of a failed test.
    pub fn report(&mut self) {
        let lines = self.console.lines();
        eprintln!("---- console, last {TAIL} lines ({})", self.console_log().display());
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            eprintln!("{}", line.text);
        }
        if let (Some(agent), false) = (&mut self.agent, self.console.has_ended()) {
            eprintln!("---- jails");
            match agent
                .ping(Duration::from_secs(1))
                .and_then(|()| agent.run(&["/usr/bin/jailctl", "ls"]))
            {
                Ok(output) => eprint!("{}{}", output.stdout, output.stderr),
                Err(error) => eprintln!("{error:?}"),
            }
        }
        eprintln!("---- run it again: {}", run_again());
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.report();
        }
        self.kill();
        if !self.keep && !thread::panicking() {
            // Left behind it only costs space.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// QEMU's process, killed when it is dropped.
struct Qemu(Child);

impl Qemu {
    fn kill(&mut self) {
        // It may have ended by itself; its status tells nothing that the monitor did not.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The harness listens and QEMU connects: so the guest sees its port open from its first moment.
/// Under the temporary directory, since a socket's path holds at most 107 bytes.
struct Sockets {
    dir: PathBuf,
    qmp: UnixListener,
    agent: UnixListener,
}

impl Sockets {
    fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("warder-vm-{}-{number}", std::process::id());
        let dir = image::ensure_dir(std::env::temp_dir().join(name))?;
        let listen = |name| {
            let path = dir.join(name);
            // Of a process that had the same number and was killed.
            let _ = fs::remove_file(&path);
            UnixListener::bind(&path).map_err(Error::io(format!("listen at {}", path.display())))
        };
        Ok(Self { qmp: listen("qmp")?, agent: listen("agent")?, dir })
    }

    fn accept(&self, listener: &UnixListener, console: &Console, dir: &Path) -> Result<UnixStream> {
        /// Between looks at whether QEMU still lives.
        const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            let mut fds = [PollFd::new(listener, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&LOOK))
                .map_err(|errno| Error::io("wait for QEMU")(errno.into()))?;
            if ready > 0 {
                return listener.accept().map(|(stream, _)| stream).map_err(Error::io("meet QEMU"));
            }
            if console.has_ended() {
                let answer = fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
                return Err(Error::Answer { peer: "QEMU at its start", answer });
            }
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts QEMU from the thread that reads its console to the end: the kernel sends the parent's
/// death signal when the starting *thread* ends, and a test's own thread may end before its guest.
fn spawn(arguments: Vec<OsString>, dir: &Path, console: &Console, echo: bool) -> Result<Qemu> {
    let create = |name| {
        let path = dir.join(name);
        File::create(&path).map_err(Error::io(format!("make {}", path.display())))
    };
    let (mut log, errors) = (create("console.log")?, create("qemu.log")?);
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(arguments)
        .current_dir(dir)
        // Ctrl-C is for us: it must reach the guest as a power button, not QEMU as a signal.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    let console = console.clone();
    let (sender, receiver) = channel();
    thread::spawn(move || match command.spawn() {
        Ok(mut child) => {
            let stdout = child.stdout.take();
            // The receiver waits for this message and nothing else.
            let _ = sender.send(Ok(child));
            if let Some(stdout) = stdout {
                console.record(stdout, &mut log, echo);
            }
        }
        Err(error) => {
            let _ = sender.send(Err(error));
        }
    });
    let started = receiver.recv().map_err(|_| Error::Ended { what: "QEMU's start".into() })?;
    started.map(Qemu).map_err(Error::io("start qemu-system-x86_64 (by setpriv)"))
}

/// libtest names a test's thread after the test, and cargo its program after the file and a hash.
fn run_again() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    let file = stem.rsplit_once('-').map_or(stem.as_ref(), |(file, _)| file);
    let thread = thread::current();
    format!("cargo test -p qemu-tests --test {file} {}", thread.name().unwrap_or_default())
}
