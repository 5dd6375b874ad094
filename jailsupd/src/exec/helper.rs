//! The in-jail init, and another program that runs where no file of the host is, each in a sealed memfd: no file of the host is reachable from a jail, and a jail that
//! overwrites `/proc/self/exe` (CVE-2019-5736) finds nothing that can be written.

use super::walls::{self, Wall};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, SealFlags};
use std::io::{self, Write as _};
use std::path::Path;

/// Linux 6.3: an executable memfd is asked for, as `vm.memfd_noexec` may refuse others.
const MFD_EXEC: u32 = 0x10;

/// Copies the program at `path` into a sealed memfd of mode 0111: readable by nobody, so that the
/// kernel keeps the process that executes it from being traced or dumped (execve(2), prctl(2)).
///
/// # Errors
/// When the program cannot be read, or the kernel makes no memfd.
pub fn seal(path: &Path) -> io::Result<OwnedFd> {
    walls::read()?;
    let program = std::fs::read(path)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let exec = flags | MemfdFlags::from_bits_retain(MFD_EXEC);
    let name = path.file_name().unwrap_or_default();
    let memfd =
        rustix::fs::memfd_create(name, exec).or_else(|_| rustix::fs::memfd_create(name, flags))?;
    std::fs::File::from(memfd.as_fd().try_clone_to_owned()?).write_all(&program)?;
    let mode = if walls::is_down(Wall::HelperMode) { 0o777 } else { 0o111 };
    rustix::fs::fchmod(&memfd, Mode::from_raw_mode(mode))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    walls::raise(Wall::HelperSeals, || rustix::fs::fcntl_add_seals(&memfd, seals))?;
    // The descriptor above could write before it was sealed; a fresh one, read-only, is what is kept.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memfd));
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let kept = rustix::fs::open(path, flags, Mode::empty())?;
    // A jail's child has it open while it fills the low numbers.
    super::descriptors::above_fixed(kept)
}
