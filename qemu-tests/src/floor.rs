//! A guest that does nothing: kernel, initrd, one static program. The KVM probe boots it, and the
//! figures stand beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// What the program `floor` says as PID 1 before it powers off.
pub const SAYS: &str = "floor: used";

/// Writes an initrd to `path` that holds only the program `floor`, as `/init`.
///
/// # Errors
/// The program is not built, or `path` cannot be written.
pub fn write_initrd(path: &Path) -> Result<()> {
    let program = find_program()?;
    let bytes = fs::read(&program).map_err(Error::io(format!("read {}", program.display())))?;
    let mut archive = Vec::new();
    // The kernel's own initramfs has no /dev/console unless it was built in.
    entry(&mut archive, "dev", 0o040_755, &[], (0, 0));
    entry(&mut archive, "dev/console", 0o020_600, &[], (5, 1));
    entry(&mut archive, "proc", 0o040_755, &[], (0, 0));
    entry(&mut archive, "init", 0o100_755, &bytes, (0, 0));
    entry(&mut archive, "TRAILER!!!", 0, &[], (0, 0));
    fs::write(path, archive).map_err(Error::io(format!("write {}", path.display())))
}

/// Cargo puts a package's programs beside each other, and its tests one directory deeper.
fn find_program() -> Result<PathBuf> {
    let me = std::env::current_exe().map_err(Error::io("find this program's file"))?;
    let beside = me.ancestors().skip(1).take(2).map(|dir| dir.join("floor"));
    let path = me.with_file_name("floor");
    beside.into_iter().find(|path| path.is_file()).ok_or(Error::NotBuilt { path })
}

/// One entry of a `newc` cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst).
fn entry(archive: &mut Vec<u8>, name: &str, mode: usize, content: &[u8], device: (usize, usize)) {
    let (major, minor) = device;
    let name_size = name.len() + 1;
    let fields = [0, mode, 0, 0, 1, 0, content.len(), 0, 0, major, minor, name_size, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
