//! Writing unit files: always a whole file, always in one step, never half of one after a crash.

use super::table::replace;
use std::io;
use std::path::{Path, PathBuf};

/// Where people's units are: on the data partition, if the host has one.
pub const DIRECTORY: &str = "/etc/jails.d";

/// The file that turns a unit on or off, in its directory of drop-ins.
const SWITCH: &str = "50-enabled.toml";

/// The writable unit directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// `STEM.toml`.
    #[must_use]
    pub fn unit(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}.toml"))
    }

    /// Writes `STEM.toml`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put(&self, stem: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.unit(stem);
        replace(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Removes `STEM.toml`; `None` when there is none.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn delete(&self, stem: &str) -> io::Result<Option<PathBuf>> {
        remove(self.unit(stem))
    }

    /// Writes the drop-in that turns the unit on or off.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn switch(&self, stem: &str, enabled: bool) -> io::Result<PathBuf> {
        let directory = self.directory.join(format!("{stem}.toml.d"));
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(SWITCH);
        let text =
            format!("# Written by `jailctl enable` and `jailctl disable`.\nenabled = {enabled}\n");
        replace(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Removes that drop-in; `None` when there is none.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unswitch(&self, stem: &str) -> io::Result<Option<PathBuf>> {
        let directory = self.directory.join(format!("{stem}.toml.d"));
        let removed = remove(directory.join(SWITCH))?;
        // Only when nothing else is in it.
        let _ = std::fs::remove_dir(directory);
        Ok(removed)
    }

    /// Makes `STEM.toml` a link to `target`: /dev/null masks, a template makes an instance.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file of another kind, which is never replaced.
    pub fn link(&self, stem: &str, target: &Path) -> io::Result<Option<PathBuf>> {
        let path = self.unit(stem);
        match std::fs::read_link(&path) {
            Ok(current) if current == target => return Ok(None),
            Ok(_) => std::fs::remove_file(&path)?,
            Err(_) => {}
        }
        std::os::unix::fs::symlink(target, &path)?;
        std::fs::File::open(&self.directory)?.sync_all()?;
        Ok(Some(path))
    }

    /// Removes `STEM.toml` if it is a link to `target`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unlink(&self, stem: &str, target: &Path) -> io::Result<Option<PathBuf>> {
        let path = self.unit(stem);
        match std::fs::read_link(&path) {
            Ok(current) if current == target => remove(path),
            _ => Ok(None),
        }
    }
}

fn remove(path: PathBuf) -> io::Result<Option<PathBuf>> {
    match std::fs::remove_file(&path) {
        Ok(()) => {
            if let Some(directory) = path.parent() {
                std::fs::File::open(directory)?.sync_all()?;
            }
            Ok(Some(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        (directory, store)
    }

    #[test]
    fn a_unit_is_written_and_deleted_whole() {
        let (directory, store) = store();
        store.put("web", "version = 1\n").unwrap();
        assert_eq!(std::fs::read_to_string(store.unit("web")).unwrap(), "version = 1\n");
        assert!(store.delete("web").unwrap().is_some());
        assert_eq!(store.delete("web").unwrap(), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_switch_leaves_nothing_behind() {
        let (directory, store) = store();
        store.switch("web", false).unwrap();
        assert!(directory.path().join("web.toml.d/50-enabled.toml").exists());
        store.unswitch("web").unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_never_replaces_a_file() {
        let (_directory, store) = store();
        store.put("web", "x").unwrap();
        let null = Path::new("/dev/null");
        assert_eq!(store.link("web", null).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(store.unlink("web", null).unwrap(), None);
        store.delete("web").unwrap();
        assert!(store.link("web", null).unwrap().is_some());
        assert_eq!(store.link("web", null).unwrap(), None);
        assert!(store.unlink("web", null).unwrap().is_some());
    }
}
