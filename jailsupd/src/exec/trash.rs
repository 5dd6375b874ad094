//! The trash: what jails have written and nobody wants any more.
//!
//! What a jail leaves behind is as large and as deep as it likes to make it. So jailsupd only renames it
//! into `<data>/jails/.trash`, and a process of its own, the janitor, empties that: it may take its time,
//! and whatever it meets it has neither a stack nor a memory that could overflow.

use super::{Layout, private_directory};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use std::ffi::CStr;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use sys::clone::Request;

/// Lower priority than jailsupd's, whose cgroup it shares (nice(2)), but not so low that a busy host's
/// disk fills up with trash.
const NICE: i32 = 10;

/// Bytes of directory entries that are read at once; one entry is at most 280.
const ENTRIES: usize = 4096;

/// A process that empties the trash.
#[derive(Debug)]
pub struct Janitor {
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    pid: i32,
    /// Open until it has ended: it may have this very descriptor.
    _trash: OwnedFd,
}

impl Janitor {
    /// Ends it at once, and takes note of that: until it has, it may have this very descriptor.
    pub fn end(self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        self.reap();
    }

    /// Takes note of its end, so that no zombie stays. Waits for it when it has not ended.
    pub fn reap(self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        match rustix::io::retry_on_intr(wait) {
            Ok(Some(status)) if status.exit_status() == Some(0) => {}
            Ok(_) => ::log::warn!("the janitor could not empty the trash"),
            Err(errno) => ::log::warn!("cannot reap the janitor: {errno}"),
        }
    }
}

/// Moves `path` into the trash, in one rename whatever it holds. What does not exist is fine.
///
/// # Errors
/// When the file system refuses.
pub(super) fn put(layout: &Layout, path: &Path) -> io::Result<()> {
    let trash = directory(layout);
    loop {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let to = trash.join(format!("{:x}", now.as_nanos()));
        let cwd = rustix::fs::CWD;
        match rustix::fs::renameat_with(cwd, path, cwd, &to, RenameFlags::NOREPLACE) {
            // Taken: the clock was set back, by just that much.
            Err(Errno::EXIST) => {}
            // Either of the two.
            Err(Errno::NOENT) if path.try_exists()? => private_directory(&trash)?,
            Err(Errno::NOENT) => return Ok(()),
            result => return Ok(result?),
        }
    }
}

/// Starts a process that empties the trash; `None` when there is nothing in it. Another one that still
/// runs does no harm.
///
/// # Errors
/// When the trash cannot be opened, or no process be made.
pub fn empty(layout: &Layout) -> io::Result<Option<Janitor>> {
    let trash = match open(rustix::fs::CWD, directory(layout)) {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    if is_empty(&trash)? {
        return Ok(None);
    }
    // It shares jailsupd's descriptors, so that they need not be copied, until it closes all but one.
    let flags = u64::from((libc::CLONE_PIDFD | libc::CLONE_FILES).unsigned_abs());
    let request = Request { flags, exit_signal: libc::SIGCHLD, cgroup: None };
    let child = sys::clone::spawn(&request, &mut || {
        // With jailsupd's descriptors it would hold open what others wait for the end of.
        if sys::fd::close_all_except(&[trash.as_fd()]).is_err() {
            return 1;
        }
        // Each of these is for the others' sake: without it the trash is emptied all the same.
        let _ = super::spawn::set_oom_score("0");
        let _ = sys::signal::reset();
        let _ = rustix::process::nice(NICE);
        u8::from(sweep(trash.as_fd()).is_err())
    })?;
    let pidfd = child.pidfd.ok_or(io::ErrorKind::Unsupported)?;
    Ok(Some(Janitor { pidfd, pid: child.pid, _trash: trash }))
}

/// Whether nothing is in the trash.
pub(super) fn is_clean(layout: &Layout) -> io::Result<bool> {
    match open(rustix::fs::CWD, directory(layout)) {
        Err(Errno::NOENT) => Ok(true),
        trash => Ok(is_empty(&trash?)?),
    }
}

/// No jail can have this name.
fn directory(layout: &Layout) -> PathBuf {
    layout.jail(".trash")
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        if is_name(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_name(entry: &CStr) -> bool {
    entry != c"." && entry != c".."
}

/// Empties the trash, without allocating: this runs in a copy of jailsupd. A directory in it is rid of
/// its files, its sub-directories come up into the trash, and so nothing is ever deeper than one level.
/// `ENOTEMPTY` when something cannot be removed.
fn sweep(trash: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut names = Names { pid: std::process::id(), next: 0 };
    loop {
        let (mut changed, mut left) = (false, false);
        // Opened anew, since an open directory goes on where it was.
        let directory = open(trash, c".")?;
        let mut buffer = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if is_name(name) {
                left = true;
                changed |= remove(trash, name) || flatten(trash, name, &mut names);
            }
        }
        match (left, changed) {
            (false, _) => return Ok(()),
            (true, true) => {}
            (true, false) => return Err(Errno::NOTEMPTY),
        }
    }
}

/// Removes a file, an empty directory, or a subvolume whatever is in it; what is gone already counts.
fn remove(parent: impl AsFd, name: &CStr) -> bool {
    let gone = |flags| {
        let result = rustix::fs::unlinkat(&parent, name, flags);
        matches!(result, Ok(()) | Err(Errno::NOENT))
    };
    gone(AtFlags::empty())
        || gone(AtFlags::REMOVEDIR)
        || sys::btrfs::destroy_subvolume(parent.as_fd(), name).is_ok()
}

/// Removes the files of a directory in the trash, moves its sub-directories beside it and removes it.
/// Says whether anything has changed.
fn flatten(trash: BorrowedFd<'_>, name: &CStr, names: &mut Names) -> bool {
    let Ok(directory) = open(trash, name) else { return false };
    let mut changed = false;
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let child = entry.file_name();
        if is_name(child) {
            changed |= remove(&directory, child) || names.move_up(&directory, child, trash);
        }
    }
    remove(trash, name) || changed
}

/// Fresh names in the trash: this process's id and a number.
struct Names {
    pid: u32,
    next: u64,
}

impl Names {
    fn move_up(&mut self, from: &OwnedFd, child: &CStr, trash: BorrowedFd<'_>) -> bool {
        loop {
            let mut buffer = [0; 32];
            // 8 and 16 digits at most.
            let _ = write!(&mut buffer[..], "{:x}-{:x}", self.pid, self.next);
            self.next += 1;
            let Ok(name) = CStr::from_bytes_until_nul(&buffer) else { return false };
            match rustix::fs::renameat_with(from, child, trash, name, RenameFlags::NOREPLACE) {
                // Left by an earlier janitor with the same id.
                Err(Errno::EXIST) => {}
                result => return result.is_ok(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn layout(root: &Path) -> Layout {
        Layout { data: root.join("data"), run: root.join("run"), cgroups: root.join("cgroups") }
    }

    fn nest(parent: &Path, depth: usize) {
        let mut directory = open(rustix::fs::CWD, parent).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&directory, c"d", Mode::from_raw_mode(0o700)).unwrap();
            directory = open(&directory, c"d").unwrap();
        }
    }

    fn wait(janitor: Janitor) {
        let mut fds = [PollFd::new(&janitor.pidfd, PollFlags::IN)];
        let limit = Timespec { tv_sec: 300, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "the janitor does not end");
        janitor.reap();
    }

    #[test]
    fn janitor_removes_whatever_a_jail_can_make_and_nothing_else() {
        // In memory: a disk takes a minute for as many directories.
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let layout = layout(root.path());
        let (outside, layer) = (root.path().join("outside"), layout.jail("web").join("ephemeral"));
        fs::create_dir_all(layer.join("upper/sealed/inner")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        nest(&layer.join("upper"), 20_000);
        for n in 0..5_000 {
            fs::write(layer.join(format!("upper/{n}")), "").unwrap();
        }
        symlink(&outside, layer.join("upper/link")).unwrap();
        symlink(&outside, layer.join("upper/sealed/link")).unwrap();
        if rustix::process::geteuid().is_root() {
            let sealed = fs::Permissions::from_mode(0o500);
            fs::set_permissions(layer.join("upper/sealed"), sealed).unwrap();
            fs::set_permissions(&layer, fs::Permissions::from_mode(0o000)).unwrap();
        }

        put(&layout, &layer).unwrap();
        assert!(!layer.exists());
        wait(empty(&layout).unwrap().unwrap());

        assert_eq!(fs::read_dir(directory(&layout)).unwrap().count(), 0);
        assert!(empty(&layout).unwrap().is_none());
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn nothing_to_remove_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());

        put(&layout, &layout.jail("web").join("ephemeral")).unwrap();

        assert!(empty(&layout).unwrap().is_none());
    }

    #[test]
    fn two_layers_of_one_jail_lie_side_by_side() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        let layer = layout.jail("web").join("ephemeral");
        for _ in 0..2 {
            fs::create_dir_all(layer.join("upper")).unwrap();
            put(&layout, &layer).unwrap();
        }
        assert_eq!(fs::read_dir(directory(&layout)).unwrap().count(), 2);

        // Both may run at once.
        let janitors = [empty(&layout).unwrap(), empty(&layout).unwrap()];
        janitors.into_iter().flatten().for_each(wait);

        assert_eq!(fs::read_dir(directory(&layout)).unwrap().count(), 0);
    }
}
