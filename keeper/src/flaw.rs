//! What a test build can do wrong at a re-exec, so that the program before it is seen to stay. Only the
//! feature `weaken`, which no image has, has any of it; without it each question is answered at compile
//! time (VM test `no_image_has_a_way_to_leave_a_wall_out`).

#[cfg(feature = "weaken")]
mod chosen;
#[cfg(feature = "weaken")]
pub(crate) use chosen::{die, is, linger};

/// It is a later version: one more field in the state, which [`crate::handover::FORMAT`] has not.
pub(crate) const NEWER: &str = "newer";
/// It fails its self-test.
pub(crate) const FAILS: &str = "fails";
/// It says in its self-test that it has read another state than it was given.
pub(crate) const MISREADS: &str = "misreads";
/// It cannot take over what its self-test has read well.
pub(crate) const CANNOT_RESTORE: &str = "cannot-restore";

/// What the later version has in its field.
pub(crate) const LATER_FIELD: u64 = 0x6c61_7465_7200_0002;

/// Nothing is wrong.
#[cfg(not(feature = "weaken"))]
#[inline]
pub(crate) const fn is(_flaw: &str) -> bool {
    false
}

/// Nobody dies.
#[cfg(not(feature = "weaken"))]
#[inline]
pub(crate) const fn die() {}

/// Nobody waits.
#[cfg(not(feature = "weaken"))]
#[inline]
pub(crate) const fn linger() {}
