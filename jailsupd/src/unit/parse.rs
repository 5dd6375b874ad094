//! From the text of a unit file, or of several that make one unit, to a [`Unit`].

use super::document::Walk;
use super::keys::{Draft, UNIT};
use super::problem::{Place, Problem, Source};
use super::specifier::Names;
use super::{Image, JailName, Origin, Unit, check};

/// The largest unit file that is read, in bytes: far beyond any that a person writes.
pub const MAX_FILE: usize = 256 << 10;

/// The text of a file's bytes.
///
/// # Errors
/// One problem: it is larger than [`MAX_FILE`], or not UTF-8.
pub fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    if bytes.len() > MAX_FILE {
        return Err(Problem::of_file(file, "the file is too large")
            .help(format!("at most {} KiB are read", MAX_FILE >> 10)));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.split_at(error.valid_up_to()).0;
        let good = std::str::from_utf8(good).unwrap_or_default();
        let place = Source::new(file, good).place(&(good.len()..good.len()));
        Problem::new(place, "", "the file is not UTF-8 text").help("save it as UTF-8")
    })
}

/// Reads the unit `name_stem` from the text of `file` (its path, for messages only).
///
/// # Errors
/// Every problem of the name and the text, in the order of the text.
pub fn parse(name_stem: &str, file: &str, text: &str) -> Result<Unit, Vec<Problem>> {
    let names = Names { jail: name_stem, instance: None };
    assemble(names, file, &[Layer { file, text: Ok(text) }])
}

/// One of the files that make a unit.
pub(crate) struct Layer<'a> {
    /// Its path, for messages.
    pub(crate) file: &'a str,
    /// Its text, or why there is none.
    pub(crate) text: Result<&'a str, Problem>,
}

/// The unit that `layers` make together, a later one winning key by key. What none of them says is
/// missing from the file `home`.
///
/// # Errors
/// Every problem of the name and of every file, in their order.
pub(crate) fn assemble(
    names: Names<'_>,
    home: &str,
    layers: &[Layer<'_>],
) -> Result<Unit, Vec<Problem>> {
    let (mut walk, mut draft) = read(names, home, layers);
    check::complete(&mut walk, &draft);
    check::named(&mut walk, &draft, names.jail);
    check::unit(&mut walk, &mut draft);
    let name = JailName::new(names.jail)
        .map_err(|fault| Problem::from_fault(Place::whole(home), "", fault));
    let settings = UNIT.settings(&draft);
    let source = check::image_source(draft.source, draft.digest);
    match (name, walk.finish(), draft.version, source) {
        (Ok(name), Ok(places), Some(version), Some(source)) => Ok(Unit {
            name,
            version: version.0,
            description: draft.description,
            critical: draft.critical,
            enabled: draft.enabled,
            image: Image { source, timeout: draft.image_timeout },
            root: draft.root,
            process: draft.process,
            user: draft.user,
            security: draft.security,
            network: draft.network,
            firewall: draft.firewall,
            resources: draft.resources,
            dependencies: draft.dependencies,
            logs: draft.logs,
            start: draft.start,
            health: draft.health,
            restart: draft.restart,
            deploy: draft.deploy,
            stop: draft.stop,
            hooks: draft.hooks,
            volumes: draft.volumes,
            origin: Origin { file: home.to_owned(), places },
            profile: None,
            joined: None,
            settings,
        }),
        // Version and source are required keys: one that is missing is a problem of the walk.
        (name, found, _, _) => {
            Err(name.err().into_iter().chain(found.err().unwrap_or_default()).collect())
        }
    }
}

/// The problems of files that need not make a whole unit yet.
pub(crate) fn problems(names: Names<'_>, home: &str, layers: &[Layer<'_>]) -> Vec<Problem> {
    let (mut walk, mut draft) = read(names, home, layers);
    check::unit(&mut walk, &mut draft);
    walk.finish().err().unwrap_or_default()
}

fn read<'a>(names: Names<'a>, home: &str, layers: &[Layer<'a>]) -> (Walk<'a>, Draft) {
    let mut draft = Draft::default();
    let mut walk = Walk::new(home, Some(names));
    for layer in layers {
        match &layer.text {
            Ok(text) => UNIT.layer(&mut walk, layer.file, text, &mut draft),
            Err(problem) => walk.skip(problem.clone()),
        }
    }
    (walk, draft)
}
