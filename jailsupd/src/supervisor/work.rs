//! What a start must wait for: a root or a volume that a worker makes. The jail is preparing meanwhile, and
//! its start begins anew when the work is done. An archive for a jail that runs is imported before that is asked to
//! end: one that cannot be imported stops nothing.

use super::jail::{Jail, Work};
use super::poller::{JailId, Source};
use super::start::Building;
use super::{Supervisor, clock};
use crate::exec::worker::{Said, Worker};
use crate::exec::{Error, image, import, root, volume};
use crate::machine::{End, Event, Moment, Want};
use crate::plan::{HostStep, IdRange};
use crate::unit::ImageSource;
use crate::unit::amount::show_duration;
use keeper::Slot;
use rustix::fd::AsFd as _;
use std::time::Duration;

/// Imports ahead at once: each reads and writes as fast as the disk can, and the jails run on meanwhile.
const AHEAD_MAX: usize = 2;

/// The key that names the image.
const IMAGE: &str = "image.source";

/// Whose ids those are that archives are read with; no jail can have this name.
pub(super) const READER: &str = ".reader";

/// What comes of having an archive imported ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// There is nothing to wait for.
    NotNeeded,
    /// The jail runs on until it is there.
    UnderWay,
    /// The same; others come first.
    Queued,
    /// It cannot even begin: the jail runs on as it is.
    Refused,
}

impl Supervisor {
    /// What must be done before this step of the plan can be.
    pub(super) fn work_before(
        &mut self,
        name: &str,
        step: &HostStep,
        building: &Building<'_>,
    ) -> Result<Option<(&'static str, Worker)>, Error> {
        if let Some(source) = self.source_of(name, step) {
            if let Some(worker) = self.import_archive(source)? {
                return Ok(Some((IMAGE, worker)));
            }
        }
        let (key, worker) = match step {
            HostStep::OpenRoot { source, size_max } => {
                let request = root::Request { jail: name, source, size_max: *size_max };
                ("root.mode", root::make(&request, &self.layout)?)
            }
            HostStep::OpenVolume(volume) => {
                let (Some(root), Some(account), Some(kept)) =
                    (&building.root, &building.account, &building.kept)
                else {
                    return Ok(None);
                };
                let (users, ids) = (kept.namespaces.user.as_fd(), building.loaded.ids);
                let request = volume::Request { volume, users, root, account, ids };
                ("volume", volume::fill(&request, &self.layout)?)
            }
            _ => return Ok(None),
        };
        Ok(worker.map(|worker| (key, worker)))
    }

    /// The image that this step of the plan needs.
    fn source_of<'a>(&self, name: &str, step: &'a HostStep) -> Option<&'a ImageSource> {
        match step {
            HostStep::OpenImage(source) => Some(source),
            HostStep::OpenRoot { source, .. } if root::find(&self.layout, name).is_none() => {
                Some(source)
            }
            _ => None,
        }
    }

    /// Starts to import the archive that a jail is to be restarted with, while it runs on.
    pub(super) fn import_ahead(&mut self, id: JailId) -> Ahead {
        if self.goes_on(id) {
            return Ahead::UnderWay;
        }
        let ahead = self.begin_ahead(id);
        match &ahead {
            Ok(Ahead::UnderWay) => self.tell_of(id, "it runs on until its new image is imported"),
            Err(error) => self.runs_on(id, error),
            Ok(_) => {}
        }
        ahead.unwrap_or(Ahead::Refused)
    }

    fn begin_ahead(&mut self, id: JailId) -> Result<Ahead, Error> {
        let archive = self.next_archive(id);
        let Some(jail) = self.jails.get(id).filter(|jail| jail.is_running()) else {
            return Ok(Ahead::NotNeeded);
        };
        let Some(loaded) = jail.loaded.clone() else { return Ok(Ahead::NotNeeded) };
        let name = jail.name.clone();
        let source = loaded.plan.host.iter().find_map(|step| self.source_of(&name, step));
        let Some(source) = source.filter(|source| self.is_to_import(source)) else {
            return Ok(Ahead::NotNeeded);
        };
        if self.is_held_up(archive.as_deref()) {
            return Ok(Ahead::Queued);
        }
        let Some(worker) = self.import_archive(source)? else { return Ok(Ahead::NotNeeded) };
        self.watch_work(id, &worker)?;
        let until = Some(clock::now().saturating_add(loaded.unit.image.timeout));
        let (is_ahead, is_superseded) = (true, false);
        if let Some(jail) = self.jails.get_mut(id) {
            jail.work = Some(Work { key: IMAGE, worker, until, is_ahead, archive, is_superseded });
        }
        Ok(Ahead::UnderWay)
    }

    /// Whether an import ahead must wait for others: there are enough of them, or one is of the same archive, and will do
    /// for all.
    fn is_held_up(&self, archive: Option<&str>) -> bool {
        // One that is not there is told of at once.
        let Some(archive) = archive else { return false };
        let works = || self.jails.all().filter_map(|(_, jail)| jail.work.as_ref());
        works().any(|work| work.archive.as_deref() == Some(archive))
            || works().filter(|work| work.is_ahead).count() >= AHEAD_MAX
    }

    /// Has the archive imported that a jail waits for to be restarted, when its turn has come.
    pub(super) fn take_turn(&mut self, id: JailId) {
        let ahead = self.import_ahead(id);
        if let Some(jail) = self.jails.get_mut(id) {
            jail.queue_import(ahead == Ahead::Queued);
        }
    }

    fn watch_work(&self, id: JailId, worker: &Worker) -> Result<(), Error> {
        let failed = |source| Error::Process { what: "watch its worker", source };
        self.poller.watch(&worker.report, Source::Work(id)).map_err(failed)
    }

    /// Jails that an earlier jailsupd had run on until their next image is there.
    pub(super) fn resume_imports(&mut self) {
        for id in self.ties.leavers.clone() {
            if self.jails.get(id).is_some_and(Jail::is_to_restart) {
                self.take_turn(id);
            }
        }
    }

    /// Whether an import for a jail that runs is under way. One of another archive than its next start needs is ended;
    /// what comes next is seen when it has.
    fn goes_on(&mut self, id: JailId) -> bool {
        let archive = self.next_archive(id);
        let work = self.jails.get_mut(id).and_then(|jail| jail.work.as_mut());
        let Some(work) = work.filter(|work| work.is_ahead) else { return false };
        if work.archive != archive {
            work.is_superseded = true;
            work.worker.kill();
        }
        true
    }

    /// The file that the next start of a jail takes in, if it does.
    fn next_archive(&self, id: JailId) -> Option<String> {
        let jail = self.jails.get(id)?;
        let mut steps = jail.loaded.as_ref()?.plan.host.iter();
        let source = steps.find_map(|step| self.source_of(&jail.name, step))?;
        image::archive_key(image::taken_in(source)?)
    }

    /// A jail that ends by itself while its next image is imported starts with that: whether its start waits for the work
    /// which was begun.
    pub(super) fn takes_work_over(&mut self, id: JailId) -> Result<bool, Error> {
        if !self.goes_on(id) {
            return Ok(false);
        }
        let Some(jail) = self.jails.get_mut(id) else { return Ok(false) };
        let Some(work) = jail.work.as_mut() else { return Ok(false) };
        work.is_ahead = false;
        jail.leaving = None;
        // Whoever has asked for a start is to hear of it if this fails.
        jail.starts += 1;
        self.begin_anew(id)?;
        Ok(true)
    }

    /// The image of a jail that runs is there, or cannot be had.
    fn imported_ahead(&mut self, id: JailId, said: Said, is_late: bool) {
        // It goes on where it waits to end.
        self.ties.moved = true;
        let waits = |jail: &&Jail| jail.is_running() && jail.is_to_restart();
        let Some(jail) = self.jails.get(id).filter(waits) else { return };
        let Said::Failed(failure) = said else { return };
        let timeout = jail.loaded.as_ref().map(|loaded| loaded.unit.image.timeout);
        let error = match is_late {
            true => late(IMAGE, timeout),
            false => Error::Work { key: IMAGE, failure },
        };
        self.runs_on(id, &error);
    }

    /// The image of a jail that runs cannot be had, so it is not restarted.
    fn runs_on(&mut self, id: JailId, error: &Error) {
        // One that was to stop before is still to.
        if let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.is_to_restart()) {
            jail.leaving = None;
            // A version that has proved itself beside it meanwhile may take its place now.
            jail.beside.into_iter().for_each(|beside| self.trials.stir(beside));
        }
        self.ties.moved = true;
        self.start_failed(id, error);
        self.tell_of(id, &format!("it runs on with its former image: {}", error.chain()));
        self.store_stop(id);
    }

    /// Starts to import the file that a unit names, unless that was done, or it is used as it is.
    fn import_archive(&mut self, source: &ImageSource) -> Result<Option<Worker>, Error> {
        let ImageSource::Path { kind, .. } = source else { return Ok(None) };
        let Some(path) = image::taken_in(source).filter(|_| self.is_to_import(source)) else {
            return Ok(None);
        };
        let ids = self.reader_ids()?;
        let key = image::archive_key(path);
        let (name, archive, kind) = (None, key.as_deref(), Some(*kind));
        import::start(&import::Request { path, name, archive, kind, ids }, &self.layout).map(Some)
    }

    /// Whether it is a file to take in that has not been imported.
    fn is_to_import(&self, source: &ImageSource) -> bool {
        image::taken_in(source).is_some() && image::digest(source, &self.layout).is_none()
    }

    /// The ids that archives are read with.
    pub(super) fn reader_ids(&mut self) -> Result<IdRange, Error> {
        let none = || Error::Ids(std::io::ErrorKind::NotFound.into());
        self.ids.ranges(READER, 1)?.first().copied().ok_or_else(none)
    }

    /// Lets the jail wait for the worker.
    pub(super) fn await_work(
        &mut self,
        id: JailId,
        key: &'static str,
        worker: Worker,
    ) -> Result<(), Error> {
        self.watch_work(id, &worker)?;
        let Some(jail) = self.jails.get_mut(id) else { return Ok(()) };
        let timeout = jail.loaded.as_ref().map(|loaded| loaded.unit.image.timeout);
        let until = timeout.map(|timeout| clock::now().saturating_add(timeout));
        let (is_ahead, is_superseded) = (false, false);
        let work = Work { key, worker, until, is_ahead, archive: None, is_superseded };
        if let Some(former) = jail.work.replace(work) {
            self.discard(former.worker);
        }
        self.begin_anew(id)
    }

    /// The next jailsupd is to begin this start anew, not to take the jail for one that has come to rest. Of a version beside
    /// another one it knows nothing then, and tries it again.
    fn begin_anew(&mut self, id: JailId) -> Result<(), Error> {
        match self.jails.get(id) {
            Some(jail) if jail.of.is_some() => {
                let key = jail.key.clone();
                self.keeper.remove(&key, &[Slot::State]).map_err(Error::Keeper)
            }
            _ => {
                self.store_rest(id);
                Ok(())
            }
        }
    }

    /// Ends a worker that nobody waits for any more. That may take its time, in the middle of a sync: the loop does not
    /// wait.
    pub(super) fn discard(&mut self, worker: Worker) {
        worker.kill();
        self.poller.forget(&worker.report);
        match self.poller.watch(&worker.report, Source::Discarded) {
            Ok(()) => self.discarded.push(worker),
            Err(error) => log::warn!("the end of a worker is waited for: {error}"),
        }
    }

    /// One of those has ended, perhaps.
    pub(super) fn on_discarded(&mut self) {
        for mut worker in std::mem::take(&mut self.discarded) {
            match worker.read() {
                Said::Nothing | Said::Progress(..) => self.discarded.push(worker),
                Said::Done(_) | Said::Failed(_) => self.poller.forget(&worker.report),
            }
        }
    }

    /// A worker has said something.
    pub(super) fn on_work(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(work) = jail.work.as_mut() else { return };
        let (key, said) = (work.key, work.worker.read());
        let (is_late, is_superseded) = (work.until.is_none(), work.is_superseded);
        if matches!(said, Said::Nothing | Said::Progress(..)) {
            return;
        }
        let wanted = jail.machine.want == Want::Up;
        if let Some(work) = jail.work.take() {
            self.poller.forget(&work.worker.report);
            if work.is_ahead && !is_superseded {
                return self.imported_ahead(id, said, is_late);
            }
            if work.is_ahead {
                self.ties.moved = true;
                if self.jails.get(id).is_some_and(Jail::is_to_restart) {
                    self.take_turn(id);
                }
                return;
            }
        }
        match said {
            Said::Done(_) if wanted => self.ties.starts.want(id),
            Said::Failed(_) if wanted && is_superseded => self.ties.starts.want(id),
            Said::Failed(_) if wanted && is_late => {
                let timeout = jail.loaded.as_ref().map(|loaded| loaded.unit.image.timeout);
                self.work_failed(id, &late(key, timeout));
            }
            Said::Failed(failure) if wanted => self.work_failed(id, &Error::Work { key, failure }),
            _ => {
                let why = "it is not wanted any more";
                self.apply(id, Event::PrepareFailed(End::NotStarted), why);
            }
        }
    }

    fn work_failed(&mut self, id: JailId, error: &Error) {
        let end = self.not_prepared(id, error);
        self.apply(id, Event::PrepareFailed(end), &error.chain());
    }

    /// A jail that is not wanted any more needs no work. One that is wanted again before that has ended begins anew then.
    pub(super) fn stop_work(&mut self, id: JailId) {
        if let Some(work) = self.jails.get_mut(id).and_then(|jail| jail.work.as_mut()) {
            work.is_superseded = true;
            work.worker.kill();
        }
    }

    /// Ends work that has taken too long; what comes of that its report tells.
    pub(super) fn tick_work(&mut self, id: JailId, now: Moment) {
        let Some(work) = self.jails.get_mut(id).and_then(|jail| jail.work.as_mut()) else { return };
        if work.until.is_some_and(|until| until <= now) {
            work.until = None;
            work.worker.kill();
        }
    }
}

fn late(key: &'static str, timeout: Option<Duration>) -> Error {
    Error::WorkTimeout { key, timeout: show_duration(timeout.unwrap_or_default()) }
}
