//! The table of id ranges on the data partition.

use super::{Error, Layout, private_directory};
use crate::plan::IdRange;
use crate::plan::ids::Ids;
use std::io;
use std::path::{Path, PathBuf};

/// The stored table.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    ids: Ids,
}

impl Table {
    /// Reads the table, or starts an empty one.
    ///
    /// # Errors
    /// When it is there and cannot be understood: ranges given out anew could overlap with files that
    /// exist.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let directory = layout.data.join("jails");
        private_directory(&directory)?;
        let path = directory.join("ranges");
        let ids = match std::fs::read_to_string(&path) {
            Ok(text) => Ids::parse(&text).map_err(|malformed| {
                io::Error::other(format!("{}: {malformed}", path.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ids::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, ids })
    }

    /// Gives each of `names` a range that has none, and stores the table, once for all of them.
    ///
    /// # Errors
    /// When the table cannot be stored; then nobody got one.
    pub fn reserve<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut ids = self.ids.clone();
        if ids.allocate(names) {
            replace(&self.path, ids.to_text().as_bytes())?;
            self.ids = ids;
        }
        Ok(())
    }

    /// The range of `name`, given and stored now if it has none.
    ///
    /// # Errors
    /// When all are taken, or the table cannot be stored.
    pub fn range(&mut self, name: &str) -> Result<IdRange, Error> {
        if self.ids.get(name).is_none() {
            self.reserve([name]).map_err(Error::Ids)?;
        }
        let full = || Error::Ids(io::Error::other("all ranges are taken"));
        self.ids.get(name).ok_or_else(full)
    }
}

/// Writes a file so that after a crash it is the old one or the new one, never a part.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}
