//! The files of the host's own configuration as they are now: `host.toml` and `policy.toml`, each in several places.

use crate::exec::units;
use crate::unit::{Problem, text};
use std::path::Path;

/// For one that cannot be read.
const HELP: &str = "put a readable file there, or remove it";

/// Paths and texts of those files that are there, in their order; and what is wrong with the others.
pub(super) fn read(files: &[&'static str]) -> (Vec<(&'static str, String)>, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        if Path::new(file).try_exists().is_ok_and(|exists| !exists) {
            continue;
        }
        let content = units::read_file(Path::new(file), HELP);
        match content.and_then(|bytes| text(file, &bytes).map(str::to_owned)) {
            Ok(text) => texts.push((*file, text)),
            Err(problem) => problems.push(problem),
        }
    }
    (texts, problems)
}
