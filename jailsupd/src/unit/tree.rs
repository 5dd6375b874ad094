//! From all files of all unit directories to units: which file wins, what is merged, what is an instance
//! of what. The caller reads the directories (`exec::units`); nothing is opened here.
//!
//! ```text
//!   NAME.toml           a jail; the file of the last directory that has one
//!   NAME.toml.d/X.toml  on top of it, by X; an X of a later directory replaces that of an earlier one
//!   NAME@.toml          a template: no jail, but what its instances are made from
//!   NAME@I.toml         the jail NAME-I: the template, its drop-ins, this file, its own drop-ins
//!   -> /dev/null        masks: the jail of this name is not there, whichever file makes it; of a template,
//!                       none of its instances is
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{Layer, assemble, problems, text};
use super::problem::Place;
use super::specifier::Names;
use super::{JailName, Problem, Unit};

/// A file that was found in a unit directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Its path, for messages.
    pub path: String,
    /// The rank of its directory: files of a later one win.
    pub directory: usize,
    /// What it is by its name, and what it holds.
    pub kind: RawKind,
}

/// The bytes of a file, or why they could not be read.
pub type Content = Result<Vec<u8>, Problem>;

/// What a file is by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// `STEM.toml`: a unit, a template (`NAME@`) or an instance (`NAME@INSTANCE`, also as a link to the
    /// template: it is known by what it holds).
    Unit {
        /// The name without `.toml`.
        stem: String,
        /// What it holds.
        content: Content,
    },
    /// `STEM.toml.d/FILE_NAME`. A link to /dev/null is given with no content: it replaces one of an earlier
    /// directory by nothing.
    DropIn {
        /// The directory's name without `.toml.d`.
        stem: String,
        /// By which it is sorted, and replaced.
        file_name: String,
        /// What it holds.
        content: Content,
    },
    /// `STEM.toml`, a link to /dev/null.
    Mask {
        /// The name without `.toml`.
        stem: String,
    },
}

/// The stem of a unit file's name. Hidden files and those that end otherwise (editors' own) are none.
pub fn unit_stem(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(".toml").filter(|stem| !stem.starts_with('.'))
}

/// The stem of the unit that a directory of this name holds drop-ins for.
pub fn drop_in_stem(directory_name: &str) -> Option<&str> {
    directory_name.strip_suffix(".d").and_then(unit_stem)
}

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Jails, and names with problems only (of a template without instances `NAME@`), sorted by name.
    pub units: Vec<Resolved>,
    /// All templates, good and bad, sorted by name.
    pub templates: Vec<Template>,
    /// What is masked, sorted by name.
    pub masked: Vec<Masked>,
}

/// One jail as its files say it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The jail's name; that of the file when it is not fit for one.
    pub name: String,
    /// The files that make it, in the order of application.
    pub files: Vec<String>,
    /// The unit, or every problem of every file.
    pub result: Result<Unit, Vec<Problem>>,
    /// There are drop-ins only, without the unit that they are a part of.
    pub is_orphan: bool,
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `NAME@`.
    pub name: String,
    /// Its file and its drop-ins, in the order of application.
    pub files: Vec<String>,
}

/// A name that a link to /dev/null hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The jail's name; of a template `NAME@`.
    pub name: String,
    /// The link.
    pub file: String,
}

/// Puts the files together. Their order does not matter.
pub fn resolve(files: &[RawFile]) -> Tree {
    let found = Found::new(files);
    let mut tree = Tree::default();
    // With the file that gives each its name.
    let mut units: BTreeMap<String, Vec<(&str, Resolved)>> = BTreeMap::new();
    for (stem, head) in &found.heads {
        if let Some(mask) = found.mask(stem) {
            let masked = Masked { name: jail_name(stem), file: mask.path.clone() };
            tree.masked.push(masked);
            continue;
        }
        if let Some(name) = stem.strip_suffix('@') {
            let layers = found.layers(stem);
            tree.templates.push(Template { name: (*stem).to_owned(), files: paths(&layers) });
            if found.instances.contains(name) {
                continue; // which are checked
            }
        }
        if let Some(unit) = found.unit(stem, &head.path) {
            units.entry(unit.name.clone()).or_default().push((&head.path, unit));
        }
    }
    for (stem, parts) in &found.parts {
        if !found.heads.contains_key(stem) {
            let orphan = orphan(stem, parts);
            units.entry(orphan.name.clone()).or_default().push(("", orphan));
        }
    }
    tree.units = units.into_values().filter_map(only_one).collect();
    tree.masked.sort_by(|a, b| a.name.cmp(&b.name));
    tree.masked.dedup();
    tree
}

/// The files by what they are for, the winning ones only.
struct Found<'a> {
    /// Units and masks by stem.
    heads: BTreeMap<&'a str, &'a RawFile>,
    /// Drop-ins by stem and by their own name.
    parts: BTreeMap<&'a str, BTreeMap<&'a str, &'a RawFile>>,
    /// All that a stem's files hold, the losing ones, too.
    versions: BTreeMap<&'a str, Vec<&'a [u8]>>,
    /// Names of templates that have an instance.
    instances: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    fn new(files: &'a [RawFile]) -> Self {
        let mut sorted: Vec<&RawFile> = files.iter().collect();
        sorted.sort_by_key(|file| file.directory);
        let (mut heads, mut parts) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for file in sorted {
            match &file.kind {
                RawKind::Unit { stem, content } => {
                    heads.insert(stem.as_str(), file);
                    versions.entry(stem.as_str()).or_default().extend(content.as_deref());
                }
                RawKind::Mask { stem } => drop(heads.insert(stem.as_str(), file)),
                RawKind::DropIn { stem, file_name, .. } => {
                    parts.entry(stem.as_str()).or_default().insert(file_name.as_str(), file);
                }
            }
        }
        let instances =
            heads.keys().filter_map(|stem| instance(stem)).map(|(name, _)| name).collect();
        Self { heads, parts, versions, instances }
    }

    /// The link that hides this stem: its own, one by the jail's name, or its template's.
    fn mask(&self, stem: &str) -> Option<&'a RawFile> {
        let link = |stem: &str| {
            let file = self.heads.get(stem).copied();
            file.filter(|file| matches!(file.kind, RawKind::Mask { .. }))
        };
        let own = link(stem).or_else(|| link(&jail_name(stem)));
        own.or_else(|| link(&format!("{}@", instance(stem)?.0)))
    }

    /// A stem's own file and its drop-ins.
    fn layers(&self, stem: &str) -> Vec<Layer<'a>> {
        let parts = self.parts.get(stem).into_iter().flat_map(BTreeMap::values);
        self.heads.get(stem).into_iter().chain(parts).copied().filter_map(layer).collect()
    }

    /// What the file `path` and all that belongs to it make; nothing when that is a good template.
    fn unit(&self, stem: &str, path: &str) -> Option<Resolved> {
        let mut layers = self.layers(stem);
        let result = if let Some(template) = stem.strip_suffix('@') {
            Err(check_template(template, path, &layers)?)
        } else if let Some((template, instance)) = instance(stem) {
            let above = self.of_template(template, layers);
            layers = above.0;
            match (JailName::instance(template, instance), above.1) {
                (Err(fault), _) => Err(vec![Problem::from_fault(Place::whole(path), "", fault)]),
                (Ok(_), Some(problem)) => Err(vec![problem]),
                (Ok(name), None) => {
                    let names = Names { jail: name.as_str(), instance: Some(instance) };
                    assemble(names, path, &layers)
                }
            }
        } else {
            assemble(Names { jail: stem, instance: None }, path, &layers)
        };
        let (name, files) = (jail_name(stem), paths(&layers));
        Some(Resolved { name, files, result, is_orphan: false })
    }

    /// The layers of an instance on top of its template's; a problem when there is no such template.
    fn of_template(
        &self,
        template: &str,
        mut own: Vec<Layer<'a>>,
    ) -> (Vec<Layer<'a>>, Option<Problem>) {
        let above = format!("{template}@");
        let mut layers = self.layers(&above);
        let Some(head) = own.first_mut() else { return (layers, None) };
        let problem = (!self.heads.contains_key(above.as_str())).then(|| {
            Problem::of_file(head.file, format!("there is no template {template}@.toml"))
                .help("an instance is made from its template: write one, or give the jail a file of its own, without `@`")
        });
        // A link to a template (or a copy of it) says nothing of its own: read again, it would undo the
        // template's drop-ins.
        let is_link = |text: &&str| {
            let versions = self.versions.get(above.as_str());
            versions.is_some_and(|versions| versions.contains(&text.as_bytes()))
        };
        if head.text.as_ref().is_ok_and(is_link) {
            head.text = Ok("");
        }
        layers.append(&mut own);
        (layers, problem)
    }
}

/// `NAME` and `INSTANCE` of `NAME@INSTANCE`; none for templates and plain units.
fn instance(stem: &str) -> Option<(&str, &str)> {
    stem.split_once('@').filter(|(_, instance)| !instance.is_empty())
}

/// What a stem is called among the jails: bad names keep the file's.
fn jail_name(stem: &str) -> String {
    instance(stem)
        .and_then(|(template, instance)| JailName::instance(template, instance).ok())
        .map_or_else(|| stem.to_owned(), |name| name.as_str().to_owned())
}

fn layer(file: &RawFile) -> Option<Layer<'_>> {
    match &file.kind {
        RawKind::Unit { content, .. } | RawKind::DropIn { content, .. } => {
            let bytes = content.as_ref().map_err(Problem::clone);
            let text = bytes.and_then(|bytes| text(&file.path, bytes));
            Some(Layer { file: &file.path, text })
        }
        RawKind::Mask { .. } => None,
    }
}

fn paths(layers: &[Layer<'_>]) -> Vec<String> {
    layers.iter().map(|layer| layer.file.to_owned()).collect()
}

/// The problems of a template that has no instance yet. It need not be complete, since an instance may
/// say the rest, and it is bad only when it is for a number and for a word.
fn check_template(name: &str, path: &str, layers: &[Layer<'_>]) -> Option<Vec<Problem>> {
    let of = |example: &str| {
        let jail = format!("{name}-{example}");
        problems(Names { jail: &jail, instance: Some(example) }, path, layers)
    };
    let mut found = of("1");
    if !found.is_empty() && of("a").is_empty() {
        found.clear();
    }
    let fault = JailName::template(name).err();
    found.splice(..0, fault.map(|fault| Problem::from_fault(Place::whole(path), "", fault)));
    (!found.is_empty()).then_some(found)
}

/// Drop-ins of a unit that does not exist.
fn orphan(stem: &str, parts: &BTreeMap<&str, &RawFile>) -> Resolved {
    let files: Vec<String> = parts.values().map(|file| file.path.clone()).collect();
    let problem = |file: &String| {
        Problem::of_file(file, format!("there is no unit {stem}.toml that this is a part of"))
            .help(format!("write {stem}.toml, or remove the directory {stem}.toml.d"))
    };
    let problems = files.iter().map(problem).collect();
    Resolved { name: stem.to_owned(), files, result: Err(problems), is_orphan: true }
}

/// Of several units for one jail none is taken: which one is meant cannot be known.
fn only_one(mut units: Vec<(&str, Resolved)>) -> Option<Resolved> {
    if units.len() < 2 {
        return units.pop().map(|(_, unit)| unit);
    }
    let problems = units.iter().filter_map(|(file, _)| {
        let (other, _) = units.iter().find(|(other, _)| other != file)?;
        let problem = Problem::of_file(
            file,
            format!("is one of two files for the same jail; the other is {other}"),
        )
        .help("keep one of them, or give one another name");
        Some(problem)
    });
    let problems = problems.collect();
    let name = units.first()?.1.name.clone();
    let files = units.into_iter().flat_map(|(_, unit)| unit.files).collect();
    Some(Resolved { name, files, result: Err(problems), is_orphan: false })
}
