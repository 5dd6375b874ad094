//! Loading: unit files and host.toml, read, checked and planned.

use super::Supervisor;
use super::jail::{Jail, Loaded};
use crate::exec::cgroup::Cgroup;
use crate::exec::logs::Log;
use crate::exec::units::{self, UnitFile};
use crate::plan::{self, Context};
use crate::unit::host::{self, Host, Layer};
use crate::unit::{Problem, Unit};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// host.toml's places, the later winning key by key.
const HOST_FILES: [&str; 2] = ["/usr/lib/warder/host.toml", "/etc/warder/host.toml"];

/// The host's configuration; with problems, what holds without any file.
pub(super) fn read_host() -> (Host, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for file in HOST_FILES {
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((file, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::of_file(file, format!("cannot be read: {error}"))),
        }
    }
    let layers: Vec<Layer<'_>> = texts.iter().map(|(file, text)| Layer { file, text }).collect();
    match host::parse(&layers) {
        Ok(host) => (host, problems),
        Err(found) => {
            problems.extend(found);
            (Host::default(), problems)
        }
    }
}

impl Supervisor {
    /// Reads all units. A bad one stops nobody: it is shown with its problems, and the others start.
    pub(super) fn load_units(&mut self) {
        let directories: Vec<PathBuf> = units::DIRECTORIES.iter().map(PathBuf::from).collect();
        let (files, problems) = units::read(&directories);
        for problem in problems {
            log::error!("{}", problem.one_line());
        }
        let mut good = Vec::new();
        for file in &files {
            let id = self.jail_named(&file.stem, &file.path);
            match parse(file) {
                Ok(unit) => good.push((id, unit)),
                Err(problems) => self.refuse(id, problems),
            }
        }
        let clashes =
            crate::unit::set::check(good.iter().map(|(_, unit)| unit), &self.host.uplink.address);
        let refused: BTreeSet<&str> = clashes.iter().map(|clash| clash.name.as_str()).collect();
        for (id, unit) in good {
            if !refused.contains(unit.name.as_str()) {
                self.put_in_force(id, unit);
            }
        }
        for clash in &clashes {
            if let Some(id) = self.jails.find(clash.name.as_str()) {
                self.refuse(id, vec![clash.problem.clone()]);
            }
        }
    }

    /// The jail of this name, made if there is none.
    pub(super) fn jail_named(&mut self, name: &str, path: &Path) -> u32 {
        let path = path.to_string_lossy();
        if let Some(id) = self.jails.find(name) {
            if let Some(jail) = self.jails.get_mut(id) {
                jail.path = path.into_owned();
            }
            return id;
        }
        let cgroup = Cgroup::of(&self.layout.cgroups, name);
        let log = Log::of(&self.layout, name);
        self.jails.add(Jail::new(name, &path, cgroup, log))
    }

    fn put_in_force(&mut self, id: u32, unit: Unit) {
        let ids = match self.ids.range(unit.name.as_str()) {
            Ok(ids) => ids,
            Err(error) => {
                let problem = unit.problem(error.key(), error.chain(), error.help());
                return self.refuse(id, vec![problem]);
            }
        };
        let context = Context { ids, machine_id: &self.machine_id };
        match plan::plan(&unit, context) {
            Ok(plan) => {
                let hash = unit.canonical_hash().to_string();
                if let Some(jail) = self.jails.get_mut(id) {
                    jail.unit_problems.clear();
                    jail.loaded = Some(Loaded { unit, hash, ids, plan });
                }
            }
            Err(error) => {
                let error = crate::exec::Error::Plan(error);
                let problem = unit.problem(error.key(), error.chain(), error.help());
                self.refuse(id, vec![problem]);
            }
        }
    }

    fn refuse(&mut self, id: u32, problems: Vec<Problem>) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        for problem in &problems {
            log::error!("jail={} {}", jail.name, problem.one_line());
        }
        jail.unit_problems = problems;
    }
}

fn parse(file: &UnitFile) -> Result<Unit, Vec<Problem>> {
    let path = file.path.to_string_lossy();
    let bytes = file.content.as_ref().map_err(|problem| vec![(**problem).clone()])?;
    let text = crate::unit::text(&path, bytes).map_err(|problem| vec![problem])?;
    crate::unit::parse(&file.stem, &path, text)
}
