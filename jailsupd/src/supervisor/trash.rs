//! When what jails have left is removed: by a process of its own, since it is as much as they like it to be.

use super::poller::Source;
use super::{Supervisor, clock};
use crate::exec::trash::{self, Janitor};
use crate::machine::Moment;
use std::time::Duration;

/// How long what a jail has left stays: it may be on its way up again, and a copy of jailsupd, which the process
/// is made as, would take its share of that.
const AFTER: Duration = Duration::from_secs(1);

/// The trash as jailsupd sees it.
#[derive(Debug, Default)]
pub(super) struct Trash {
    /// The process that empties it, while there is one.
    janitor: Option<Janitor>,
    /// When one is to be made.
    due: Option<Moment>,
    /// Something has come that this process may not have seen any more.
    is_behind: bool,
}

impl Trash {
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.due
    }
}

impl Supervisor {
    /// Has what a jail has left removed, but not now.
    pub(super) fn empty_trash_soon(&mut self) {
        self.trash.due.get_or_insert(clock::now() + AFTER);
    }

    pub(super) fn tick_trash(&mut self, now: Moment) {
        if self.trash.due.is_some_and(|at| at <= now) {
            self.trash.due = None;
            self.empty_trash();
        }
    }

    /// Has all that is in the trash removed.
    pub(super) fn empty_trash(&mut self) {
        if self.trash.janitor.is_some() {
            self.trash.is_behind = true;
            return;
        }
        let started = trash::empty(&self.layout).and_then(|janitor| {
            let Some(janitor) = janitor else { return Ok(()) };
            let watched = self.poller.watch(&janitor.pidfd, Source::Janitor);
            match watched {
                Ok(()) => self.trash.janitor = Some(janitor),
                Err(_) => janitor.end(),
            }
            watched
        });
        if let Err(error) = started {
            log::warn!("the trash is not emptied: {error}");
        }
    }

    pub(super) fn on_janitor(&mut self) {
        if let Some(janitor) = self.trash.janitor.take() {
            self.poller.forget(&janitor.pidfd);
            janitor.reap();
        }
        if std::mem::take(&mut self.trash.is_behind) {
            self.empty_trash_soon();
        }
        self.reclaim();
    }
}
