//! Landlock (landlock(7), Documentation/userspace-api/landlock.rst), which rustix and nix lack.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// linux/landlock.h: making a character or block device.
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// Moving or linking a file to another directory. It is denied by every ruleset that does not allow it.
const REFER: u64 = 1 << 13;

/// The first version with which files can be moved to other directories by a process under a ruleset.
pub const USABLE: u32 = 2;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr`, its first field, which is all that older kernels know.
#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of the kernel's Landlock; 0 when it has none, or it is not turned on.
#[must_use]
pub fn version() -> u32 {
    let none = std::ptr::null::<RulesetAttributes>();
    // SAFETY: with this flag, a null pointer and a size of 0 the call only asks for the version.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}

/// From here on this process, and all that it will ever execute, makes no device node and changes no mount, whatever
/// capabilities it has, and reaches into no process that is not under the same restriction (ptrace(2), /proc/PID/fd).
/// All else stays possible below `root`. The process must have `no_new_privs` set. Makes no allocation.
///
/// # Errors
/// The errno of the landlock calls; `EINVAL` below version [`USABLE`].
pub fn forbid_mounts_and_devices(root: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = RulesetAttributes { handled_access_fs: MAKE_CHAR | MAKE_BLOCK | REFER };
    // SAFETY: `attributes` is a structure of the kernel's layout and of the given size; it is only read.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            std::mem::size_of::<RulesetAttributes>(),
            0_u32,
        )
    };
    let ruleset =
        i32::try_from(check(ruleset)?).map_err(|_| io::Error::from_raw_os_error(libc::EMFILE))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    let rule = PathBeneath { allowed_access: REFER, parent_fd: root.as_raw_fd() };
    // SAFETY: `rule` is a structure of the kernel's layout, which is only read; both descriptors are open.
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    check(added)?;
    // SAFETY: passes an open descriptor and no memory.
    let restricted =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    check(restricted).map(drop)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
