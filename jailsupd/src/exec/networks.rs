//! The table of the host's own networks on the data partition.

use super::table::{self, replace};
use super::{Error, Layout};
use crate::plan::networks::Networks;
use std::io;
use std::path::PathBuf;

/// The stored table.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    networks: Networks,
}

impl Table {
    /// Reads the table, or starts an empty one.
    ///
    /// # Errors
    /// When it is there and cannot be understood: addresses given out anew could be those of jails that run.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let (path, networks) = table::open(layout, "networks", Networks::parse)?;
        Ok(Self { path, networks })
    }

    /// The table as it is stored.
    #[must_use]
    pub const fn get(&self) -> &Networks {
        &self.networks
    }

    /// Stores another table, unless it is the same. An empty one needs no file.
    ///
    /// # Errors
    /// When it cannot be stored; then it stays as it was.
    pub fn put(&mut self, networks: Networks) -> Result<(), Error> {
        if networks != self.networks {
            let stored = match networks.to_text() {
                text if text.is_empty() => match std::fs::remove_file(&self.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
                text => replace(&self.path, text.as_bytes()),
            };
            stored.map_err(Error::Networks)?;
            self.networks = networks;
        }
        Ok(())
    }
}
