//! The last good version of each unit, in its canonical form, for as long as the host is up: a unit file that
//! is broken while jailsupd is restarted has a version in force all the same.

use super::private_directory;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// What follows a jail's name where the version is kept that its new one has taken the place of, and that is ending.
const FORMER: &str = ".former";

/// One file a jail, and another one while its former version is ending.
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

    /// Remembers the version of a jail that another one takes the place of.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put_former(&self, jail: &str, canonical: &str) -> io::Result<()> {
        self.put(&format!("{jail}{FORMER}"), canonical)
    }

    /// That one.
    #[must_use]
    pub fn former(&self, jail: &str) -> Option<String> {
        self.get(&format!("{jail}{FORMER}"))
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forget_former(&self, jail: &str) -> io::Result<()> {
        match std::fs::remove_file(self.directory.join(format!("{jail}{FORMER}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets all jails but these.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_only(&self, jails: &BTreeSet<&str>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let jail = name.to_str().map(|name| name.strip_suffix(FORMER).unwrap_or(name));
            if !jail.is_some_and(|jail| jails.contains(jail)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
