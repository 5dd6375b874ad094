//! The walls of a jail by name, so that each can be left out once and an attack on it seen to succeed:
//! else nobody knows whether a test of a wall tests anything.
//!
//! Only the feature `weaken`, which no image has, can leave one out; there `walls/weak.rs` says which.
//! Without it every question here is answered at compile time, and nothing of it is in the program
//! (VM test `production_has_no_way_to_leave_a_wall_out`).

#[cfg(feature = "weaken")]
mod weak;
#[cfg(feature = "weaken")]
pub use weak::{before_spawn, is_down, leak, read};

use crate::plan::{JailStep, KernelMount};

/// What stands between a service and its host, and can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "each is said in the table of docs/security.md and in weak.rs")]
pub enum Wall {
    Seccomp,
    Landlock,
    NoNewPrivs,
    BoundingSet,
    Capabilities,
    UserNamespaceLimit,
    Masks,
    ReadOnlyPaths,
    PrivateMounts,
    PinnedPaths,
    ResolveInRoot,
    CgroupReadOnly,
    CgroupOwner,
    SysReadOnly,
    NoSetuid,
    NoDevices,
    DeviceFilter,
    WorkingDir,
    CloseFiles,
    CloseOnExec,
    HelperMode,
    HelperSeals,
    Keyring,
    NarrowSys,
    VolumeLinks,
}

/// Builds a wall, unless it is to be left out.
///
/// # Errors
/// Those of `build`.
#[inline]
pub fn raise<E>(wall: Wall, build: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if is_down(wall) { Ok(()) } else { build() }
}

/// Whether a step of the plan is a wall that is left out.
#[inline]
#[must_use]
pub fn leaves_out(step: &JailStep) -> bool {
    match step {
        JailStep::ForbidUserNamespaces => is_down(Wall::UserNamespaceLimit),
        JailStep::MakePrivate => is_down(Wall::PrivateMounts),
        JailStep::NarrowSys(_) => is_down(Wall::NarrowSys),
        JailStep::Mask(_) => is_down(Wall::Masks),
        JailStep::MakeReadOnly(_) => is_down(Wall::ReadOnlyPaths),
        JailStep::JoinKeyring => is_down(Wall::Keyring),
        _ => false,
    }
}

/// Whether a kernel file system is made read-only.
#[inline]
#[must_use]
pub fn is_read_only(mount: KernelMount) -> bool {
    let down = match mount {
        KernelMount::Cgroup => is_down(Wall::CgroupReadOnly),
        KernelMount::Sys => is_down(Wall::SysReadOnly),
        _ => false,
    };
    mount.read_only() && !down
}

/// No wall is ever down.
#[cfg(not(feature = "weaken"))]
#[inline]
#[must_use]
pub const fn is_down(_wall: Wall) -> bool {
    false
}

/// Nothing to read.
///
/// # Errors
/// None.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn read() -> std::io::Result<()> {
    Ok(())
}

/// Nothing to undo.
///
/// # Errors
/// None.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn before_spawn(
    _root: &rustix::fd::OwnedFd,
    _cgroup: &rustix::fd::OwnedFd,
    _root_uid: u32,
) -> std::io::Result<()> {
    Ok(())
}

/// Nothing leaks.
#[cfg(not(feature = "weaken"))]
#[inline]
pub const fn leak() {}
