//! Unit files as they lie in their directories: later directories win, name by name.

use crate::unit::problem::Place;
use crate::unit::{MAX_FILE, Problem};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where units are looked for, the later winning.
pub const DIRECTORIES: [&str; 3] = ["/usr/lib/jails.d", "/etc/jails.d", "/run/jails.d"];

/// A unit file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFile {
    /// The name without `.toml`.
    pub stem: String,
    /// Its path.
    pub path: PathBuf,
    /// Its bytes, or why there are none.
    pub content: Result<Vec<u8>, Box<Problem>>,
}

/// All files of all directories, by stem; a link to /dev/null hides the earlier ones.
///
/// A directory that does not exist has no units. One that cannot be read is a problem of its own.
#[must_use]
pub fn read(directories: &[PathBuf]) -> (Vec<UnitFile>, Vec<Problem>) {
    let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
    for directory in directories {
        match list(directory) {
            Ok(paths) => {
                found.extend(paths.into_iter().filter_map(|path| {
                    let stem = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
                    Some((stem, path))
                }));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(problem(directory, &format!("cannot be read: {error}"))),
        }
    }
    let files = found.into_iter().filter(|(_, path)| !is_mask(path)).map(|(stem, path)| {
        let content = read_file(&path).map_err(Box::new);
        UnitFile { stem, path, content }
    });
    (files.collect(), problems)
}

fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_mask(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    // Non-blocking: a FIFO must not stop the supervisor.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fail = |error: std::io::Error| problem(path, &format!("cannot be read: {error}"));
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
    let file = std::fs::File::from(file);
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(problem(path, "is not a file"));
    }
    let mut bytes = Vec::new();
    // One byte too many is enough for the parser to see that the file is too large.
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn problem(path: &Path, message: &str) -> Problem {
    let place = Place::whole(&path.to_string_lossy());
    Problem::new(place, "", message).help("put a readable unit file there, or remove it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_directories_win_and_a_link_to_null_masks() {
        let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a.toml", "b.toml", "c.toml", "notes.txt"] {
            std::fs::write(low.path().join(name), "low").unwrap();
        }
        std::fs::write(high.path().join("a.toml"), "high").unwrap();
        std::os::unix::fs::symlink("/dev/null", high.path().join("b.toml")).unwrap();
        let gone = PathBuf::from("/does/not/exist");
        let (files, problems) = read(&[low.path().into(), gone, high.path().into()]);
        let seen: Vec<(String, Vec<u8>)> =
            files.into_iter().map(|file| (file.stem, file.content.unwrap())).collect();
        assert_eq!(seen, [("a".to_owned(), b"high".to_vec()), ("c".to_owned(), b"low".to_vec())]);
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_not_a_file_is_a_problem_and_blocks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("d.toml")).unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.path().join("l.toml")).unwrap();
        let fifo = directory.path().join("f.toml");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let (files, _) = read(&[directory.path().into()]);
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.content.is_err()));
    }
}
