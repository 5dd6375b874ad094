//! Directories of the data partition that can be limited: btrfs subvolumes. On a host whose `/data` is in
//! memory they are plain directories, and cannot.

use crate::unit::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::path::Path;

/// What a subvolume holds, and may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, what describes the files included.
    pub used: u64,
    /// The limit in bytes.
    pub max: Option<u64>,
}

/// Has the data partition count what each subvolume holds. It may be one that cannot.
pub fn enable_quotas(data: &Path) {
    let enabled =
        open(rustix::fs::CWD, data).and_then(|data| sys::btrfs::enable_simple_quotas(data.as_fd()));
    match enabled {
        Err(error) if !has_no_subvolumes(&error) => {
            log::warn!("the data partition counts no usage: {error}");
        }
        _ => {}
    }
}

/// Makes an empty directory `name`, with mode 0755 and owned by root.
///
/// # Errors
/// `EEXIST`, or what else the file system says.
pub(super) fn create(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    match sys::btrfs::create_subvolume(parent, name) {
        Err(error) if has_no_subvolumes(&error) => {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
        }
        result => result?,
    }
    let directory = open(parent, name)?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755))?;
    Ok(directory)
}

/// Limits what a directory that [`create`] made may hold; none takes the limit away.
///
/// # Errors
/// `Unsupported` for a limit where there are no subvolumes.
pub(super) fn limit(directory: &OwnedFd, size: Option<Bytes>) -> io::Result<()> {
    let bytes = size.map(Bytes::get);
    let set = || {
        let id = sys::btrfs::subvolume_id(directory.as_fd())?;
        sys::btrfs::limit(directory.as_fd(), id, bytes)
    };
    let result = match set() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) && bytes.is_some() => {
            sys::btrfs::enable_simple_quotas(directory.as_fd()).and_then(|()| set())
        }
        result => result,
    };
    match result {
        Err(_) if bytes.is_none() => Ok(()),
        Err(error) if has_no_subvolumes(&error) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the data partition is no btrfs, and has no limits",
        )),
        result => result,
    }
}

/// What a directory that [`create`] made holds; nothing when nobody counts.
#[must_use]
pub fn usage(directory: &OwnedFd) -> Option<Usage> {
    let id = sys::btrfs::subvolume_id(directory.as_fd()).ok()?;
    let fsid = sys::btrfs::file_system_id(directory.as_fd()).ok()?;
    let group = format!("/sys/fs/btrfs/{}/qgroups/0_{id}", uuid(fsid));
    let read = |file: &str| -> Option<u64> {
        std::fs::read_to_string(format!("{group}/{file}")).ok()?.trim().parse().ok()
    };
    let max = read("max_referenced").filter(|max| *max != 0 && *max != u64::MAX);
    Some(Usage { used: read("referenced")?, max })
}

/// The usual spelling of a UUID.
fn uuid(bytes: [u8; 16]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| hex[range].concat()).join("-")
}

fn has_no_subvolumes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP))
}

pub(super) fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// The same, or nothing when it is not there.
pub(super) fn open_if_there(
    parent: impl AsFd,
    name: impl rustix::path::Arg,
) -> io::Result<Option<OwnedFd>> {
    match open(parent, name) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_spelt_as_in_sysfs() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255];
        assert_eq!(uuid(bytes), "01020304-0506-0708-090a-0b0c0d0e0fff");
    }

    #[test]
    fn without_btrfs_it_is_a_directory_that_cannot_be_limited() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let parent = open(rustix::fs::CWD, root.path()).unwrap();

        let made = create(parent.as_fd(), c"x").unwrap();

        assert!(root.path().join("x").is_dir());
        assert!(limit(&made, None).is_ok());
        let refused = limit(&made, Some(Bytes::new(1 << 20))).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert_eq!(usage(&made), None);
    }
}
