//! The steps themselves.

use super::admission::INOTIFY;
use super::c_string;
use super::cgroup::{DiskLimit, Limit};
use super::files::{self, GivenFile};
use super::id_map::IdMap;
use super::link::Link;
use super::sysfs::{self, PartOfSys};
use super::volumes::{self, PathStep, VolumeTmpfs};
use crate::unit::{
    Backing, Bytes, Covered, Device, ImageSource, OF_PROC, RootMode, Security, Ulimit, Unit,
    UserSpec, Volume,
};
use std::ffi::{CStr, CString};

/// Done by jailsupd, before the jail's processes exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// Make the jail's cgroup.
    CreateCgroup,
    /// Write one of its files.
    SetLimit(Limit),
    /// Limit its use of these disks, and of no other.
    LimitDisks(Vec<DiskLimit>),
    /// Make the user and the network namespace, unless the vault has them from an earlier start.
    CreateNamespaces {
        /// The user namespace's ids.
        ids: IdMap,
    },
    /// Bring up loopback and make the link, if any, in the network namespace, unless they are there
    /// from an earlier start.
    SetUpNetwork(Option<Link>),
    /// Mount the image, read-only and attached nowhere.
    OpenImage(ImageSource),
    /// Map the image's owners into the jail's range.
    ShiftIds,
    /// Put a writable layer above the image.
    Overlay {
        /// What holds it.
        backing: Backing,
        /// Its limit.
        size_max: Option<Bytes>,
    },
    /// Open the jail's own root, made from the image if it is not there yet, with its owners shifted.
    OpenRoot {
        /// What it is made from.
        source: ImageSource,
        /// The most that it may hold.
        size_max: Option<Bytes>,
    },
    /// Look user and group up in the image.
    FindUser {
        /// The user.
        user: UserSpec,
        /// The group, when given.
        group: Option<UserSpec>,
    },
    /// Open a volume, made if it is not there yet, with its owners shifted.
    OpenVolume(Volume),
    /// Write these files of the jail's /etc on the host, and open each as a mount.
    WriteFiles(Vec<GivenFile>),
    /// Open and verify the host's device nodes that the jail gets: those of every jail, and these. Have the
    /// kernel refuse it all others.
    PinDevices(Vec<Device>),
    /// Make the store of core dumps of at most that size.
    OpenCores(Bytes),
}

/// Done by the jail's first process, inside its namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JailStep {
    /// No mount event goes in or out from here on. Done again at the end, for what was attached since.
    MakePrivate,
    /// Make new instances of all kernel file systems, attached nowhere yet. Before the pivot: the
    /// kernel allows them in a user namespace only while the host's own are in sight.
    MakeKernelMounts,
    /// Change to the new root and let go of the old one.
    Pivot,
    /// Attach a kernel file system.
    Attach(KernelMount),
    /// Let no user namespace be made inside the jail's.
    ForbidUserNamespaces,
    /// Set a kernel setting of the jail's own namespaces.
    SetSysctl {
        /// Its file.
        path: CString,
        /// What is written to it.
        value: CString,
    },
    /// Mount a tmpfs.
    MountTmpfs(Tmpfs),
    /// Attach a volume that was opened on the host.
    MountVolume {
        /// Where, and the directories that lead there.
        target: Vec<PathStep>,
        /// Which one, in the order of [`HostStep::OpenVolume`].
        number: usize,
    },
    /// Mount a file that the host gives.
    MountGiven {
        /// Where.
        target: Vec<PathStep>,
        /// Which one, in the order of [`HostStep::WriteFiles`].
        number: usize,
        /// It is made where the image has none.
        is_asked_for: bool,
    },
    /// Mount a volume in memory.
    MountVolumeTmpfs {
        /// Where, and the directories that lead there.
        target: Vec<PathStep>,
        /// What it is.
        tmpfs: VolumeTmpfs,
    },
    /// Bind the pinned device nodes into /dev.
    BindDevices,
    /// Bind the socket of sd_notify(3) at /dev/notify.
    BindNotify,
    /// Make a directory.
    MakeDirectory(&'static CStr),
    /// Make a symbolic link.
    MakeLink {
        /// Where it points.
        target: &'static CStr,
        /// Where it is.
        path: &'static CStr,
    },
    /// Put a tmpfs with nothing but these parts of it in the place of sysfs.
    NarrowSys(Vec<PartOfSys>),
    /// Hide a file or directory, if it exists.
    Mask(CString),
    /// Make a path read-only, if it exists.
    MakeReadOnly(CString),
    /// sethostname(2), to that of the plan.
    SetHostName,
    /// setrlimit(2), and no core dump.
    SetLimits(Vec<Ulimit>),
    /// A session keyring of its own.
    JoinKeyring,
}

impl JailStep {
    /// Whether it is about the process that does it, and not about the jail: then each process that is
    /// started in the running jail from outside does it, too.
    #[must_use]
    pub fn is_of_process(&self) -> bool {
        matches!(self, Self::SetLimits(_) | Self::JoinKeyring)
    }
}

/// A kernel file system of the jail's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelMount {
    /// /proc.
    Proc,
    /// /sys, read-only.
    Sys,
    /// /sys/fs/cgroup, read-only.
    Cgroup,
    /// /dev/pts.
    Pts,
    /// /dev/mqueue.
    Mqueue,
}

impl KernelMount {
    /// All, in the order of their attachment.
    pub const ALL: [Self; 5] = [Self::Proc, Self::Sys, Self::Cgroup, Self::Pts, Self::Mqueue];

    /// The file system type.
    #[must_use]
    pub fn file_system(self) -> &'static CStr {
        match self {
            Self::Proc => c"proc",
            Self::Sys => c"sysfs",
            Self::Cgroup => c"cgroup2",
            Self::Pts => c"devpts",
            Self::Mqueue => c"mqueue",
        }
    }

    /// Options of fsconfig(2).
    #[must_use]
    pub fn options(self) -> &'static [(&'static CStr, &'static CStr)] {
        match self {
            // 5 is Debian's group tty.
            Self::Pts => &[(c"mode", c"0620"), (c"ptmxmode", c"0666"), (c"gid", c"5")],
            Self::Proc | Self::Sys | Self::Cgroup | Self::Mqueue => &[],
        }
    }

    /// Whether nothing in it can be written.
    #[must_use]
    pub fn read_only(self) -> bool {
        matches!(self, Self::Sys | Self::Cgroup)
    }

    /// Where it is attached.
    #[must_use]
    pub fn path(self) -> &'static CStr {
        match self {
            Self::Proc => c"/proc",
            Self::Sys => c"/sys",
            Self::Cgroup => c"/sys/fs/cgroup",
            Self::Pts => c"/dev/pts",
            Self::Mqueue => c"/dev/mqueue",
        }
    }
}

/// A tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where.
    pub path: &'static CStr,
    /// Mode of its root, octal.
    pub mode: &'static CStr,
    /// Largest size.
    pub size: &'static CStr,
    /// Whether programs in it can be executed.
    pub executable: bool,
    /// Whether an image without the directory is fine.
    pub optional: bool,
}

const DEV: Tmpfs =
    Tmpfs { path: c"/dev", mode: c"0755", size: c"64k", executable: false, optional: false };
const SHM: Tmpfs =
    Tmpfs { path: c"/dev/shm", mode: c"1777", size: c"64m", executable: false, optional: false };
/// What a read-only jail can still write to, as podman's `ReadOnlyTmpfs`.
const SCRATCH: [Tmpfs; 3] = [
    Tmpfs { path: c"/run", mode: c"1777", size: c"64m", executable: false, optional: true },
    Tmpfs { path: c"/tmp", mode: c"1777", size: c"50%", executable: false, optional: true },
    Tmpfs { path: c"/var/tmp", mode: c"1777", size: c"50%", executable: false, optional: true },
];

const DEV_LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
    (c"pts/ptmx", c"/dev/ptmx"),
];

/// What can be read, and written only on the host. A write to /proc/pressure sets a trigger on all of it.
const READ_ONLY: [&CStr; 6] = [
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/irq",
    c"/proc/pressure",
    c"/proc/sys",
    c"/proc/sysrq-trigger",
];

/// What is hidden of /proc, and what the unit hides.
fn masks(security: &Security) -> impl Iterator<Item = CString> {
    let shown = |path: &str| security.unmask.iter().any(|hidden| hidden.as_str() == path);
    let of_proc = OF_PROC.into_iter().filter(move |path| !shown(path));
    let own = security.mask.iter().map(Covered::as_str);
    of_proc.chain(own).map(c_string)
}

pub(super) fn jail_steps(
    unit: &Unit,
    ulimits: Vec<Ulimit>,
    sysctls: Vec<(CString, CString)>,
) -> Vec<JailStep> {
    let mut steps = vec![JailStep::MakePrivate, JailStep::MakeKernelMounts, JailStep::Pivot];
    if unit.root.mode == RootMode::ReadOnly {
        let is_volume = |path: &CStr| {
            unit.volumes.iter().any(|volume| volume.path.as_str().as_bytes() == path.to_bytes())
        };
        let scratch = SCRATCH.into_iter().filter(|tmpfs| !is_volume(tmpfs.path));
        steps.extend(scratch.map(JailStep::MountTmpfs));
    }
    // Before the kernel's file systems: whatever links the image has, none leads into those.
    steps.extend(files::jail_steps(unit));
    steps.extend(volumes::jail_steps(&unit.volumes));
    steps.extend([KernelMount::Proc, KernelMount::Sys].map(JailStep::Attach));
    steps.extend(sysfs::parts(&unit.security.unmask).map(JailStep::NarrowSys));
    steps.push(JailStep::Attach(KernelMount::Cgroup));
    steps.push(JailStep::MountTmpfs(DEV));
    steps.push(JailStep::BindDevices);
    steps.extend([c"/dev/pts", c"/dev/shm", c"/dev/mqueue"].map(JailStep::MakeDirectory));
    steps.extend([KernelMount::Pts, KernelMount::Mqueue].map(JailStep::Attach));
    steps.push(JailStep::MountTmpfs(SHM));
    steps.extend(DEV_LINKS.map(|(target, path)| JailStep::MakeLink { target, path }));
    if unit.process.terminal {
        steps.push(JailStep::MakeLink { target: c"pts/0", path: c"/dev/console" });
    }
    if unit.process.notifies() {
        steps.push(JailStep::BindNotify);
    }
    // While /proc/sys can still be written.
    let set = |(path, value)| JailStep::SetSysctl { path, value };
    steps.extend(sysctls.into_iter().map(set));
    // All jails share the host's: one alone cannot take them.
    let shared = INOTIFY.iter().map(|(name, most)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        (c_string(&path), c_string(&most.to_string()))
    });
    steps.extend(shared.map(set));
    steps.push(JailStep::ForbidUserNamespaces);
    steps.extend(masks(&unit.security).map(JailStep::Mask));
    steps.extend(READ_ONLY.map(|path| JailStep::MakeReadOnly(path.to_owned())));
    let read_only = unit.security.read_only_paths.iter().map(|path| c_string(path.as_str()));
    steps.extend(read_only.map(JailStep::MakeReadOnly));
    steps.push(JailStep::MakePrivate);
    steps.push(JailStep::SetHostName);
    steps.push(JailStep::SetLimits(ulimits));
    steps.push(JailStep::JoinKeyring);
    steps
}
