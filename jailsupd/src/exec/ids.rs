//! The table of id ranges on the data partition.

use super::table::{self, replace};
use super::{Error, Layout, trash};
use crate::plan::IdRange;
use crate::plan::ids::Ids;
use std::io;
use std::path::PathBuf;

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
        let (path, ids) = table::open(layout, "ranges", Ids::parse)?;
        Ok(Self { path, ids })
    }

    /// Gives each of `names` a range that has none, and stores the table, once for all of them.
    ///
    /// # Errors
    /// When the table cannot be stored; then nobody got one.
    pub fn reserve<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let new: Vec<&str> =
            names.into_iter().filter(|name| self.ids.get(name).is_none()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut ids = self.ids.clone();
        if ids.allocate(new) {
            replace(&self.path, ids.to_text().as_bytes())?;
            self.ids = ids;
        }
        Ok(())
    }

    /// Takes the ranges back of names that nobody knows any more and of which nothing is left on the data
    /// partition. `known` are jails with a unit, or with anything that runs.
    ///
    /// While there is trash, nothing is taken back: what is in it may be owned by any of them.
    ///
    /// # Errors
    /// When the table cannot be stored; then all stay as they were.
    pub fn reclaim(&mut self, layout: &Layout, known: impl Fn(&str) -> bool) -> io::Result<bool> {
        if !trash::is_clean(layout)? {
            return Ok(false);
        }
        let mut ids = self.ids.clone();
        // Not being able to look is a reason to keep.
        let kept = |name: &str| known(name) || layout.jail(name).try_exists().unwrap_or(true);
        if !ids.release(kept) {
            return Ok(false);
        }
        replace(&self.path, ids.to_text().as_bytes())?;
        self.ids = ids;
        Ok(true)
    }

    /// The `count` ranges of `name`, those that it has not given and stored now.
    ///
    /// # Errors
    /// When all are taken, or the table cannot be stored.
    pub fn ranges(&mut self, name: &str, count: u32) -> Result<Vec<IdRange>, Error> {
        let names: Vec<String> = Ids::names(name, count).collect();
        self.reserve(names.iter().map(String::as_str)).map_err(Error::Ids)?;
        let full = || Error::Ids(io::Error::other("all ranges are taken"));
        names.iter().map(|name| self.ids.get(name).ok_or_else(full)).collect()
    }
}
