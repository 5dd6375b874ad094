//! Points of a start and of an end at which a test has jailsupd die, or the step fail: else nobody knows
//! what a crash just there leaves behind.
//!
//! Only the feature `weaken`, which no image has, can do that; there `faults/chosen.rs` says when. Without
//! it a point is nothing at all, not even its name (VM test
//! `no_image_has_a_way_to_leave_a_wall_out`). The VM tests `survival` go through all of them, and
//! `tests/layout.rs` holds their list to the sources.

#[cfg(feature = "weaken")]
mod chosen;
#[cfg(feature = "weaken")]
pub use chosen::{arm, came_to, disarm, pass, reach, stage, step};

#[cfg(not(feature = "weaken"))]
use super::Error;
#[cfg(not(feature = "weaken"))]
use crate::plan::HostStep;
#[cfg(not(feature = "weaken"))]
use jail_init::Stage;

/// A point where the step may fail.
///
/// # Errors
/// That of a test.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn reach(_point: &str) -> Result<(), Error> {
    Ok(())
}

/// A step of a start is done: `step-` and its name.
///
/// # Errors
/// That of a test.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn step(_step: &HostStep) -> Result<(), Error> {
    Ok(())
}

/// A jail has come to a state, and that was recorded: `came-to-` and its word.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn came_to(_state: &str) {}

/// A point where jailsupd may only die.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn pass(_point: &str) {}

/// Before a jail's processes are made: they will ask for the stage that is to fail.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn arm() {}

/// They are made.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn disarm() {}

/// A stage of a jail's own processes is done. Neither allocates nor locks.
///
/// # Errors
/// That of a test.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn stage(_stage: Stage) -> Result<(), (Stage, i32)> {
    Ok(())
}
