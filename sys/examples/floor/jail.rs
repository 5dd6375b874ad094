//! The jail's part of a start: the same walls as in jailsupd's `exec/child.rs`, by the fewest calls. `sys` knows
//! nothing of jailsupd, so the tables stand here again; a test of jailsupd's plan holds them to its own.

use crate::mounts::{READ_ONLY, SEALED, attach, attach_at, copy, make};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::{CStr, CString};
use std::io;
use sys::exec::Vector;
use sys::lockdown::Instruction;
use sys::mount::Attributes;

const KERNEL: [(&CStr, &CStr); 5] = [
    (c"proc", c"/proc"),
    (c"sysfs", c"/sys"),
    (c"cgroup2", c"/sys/fs/cgroup"),
    (c"devpts", c"/dev/pts"),
    (c"mqueue", c"/dev/mqueue"),
];
const DEVICES: [(&CStr, &CStr); 6] = [
    (c"/dev/null", c"null"),
    (c"/dev/zero", c"zero"),
    (c"/dev/full", c"full"),
    (c"/dev/random", c"random"),
    (c"/dev/urandom", c"urandom"),
    (c"/dev/tty", c"tty"),
];
const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];
const MASKED_FILES: [&CStr; 7] = [
    c"/proc/interrupts",
    c"/proc/kallsyms",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/timer_list",
];
const MASKED_DIRECTORIES: [&CStr; 3] = [c"/proc/acpi", c"/proc/asound", c"/proc/scsi"];
/// What is left of sysfs.
const PARTS_OF_SYS: [&CStr; 6] = [
    c"class/net",
    c"devices/system/cpu",
    c"devices/system/node",
    c"devices/virtual/net",
    c"kernel/mm/hugepages",
    c"kernel/mm/transparent_hugepage",
];
/// The directories that lead there.
const OVER_PARTS: [&CStr; 8] = [
    c"class",
    c"devices",
    c"devices/system",
    c"devices/virtual",
    c"fs",
    c"fs/cgroup",
    c"kernel",
    c"kernel/mm",
];
const READ_ONLY_PATHS: [&CStr; 6] = [
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/irq",
    c"/proc/pressure",
    c"/proc/sys",
    c"/proc/sysrq-trigger",
];
/// What the service runs as.
const USER: u32 = 1000;

/// What a jail is made of.
pub(crate) struct Jail<'a> {
    pub(crate) root: BorrowedFd<'a>,
    /// An empty directory of the host.
    pub(crate) point: &'a CStr,
    pub(crate) says: BorrowedFd<'a>,
    pub(crate) filters: &'a [Vec<Instruction>],
    pub(crate) program: &'a CString,
    pub(crate) argv: &'a Vector,
    pub(crate) envp: &'a Vector,
}

impl Jail<'_> {
    /// The life of the jail's process up to its exec.
    pub(crate) fn run(&self) -> u8 {
        if let Err(error) = self.build() {
            // Nobody reads it but a person who debugs the floor.
            let _ = rustix::io::write(rustix::stdio::stderr(), error.kind().to_string().as_bytes());
            return 96;
        }
        let _ = sys::exec::execute(self.program, self.argv, self.envp);
        95
    }

    fn build(&self) -> io::Result<()> {
        make_private()?;
        let mut devices: [Option<OwnedFd>; DEVICES.len()] = Default::default();
        for (place, (path, _)) in devices.iter_mut().zip(DEVICES) {
            *place = Some(copy(CWD, path, false)?);
        }
        let mut kernel: [Option<OwnedFd>; KERNEL.len()] = Default::default();
        for (place, (kind, _)) in kernel.iter_mut().zip(KERNEL) {
            *place = Some(kernel_mount(kind)?);
        }
        attach(self.root, self.point)?;
        rustix::process::fchdir(self.root)?;
        rustix::process::pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
        for (mount, (kind, path)) in kernel.iter().flatten().zip(KERNEL).take(3) {
            attach(mount, path)?;
            if kind == c"sysfs" {
                narrow_sys(mount)?;
            }
        }
        let tmpfs = make(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"64k")], SEALED)?;
        attach(&tmpfs, c"/dev")?;
        fill_dev(&tmpfs, &devices)?;
        for (mount, (_, path)) in kernel.iter().flatten().zip(KERNEL).skip(3) {
            attach(mount, path)?;
        }
        let shm = make(c"tmpfs", &[(c"mode", c"1777"), (c"size", c"64m")], SEALED)?;
        attach(&shm, c"/dev/shm")?;
        forbid_user_namespaces()?;
        cover()?;
        self.lock()
    }

    /// No mount after this.
    fn lock(&self) -> io::Result<()> {
        rustix::system::sethostname(b"floor")?;
        let limit = |current, maximum| Rlimit { current: Some(current), maximum: Some(maximum) };
        setrlimit(Resource::Core, limit(0, 0))?;
        // As far as the build machine lets its root go.
        let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        setrlimit(Resource::Nofile, limit(1024, most.min(524_288)))?;
        match sys::lockdown::join_new_session_keyring() {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            result => result?,
        }
        for number in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << number);
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Err(Errno::INVAL) => break,
                result => result?,
            }
        }
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::set_no_new_privs(true)?;
        sys::fd::place(self.says, 1)?;
        sys::fd::close_from(3)?;
        self.filters.iter().try_for_each(|filter| sys::lockdown::set_seccomp_filter(filter, false))
    }
}

pub(crate) fn become_root() -> rustix::io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

fn make_private() -> io::Result<()> {
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    sys::mount::set_attributes(root.as_fd(), true, private)
}

fn kernel_mount(kind: &CStr) -> rustix::io::Result<OwnedFd> {
    let pts = [(c"mode", c"0620"), (c"ptmxmode", c"0666"), (c"gid", c"5")];
    if kind == c"devpts" {
        return make(kind, &pts, SEALED.difference(MountAttrFlags::MOUNT_ATTR_NODEV));
    }
    let read_only = kind == c"sysfs" || kind == c"cgroup2";
    make(kind, &[], if read_only { SEALED | READ_ONLY } else { SEALED })
}

/// A tmpfs in the place of sysfs, with copies of parts of it. One that this kernel has not is left out.
fn narrow_sys(sysfs: &OwnedFd) -> io::Result<()> {
    let mut copies: [Option<OwnedFd>; PARTS_OF_SYS.len()] = Default::default();
    for (place, path) in copies.iter_mut().zip(PARTS_OF_SYS) {
        *place = copy(sysfs, path, false).ok();
    }
    unmount(c"/sys", UnmountFlags::DETACH)?;
    let narrow = make(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"64k")], SEALED)?;
    attach(&narrow, c"/sys")?;
    let mode = Mode::from_raw_mode(0o755);
    for path in OVER_PARTS {
        rustix::fs::mkdirat(&narrow, path, mode)?;
    }
    for (part, path) in copies.iter().zip(PARTS_OF_SYS) {
        let Some(part) = part else { continue };
        rustix::fs::mkdirat(&narrow, path, mode)?;
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(part, c"", &narrow, path, flags)?;
    }
    let read_only = Attributes { set: READ_ONLY.bits().into(), ..Attributes::default() };
    sys::mount::set_attributes(narrow.as_fd(), false, read_only)
}

fn fill_dev(dev: &OwnedFd, devices: &[Option<OwnedFd>]) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    for (device, (_, name)) in devices.iter().flatten().zip(DEVICES) {
        let file = rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666))?;
        attach_at(device, file)?;
    }
    for name in [c"pts", c"shm", c"mqueue"] {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    }
    LINKS.iter().try_for_each(|(target, name)| rustix::fs::symlinkat(*target, dev, *name))
}

fn forbid_user_namespaces() -> rustix::io::Result<()> {
    let file = c"/proc/sys/user/max_user_namespaces";
    let file = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, b"0").map(drop)
}

/// Masks and read-only paths. A path that this kernel has not needs no cover.
fn cover() -> io::Result<()> {
    let there = |result: rustix::io::Result<()>| match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    };
    for path in MASKED_FILES {
        there(attach(copy(CWD, c"/dev/null", false)?, path))?;
    }
    let mut first = None;
    for path in MASKED_DIRECTORIES {
        if rustix::fs::access(path, rustix::fs::Access::EXISTS).is_err() {
            continue;
        }
        let nothing = match first {
            Some(first) => copy(CWD, first, false)?,
            None => make(c"tmpfs", &[(c"mode", c"0555"), (c"size", c"4k")], SEALED | READ_ONLY)?,
        };
        attach(&nothing, path)?;
        first = Some(path);
    }
    for path in READ_ONLY_PATHS {
        let Ok(again) = copy(CWD, path, true) else { continue };
        let attributes =
            Attributes { set: (SEALED | READ_ONLY).bits().into(), ..Attributes::default() };
        sys::mount::set_attributes(again.as_fd(), true, attributes)?;
        there(attach(&again, path))?;
    }
    Ok(())
}
