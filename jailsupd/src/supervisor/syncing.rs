//! When the disk is to have what was logged: half a second after the first line that it need not have, by a process of
//! its own. While nothing is logged there is neither a timer nor the process.
//!
//! What an earlier jailsupd has stored, and what was in an order that nobody has carried out, is in files that nobody
//! knows any more: then the whole file system is synced.

use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::exec::logs::{Log, Outcome, Syncer};
use crate::machine::Moment;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// From the first line to the order, and between one order and the next. A line waits for at most this, or for the order
/// before it, and then for its own: a power cut costs less than a second where the disk takes less than half of one.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the process waits for more.
const IDLE: Duration = Duration::from_secs(5);

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// That of a jail.
    Jail(JailId),
    /// The events of all jails.
    Events,
    /// The kernel's.
    Kernel,
}

/// What is to be synced.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    unsynced: BTreeSet<Of>,
    /// Logs of jails that are gone.
    orphans: Vec<Log>,
    /// The disk need not have something of files that are not known.
    all: bool,
    process: Option<Syncer>,
    /// When the order was given that is not answered yet.
    ordered: Option<Moment>,
    due: Option<Moment>,
    failed: bool,
}

impl Syncing {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due
    }

    /// A log has more than the disk.
    pub(super) fn mark(&mut self, of: Of, now: Moment) {
        if self.unsynced.insert(of) && self.ordered.is_none() && self.unsynced.len() == 1 {
            let soon = now + PAUSE;
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Any file may have more than the disk, for some time already.
    pub(super) fn mark_all(&mut self, now: Moment) {
        self.all = true;
        self.due = Some(now);
    }

    /// A jail is gone, its log stays.
    pub(super) fn keep(&mut self, id: JailId, log: Log) {
        if self.unsynced.remove(&Of::Jail(id)) {
            self.orphans.push(log);
        }
    }

    fn has_work(&self) -> bool {
        self.all || !self.unsynced.is_empty() || !self.orphans.is_empty()
    }

    fn is_due(&self, now: Moment) -> bool {
        self.ordered.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// An order is answered, or never will be.
    fn answered(&mut self, outcome: Outcome, now: Moment) {
        let ordered = self.ordered.take();
        let is_soon = self.has_work() || outcome == Outcome::Gone;
        // Which files it was for is forgotten.
        self.all |= ordered.is_some() && outcome != Outcome::Done;
        let next = ordered.map_or(now, |ordered| now.max(ordered + PAUSE));
        self.due = Some(if is_soon { next } else { now + IDLE });
    }
}

impl Supervisor {
    /// Orders what is due.
    pub(super) fn sync_logs(&mut self) {
        let now = clock::now();
        if !self.syncing.is_due(now) {
            return;
        }
        self.syncing.due = None;
        if !self.syncing.has_work() {
            return self.end_syncer();
        }
        match self.order_sync() {
            Ok(true) => self.syncing.ordered = Some(now),
            Ok(false) => self.syncing.due = Some(now + IDLE),
            Err(error) => {
                self.sync_failed(&error.to_string());
                self.end_syncer();
                self.syncing.due = Some(now + PAUSE);
            }
        }
    }

    /// False when there is no file with anything to be synced.
    fn order_sync(&mut self) -> io::Result<bool> {
        if self.syncing.process.is_none() {
            let process = Syncer::start()?;
            if let Err(error) = self.poller.watch(&process, Source::Synced) {
                process.end();
                return Err(error);
            }
            self.syncing.process = Some(process);
        }
        let Some(process) = &self.syncing.process else { return Ok(false) };
        let is_ordered = match self.syncing.all {
            true => self.order_all(process)?,
            false => self.order_marked(process)?,
        };
        self.forget_unsynced();
        Ok(is_ordered)
    }

    fn order_all(&self, process: &Syncer) -> io::Result<bool> {
        match File::open(self.layout.logs()) {
            Ok(directory) => process.order_all(directory.as_fd()).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn order_marked(&self, process: &Syncer) -> io::Result<bool> {
        let logs = self.syncing.unsynced.iter().filter_map(|of| match of {
            Of::Jail(id) => self.jails.get(*id).map(|jail| &jail.log),
            Of::Events => Some(&self.history.log),
            Of::Kernel => Some(&self.kernel.log),
        });
        let files: Vec<_> = logs.chain(&self.syncing.orphans).flat_map(Log::unsynced).collect();
        if files.is_empty() {
            return Ok(false);
        }
        process.order(&files).map(|()| true)
    }

    /// All that was to be synced is ordered.
    fn forget_unsynced(&mut self) {
        for of in std::mem::take(&mut self.syncing.unsynced) {
            match of {
                Of::Jail(id) => {
                    if let Some(jail) = self.jails.get_mut(id) {
                        jail.log.forget_unsynced();
                    }
                }
                Of::Events => self.history.log.forget_unsynced(),
                Of::Kernel => self.kernel.log.forget_unsynced(),
            }
        }
        self.syncing.orphans.clear();
        self.syncing.all = false;
    }

    /// The process has answered, or is gone.
    pub(super) fn on_synced(&mut self) {
        let Some(process) = &self.syncing.process else { return };
        let outcome = process.outcome();
        match outcome {
            Outcome::NotYet => return,
            Outcome::Done => self.syncing.failed = false,
            Outcome::Failed(errno) => {
                self.sync_failed(&io::Error::from_raw_os_error(errno).to_string());
            }
            Outcome::Gone => {
                self.sync_failed("its process was killed");
                self.end_syncer();
            }
        }
        self.syncing.answered(outcome, clock::now());
    }

    fn end_syncer(&mut self) {
        if let Some(process) = self.syncing.process.take() {
            self.poller.forget(&process);
            process.end();
        }
    }

    fn sync_failed(&mut self, error: &str) {
        if !std::mem::replace(&mut self.syncing.failed, true) {
            log::warn!("the disk may not have the newest log lines: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Duration::from_millis(ms)
    }

    /// One line has come at 1 s, and its order is given.
    fn ordered() -> Syncing {
        let mut syncing = Syncing::default();
        syncing.mark(Of::Events, at(1000));
        assert!(!syncing.is_due(at(1499)) && syncing.is_due(at(1500)));
        syncing.unsynced.clear();
        (syncing.due, syncing.ordered) = (None, Some(at(1500)));
        syncing
    }

    #[test]
    fn a_line_waits_for_half_a_second_whatever_comes_after_it() {
        let mut syncing = Syncing::default();
        syncing.mark(Of::Events, at(1000));
        syncing.mark(Of::Kernel, at(1400));
        syncing.mark(Of::Events, at(1400));
        assert_eq!(syncing.deadline(), Some(at(1500)));
    }

    #[test]
    fn the_pause_counts_from_when_the_order_before_was_given() {
        let mut syncing = ordered();
        syncing.mark(Of::Jail(1), at(1600));
        assert_eq!(syncing.deadline(), None);
        syncing.answered(Outcome::Done, at(1700));
        assert_eq!(syncing.deadline(), Some(at(2000)));
    }

    #[test]
    fn after_an_order_that_took_long_the_next_one_follows_at_once() {
        let mut syncing = ordered();
        syncing.mark(Of::Jail(1), at(1600));
        syncing.answered(Outcome::Done, at(4000));
        assert!(syncing.is_due(at(4000)) && !syncing.all);
    }

    #[test]
    fn a_line_that_comes_while_the_process_is_idle_does_not_wait_for_that() {
        let mut syncing = ordered();
        syncing.answered(Outcome::Done, at(1600));
        assert_eq!(syncing.deadline(), Some(at(1600) + IDLE));
        syncing.mark(Of::Jail(1), at(2000));
        assert_eq!(syncing.deadline(), Some(at(2500)));
    }

    #[test]
    fn what_was_ordered_and_not_done_is_ordered_again() {
        for (outcome, due) in
            [(Outcome::Gone, at(2000)), (Outcome::Failed(libc::EIO), at(1600) + IDLE)]
        {
            let mut syncing = ordered();
            syncing.answered(outcome, at(1600));
            assert!(syncing.all && syncing.has_work(), "{outcome:?}");
            assert_eq!(syncing.deadline(), Some(due), "{outcome:?}");
        }
    }

    #[test]
    fn a_process_that_had_no_order_takes_nothing_with_it() {
        let mut syncing = ordered();
        syncing.answered(Outcome::Done, at(1600));
        syncing.answered(Outcome::Gone, at(1700));
        assert!(!syncing.has_work());
    }

    #[test]
    fn what_an_earlier_jailsupd_has_stored_is_synced_at_once() {
        let mut syncing = Syncing::default();
        syncing.mark_all(at(1000));
        assert!(syncing.has_work() && syncing.is_due(at(1000)));
    }
}
