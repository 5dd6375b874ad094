//! The two clocks: time since boot for decisions, wall time for people.

use crate::machine::Moment;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `CLOCK_BOOTTIME`.
pub(super) fn now() -> Moment {
    let now = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(now.tv_sec.unsigned_abs(), nanos)
}

/// A moment as it is stored and told: whole microseconds.
pub(super) fn microseconds(at: Moment) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The wall time of a moment since boot, by the difference of the clocks now.
pub(super) fn wall_ms_of(moment: Moment) -> u64 {
    let ago = now().saturating_sub(moment).as_millis();
    wall_ms().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
}

/// The time of the day of milliseconds since 1970. A host has no time zone.
pub(super) fn time_of_day(ms: u64) -> String {
    let in_day = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", in_day / 3600, in_day / 60 % 60, in_day % 60)
}
