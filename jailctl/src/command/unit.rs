//! Commands about unit files.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use jailsupd::control::wire::{
    Checked, Consequence, KeyDocs, MAX_MESSAGE, Outcome, PlanStep, Planned, Request, UnitDraft,
    UnitFiles, UnitSchema,
};

use super::Show;
use crate::cli::Explain;
use crate::error::Error;
use crate::output::Output;
use crate::render;

pub(super) fn check(
    show: &Show<'_>,
    files: &[PathBuf],
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let units = drafts(files)?;
    let found: Checked = show.ask(&Request::Check { units }, out, render::checked)?;
    match render::count_problems(&found) {
        None => Ok(()),
        Some(count) => Err(Error::Problems(count)),
    }
}

pub(super) fn plan(
    show: &Show<'_>,
    files: &[PathBuf],
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let units = drafts(files)?;
    let planned: Planned =
        show.ask(&Request::Plan { units }, out, |planned, _, style| render::plan(planned, style))?;
    let invalid = |step: &&PlanStep| step.consequence == Consequence::Invalid;
    refuse_invalid(planned.steps.iter().filter(invalid).count())
}

pub(super) fn apply(
    show: &Show<'_>,
    wait: bool,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let outcome: Outcome = show
        .ask(&Request::Apply { wait }, out, |outcome, _, style| render::applied(outcome, style))?;
    let (invalid, others): (Vec<_>, Vec<_>) =
        outcome.jails.iter().partition(|jail| jail.consequence == Consequence::Invalid);
    match others.iter().filter(|jail| jail.problem.is_some()).count() {
        0 => refuse_invalid(invalid.len()),
        1 => Err(Error::NotApplied("one jail is not as its unit says".to_owned())),
        more => Err(Error::NotApplied(format!("{more} jails are not as their units say"))),
    }
}

fn refuse_invalid(count: usize) -> Result<(), Error> {
    match count {
        0 => Ok(()),
        1 => Err(Error::Problems("one unit has problems".to_owned())),
        more => Err(Error::Problems(format!("{more} units have problems"))),
    }
}

pub(super) fn cat(show: &Show<'_>, name: &str, out: &mut Output<impl Write>) -> Result<(), Error> {
    let request = Request::Cat { name: name.to_owned() };
    show.tell(&request, out, |files: &UnitFiles, _, style| render::cat(&files.files, style))
}

pub(super) fn explain(
    show: &Show<'_>,
    explain: &Explain,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    if explain.schema {
        return show.tell(&Request::Schema {}, out, |schema: &UnitSchema, _, _| {
            render::printable(schema.schema.trim_end()) + "\n"
        });
    }
    let in_full = explain.key.is_some();
    show.tell(&Request::Explain { key: explain.key.clone() }, out, |docs: &KeyDocs, _, style| {
        if in_full {
            render::key_docs(&docs.entries, style)
        } else {
            render::keys(&docs.entries, style)
        }
    })
}

/// The files as jailsupd takes them.
fn drafts(files: &[PathBuf]) -> Result<Vec<UnitDraft>, Error> {
    files.iter().map(|path| draft(path)).collect()
}

fn draft(path: &Path) -> Result<UnitDraft, Error> {
    let no_unit = |reason| Error::NoUnit { path: path.to_owned(), reason };
    let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml"));
    let stem = stem.filter(|stem| !stem.is_empty()).map(str::to_owned);
    let read = |source| Error::Read { path: path.to_owned(), source };
    let metadata = path.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(no_unit("it is a directory"));
    }
    // Opening a FIFO would wait for its writer.
    if !metadata.is_file() {
        return Err(no_unit("it is no regular file"));
    }
    let stem = stem.ok_or_else(|| no_unit("its name does not end in .toml"))?;
    Ok(UnitDraft { stem, text: read_text(path)?, path: Some(path.display().to_string()) })
}

/// A file's text; `-` is standard input.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let limit = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes).map_err(read)?;
    } else {
        let file = File::open(path).map_err(read)?;
        file.take(limit).read_to_end(&mut bytes).map_err(read)?;
    }
    if bytes.len() >= MAX_MESSAGE {
        return Err(Error::TooLong);
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::NoUnit { path: path.to_owned(), reason: "it is not UTF-8 text" })
}
