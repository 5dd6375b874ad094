//! When the disk is to have what was logged: half a second after the first line that it need not have, by a process of
//! its own. While nothing is logged there is neither a timer nor the process.

use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::exec::logs::{Log, Outcome, Syncer};
use crate::machine::Moment;
use std::collections::BTreeSet;
use std::time::Duration;

/// From the first line to the order, and between an answer and the next order. With what an order takes, a power cut
/// costs less than a second.
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
    process: Option<Syncer>,
    /// An order is not answered yet.
    busy: bool,
    due: Option<Moment>,
    failed: bool,
}

impl Syncing {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due
    }

    /// A log has more than the disk.
    pub(super) fn mark(&mut self, of: Of) {
        if self.unsynced.insert(of) && !self.busy && self.unsynced.len() == 1 {
            self.due = Some(clock::now() + PAUSE);
        }
    }

    /// A jail is gone, its log stays.
    pub(super) fn keep(&mut self, id: JailId, log: Log) {
        if self.unsynced.remove(&Of::Jail(id)) {
            self.orphans.push(log);
        }
    }

    fn has_work(&self) -> bool {
        !self.unsynced.is_empty() || !self.orphans.is_empty()
    }
}

impl Supervisor {
    /// Orders what is due.
    pub(super) fn sync_logs(&mut self) {
        if self.syncing.due.is_none_or(|due| due > clock::now()) || self.syncing.busy {
            return;
        }
        self.syncing.due = None;
        if !self.syncing.has_work() {
            return self.end_syncer();
        }
        if let Err(error) = self.order_sync() {
            self.sync_failed(&error.to_string());
            self.end_syncer();
            self.syncing.due = Some(clock::now() + IDLE);
        }
    }

    fn order_sync(&mut self) -> std::io::Result<()> {
        if self.syncing.process.is_none() {
            let process = Syncer::start()?;
            self.poller.watch(&process, Source::Synced)?;
            self.syncing.process = Some(process);
        }
        let (jails, history, kernel) = (&self.jails, &self.history, &self.kernel.log);
        let logs = self.syncing.unsynced.iter().filter_map(|of| match of {
            Of::Jail(id) => jails.get(*id).map(|jail| &jail.log),
            Of::Events => Some(history),
            Of::Kernel => Some(kernel),
        });
        let files: Vec<_> = logs.chain(&self.syncing.orphans).flat_map(Log::unsynced).collect();
        if let (Some(process), false) = (&self.syncing.process, files.is_empty()) {
            process.order(&files)?;
            self.syncing.busy = true;
        }
        for of in std::mem::take(&mut self.syncing.unsynced) {
            match of {
                Of::Jail(id) => {
                    if let Some(jail) = self.jails.get_mut(id) {
                        jail.log.forget_unsynced();
                    }
                }
                Of::Events => self.history.forget_unsynced(),
                Of::Kernel => self.kernel.log.forget_unsynced(),
            }
        }
        self.syncing.orphans.clear();
        Ok(())
    }

    /// The process has answered, or is gone.
    pub(super) fn on_synced(&mut self) {
        let Some(process) = &self.syncing.process else { return };
        match process.outcome() {
            Outcome::NotYet => return,
            Outcome::Done => self.syncing.failed = false,
            Outcome::Failed(errno) => {
                self.sync_failed(&std::io::Error::from_raw_os_error(errno).to_string());
            }
            Outcome::Gone => {
                self.sync_failed("its process was killed");
                self.end_syncer();
            }
        }
        self.syncing.busy = false;
        let pause = if self.syncing.has_work() { PAUSE } else { IDLE };
        self.syncing.due = Some(clock::now() + pause);
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
