//! The clock before any network: never earlier than anything that this host has seen.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::stage::Outcome;
use crate::state;

/// A file of the image, whose time is the image's build time.
const IMAGE_FILE: &str = "/usr/lib/os-release";
/// A file on the data partition, whose time is the last one known.
const STAMP: &str = "clock";

/// The hardware clock counts seconds: what is less is no news.
const RESOLUTION: Duration = Duration::from_secs(1);

/// Sets the clock to the latest of the kernel's, the hardware's, the image's and the last stamp, and stamps.
pub(crate) fn set_clock(_: &mut Boot) -> Result<Outcome, Error> {
    let now = SystemTime::now();
    let candidates = [
        hardware(),
        modified(Path::new(IMAGE_FILE)),
        modified(&Path::new(state::DIRECTORY).join(STAMP)),
    ];
    let latest = candidates.into_iter().flatten().max();
    if let Some(latest) = latest.filter(|latest| *latest > now + RESOLUTION) {
        let since = latest.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timespec::try_from(since)
            .map_err(|_| Error::refused("set the clock", "time out of range"))?;
        clock_settime(ClockId::Realtime, time).doing(|| "set the clock".to_owned())?;
        log::info!(
            "clock: set forward by {} s",
            latest.duration_since(now).unwrap_or_default().as_secs()
        );
    }
    stamp().doing(|| "stamp the clock".to_owned())?;
    Ok(Outcome::Done)
}

/// Keeps the present time for the next boot.
///
/// # Errors
/// The file system's.
pub(crate) fn stamp() -> std::io::Result<()> {
    fs::write(Path::new(state::DIRECTORY).join(STAMP), "")
}

/// The hardware clock; the kernel has read it already where its driver is built in.
fn hardware() -> Option<SystemTime> {
    let seconds =
        fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
