//! Reaping: every child that ends, at once, whoever it was.

use crate::vault::Vault;
use crate::wire::ExitRecord;
use rustix::time::{ClockId, clock_gettime};
use sys::wait::Exit;

/// Reaps all that have ended. Jails' ends go to the vault; the others are given to `other` (services
/// and orphans, which need nothing but to be reaped). True when no child at all is left.
pub(crate) fn reap(vault: &mut Vault, mut other: impl FnMut(&Exit)) -> bool {
    loop {
        match sys::wait::reap_any() {
            Ok(Some(exit)) => {
                if !vault.record_exit(exit.pid, record(&exit)) {
                    other(&exit);
                }
            }
            Ok(None) => return false,
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return true,
            Err(error) => {
                log::error!("waitid: {error}");
                return false;
            }
        }
    }
}

fn record(exit: &Exit) -> ExitRecord {
    ExitRecord {
        inode: 0,
        code: exit.code,
        status: exit.status,
        user_us: exit.user_us,
        system_us: exit.system_us,
        max_rss_kib: exit.max_rss_kib,
        at_us: boottime_us(),
    }
}

/// `CLOCK_BOOTTIME` in microseconds.
pub(crate) fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}
