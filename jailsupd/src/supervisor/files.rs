//! Unit files over the control socket: shown, checked, written.

use super::unknown::invalid_value;
use super::{Supervisor, networks, report};
use crate::control::wire::{
    Changed, Checked, Reply, UnitDraft, UnitFiles, UnitRole, UnitText, WireError,
};
use crate::unit::nearest::nearest;
use crate::unit::{JailName, Resolved};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

const NULL: &str = "/dev/null";

/// What a change of files did: the paths it touched.
type Touched = Result<Vec<PathBuf>, WireError>;

impl Supervisor {
    /// All problems of the drafts, or of all files.
    pub(super) fn check_units(&self, drafts: &[UnitDraft]) -> Reply {
        let (of_networks, of_units) = networks::split(drafts);
        let networks = self.read_networks(&of_networks);
        let tree = self.read_units_in(&networks, &of_units);
        let path = |draft: &UnitDraft| match &draft.path {
            Some(path) => path.clone(),
            None => format!("{}.toml", draft.stem),
        };
        let drafted: Vec<String> = drafts.iter().map(path).collect();
        let good = match of_networks.is_empty() {
            true => BTreeSet::new(),
            false => self.good_without(&of_units),
        };
        let ours = |resolved: &&Resolved| {
            let is_drafted = resolved.files.iter().any(|file| drafted.contains(file));
            drafts.is_empty() || is_drafted || good.contains(&resolved.name)
        };
        let found = tree.units.iter().filter(ours).filter_map(|r| r.result.as_ref().err());
        // A mistake in the policy explains what it refuses.
        let policy = self.policy_problems.iter().filter(|_| drafts.is_empty());
        let of_networks = networks.problems.iter().filter(|problem| {
            drafts.is_empty() || drafted.iter().any(|d| **d == *problem.place.file)
        });
        let problems =
            policy.chain(of_networks).chain(found.flatten()).map(report::problem).collect();
        let files: usize = tree.units.iter().map(|resolved| resolved.files.len()).sum();
        let files = files + networks.files();
        let checked = if drafts.is_empty() { files } else { drafts.len() };
        Reply::with(&Checked { problems, checked: checked as u64 })
    }

    /// The names of the units that are good with the networks as they are: what is wrong with one of them comes from a
    /// draft of a network.
    fn good_without(&self, drafts: &[UnitDraft]) -> BTreeSet<String> {
        let tree = self.read_units_in(&self.read_networks(&[]), drafts);
        let good = tree.units.into_iter().filter(|resolved| resolved.result.is_ok());
        good.map(|resolved| resolved.name).collect()
    }

    /// The files that a jail's unit is made from, as they are now.
    pub(super) fn cat(&self, name: &str) -> Reply {
        let tree = self.read_units(&[]);
        let of_unit = tree.units.iter().find(|resolved| resolved.name == name);
        let of_template = tree.templates.iter().find(|template| template.name == name);
        match of_unit.map(|u| &u.files).or(of_template.map(|t| &t.files)) {
            None => Reply::refusal(&self.no_such_jail(name)),
            Some(files) => {
                let files = files.iter().filter_map(|path| unit_text(path)).collect();
                Reply::with(&UnitFiles { files })
            }
        }
    }

    pub(super) fn put_unit(&mut self, stem: &str, text: &str, expect: Option<&str>) -> Reply {
        let result = self.check_put(stem, text, expect).and_then(|()| {
            self.store.put(stem, text).map(|path| vec![path]).map_err(|e| refused(stem, &e))
        });
        self.changed(stem, result)
    }

    fn check_put(&self, stem: &str, text: &str, expect: Option<&str>) -> Result<(), WireError> {
        if stem.contains('/') || stem.starts_with('.') {
            JailName::new(stem).map_err(|fault| invalid_value("stem", fault))?;
        }
        let path = self.store.unit(stem).to_string_lossy().into_owned();
        if let Some(expect) = expect {
            let hash = self.hash_in_force(stem);
            if hash != expect {
                return Err(WireError::Conflict { path, hash });
            }
        }
        // Written, it would undo the mask without a word.
        let is_mask = |path: &Path| std::fs::read_link(path).is_ok_and(|to| to == Path::new(NULL));
        if is_mask(Path::new(&path)) {
            let reason = format!("it is masked by {path}: `jailctl unmask {stem}` first");
            return Err(WireError::NotPossible { name: stem.to_owned(), reason });
        }
        let (stem, text) = (stem.to_owned(), text.to_owned());
        let tree = self.read_units(&[UnitDraft { stem, text, path: Some(path.clone()) }]);
        let found = tree.units.iter().filter(|resolved| resolved.files.contains(&path));
        let problems: Vec<_> = found
            .filter_map(|resolved| resolved.result.as_ref().err())
            .flatten()
            .map(report::problem)
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(WireError::InvalidUnit { problems }) }
    }

    /// Hash of the unit file of this stem that wins; empty when there is none.
    fn hash_in_force(&self, stem: &str) -> String {
        let file = format!("{stem}.toml");
        let mut paths = self.directories.iter().rev().map(|directory| directory.join(&file));
        paths.find_map(|path| std::fs::read(path).ok()).map_or_else(String::new, |b| hash(&b))
    }

    pub(super) fn delete_unit(&mut self, stem: &str) -> Reply {
        let result = match self.store.delete(stem) {
            Ok(Some(path)) => Ok(vec![path]),
            Ok(None) => Err(self.not_ours(stem)),
            Err(error) => Err(refused(stem, &error)),
        };
        self.changed(stem, result)
    }

    /// Why there is nothing to delete.
    fn not_ours(&self, stem: &str) -> WireError {
        let file = format!("{stem}.toml");
        let mut paths = self.directories.iter().rev().map(|directory| directory.join(&file));
        let reason = match paths.find(|path| path.exists()) {
            Some(path) => format!(
                "its unit is {}, and not in /etc/jails.d: `jailctl disable` or `jailctl mask` keeps it down",
                path.display()
            ),
            None if self.jails.find(&jail_of(stem)).is_none() => return self.no_such_jail(stem),
            None => format!("there is no {}", self.store.unit(stem).display()),
        };
        WireError::NotPossible { name: stem.to_owned(), reason }
    }

    /// Turns a unit on, or makes an instance of a template (`NAME@INSTANCE`).
    pub(super) fn enable(&mut self, name: &str) -> Reply {
        let result = match template_of(name) {
            Some(template) => self.template(&template).and_then(|target| {
                self.store.link(name, &target).map(Vec::from_iter).map_err(|e| refused(name, &e))
            }),
            None => self.switch(name, true),
        };
        self.changed(name, result)
    }

    /// Turns a unit off, or removes an instance that `enable` made.
    pub(super) fn disable(&mut self, name: &str) -> Reply {
        let result = match template_of(name) {
            Some(template) => self.template(&template).and_then(|target| {
                self.store.unlink(name, &target).map(Vec::from_iter).map_err(|e| refused(name, &e))
            }),
            None => self.switch(name, false),
        };
        self.changed(name, result)
    }

    /// The file of a template.
    fn template(&self, name: &str) -> Result<PathBuf, WireError> {
        let tree = self.read_units(&[]);
        let template = tree.templates.iter().find(|template| template.name == name);
        let file = template.and_then(|template| template.files.first());
        file.map(PathBuf::from).ok_or_else(|| {
            let known = tree.templates.iter().map(|template| template.name.as_str());
            let nearest = nearest(name, known).map(str::to_owned);
            WireError::NoSuchJail { name: name.to_owned(), nearest }
        })
    }

    /// The drop-in that says it is written only where the unit itself says otherwise.
    fn switch(&mut self, name: &str, on: bool) -> Touched {
        let stem = self.stem_of(name)?;
        let failed = |error: io::Error| refused(&stem, &error);
        if self.is_enabled(name) == Some(on) {
            return Ok(Vec::new());
        }
        let mut touched = Vec::from_iter(self.store.unswitch(&stem).map_err(failed)?);
        if self.is_enabled(name) != Some(on) {
            touched = vec![self.store.switch(&stem, on).map_err(failed)?];
        }
        Ok(touched)
    }

    fn is_enabled(&self, name: &str) -> Option<bool> {
        let tree = self.read_units(&[]);
        let resolved = tree.units.into_iter().find(|resolved| resolved.name == name)?;
        resolved.result.ok().map(|unit| unit.enabled)
    }

    /// The stem of the file that makes a jail; of an instance it is not the jail's name.
    fn stem_of(&self, name: &str) -> Result<String, WireError> {
        let tree = self.read_units(&[]);
        let resolved = tree.units.into_iter().find(|resolved| resolved.name == name);
        let files = resolved.ok_or_else(|| self.no_such_jail(name))?.files;
        let mut stems = files.iter().filter_map(|file| Path::new(file).file_stem()?.to_str());
        Ok(stems.find(|stem| jail_of(stem) == name).unwrap_or(name).to_owned())
    }

    pub(super) fn mask(&mut self, name: &str) -> Reply {
        let stem = mask_of(name);
        let result = self.store.link(&stem, Path::new(NULL)).map(Vec::from_iter);
        let result = result.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let path = self.store.unit(&stem);
                let reason =
                    format!("{} is a unit of its own: delete or disable it", path.display());
                WireError::NotPossible { name: name.to_owned(), reason }
            }
            _ => refused(&stem, &error),
        });
        self.changed(name, result)
    }

    pub(super) fn unmask(&mut self, name: &str) -> Reply {
        let result = self.store.unlink(&mask_of(name), Path::new(NULL)).map(Vec::from_iter);
        self.changed(name, result.map_err(|error| refused(name, &error)))
    }

    /// Does at once what the watch would lead to a moment later, and answers.
    fn changed(&mut self, stem: &str, result: Touched) -> Reply {
        let touched = match result {
            Ok(touched) => touched,
            Err(error) => return Reply::refusal(&error),
        };
        self.rescan();
        let jail = self.jails.find(&jail_of(stem)).and_then(|id| self.jails.get(id));
        let jail = jail.map(report::summary);
        let paths = touched.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        Reply::with(&Changed { paths, jail })
    }
}

/// `NAME@` for an instance `NAME@INSTANCE`.
fn template_of(stem: &str) -> Option<String> {
    let (template, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{template}@"))
}

/// The stem that masks a jail or a template. An instance's own file is left alone: it says which
/// template the jail is made from.
fn mask_of(name: &str) -> String {
    template_of(name).map_or_else(|| name.to_owned(), |_| jail_of(name))
}

/// The jail that a file of this stem makes.
fn jail_of(stem: &str) -> String {
    stem.replacen('@', "-", 1)
}

fn refused(name: &str, error: &io::Error) -> WireError {
    let reason = format!("its file cannot be changed: {error}");
    WireError::NotPossible { name: name.to_owned(), reason }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unit_text(path: &str) -> Option<UnitText> {
    let bytes = std::fs::read(path).ok()?;
    let stem = Path::new(path).file_stem()?.to_str()?;
    let role = match path.contains(".toml.d/") {
        true => UnitRole::DropIn,
        false if stem.ends_with('@') => UnitRole::Template,
        false => UnitRole::Unit,
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(UnitText { path: path.to_owned(), text, role, hash: hash(&bytes) })
}
