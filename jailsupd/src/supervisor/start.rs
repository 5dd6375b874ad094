//! Starting a jail: the plan's host steps one by one, then its processes.

use super::Supervisor;
use super::clock;
use super::jail::{Kept, Life, Loaded};
use super::poller::{JailId, Source};
use crate::exec::account::{self, Account};
use crate::exec::cgroup::Cgroup;
use crate::exec::devices::Pinned;
use crate::exec::spawn::{Prepared, Spawned};
use crate::exec::state::State;
use crate::exec::{Error, devices, image, namespaces, overlay, spawn};
use crate::plan::{HostStep, IdRange, Link};
use crate::unit::ImageSource;
use keeper::Slot;
use rustix::fd::{AsFd as _, OwnedFd};
use std::io;

/// What the host steps have made so far.
struct Building<'a> {
    loaded: &'a Loaded,
    cgroup: Cgroup,
    kept: Option<Kept>,
    fresh: bool,
    source: Option<&'a ImageSource>,
    root: Option<OwnedFd>,
    account: Option<Account>,
    devices: Vec<Pinned>,
}

impl Supervisor {
    /// Prepares and spawns the jail; its processes are on their way when this returns.
    pub(super) fn start_jail(&mut self, id: JailId) -> Result<(), Error> {
        let Some(jail) = self.jails.get_mut(id) else { return Ok(()) };
        let name = jail.name.clone();
        let (kept, cgroup) = (jail.kept.take(), jail.cgroup.clone());
        let Some(loaded) = jail.loaded.clone() else { return Ok(()) };
        self.set_up_uplink();
        let result = self.build(&name, &loaded, cgroup, kept);
        let (prepared, kept_key) = result?;
        let root_point = self.layout.root_point();
        let spawned = spawn::spawn(&loaded.plan, &prepared, self.helper.as_fd(), &root_point);
        let result = spawned.and_then(|spawned| {
            self.entrust(id, &spawned, &loaded, &kept_key)?;
            spawned.go()?;
            Ok(spawned)
        });
        let kept = Kept { namespaces: prepared.namespaces, key: kept_key };
        let Some(jail) = self.jails.get_mut(id) else { return Ok(()) };
        jail.kept = Some(kept);
        let spawned = result?;
        jail.life = Some(Life {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            start_error: Some(spawned.start_error),
            exit_report: spawned.exit_report,
            stdout: Some(spawned.stdout),
            stderr: Some(spawned.stderr),
            failed: None,
            killed: false,
            hash: loaded.hash,
        });
        self.watch(id).map_err(|source| Error::Process { what: "watch its process", source })
    }

    fn build(
        &mut self,
        name: &str,
        loaded: &Loaded,
        cgroup: Cgroup,
        kept: Option<Kept>,
    ) -> Result<(Prepared, String), Error> {
        let key = loaded.namespaces_key();
        let kept = kept.filter(|kept| kept.key == key);
        let mut building = Building {
            loaded,
            cgroup,
            kept,
            fresh: false,
            source: None,
            root: None,
            account: None,
            devices: Vec::new(),
        };
        for step in &loaded.plan.host {
            self.perform(name, step, &mut building)?;
        }
        let missing =
            || Error::Process { what: "follow its plan", source: io::ErrorKind::NotFound.into() };
        let kept = self.keep_namespaces(name, &mut building)?;
        let prepared = Prepared {
            root: building.root.ok_or_else(missing)?,
            namespaces: kept.namespaces,
            cgroup: building.cgroup.open()?,
            devices: building.devices,
            account: building.account.ok_or_else(missing)?,
            ids: loaded.ids,
        };
        Ok((prepared, key))
    }

    fn perform<'a>(
        &mut self,
        name: &str,
        step: &'a HostStep,
        building: &mut Building<'a>,
    ) -> Result<(), Error> {
        match step {
            HostStep::CreateCgroup => {
                building.cgroup.create()?;
                // A cgroup that is left from a frozen jail would hold the new one's first process.
                building.cgroup.freeze(false)
            }
            HostStep::SetLimit(limit) => building.cgroup.set(limit),
            HostStep::CreateNamespaces { ids } => self.make_namespaces(building, *ids),
            HostStep::CreateLink(link) => self.make_link(building, Some(link)),
            HostStep::OpenImage(source) => {
                building.source = Some(source);
                building.root = Some(image::open(source)?);
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
                let request = overlay::Request { backing, size_max, jail: name, ids };
                if let Some(root) = &building.root {
                    building.root = Some(overlay::mount(root, &request, &self.layout)?);
                }
                Ok(())
            }
            HostStep::FindUser { user, group } => {
                if let Some(root) = &building.root {
                    building.account = Some(account::find(root, user, group.as_ref())?);
                }
                Ok(())
            }
            HostStep::PinDevices => {
                building.devices = devices::pin()?;
                Ok(())
            }
        }
    }

    fn make_namespaces(&mut self, building: &mut Building<'_>, ids: IdRange) -> Result<(), Error> {
        if building.kept.is_none() {
            let key = building.loaded.namespaces_key();
            building.kept = Some(Kept { namespaces: namespaces::create(ids)?, key });
            building.fresh = true;
            let has_link = |step: &HostStep| matches!(step, HostStep::CreateLink(_));
            if !building.loaded.plan.host.iter().any(has_link) {
                self.make_link(building, None)?;
            }
        }
        Ok(())
    }

    /// Sets the network namespace up, once in its life.
    fn make_link(&mut self, building: &Building<'_>, link: Option<&Link>) -> Result<(), Error> {
        match &building.kept {
            Some(kept) if building.fresh => {
                self.network.make_link(&kept.namespaces.net, link, &self.host.uplink)
            }
            _ => Ok(()),
        }
    }

    /// Namespaces that are complete go to the keeper, so that they outlive this program.
    fn keep_namespaces(&mut self, name: &str, building: &mut Building<'_>) -> Result<Kept, Error> {
        let Some(kept) = building.kept.take() else {
            return Err(Error::Namespaces(io::ErrorKind::NotFound.into()));
        };
        if building.fresh {
            let slots = [
                (Slot::UserNamespace, kept.namespaces.user.as_fd()),
                (Slot::NetNamespace, kept.namespaces.net.as_fd()),
            ];
            self.keeper.put(name, &slots).map_err(Error::Keeper)?;
        }
        Ok(kept)
    }

    /// Gives the keeper everything that must outlive this program, before *go*.
    fn entrust(
        &mut self,
        id: JailId,
        spawned: &Spawned,
        loaded: &Loaded,
        namespaces_key: &str,
    ) -> Result<(), Error> {
        let Some(jail) = self.jails.get(id) else { return Ok(()) };
        let state = State {
            unit: loaded.hash.clone(),
            namespaces: namespaces_key.to_owned(),
            uid_base: loaded.ids.base(),
            pid: spawned.pid,
            started_us: u64::try_from(clock::now().as_micros()).unwrap_or(0),
            restarts: jail.restarts,
            failures: jail.machine.failures,
        };
        let state = state.store().map_err(Error::Keeper)?;
        let slots = [
            (Slot::Process, spawned.pidfd.as_fd()),
            (Slot::StartError, spawned.start_error.as_fd()),
            (Slot::ExitReport, spawned.exit_report.as_fd()),
            (Slot::Stdout, spawned.stdout.as_fd()),
            (Slot::Stderr, spawned.stderr.as_fd()),
            (Slot::State, state.as_fd()),
        ];
        self.keeper.put(&jail.name, &slots).map_err(Error::Keeper)
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
        for (pipe, source) in pipes {
            if let Some(pipe) = pipe {
                self.poller.watch(pipe, source)?;
            }
        }
        Ok(())
    }
}
