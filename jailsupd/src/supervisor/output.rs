//! What jails print, on its way into their logs: a batch at a time through the staging pipe, and what becomes of
//! it when the disk is full or a jail prints without end.

use super::jail::Jail;
use super::losses::{Amount, FULL};
use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::exec::logs::{self, Batch, Filled, Line, Log, Pipe, Staging, Stream};
use crate::machine::Moment;
use crate::unit::{Logs, OnFull};
use keeper::Slot;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// Batches that are taken from one pipe at a turn, so that a jail that prints without end leaves time for others.
const TURN: usize = 4;
/// Bytes that are thrown away at a turn.
const DROP_MAX: usize = 1 << 20;
/// How long a jail waits before what it prints is dropped.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried whether a full disk has room again.
const RETRY: Duration = Duration::from_secs(1);
/// The staging pipe's entry in the keeper's vault; no jail's name starts like this.
pub(super) const STAGING: &str = "_logs";

/// All jails' way into their logs.
#[derive(Debug)]
pub(super) struct Output {
    staging: Staging,
    /// What is in the staging pipe has no room on the disk.
    stuck: Option<Stuck>,
    /// Something could not be stored, and people were told.
    failed: bool,
}

/// A batch that waits for room.
#[derive(Debug)]
struct Stuck {
    /// Whose it is. Nothing else is stored in its log: the log's position says how much of the batch is.
    jail: String,
    retry_at: Moment,
}

/// What came of taking a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Some,
    Nothing,
    Closed,
}

impl Output {
    /// With the staging pipe that the keeper holds, or a new one.
    ///
    /// # Errors
    /// When the kernel makes no pipe.
    pub(super) fn new(held: Option<[OwnedFd; 3]>) -> io::Result<Self> {
        let staging = match held {
            Some([read, write, note]) => Staging::adopt(read, write, note)?,
            None => Staging::new()?,
        };
        Ok(Self { staging, stuck: None, failed: false })
    }

    /// When storing is tried again.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.stuck.as_ref().map(|stuck| stuck.retry_at)
    }

    /// Whether something else than the batch that waits may be stored in this jail's log.
    pub(super) fn is_free(&self, jail: &str) -> bool {
        self.stuck.as_ref().is_none_or(|stuck| stuck.jail != jail)
    }
}

impl Supervisor {
    /// Gives a staging pipe that was made to the keeper.
    pub(super) fn entrust_staging(&mut self) -> io::Result<()> {
        let [read, write, note] = self.output.staging.fds();
        let slots = [(Slot::Stdout, read), (Slot::Stderr, write), (Slot::State, note)];
        self.keeper.put(STAGING, &slots)
    }

    /// A jail printed something.
    pub(super) fn on_output(&mut self, id: JailId, stream: Stream) {
        self.tell_losses(id, false);
        for _ in 0..TURN {
            if self.output.stuck.is_some() {
                return self.wait_or_drop(id, stream);
            }
            match self.take_batch(id, stream) {
                Taken::Some => {}
                Taken::Nothing => break,
                Taken::Closed => return self.close_output(id, stream),
            }
        }
        self.relieve(id, stream);
    }

    /// Reads a pipe of a dead jail to its end.
    pub(super) fn drain(&mut self, id: JailId, stream: Stream) {
        // What is in the pipe is bounded by its size, and nobody writes any more.
        for _ in 0..64 {
            if self.pipe(id, stream).is_none() || self.output.stuck.is_some() {
                break;
            }
            match self.take_batch(id, stream) {
                Taken::Some => {}
                Taken::Nothing => break,
                Taken::Closed => return self.close_output(id, stream),
            }
        }
        // It cannot wait any more.
        self.drop_some(id, stream, FULL);
    }

    /// Takes a batch out of a jail's pipe and stores it.
    fn take_batch(&mut self, id: JailId, stream: Stream) -> Taken {
        self.begin_line(id, stream);
        let of = self.log_of(id);
        let Some(logged) = self.jails.get_mut(of) else { return Taken::Nothing };
        let position = logged.log.position();
        let Some(jail) = self.jails.get(id) else { return Taken::Nothing };
        let Some(life) = &jail.life else { return Taken::Nothing };
        let pipe = if stream == Stream::Stderr { &life.stderr } else { &life.stdout };
        let Some(pipe) = pipe else { return Taken::Nothing };
        let batch = Batch { jail: jail.name.clone(), stream, position };
        match self.output.staging.fill(&batch, pipe) {
            Ok(Filled::Bytes(_)) => self.store_staged(),
            Ok(Filled::Nothing) => return Taken::Nothing,
            Ok(Filled::Closed) => return Taken::Closed,
            Err(error) => {
                log::error!("jail={} its output cannot be taken: {error}", jail.name);
                return Taken::Closed;
            }
        }
        Taken::Some
    }

    /// Stores what is in the staging pipe, or what of it is not stored already, and empties it. When the disk is full
    /// and the jail is to wait, it stays.
    pub(super) fn store_staged(&mut self) {
        let staged = self.output.staging.left();
        let result = staged.and_then(|staged| match staged {
            Some((batch, left)) => {
                let bytes = self.output.staging.look()?;
                let done = self.store_batch(&batch, left, &bytes);
                self.output.staging.put_back(bytes);
                Ok((!done).then_some(batch.jail))
            }
            None => Ok(None),
        });
        let emptied = match result {
            Ok(Some(jail)) => {
                let retry_at = clock::now() + RETRY;
                self.output.stuck = Some(Stuck { jail, retry_at });
                return;
            }
            Ok(None) => self.output.staging.empty(),
            Err(error) => self.output.staging.empty().and(Err(error)),
        };
        if let Err(error) = emptied {
            log::error!("log lines are lost on their way: {error}");
        }
        if self.output.stuck.take().is_some() {
            log::info!("log lines are stored again");
            self.resume_outputs();
        }
    }

    /// False when the batch is to wait.
    fn store_batch(&mut self, batch: &Batch, left: u64, bytes: &[u8]) -> bool {
        let time = clock::wall_ms();
        let Some(id) = self.jails.find(&batch.jail) else {
            let mut log = Log::of(&self.layout, &batch.jail);
            log.skip_to(batch.position);
            let stored = logs::stored_of(batch, left, log.position());
            let rest = bytes.get(usize::try_from(stored).unwrap_or(0)..).unwrap_or_default();
            if let Err(error) = log.store(rest, batch.stream, time) {
                log::warn!("jail={} its last lines are lost: {error}", batch.jail);
            }
            return true;
        };
        let Some(jail) = self.jails.get_mut(id) else { return true };
        let limits = jail.loaded.as_ref().map(|loaded| loaded.unit.logs.clone());
        // When jailsupd begins it does not know yet what the unit says.
        let on_full = Some(OnFull::Block).filter(|_| limits.is_none() && jail.life.is_some());
        let limits = limits.unwrap_or_else(|| Logs { on_full, ..Logs::default() });
        jail.log.skip_to(batch.position);
        let stored = logs::stored_of(batch, left, jail.log.position());
        let bytes = bytes.get(usize::try_from(stored).unwrap_or(0)..).unwrap_or_default();
        let start = jail.log.position();
        // Admitted at the first try.
        let admitted = match self.output.stuck {
            None => jail.intake.admit(bytes, jail.log.is_begun(batch.stream), &limits),
            Some(_) => bytes.len(),
        };
        let (kept, over) = bytes.split_at(admitted);
        let mut result = jail.log.store(kept, batch.stream, time);
        if let Err(error) = &result {
            if waits_for_room(error, &limits) {
                self.storing_failed(error.raw_os_error());
                return false;
            }
            let done = usize::try_from(jail.log.position() - start).unwrap_or(0);
            let rest = kept.get(done..).unwrap_or_default();
            jail.intake.lose(Amount::of(rest), &format!("they could not be stored: {error}"), None);
            jail.log.skip_to(start + kept.len() as u64);
        }
        if !over.is_empty() {
            let at = jail.intake.window_end(&limits);
            jail.intake.lose(Amount::of(over), "more than its rate limit lets through", Some(at));
            let skipped = jail.log.skip(batch.stream, over.len() as u64, time);
            result = result.and(skipped);
        }
        self.stored(id, result);
        true
    }

    /// After something was stored, or could not be.
    pub(super) fn stored(&mut self, id: JailId, result: io::Result<()>) {
        match result {
            Ok(()) => self.output.failed = false,
            Err(error) => self.storing_failed(error.raw_os_error()),
        }
        self.grown(id);
    }

    fn storing_failed(&mut self, errno: Option<i32>) {
        if !std::mem::replace(&mut self.output.failed, true) {
            let error = errno.map_or_else(String::new, |errno| {
                format!(": {}", io::Error::from_raw_os_error(errno))
            });
            log::error!(
                "log lines of jails cannot be stored{error} (look at the data partition: jailctl host info)"
            );
        }
    }

    /// A line of our own in a jail's log.
    pub(super) fn note(&mut self, id: JailId, text: &str) {
        let part = self.jails.get(id).map(|jail| jail.of_part(text).into_owned());
        let text = part.unwrap_or_else(|| text.to_owned());
        let id = self.log_of(id);
        // A jail for one program has no log: there is nobody to read it by its name.
        let Some(jail) = self.jails.get_mut(id).filter(|jail| !jail.is_run()) else { return };
        let amount = Amount { lines: 1, bytes: text.len() as u64 + 1 };
        let line = Line { time: clock::wall_ms(), stream: Stream::Warder, text };
        let is_free = self.output.is_free(&jail.name);
        let result = if is_free { jail.log.append(&[line]) } else { Err(no_room()) };
        if result.is_err() {
            jail.intake.lose(amount, FULL, None);
        }
        self.stored(id, result);
    }

    /// Stores what a terminal has shown. It is taken from the terminal when it is read, so that what a killed jailsupd
    /// has read and not stored is gone.
    pub(super) fn store_shown(&mut self, id: JailId, bytes: &[u8], state: Pipe) {
        let id = self.log_of(id);
        let Some(jail) = self.jails.get_mut(id) else { return };
        let time = clock::wall_ms();
        // A jail with a terminal has no pipe, and so no batch that waits.
        let mut result = jail.log.store(bytes, Stream::Stdout, time);
        if result.is_err() {
            jail.intake.lose(Amount::of(bytes), FULL, None);
        }
        if state == Pipe::Closed {
            result = result.and(jail.log.finish_one(Stream::Stdout, time));
        }
        self.stored(id, result);
    }

    fn close_output(&mut self, id: JailId, stream: Stream) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = jail.life.as_mut() else { return };
        let slot = if stream == Stream::Stderr { &mut life.stderr } else { &mut life.stdout };
        if let Some(pipe) = slot.take() {
            self.poller.forget(&pipe);
        }
        if self.output.is_free(&jail.name) && self.is_last_writer(id, stream) {
            let id = self.log_of(id);
            let Some(jail) = self.jails.get_mut(id) else { return };
            let result = jail.log.finish_one(stream, clock::wall_ms());
            self.stored(id, result);
        }
    }

    /// Of two lives that write to one log, the line that one has begun ends where the other one's begins.
    fn begin_line(&mut self, id: JailId, stream: Stream) {
        let of = self.log_of(id);
        let is_last = self.is_last_writer(id, stream);
        let Some(jail) = self.jails.get_mut(of) else { return };
        let at = usize::from(stream == Stream::Stderr);
        jail.intake.writers[at] = (id != of).then_some(id);
        if !is_last && jail.log.is_begun(stream) && self.output.is_free(&jail.name) {
            let result = jail.log.finish_one(stream, clock::wall_ms());
            self.stored(of, result);
        }
    }

    /// Whether what the log has of a line is this life's.
    fn is_last_writer(&self, id: JailId, stream: Stream) -> bool {
        let at = usize::from(stream == Stream::Stderr);
        let of = self.log_of(id);
        let last = self.jails.get(of).and_then(|logged| logged.intake.writers[at]);
        last.unwrap_or(of) == id
    }

    fn pipe(&self, id: JailId, stream: Stream) -> Option<&OwnedFd> {
        let life = self.jails.get(id)?.life.as_ref()?;
        if stream == Stream::Stderr { life.stderr.as_ref() } else { life.stdout.as_ref() }
    }

    fn limits(&self, id: JailId) -> Logs {
        let loaded = self.jails.get(id).and_then(|jail| jail.loaded.as_ref());
        loaded.map_or_else(Logs::default, |loaded| loaded.unit.logs.clone())
    }

    /// The disk is full.
    fn wait_or_drop(&mut self, id: JailId, stream: Stream) {
        if self.limits(id).on_full != Some(OnFull::Block) {
            return self.drop_some(id, stream, FULL);
        }
        if let Some(pipe) = self.pipe(id, stream) {
            self.poller.forget(pipe);
        }
        if let Some(jail) = self.jails.get_mut(id) {
            jail.intake.paused = true;
        }
    }

    /// There is room again: whoever was to wait is listened to.
    fn resume_outputs(&mut self) {
        for id in self.jails.all_ids() {
            let Some(jail) = self.jails.get_mut(id) else { continue };
            if !std::mem::take(&mut jail.intake.paused) {
                continue;
            }
            let Some(life) = &jail.life else { continue };
            for (pipe, source) in
                [(&life.stdout, Source::Stdout(id)), (&life.stderr, Source::Stderr(id))]
            {
                let watched = pipe.as_ref().map(|pipe| self.poller.watch(pipe, source));
                match watched {
                    // The other one may never have been let go.
                    Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => {
                        log::error!("jail={} its output cannot be watched: {error}", jail.name);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A jail that is not to wait for long, and whose pipe is full however much is taken, loses some.
    fn relieve(&mut self, id: JailId, stream: Stream) {
        let Some(pipe) = self.pipe(id, stream) else { return };
        let filled = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
        let room = rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(0) as u64;
        let is_full = filled > room / 2;
        let drops = self.limits(id).on_full == Some(OnFull::Drop);
        let Some(jail) = self.jails.get_mut(id) else { return };
        let [stdout, stderr] = &mut jail.intake.full_since;
        let full_since = if stream == Stream::Stderr { stderr } else { stdout };
        if !is_full || !drops {
            *full_since = None;
            return;
        }
        let now = clock::now();
        let since = *full_since.get_or_insert(now);
        if now.saturating_sub(since) >= PATIENCE {
            self.drop_some(id, stream, "it printed faster than could be stored");
        }
    }

    /// Throws away what is in a jail's pipe, a turn's worth at most, and counts it.
    fn drop_some(&mut self, id: JailId, stream: Stream, why: &str) {
        let Some(pipe) = self.pipe(id, stream) else { return };
        // To clear so much memory takes longer than all else here: not for a pipe that is closed, as most are by now.
        let mut buffer = vec![0; 64 << 10];
        let mut amount = Amount::default();
        let mut is_over = false;
        while amount.bytes < DROP_MAX as u64 {
            match rustix::io::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => {
                    is_over = true;
                    break;
                }
                Ok(length) => {
                    let Amount { lines, bytes } = Amount::of(&buffer[..length]);
                    amount.lines += lines;
                    amount.bytes += bytes;
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if amount.bytes > 0 {
            let of = self.log_of(id);
            if let Some(jail) = self.jails.get_mut(id) {
                jail.intake.lose(amount, why, None);
            }
            let is_free = |jail: &&mut Jail| self.output.is_free(&jail.name);
            if let Some(jail) = self.jails.get_mut(of).filter(is_free) {
                // An error here is one more of those that are counted.
                let _ = jail.log.skip(stream, amount.bytes, clock::wall_ms());
            }
        }
        if is_over {
            self.close_output(id, stream);
        }
    }
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

/// Whether the jail is to wait until the disk has room.
fn waits_for_room(error: &io::Error, limits: &Logs) -> bool {
    let full = [libc::ENOSPC, libc::EDQUOT].map(Some).contains(&error.raw_os_error());
    full && limits.on_full == Some(OnFull::Block)
}
