//! The walls around one process in a jail: the last ones of a start, and all that a process gets which joins a
//! running jail. Like all of [`super`], between clone and exec.

use super::{At as _, Staged};
use crate::exec::account::Account;
use crate::exec::rlimit;
use crate::exec::walls::{self, Wall};
use crate::plan::JailStep;
use crate::plan::seccomp::Filter;
use crate::unit::Ulimit;
use jail_init::Stage;
use rustix::fd::AsFd as _;
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Rlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::ffi::CStr;
use std::io;

/// The walls around one process in a jail: at its start and at each `exec`.
pub(in crate::exec) struct Confinement<'a> {
    pub(in crate::exec) account: &'a Account,
    pub(in crate::exec) groups: &'a [Gid],
    pub(in crate::exec) capabilities: u64,
    pub(in crate::exec) working_dir: &'a CStr,
    pub(in crate::exec) filter: Option<&'a Filter>,
}

impl Confinement<'_> {
    /// For a process that joins a jail: those steps of the jail's start that are about a process, and
    /// then all that follows them.
    pub(in crate::exec) fn join(&self, steps: &[JailStep]) -> Staged {
        set_umask();
        for step in steps.iter().filter(|step| step.is_of_process()) {
            process_step(step)?;
        }
        self.confine()
    }

    /// Up to the last step before files and exec.
    pub(super) fn confine(&self) -> Staged {
        walls::raise(Wall::BoundingSet, || drop_bounding_set(self.capabilities))
            .at(Stage::BoundingSet)?;
        self.become_user().at(Stage::User)?;
        walls::raise(Wall::Capabilities, || set_capabilities(self.capabilities))
            .at(Stage::Capabilities)?;
        walls::raise(Wall::NoNewPrivs, || rustix::thread::set_no_new_privs(true))
            .at(Stage::Capabilities)?;
        walls::raise(Wall::Landlock, restrict).at(Stage::Landlock)?;
        enter(self.working_dir).at(Stage::WorkingDir)
    }

    /// The very last wall. It lets the exec that follows pass.
    pub(in crate::exec) fn install_filter(&self) -> Staged {
        let Some(Filter { program, log }) = self.filter else { return Ok(()) };
        walls::raise(Wall::Seccomp, || sys::lockdown::set_seccomp_filter(program, *log))
            .at(Stage::Filter)
    }

    fn become_user(&self) -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.account.uid), Gid::from_raw(self.account.gid));
        rustix::thread::set_thread_groups(self.groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        // Permitted capabilities are kept across the change and cut to size right after it.
        rustix::thread::set_keep_capabilities(true)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    }
}

/// As a service finds it on a Debian host, whatever jailsupd's own is.
pub(super) fn set_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

/// A step that is done for each process that is started from outside.
pub(super) fn process_step(step: &JailStep) -> Staged {
    match step {
        JailStep::SetLimits(limits) => set_limits(limits).at(Stage::Limits),
        JailStep::JoinKeyring => join_keyring().at(Stage::Keyring),
        _ => Ok(()),
    }
}

/// Exactly what the plan says.
fn set_limits(limits: &[Ulimit]) -> rustix::io::Result<()> {
    limits.iter().try_for_each(|limit| {
        setrlimit(rlimit::of(limit.name), Rlimit { current: limit.soft, maximum: limit.hard })
    })
}

fn join_keyring() -> io::Result<()> {
    match sys::lockdown::join_new_session_keyring() {
        // A kernel without keys has none to leak.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        result => result,
    }
}

/// A second wall behind the filter, where the kernel has it: no mount is changed and no device node made, and what is
/// executed later by `exec` is out of the service's reach. Signals and abstract sockets are left alone: they end at the
/// jail's namespaces anyway, and `exec` is to reach the service.
fn restrict() -> io::Result<()> {
    if sys::landlock::version() < sys::landlock::USABLE {
        return Ok(());
    }
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    sys::landlock::forbid_mounts_and_devices(root.as_fd())
}

pub(in crate::exec) fn drop_bounding_set(keep: u64) -> rustix::io::Result<()> {
    for number in 0..64 {
        let bit = 1u64 << number;
        if keep & bit != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            bit,
        )) {
            // One past the last capability that this kernel has.
            Err(Errno::INVAL) => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

pub(in crate::exec) fn set_capabilities(bits: u64) -> rustix::io::Result<()> {
    let set = CapabilitySet::from_bits_retain(bits);
    let sets = rustix::thread::CapabilitySets { effective: set, permitted: set, inheritable: set };
    rustix::thread::set_capabilities(None, sets)?;
    for number in (0..64).filter(|number| bits & (1 << number) != 0) {
        // Ambient, so that a user who is not root keeps them across exec (capabilities(7)).
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// Changes the directory without following a magic link out of the jail (CVE-2024-21626).
fn enter(path: &CStr) -> rustix::io::Result<()> {
    if walls::is_down(Wall::WorkingDir) {
        return rustix::process::chdir(path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::open(c"/", flags, Mode::empty())?;
    let target = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?;
    rustix::process::fchdir(&target)
}
