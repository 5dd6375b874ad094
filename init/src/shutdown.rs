//! The way down, after the keeper has stopped all jails and services: no process left, nothing mounted that could
//! lose a write, then off.

use std::convert::Infallible;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keeper::Shutdown;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, reboot};

use crate::cmdline::PanicPolicy;
use crate::data::{CLEAN_MARKER, MOUNT_POINT};
use crate::last_resort;
use crate::mounts::is_api;
use crate::state;
use crate::time;

/// A process that is still there then hangs in the kernel; waiting longer would not help.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the host down. Never returns.
pub(crate) fn run(how: Shutdown, policy: PanicPolicy) -> ! {
    kill_all();
    if let Err(e) = mark_clean() {
        log::error!("cannot write {}/{CLEAN_MARKER}: {e}", state::DIRECTORY);
    }
    unmount_all();
    rustix::fs::sync();
    let error = leave(how).unwrap_err();
    last_resort::give_up(&format!("switch off: {error}"), policy);
}

fn leave(how: Shutdown) -> Result<Infallible, Errno> {
    let command = match how {
        Shutdown::PowerOff => {
            log::info!("power off");
            RebootCommand::PowerOff
        }
        Shutdown::Reboot => {
            log::info!("reboot");
            RebootCommand::Restart
        }
    };
    reboot(command)?;
    Err(Errno::IO)
}

/// Kills what is left and reaps until no child is left. The keeper has stopped everything in order before; this is
/// for what escaped it.
fn kill_all() {
    // Group 1 is the kernel's spelling of "every process but PID 1" (kill(2), pid -1).
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(e) => log::warn!("kill what is left: {e}"),
    }
    let (done, reaped) = mpsc::channel();
    let reaper = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        while !matches!(wait(WaitOptions::empty()), Err(e) if e != Errno::INTR) {}
        // Nobody listens any more when it took too long.
        let _ = done.send(());
    });
    if reaper.is_err() || reaped.recv_timeout(KILL_TIMEOUT).is_err() {
        log::warn!("some processes do not end; going on without them");
    }
}

/// Stamps the clock and leaves the marker, durably: the last two writes.
fn mark_clean() -> std::io::Result<()> {
    time::stamp()?;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    state::replace(CLEAN_MARKER, format!("{} {now}\n", boot_id.trim()).as_bytes())
}

/// Unmounts in reverse order all that is not the kernel's own. What is busy is made read-only, which writes it
/// back, and detached.
fn unmount_all() {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    for target in mount_points(&table).into_iter().rev() {
        if target.to_str().is_some_and(is_api) {
            continue;
        }
        match unmount(&target, UnmountFlags::NOFOLLOW) {
            Ok(()) if target == Path::new(MOUNT_POINT) => log::info!("unmounted {MOUNT_POINT}"),
            Ok(()) => {}
            Err(e) => detach(&target, e),
        }
    }
}

fn detach(target: &Path, why: Errno) {
    rustix::fs::sync();
    let read_only = mount_remount(target, MountFlags::RDONLY, c"").is_ok();
    let detached = unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok();
    let word = |done| if done { "yes" } else { "no" };
    log::error!(
        "cannot unmount {}: {why}; made read-only: {}, detached: {}",
        target.display(),
        word(read_only),
        word(detached)
    );
}

/// The mount points of a mountinfo table (proc_pid_mountinfo(5)), in mount order.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    let field = |line: &[u8]| line.split(|b| *b == b' ').nth(4).map(unescape);
    let path = |bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes));
    table.split(|b| *b == b'\n').filter_map(field).map(path).collect()
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        };
        let escaped = if first == b'\\' { tail.get(..3).and_then(octal) } else { None };
        out.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{mount_points, unescape};

    #[test]
    fn mount_points_come_in_mount_order() {
        let table = b"22 1 254:1 / / ro - erofs /dev/dm-0 ro\n\
            30 22 0:27 / /data rw - btrfs /dev/vda5 rw\n\
            31 30 0:27 / /data/a\\040b rw - btrfs /dev/vda5 rw\n";
        let points: Vec<_> = mount_points(table).iter().map(|p| p.display().to_string()).collect();
        assert_eq!(points, ["/", "/data", "/data/a b"]);
    }

    #[test]
    fn a_lone_backslash_stays() {
        assert_eq!(unescape(b"a\\9\\134"), b"a\\9\\");
        assert_eq!(unescape(b"\\"), b"\\");
    }
}
