//! The keeper executes its program anew, and keeps everything: the side that hands over.
//!
//! ```text
//!   request ─► self-test: the program, as a child, reads a copy of the state ── fails, hangs ─► we stay
//!                 │ reads it and comes to the same sum
//!                 ▼
//!              execve: same process, same children, same descriptors ── cannot take over ─► executes us again
//!                 │ (restore.rs)
//!                 ▼
//!              goes on where we were
//! ```
//!
//! What is executed is the file at the keeper's own path and nothing that a request could name: so
//! whoever can ask for it cannot choose it.

use crate::handover::Handover;
use crate::restore::{RESTORE, SELF_TEST};
use crate::wire::REEXECUTED;
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::clone::Request;
use sys::exec::Vector;
use sys::wait::Exit;

/// A self-test takes milliseconds; on a host that is out of breath, seconds.
const SELF_TEST_DEADLINE: Duration = Duration::from_secs(10);
/// Longest word of a self-test that is passed on.
const WORD_MAX: usize = 400;

/// Where whoever asked hears what came of it.
#[derive(Debug)]
pub(crate) struct Report(pub(crate) Option<OwnedFd>);

impl Report {
    /// The new program has taken over.
    pub(crate) fn done(self) {
        self.say(REEXECUTED);
    }

    /// The program that ran goes on running.
    pub(crate) fn kept(self, why: &str) {
        log::error!("not executed anew: {why}");
        self.say(why);
    }

    fn say(&self, words: &str) {
        let Some(report) = &self.0 else { return };
        // Whoever asked may be gone; and one that gave us something that cannot take it hears nothing.
        let _ = rustix::io::ioctl_fionbio(report, true);
        let _ = rustix::io::write(report, words.as_bytes());
    }
}

/// A re-exec under way: the new program's self-test runs.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) report: Report,
    pub(crate) program: OwnedFd,
    pid: i32,
    /// What the self-test says.
    word: OwnedFd,
    /// What it must say.
    expected: String,
    deadline: Instant,
    exit: Option<Exit>,
}

impl Attempt {
    /// Opens the program and starts its self-test.
    ///
    /// # Errors
    /// Why it cannot even be tried, in words; the report is given back.
    pub(crate) fn begin(
        path: &Path,
        handover: &Handover,
        report: Report,
    ) -> Result<Self, (Report, String)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let program = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(program) => program,
            Err(errno) => return Err((report, format!("cannot open {}: {errno}", path.display()))),
        };
        match start_self_test(path, &program, handover) {
            Ok((pid, word, expected)) => Ok(Self {
                report,
                program,
                pid,
                word,
                expected,
                deadline: Instant::now() + SELF_TEST_DEADLINE,
                exit: None,
            }),
            Err(error) => Err((report, format!("cannot start the self-test: {error}"))),
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A child has ended; true when it was the self-test.
    pub(crate) fn ended(&mut self, exit: &Exit) -> bool {
        let is_it = exit.pid == self.pid;
        if is_it {
            self.exit = Some(*exit);
        }
        is_it
    }

    /// What the self-test has shown, as soon as it has.
    pub(crate) fn verdict(&self, now: Instant) -> Option<Result<(), String>> {
        let Some(exit) = &self.exit else {
            if now < self.deadline {
                return None;
            }
            let _ = sys::signal::send(self.pid, libc::SIGKILL);
            let seconds = SELF_TEST_DEADLINE.as_secs();
            return Some(Err(format!("its self-test had not ended after {seconds} s")));
        };
        let word = self.word();
        if exit.code == libc::CLD_EXITED && exit.status == 0 && word == self.expected {
            return Some(Ok(()));
        }
        let how = match exit.code {
            libc::CLD_EXITED => format!("exited with {}", exit.status),
            _ => format!("was killed by signal {}", exit.status),
        };
        let word = if word.is_empty() { "nothing" } else { &word };
        Some(Err(format!("its self-test {how} and said: {word}")))
    }

    /// What the self-test has said until its end; less than what fits into a pipe.
    fn word(&self) -> String {
        let mut bytes = [0; WORD_MAX];
        let length = rustix::io::read(&self.word, &mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }

    /// The host goes down meanwhile, or nobody needs it any more.
    pub(crate) fn give_up(self, why: &str) {
        if self.exit.is_none() {
            let _ = sys::signal::send(self.pid, libc::SIGKILL);
        }
        self.report.kept(why);
    }
}

/// The child's number, what it says, and what it must say.
fn start_self_test(
    path: &Path,
    program: &OwnedFd,
    handover: &Handover,
) -> io::Result<(i32, OwnedFd, String)> {
    let expected = handover.seen().to_string();
    let state = sealed(&handover.encode())?;
    let (word, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&word, true)?;
    let argv = Vector::new(vec![c_string(path)?, CString::new(SELF_TEST)?]);
    let envp = Vector::new(Vec::new());
    let request = Request { exit_signal: libc::SIGCHLD, ..Request::default() };
    let child = sys::clone::spawn(&request, &mut || {
        // Standard input and output; standard error stays the console.
        let placed =
            sys::fd::place(state.as_fd(), 0).and_then(|()| sys::fd::place(theirs.as_fd(), 1));
        if placed.is_err() || sys::fd::close_from_except(3, program.as_fd()).is_err() {
            return 126;
        }
        let _ = sys::signal::reset();
        sys::exec::execute_fd(program.as_fd(), &argv, &envp);
        127
    })?;
    Ok((child.pid, word, expected))
}

/// Executes `program` in our place. Returns only on failure, and then with every descriptor as it was.
pub(crate) fn execute(
    (path, program): (&Path, BorrowedFd<'_>),
    arguments: &[CString],
    handover: &Handover,
) -> io::Error {
    let prepared = || -> io::Result<_> {
        let state = sealed(&handover.encode())?;
        // Taken now: after the exec it is another program's.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let ours = rustix::fs::open(c"/proc/self/exe", flags, Mode::empty())?;
        let mut argv = vec![c_string(path)?, CString::new(RESTORE)?];
        argv.push(number(&state)?);
        argv.push(number(&ours)?);
        argv.push(CString::default());
        argv.extend(arguments.iter().cloned());
        Ok((state, ours, Vector::new(argv), Vector::new(Vec::new())))
    };
    let (state, ours, argv, envp) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let own = [state.as_raw_fd(), ours.as_raw_fd()];
    let all: Vec<i32> = handover.fds().chain(own).collect();
    for fd in &all {
        if let Err(error) = sys::fd::set_close_on_exec(*fd, false) {
            close_again(&all);
            return error;
        }
    }
    let error = sys::exec::execute_fd(program, &argv, &envp);
    close_again(&all);
    error
}

fn close_again(fds: &[i32]) {
    for fd in fds {
        // It is open: we own it.
        let _ = sys::fd::set_close_on_exec(*fd, true);
    }
}

/// A memfd with these bytes that nobody can change any more.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create(c"keeper-state", flags)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&memfd, rest, at))?;
        rest = &rest[written..];
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memfd, seals)?;
    Ok(memfd)
}

fn number(fd: &OwnedFd) -> io::Result<CString> {
    Ok(CString::new(fd.as_raw_fd().to_string())?)
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
