//! Work that takes its time, in a process of its own: copying, hashing, unpacking. jailsupd's loop only
//! watches its report.
//!
//! The process is a copy of jailsupd that has let go of everything but what the work needs. It dies with
//! jailsupd: what it leaves half done has a name that the next start clears away.

use rustix::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::clone::Request;

/// Lower than jailsupd's priority, whose cgroup it shares (nice(2)).
const NICE: i32 = 10;
/// The longest line that is believed.
const LINE_MAX: usize = 64 << 10;
/// Reads in one turn: what is behind a worker may have fallen to the archive that it reads, and write without end.
const READS_MAX: usize = 16;
/// A worker tells of its progress no more often.
const PACE: Duration = Duration::from_millis(200);

/// A process at work. One that is dropped before its end is killed, and its end waited for.
#[derive(Debug)]
pub struct Worker {
    /// Readable when there is something to read with [`Worker::read`].
    pub report: OwnedFd,
    pidfd: OwnedFd,
    pid: i32,
    text: Vec<u8>,
    /// What it makes under a name that is nobody's when it does not finish.
    unfinished: Option<PathBuf>,
    is_reaped: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
            self.reap();
            self.clear_away();
        }
    }
}

/// What a worker has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing new.
    Nothing,
    /// So many bytes of so many are done; of how many is not always known.
    Progress(u64, Option<u64>),
    /// It is done. The text is what the work is for.
    Done(String),
    /// It failed, or died.
    Failed(Failure),
}

/// Why a work failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step and its object, after "cannot"; or the whole reason, when there is no errno.
    pub what: String,
    /// errno(3); 0 for none.
    pub errno: i32,
}

impl Failure {
    /// A step that the kernel refused.
    pub fn new(what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let error: io::Error = error.into();
        match error.raw_os_error() {
            Some(errno) => Self { what: what.into(), errno },
            None => Self { what: format!("{}: {error}", what.into()), errno: 0 },
        }
    }

    /// For people, to be read after "cannot".
    #[must_use]
    pub fn text(&self) -> String {
        match self.errno {
            0 => self.what.clone(),
            errno => format!("{}: {}", self.what, nix::errno::Errno::from_raw(errno)),
        }
    }
}

/// Names the step of a failure.
pub(super) trait Doing<T> {
    /// The step and its object, after "cannot".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what(), error))
    }
}

/// Where a worker tells how far it is.
#[derive(Debug)]
pub struct Progress {
    pipe: Option<OwnedFd>,
    done: u64,
    total: Option<u64>,
    told: Option<Instant>,
}

impl Progress {
    /// For work that nobody watches.
    #[must_use]
    pub fn silent() -> Self {
        Self { pipe: None, done: 0, total: None, told: None }
    }

    /// How much there is to do.
    pub fn set_total(&mut self, bytes: u64) {
        self.total = Some(bytes);
    }

    /// That much more is done.
    pub fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        if self.told.is_some_and(|told| told.elapsed() < PACE) {
            return;
        }
        self.told = Some(Instant::now());
        let total = self.total.map_or_else(|| "-".to_owned(), |total| total.to_string());
        self.tell(&format!("P {} {total}\n", self.done));
    }

    /// A further descriptor of where it is told, for a process that goes on with it.
    pub(super) fn pipe(&self) -> Option<OwnedFd> {
        self.pipe.as_ref().and_then(|pipe| pipe.try_clone().ok())
    }

    fn tell(&mut self, line: &str) {
        if let Some(pipe) = &self.pipe {
            // A supervisor that is gone takes this process with it.
            let _ = rustix::io::retry_on_intr(|| rustix::io::write(pipe, line.as_bytes()));
        }
    }
}

/// Starts a worker. Of this process's descriptors it has those of `keep`, and standard error.
///
/// # Errors
/// When no process can be made.
pub fn spawn(
    keep: &[BorrowedFd<'_>],
    work: &mut dyn FnMut(&mut Progress) -> Result<String, Failure>,
) -> io::Result<Worker> {
    let (report, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&report, true)?;
    let flags = u64::from(libc::CLONE_PIDFD.unsigned_abs());
    let request = Request { flags, exit_signal: libc::SIGCHLD, cgroup: None };
    let parent = rustix::process::getpid();
    let child = sys::clone::spawn(&request, &mut || {
        // Without this it would go on for nobody; jailsupd may be gone already.
        if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err()
            || rustix::process::getppid() != Some(parent)
        {
            return 1;
        }
        let _ = super::spawn::set_oom_score("0");
        let stderr = rustix::stdio::stderr();
        let mut kept = keep.to_vec();
        kept.extend([stderr, ours.as_fd()]);
        kept.sort_by_key(AsRawFd::as_raw_fd);
        let _ = sys::fd::close_all_except(&kept);
        let _ = sys::signal::reset();
        let _ = rustix::process::nice(NICE);
        let Ok(pipe) = ours.try_clone() else { return 1 };
        let mut progress = Progress { pipe: Some(pipe), done: 0, total: None, told: None };
        let result = work(&mut progress);
        let last = match &result {
            Ok(text) => format!("D {}\n", text.replace('\n', " ")),
            Err(failure) => format!("F {} {}\n", failure.errno, failure.what.replace('\n', " ")),
        };
        progress.tell(&last);
        u8::from(result.is_err())
    })?;
    let pidfd = child.pidfd.ok_or(io::ErrorKind::Unsupported)?;
    let (text, unfinished, is_reaped) = (Vec::new(), None, false);
    Ok(Worker { report, pidfd, pid: child.pid, text, unfinished, is_reaped })
}

impl Worker {
    /// Has this file removed when the worker ends without having done its work: one that was killed cannot.
    #[must_use]
    pub(super) fn making(mut self, file: PathBuf) -> Self {
        self.unfinished = Some(file);
        self
    }

    /// Ends it at once; [`Worker::read`] then tells that it failed.
    pub fn kill(&self) {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Reads what it has reported. After `Done` or `Failed` it is gone and reaped.
    pub fn read(&mut self) -> Said {
        let mut buffer = [0; 4096];
        let mut is_over = false;
        for _ in 0..READS_MAX {
            match rustix::io::read(&self.report, &mut buffer) {
                Ok(0) => {
                    is_over = true;
                    break;
                }
                Ok(length) => self.take(&buffer[..length]),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let said = self.latest();
        match (is_over, said) {
            (true, said @ Said::Done(_)) => {
                self.reap();
                said
            }
            (true, said @ Said::Failed(_)) => {
                self.reap();
                self.clear_away();
                said
            }
            (true, Said::Nothing | Said::Progress(..)) => {
                self.reap();
                self.clear_away();
                let what = "finish: its process was killed".to_owned();
                Said::Failed(Failure { what, errno: 0 })
            }
            // The last line counts when the process has ended.
            (false, Said::Done(_) | Said::Failed(_)) => Said::Nothing,
            (false, said) => said,
        }
    }

    /// Keeps the last whole line and what has come of the next.
    fn take(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        let mut ends = self.text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        if let Some((before, _)) = ends.nth(1) {
            self.text.drain(..=before);
        }
        let over = self.text.len().saturating_sub(LINE_MAX);
        self.text.drain(..over);
    }

    /// The meaning of the last whole line.
    fn latest(&self) -> Said {
        let text = String::from_utf8_lossy(&self.text);
        match text.rfind('\n') {
            Some(end) => meaning(&text[..end]),
            None => Said::Nothing,
        }
    }

    fn clear_away(&self) {
        let Some(file) = &self.unfinished else { return };
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                ::log::warn!("{} is left of a work that failed: {error}", file.display());
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        self.is_reaped = true;
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        if let Err(errno) = rustix::io::retry_on_intr(wait) {
            ::log::warn!("cannot reap a worker: {errno}");
        }
    }
}

fn meaning(line: &str) -> Said {
    let unclear = || Failure { what: "understand its worker".to_owned(), errno: 0 };
    match line.split_once(' ') {
        Some(("P", numbers)) => {
            let mut numbers = numbers.split(' ').map(|number| number.parse().ok());
            let done = numbers.next().flatten().unwrap_or(0);
            Said::Progress(done, numbers.next().flatten())
        }
        Some(("D", text)) => Said::Done(text.to_owned()),
        Some(("F", failure)) => {
            let (errno, what) = failure.split_once(' ').unwrap_or(("0", failure));
            Said::Failed(Failure { what: what.to_owned(), errno: errno.parse().unwrap_or(0) })
        }
        _ => Said::Failed(unclear()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn end(mut worker: Worker) -> (Vec<Said>, Said) {
        let mut before = Vec::new();
        loop {
            poll(&mut [PollFd::new(&worker.report, PollFlags::IN)], None).unwrap();
            match worker.read() {
                Said::Nothing => {}
                said @ Said::Progress(..) => before.push(said),
                said => return (before, said),
            }
        }
    }

    // These make processes: a test program has threads, so what the worker does must not allocate much. It
    // works on Linux's allocators as long as no other thread holds their lock at the clone.

    #[test]
    fn a_worker_tells_its_result() {
        let worker = spawn(&[], &mut |progress| {
            progress.set_total(10);
            progress.add(4);
            Ok("done well".to_owned())
        });
        let (before, said) = end(worker.unwrap());
        assert_eq!(said, Said::Done("done well".to_owned()));
        assert!(before.is_empty() || before == [Said::Progress(4, Some(10))], "{before:?}");
    }

    #[test]
    fn a_worker_that_fails_says_why_and_one_that_is_killed_has_failed() {
        let failed = spawn(&[], &mut |_| Err(Failure::new("read x", rustix::io::Errno::NOSPC)));
        let (_, said) = end(failed.unwrap());
        let Said::Failed(failure) = said else { panic!("{said:?}") };
        assert_eq!(failure.text(), "read x: ENOSPC: No space left on device");

        let half = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let hangs = spawn(&[], &mut |_| loop {
            rustix::thread::sched_yield();
        });
        let hangs = hangs.unwrap().making(half.to_path_buf());
        hangs.kill();
        assert!(matches!(end(hangs).1, Said::Failed(_)));
        assert!(!half.exists());
    }

    #[test]
    fn a_worker_that_nobody_waits_for_any_more_leaves_nothing() {
        let half = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let hangs = spawn(&[], &mut |_| loop {
            rustix::thread::sched_yield();
        });
        let hangs = hangs.unwrap().making(half.to_path_buf());
        let pid = WaitId::Pid(Pid::from_raw(hangs.pid).unwrap());
        drop(hangs);
        assert!(!half.exists());
        let child = rustix::process::waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        assert_eq!(child.unwrap_err(), rustix::io::Errno::CHILD);
    }

    #[test]
    fn a_worker_that_reports_without_end_gets_no_more_than_its_turn() {
        let endless = spawn(&[], &mut |progress| {
            loop {
                progress.told = None;
                progress.add(1);
            }
        });
        let mut endless = endless.unwrap();
        for _ in 0..20 {
            poll(&mut [PollFd::new(&endless.report, PollFlags::IN)], None).unwrap();
            // Without a limit this call would not return.
            assert!(matches!(endless.read(), Said::Progress(..)));
            assert!(endless.text.len() < 100, "{} bytes are kept", endless.text.len());
        }
        endless.kill();
        assert!(matches!(end(endless).1, Said::Failed(_)));
    }

    #[test]
    fn a_line_without_end_is_no_report() {
        let long = spawn(&[], &mut |progress| {
            (0..64).for_each(|_| progress.tell(&"x".repeat(4096)));
            Ok("of whoever".to_owned())
        });
        let Said::Failed(failure) = end(long.unwrap()).1 else { panic!("believed") };
        assert_eq!(failure.text(), "understand its worker");
    }
}
