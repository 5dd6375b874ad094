//! The last good version of each unit, in its canonical form, for as long as the host is up: a unit file that
//! is broken while jailsupd is restarted has a version in force all the same.

use super::private_directory;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// One file a jail.
#[derive(Clone, Debug)]
pub struct LastGood {
    directory: PathBuf,
}

impl LastGood {
    /// Makes `directory` if it is not there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(directory: &Path) -> io::Result<Self> {
        private_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Remembers the canonical form of a unit. After a crash of jailsupd it is the old one or the new one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put(&self, jail: &str, canonical: &str) -> io::Result<()> {
        let new = self.directory.join(".new");
        std::fs::write(&new, canonical)?;
        std::fs::rename(&new, self.directory.join(jail))
    }

    /// What is remembered of a jail.
    #[must_use]
    pub fn get(&self, jail: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(jail)).ok()
    }

    /// Forgets all jails but these.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_only(&self, jails: &BTreeSet<&str>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| jails.contains(name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
