//! Small files that must survive a power cut whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Where PID 1 keeps its own on the data partition.
pub(crate) const DIRECTORY: &str = "/data/warder";

/// Replaces `DIRECTORY/name` durably; only root can read it.
///
/// # Errors
/// The file system's.
pub(crate) fn replace(name: &str, content: &[u8]) -> io::Result<()> {
    let directory = Path::new(DIRECTORY);
    let draft = directory.join(format!(".{name}.new"));
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// Removes `DIRECTORY/name` durably and tells whether it was there.
///
/// # Errors
/// The file system's.
pub(crate) fn take_away(name: &str) -> io::Result<bool> {
    match fs::remove_file(Path::new(DIRECTORY).join(name)) {
        Ok(()) => File::open(DIRECTORY)?.sync_all().map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
