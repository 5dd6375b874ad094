//! From the text of a unit file to a [`Unit`].

use super::keys::{Draft, UNIT};
use super::problem::{Place, Problem, Source};
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
    let name = JailName::new(name_stem)
        .map_err(|fault| Problem::from_fault(Place::whole(file), "", fault));
    let mut draft = Draft::default();
    let mut walk = UNIT.walk(file, text, &mut draft);
    UNIT.require(&mut walk);
    check::unit(&mut walk, &draft);
    let found = walk.finish();
    match (name, found, draft.version, draft.source.clone()) {
        (Ok(name), Ok(places), Some(version), Some(source)) => {
            let settings = UNIT.settings(&draft);
            Ok(Unit {
                name,
                version: version.0,
                description: draft.description,
                critical: draft.critical,
                image: Image { source },
                root: draft.root,
                process: draft.process,
                security: draft.security,
                network: draft.network,
                resources: draft.resources,
                restart: draft.restart,
                stop: draft.stop,
                origin: Origin { file: file.to_owned(), places },
                settings,
            })
        }
        (name, found, _, _) => {
            Err(name.err().into_iter().chain(found.err().unwrap_or_default()).collect())
        }
    }
}
