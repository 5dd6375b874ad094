//! `jailctl edit`: the unit file as a draft, the editor, and the draft back to jailsupd, which checks it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use jailsupd::control::wire::{Changed, Request, UnitFiles, UnitRole, WireError};

use super::unit::read_text;
use super::{Show, results};
use crate::cli::Edit;
use crate::error::Error;
use crate::output::Output;
use crate::render;
use crate::varlink;

/// What is edited.
struct Base {
    /// Of the file: the jail's name, or that of its template.
    stem: String,
    text: String,
    /// Empty when there is no such file yet.
    hash: String,
}

pub(super) fn edit(
    show: &Show<'_>,
    edit: &Edit,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    if let Some(file) = &edit.file {
        return put(show, &edit.name, read_text(file)?, None, out);
    }
    let base = base(show, &edit.name)?;
    let draft = write_draft(&base)?;
    let edited = run_editor(edit, &draft).and_then(|()| read_text(&draft));
    let text = match edited {
        Ok(text) if text != base.text => text,
        untouched => {
            let _ = fs::remove_file(&draft); // it holds nothing of the user's
            untouched?;
            let unchanged = Changed { paths: Vec::new(), jail: None };
            let json = serde_json::json!({ "paths": unchanged.paths });
            let text = format!("{}: nothing was changed\n", render::printable(&base.stem));
            return out.write(&if show.json { format!("{json:#}\n") } else { text });
        }
    };
    match put(show, &base.stem, text, Some(base.hash), out) {
        Ok(()) => {
            let _ = fs::remove_file(&draft); // jailsupd has it
            Ok(())
        }
        Err(error @ Error::Output(_)) => Err(error),
        Err(source) => Err(Error::Kept { name: base.stem, draft, source: Box::new(source) }),
    }
}

fn put(
    show: &Show<'_>,
    stem: &str,
    text: String,
    expect_hash: Option<String>,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let request = Request::Put { stem: stem.to_owned(), text, expect_hash };
    show.tell(&request, out, |done: &Changed, _, _| render::changed(stem, "written", done))
}

/// The file in force; of a jail that is not there yet, the start of one.
fn base(show: &Show<'_>, name: &str) -> Result<Base, Error> {
    let reply = varlink::call(show.socket, &Request::Cat { name: name.to_owned() })?;
    let files = match results::<UnitFiles>(reply) {
        Err(Error::Refused(WireError::NoSuchJail { .. })) => Vec::new(),
        other => other?.files,
    };
    let Some(file) = files.into_iter().rfind(|file| file.role != UnitRole::DropIn) else {
        let text = new_unit(name);
        return Ok(Base { stem: name.to_owned(), text, hash: String::new() });
    };
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    Ok(Base { stem: stem.to_owned(), text: file.text, hash: file.hash })
}

fn new_unit(name: &str) -> String {
    format!(
        "\
# A new jail. `jailctl explain` tells what else may be here.
version = 1

[image]
source = \"erofs:/usr/share/jails/{name}.erofs\"

[process]
exec = [\"/usr/sbin/{name}\"]

[network]
address = [\"192.0.2.10/24\"]
gateway = [\"192.0.2.1\"]
"
    )
}

/// Drafts of one name and process number that may be left from before.
const DRAFTS_MAX: u32 = 100;

/// A file that only this user can read; its name ends as the editor needs it to know the format.
fn write_draft(base: &Base) -> Result<PathBuf, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-@".contains(c);
    let stem = if base.stem.chars().all(plain) { &base.stem } else { "unit" };
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    for number in 0..DRAFTS_MAX {
        let name = format!("jailctl-{}-{number}-{stem}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let written = open.open(&path).and_then(|mut file| file.write_all(base.text.as_bytes()));
        match written {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Draft { path, source }),
        }
    }
    Err(Error::Draft { path: std::env::temp_dir(), source: ErrorKind::AlreadyExists.into() })
}

fn run_editor(edit: &Edit, draft: &Path) -> Result<(), Error> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let named = edit.editor.clone().or_else(|| set("VISUAL")).or_else(|| set("EDITOR"));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("vi"));
    let status = command.args(words).arg(draft).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::EditorFailed { editor }),
        Err(source) if source.kind() == ErrorKind::NotFound => {
            Err(Error::NoEditor { name: edit.name.clone(), editor })
        }
        Err(source) => Err(Error::Editor { name: edit.name.clone(), editor, source }),
    }
}
