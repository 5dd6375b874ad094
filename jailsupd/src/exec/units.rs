//! Unit files as they lie in their directories. What they mean together is `unit::tree`'s business.

use crate::unit::problem::Place;
use crate::unit::tree::{Content, drop_in_stem, unit_stem};
use crate::unit::{MAX_FILE, Problem, RawFile, RawKind};
use rustix::fs::{Mode, OFlags};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Where units are looked for, the later winning.
pub const DIRECTORIES: [&str; 3] = ["/usr/lib/jails.d", "/etc/jails.d", "/run/jails.d"];

/// Tries to read a file that changes while it is read; then it is read again later, as its change is
/// noticed.
const TRIES: usize = 3;

/// For a unit file that cannot be read.
const HELP: &str = "put a readable unit file there, or remove it";

/// All files of all directories. A directory that does not exist has none; one that cannot be read, or a
/// file that cannot, is a file whose content is a problem.
#[must_use]
pub fn gather(directories: &[PathBuf]) -> Vec<RawFile> {
    let mut files = Vec::new();
    for (rank, directory) in directories.iter().enumerate() {
        for (name, path) in list(directory) {
            if let Some(stem) = unit_stem(&name) {
                let stem = stem.to_owned();
                let kind = match is_mask(&path) {
                    true => RawKind::Mask { stem },
                    false => RawKind::Unit { stem, content: read_file(&path, HELP) },
                };
                files.push(raw(&path, rank, kind));
            } else if let Some(stem) = drop_in_stem(&name) {
                gather_drop_ins(stem, &path, rank, &mut files);
            }
        }
    }
    files
}

fn gather_drop_ins(stem: &str, directory: &Path, rank: usize, files: &mut Vec<RawFile>) {
    for (name, path) in list(directory) {
        if unit_stem(&name).is_none() {
            continue;
        }
        let content = if is_mask(&path) { Ok(Vec::new()) } else { read_file(&path, HELP) };
        let kind = RawKind::DropIn { stem: stem.to_owned(), file_name: name, content };
        files.push(raw(&path, rank, kind));
    }
}

fn raw(path: &Path, directory: usize, kind: RawKind) -> RawFile {
    RawFile { path: path.to_string_lossy().into_owned(), directory, kind }
}

/// Names and paths of what is in a directory. Names that are not UTF-8 are shown with replacements, and are no jail's.
#[must_use]
pub fn list(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::error!("{} cannot be read: {error}", directory.display());
            }
            return Vec::new();
        }
    };
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    });
    named.collect()
}

fn is_mask(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

/// What a file holds; `help` is for one that cannot be read.
///
/// # Errors
/// It is missing or not a file, cannot be read, or is being written.
pub fn read_file(path: &Path, help: &str) -> Content {
    let problem = |path, message: &str| problem(path, message).help(help);
    let fail = |error: io::Error| problem(path, &format!("cannot be read: {error}"));
    for _ in 0..TRIES {
        // Non-blocking: a FIFO must not stop the supervisor.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
        let before = rustix::fs::fstat(&file).map_err(|e| fail(e.into()))?;
        let file = std::fs::File::from(file);
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(problem(path, "is not a file"));
        }
        let mut bytes = Vec::new();
        // One byte too many is enough for the parser to see that the file is too large.
        (&file).take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
        let after = rustix::fs::fstat(&file).map_err(|e| fail(e.into()))?;
        let stamp = |stat: &rustix::fs::Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if stamp(&before) == stamp(&after) {
            return Ok(bytes);
        }
    }
    Err(problem(path, "is being written"))
}

fn problem(path: &Path, message: &str) -> Problem {
    let place = Place::whole(&path.to_string_lossy());
    Problem::new(place, "", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(directories: &[PathBuf]) -> Vec<RawKind> {
        let mut files = gather(directories);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.into_iter().map(|file| file.kind).collect()
    }

    #[test]
    fn units_masks_and_drop_ins_are_told_apart_and_others_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a.toml", "a.toml~", ".a.toml.swp", "notes.txt"] {
            std::fs::write(path(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", path("m.toml")).unwrap();
        std::fs::create_dir(path("a.toml.d")).unwrap();
        std::fs::write(path("a.toml.d/10-x.toml"), "y").unwrap();
        let content = |text: &str| Ok(text.as_bytes().to_vec());
        let drop_in = RawKind::DropIn {
            stem: "a".into(),
            file_name: "10-x.toml".into(),
            content: content("y"),
        };
        let found = kinds(&[PathBuf::from("/does/not/exist"), directory.path().into()]);
        assert_eq!(found.len(), 3);
        assert!(found.contains(&RawKind::Unit { stem: "a".into(), content: content("x") }));
        assert!(found.contains(&drop_in));
        assert!(found.contains(&RawKind::Mask { stem: "m".into() }));
    }

    #[test]
    fn what_is_not_a_file_is_a_problem_and_blocks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("d.toml")).unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.path().join("l.toml")).unwrap();
        let (fifo, mode) = (directory.path().join("f.toml"), Mode::from_raw_mode(0o600));
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        let found = kinds(&[directory.path().into()]);
        assert_eq!(found.len(), 3);
        for kind in found {
            assert!(matches!(kind, RawKind::Unit { content: Err(_), .. }), "{kind:?}");
        }
    }
}
