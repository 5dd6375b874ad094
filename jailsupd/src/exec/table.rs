//! Tables on the data partition: text, each in a file of its own.

use super::{Layout, private_directory};
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Reads the table of this name, or begins an empty one; with it, where it is stored.
///
/// # Errors
/// When it is there and cannot be read, or `parse` does not understand it: what was given away once would be given away
/// anew.
pub(super) fn open<T: Default, E: Display>(
    layout: &Layout,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> io::Result<(PathBuf, T)> {
    let directory = layout.data.join("jails");
    private_directory(&directory)?;
    let path = directory.join(name);
    let table = match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text)
            .map_err(|malformed| io::Error::other(format!("{}: {malformed}", path.display())))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
        Err(error) => return Err(error),
    };
    Ok((path, table))
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
