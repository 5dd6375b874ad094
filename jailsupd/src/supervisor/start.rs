//! Starting a jail: the plan's host steps one by one, then its processes.

use super::Supervisor;
use super::clock;
use super::commands::stored_limit;
use super::jail::{Jail, Kept, Life, Loaded};
use super::notify::{self, Voice};
use super::poller::{JailId, Source};
use super::poststop;
use super::pressure::Watched;
use crate::exec::account::{self, Account};
use crate::exec::cgroup::Cgroup;
use crate::exec::deploys::Version;
use crate::exec::devices::Pinned;
use crate::exec::ends::Inside;
use crate::exec::spawn::{Prepared, Spawned};
use crate::exec::state::{Memory, State, cut};
use crate::exec::terminal::Terminal;
use crate::exec::worker::Worker;
use crate::exec::{
    Error, cores, devices, faults, given, image, limits, overlay, root, spawn, volume, walls,
};
use crate::plan::{self, GivenFile, HostStep, Learned};
use crate::unit::{Bytes, Device, HookKind, ImageSource};
use keeper::Slot;
use rustix::fd::{AsFd as _, OwnedFd};
use std::io;

/// What the host steps have made so far.
pub(super) struct Building<'a> {
    pub(super) loaded: &'a Loaded,
    /// See [`super::jail::Jail`].
    pub(super) id: JailId,
    pub(super) key: String,
    cgroup: Cgroup,
    pub(super) kept: Option<Kept>,
    /// What the jail's link sat on until now.
    pub(super) lower_before: Option<u32>,
    /// Its link alone is made, before its start.
    pub(super) is_ahead: bool,
    /// The cgroup was made for this start: nothing in it is to be taken back.
    is_new: bool,
    source: Option<&'a ImageSource>,
    pub(super) root: Option<OwnedFd>,
    pub(super) account: Option<Account>,
    volumes: Vec<OwnedFd>,
    given: Vec<Option<OwnedFd>>,
    devices: Vec<Pinned>,
    /// What its program gets when it has a client.
    client: Option<Inside>,
}

impl<'a> Building<'a> {
    /// Nothing yet but what is kept of the jail from earlier, which is taken out of it meanwhile.
    pub(super) fn new(id: JailId, jail: &mut Jail, loaded: &'a Loaded) -> Self {
        Self {
            loaded,
            id,
            key: jail.key.clone(),
            cgroup: jail.cgroup.clone(),
            is_ahead: false,
            is_new: false,
            lower_before: jail.kept.as_ref().and_then(|kept| kept.lower),
            kept: jail.kept.take(),
            source: None,
            root: None,
            account: None,
            volumes: Vec::new(),
            given: Vec::new(),
            devices: Vec::new(),
            client: None,
        }
    }
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The jail's processes are on their way.
    Spawned,
    /// A worker must make something first; then it begins anew.
    Waits,
}

impl Supervisor {
    /// Prepares and spawns the jail.
    pub(super) fn start_jail(&mut self, id: JailId) -> Result<Progress, Error> {
        self.allow_start(id)?;
        if self.takes_work_over(id)? {
            return Ok(Progress::Waits);
        }
        self.require_room(id)?;
        self.require_client(id)?;
        let Some(jail) = self.jails.get_mut(id) else { return Ok(Progress::Waits) };
        let Some(loaded) = jail.loaded.clone() else { return Err(Error::NoUnit) };
        walls::read()
            .map_err(|source| Error::Process { what: "read which walls to leave out", source })?;
        faults::reach("start-begun")?;
        jail.starts += 1;
        jail.frozen = false;
        jail.denied.clear();
        jail.rested = None;
        jail.hook_problem = None;
        self.build_and_spawn(id, &loaded)
    }

    /// Performs a plan's host steps, and makes the processes.
    pub(super) fn build_and_spawn(
        &mut self,
        id: JailId,
        loaded: &Loaded,
    ) -> Result<Progress, Error> {
        let Some(jail) = self.jails.get_mut(id) else { return Ok(Progress::Waits) };
        let name = jail.name.clone();
        let mut building = Building::new(id, jail, loaded);
        let prepared = self.renew_namespaces(&mut building);
        let prepared = prepared.and_then(|()| self.build(&name, &mut building));
        let result = prepared.and_then(|waits| match waits {
            Some((key, worker)) => self.await_work(id, key, worker).map(|()| Progress::Waits),
            None => self.spawn(id, &mut building).map(|()| Progress::Spawned),
        });
        if let Some(jail) = self.jails.get_mut(id) {
            // However it went: what was made of its namespaces is used again.
            jail.kept = building.kept;
        }
        let progress = result?;
        if progress == Progress::Spawned {
            self.watch_limits(id);
            let failed = |source| Error::Process { what: "watch its process", source };
            self.watch(id).map_err(failed)?;
            faults::reach("watched")?;
        }
        Ok(progress)
    }

    /// Performs the plan's steps, up to one that must wait for a worker.
    fn build(
        &mut self,
        name: &str,
        building: &mut Building<'_>,
    ) -> Result<Option<(&'static str, Worker)>, Error> {
        let loaded = building.loaded;
        for step in &loaded.plan.host {
            if let Some(work) = self.work_before(name, step, building)? {
                return Ok(Some(work));
            }
            self.perform(name, step, building)?;
            faults::step(step)?;
        }
        faults::reach("prepared")?;
        Ok(None)
    }

    fn spawn(&mut self, id: JailId, building: &mut Building<'_>) -> Result<(), Error> {
        let loaded = building.loaded;
        let missing =
            || Error::Process { what: "follow its plan", source: io::ErrorKind::NotFound.into() };
        let root = building.root.take().ok_or_else(missing)?;
        let account = building.account.take().ok_or_else(missing)?;
        let kept = building.kept.as_ref().ok_or_else(missing)?;
        building.client = self.take_client(id)?;
        let prepared = Prepared {
            root: &root,
            namespaces: &kept.namespaces,
            cgroup: building.cgroup.open()?,
            volumes: &building.volumes,
            given: &building.given,
            devices: &building.devices,
            account: &account,
            ids: &loaded.plan.ids,
            client: building.client.as_ref(),
        };
        let root_point = self.layout.root_point();
        let spawned = spawn::spawn(&loaded.plan, &prepared, self.helper.as_fd(), &root_point)?;
        faults::reach("handed-over")?;
        self.protect_memory(Some(&loaded.unit));
        let is_new = building.is_new;
        for step in loaded.plan.host.iter().filter(|step| !is_new || !limits::is_default(step)) {
            limits::apply(step, &building.cgroup, &self.layout)?;
        }
        faults::reach("limits-set")?;
        let (stored, memory) = self.entrust(id, &spawned, loaded, kept)?;
        let gone = faults::reach("entrusted");
        let gone = gone.and_then(|()| spawned.go()).and_then(|()| faults::reach("told-to-go"));
        let Some(jail) = self.jails.get_mut(id) else { return gone };
        // Whatever comes of it: what the keeper holds now is to be taken back from it.
        jail.life = Some(Life {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            start_error: Some(spawned.start_error),
            exit_report: spawned.exit_report,
            events: jail.cgroup.events().ok(),
            stdout: spawned.stdout,
            stderr: spawned.stderr,
            terminal: spawned.terminal.map(Terminal::new),
            voice: Voice::new(spawned.notify),
            health: None,
            limits: Watched::default(),
            failed: None,
            killed: false,
            former: None,
            is_poststop: false,
            remembered: stored.fingerprint(),
            stored,
            memory: Some(memory),
        });
        gone
    }

    pub(super) fn perform<'a>(
        &mut self,
        name: &str,
        step: &'a HostStep,
        building: &mut Building<'a>,
    ) -> Result<(), Error> {
        match step {
            HostStep::CreateCgroup => {
                building.is_new = building.cgroup.create()?;
                // A cgroup that is left from a frozen jail would hold the new one's first process.
                if building.is_new { Ok(()) } else { building.cgroup.freeze(false) }
            }
            // Set when the jail's processes exist: until *go* jailsupd waits for them, and must not wait
            // for one that lives within a jail's limits.
            HostStep::SetLimit(_) | HostStep::LimitDisks(_) => Ok(()),
            HostStep::CreateNamespaces { ids } => self.make_namespaces(building, ids),
            HostStep::SetUpNetwork(_) => self.make_link(building),
            HostStep::OpenImage(source) => {
                building.source = Some(source);
                building.root = Some(self.images.open(source, &self.layout)?);
                Ok(())
            }
            HostStep::OpenRoot { source, size_max } => {
                let request = root::Request { jail: name, source, size_max: *size_max };
                if let Some(kept) = &building.kept {
                    let users = kept.namespaces.user.as_fd();
                    building.root = Some(root::open(&request, users, &self.layout)?);
                }
                Ok(())
            }
            HostStep::ShiftIds => match (&building.root, building.source, &building.kept) {
                (Some(root), Some(source), Some(kept)) => {
                    image::shift_ids(root, kept.namespaces.user.as_fd(), source)
                }
                _ => Ok(()),
            },
            HostStep::Overlay { backing, size_max } => {
                let (backing, size_max) = (*backing, *size_max);
                let ids = building.loaded.ids;
                let request = overlay::Request { backing, size_max, jail: &building.key, ids };
                if let Some(root) = &building.root {
                    building.root = Some(overlay::mount(root, &request, &self.layout)?);
                    // What an interrupted start had left there has just gone to the trash.
                    self.empty_trash_soon();
                }
                Ok(())
            }
            HostStep::FindUser { user, group } => {
                if let Some(root) = &building.root {
                    building.account = Some(account::find(root, user, group.as_ref())?);
                }
                Ok(())
            }
            HostStep::OpenVolume(volume) => {
                if let (Some(root), Some(account), Some(kept)) =
                    (&building.root, &building.account, &building.kept)
                {
                    let (users, ids) = (kept.namespaces.user.as_fd(), building.loaded.ids);
                    let request = volume::Request { volume, users, root, account, ids };
                    building.volumes.push(volume::open(&request, &self.layout)?);
                }
                Ok(())
            }
            HostStep::WriteFiles(files) => self.give_files(files, building),
            HostStep::OpenCores(size) => self.open_cores(name, *size, building),
            HostStep::PinDevices(devices) => self.pin_devices(devices, building),
        }
    }

    fn pin_devices(
        &mut self,
        devices: &[Device],
        building: &mut Building<'_>,
    ) -> Result<(), Error> {
        let group = building.account.as_ref().map_or(0, |account| account.gid);
        let request = devices::Request { devices, ids: &building.loaded.plan.ids, group };
        let common = &mut self.devices;
        building.devices = devices::pin(&request, &building.cgroup, common, &self.layout)?;
        Ok(())
    }

    fn give_files(&self, files: &[GivenFile], building: &mut Building<'_>) -> Result<(), Error> {
        if let Some(root) = &building.root {
            let learned = self.learned(building.id, building.loaded);
            let told = plan::files(&building.loaded.unit, &self.machine_id, &learned);
            let files = if learned == Learned::default() { files } else { &told };
            building.given = given::open(&building.key, files, root, &self.layout)?;
        }
        Ok(())
    }

    fn open_cores(
        &self,
        name: &str,
        size: Bytes,
        building: &mut Building<'_>,
    ) -> Result<(), Error> {
        if let Some(kept) = &building.kept {
            let users = kept.namespaces.user.as_fd();
            let mount = cores::open(name, size, users, &self.layout)?;
            building.devices.push(cores::pinned(mount));
        }
        Ok(())
    }

    /// Gives the keeper everything that must outlive this program, before *go*. Returns what it is to
    /// remember in words, and where it does.
    fn entrust(
        &mut self,
        id: JailId,
        spawned: &Spawned,
        loaded: &Loaded,
        kept: &Kept,
    ) -> Result<(State, Memory), Error> {
        let Some(jail) = self.jails.get(id) else { return Err(Error::NoUnit) };
        let image = image::digest(&loaded.unit.image.source, &self.layout);
        let version = Version {
            unit: loaded.restart_hash.clone(),
            image: image.map(|digest| digest.to_string()),
        };
        let now = clock::now();
        // What its machine says in a moment, known to the next jailsupd before *go*.
        let by = now.saturating_add(loaded.unit.executed_within());
        let stored = State {
            unit: version.unit.clone(),
            link: kept.key.clone(),
            link_lower: kept.lower,
            ids: kept.ids.clone(),
            uid_base: loaded.ids.base(),
            part: jail.part,
            pid: spawned.pid,
            started_us: clock::microseconds(now),
            held_down: jail.held_down,
            restarts: jail.restarts,
            failures: jail.machine.failures,
            limit: stored_limit(jail.machine.limit),
            // It is a hook after the end when that is where the jail is.
            poststop: poststop::stored(jail.machine.state),
            last_exit: jail.last_exit.clone(),
            filtered: !loaded.unit.firewall.is_open(),
            told: jail.told(),
            program: loaded.unit.process.exec.first().map(|program| cut(program)),
            notified: notify::expected(&loaded.unit),
            owes_poststart: loaded.unit.hooks.get(HookKind::Poststart).is_some(),
            tried_since_us: self.trials.since_us(id, &version),
            executed_by_us: Some(clock::microseconds(by)),
            image: version.image,
            ..State::default()
        };
        let memory = Memory::new(&stored).map_err(Error::Keeper)?;
        faults::reach("state-made")?;
        let mut slots = vec![
            (Slot::Process, spawned.pidfd.as_fd()),
            (Slot::StartError, spawned.start_error.as_fd()),
            (Slot::ExitReport, spawned.exit_report.as_fd()),
            (Slot::State, memory.as_fd()),
        ];
        let others = [
            (Slot::Stdout, &spawned.stdout),
            (Slot::Stderr, &spawned.stderr),
            (Slot::Stdout, &spawned.terminal),
            (Slot::Notify, &spawned.notify),
        ];
        slots.extend(others.iter().filter_map(|(slot, fd)| Some((*slot, fd.as_ref()?.as_fd()))));
        self.keeper.put(&jail.key, &slots).map_err(Error::Keeper)?;
        Ok((stored, memory))
    }

    /// Waits for what a jail's processes do.
    pub(super) fn watch(&self, id: JailId) -> io::Result<()> {
        let Some(life) = self.jails.get(id).and_then(|jail| jail.life.as_ref()) else {
            return Ok(());
        };
        self.poller.watch(&life.pidfd, Source::Process(id))?;
        let pipes = [
            (&life.start_error, Source::StartError(id)),
            (&life.stdout, Source::Stdout(id)),
            (&life.stderr, Source::Stderr(id)),
        ];
        if let Some(terminal) = &life.terminal {
            match &terminal.master {
                Some(master) => self.poller.watch(master, Source::Terminal(id))?,
                None => self.poller.watch(&terminal.socket, Source::Terminal(id))?,
            }
        }
        if let Some(socket) = life.voice.socket() {
            self.poller.watch(socket, Source::Notify(id))?;
        }
        for (pipe, source) in pipes {
            if let Some(pipe) = pipe {
                self.poller.watch(pipe, source)?;
            }
        }
        match &life.events {
            Some(events) => {
                // Reading takes back what the kernel signals for a file that was just opened.
                let _ = crate::exec::cgroup::is_frozen(events);
                self.poller.watch_changes(events, Source::Cgroup(id))
            }
            None => Ok(()),
        }
    }
}
