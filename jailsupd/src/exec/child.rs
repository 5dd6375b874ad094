//! The jail's own processes, from clone to exec. Nothing here allocates, logs or locks: each failure
//! is a [`Stage`] and an errno.

mod confinement;
mod kernel_files;
mod narrow_sys;

pub(super) use confinement::{Confinement, drop_bounding_set, set_capabilities};

use super::devices::Pinned;
use super::faults;
use super::notify;
use super::walls::{self, Wall};
use crate::plan::{JailStep, KernelMount, PathStep, Tmpfs, VolumeTmpfs};
use confinement::{process_step, set_umask};
use jail_init::Stage;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use std::ffi::CStr;
use std::io;
use sys::mount::Attributes;

/// The result of a stage.
pub(super) type Staged = Result<(), (Stage, i32)>;

/// Names the stage of a failure.
pub(super) trait At {
    fn at(self, stage: Stage) -> Staged;
}

impl<T> At for Result<T, Errno> {
    fn at(self, stage: Stage) -> Staged {
        self.map(drop).map_err(|errno| (stage, errno.raw_os_error()))?;
        faults::stage(stage)
    }
}

impl<T> At for io::Result<T> {
    fn at(self, stage: Stage) -> Staged {
        self.map(drop).map_err(|error| (stage, error.raw_os_error().unwrap_or(0)))?;
        faults::stage(stage)
    }
}

/// What the jail's first process works with: made by jailsupd, borrowed across the clone.
pub(super) struct Jail<'a> {
    pub(super) steps: &'a [JailStep],
    pub(super) host_name: &'a CStr,
    /// The root, mounted and attached nowhere.
    pub(super) root: BorrowedFd<'a>,
    /// An empty directory of the host to attach it on.
    pub(super) root_point: &'a CStr,
    /// Mounted and attached nowhere, like the root.
    pub(super) volumes: &'a [OwnedFd],
    pub(super) given: &'a [Option<OwnedFd>],
    pub(super) devices: &'a [Pinned],
    /// The socket on which it says how it is.
    pub(super) notify: Option<BorrowedFd<'a>>,
    pub(super) confinement: Confinement<'a>,
}

impl Jail<'_> {
    /// Builds the jail around the calling process, up to the last step before files and exec.
    pub(super) fn build(&self) -> Staged {
        set_umask();
        let mut kernel = KernelMounts::default();
        for step in self.steps {
            self.step(step, &mut kernel)?;
        }
        self.confinement.confine()
    }

    fn step(&self, step: &JailStep, kernel: &mut KernelMounts) -> Staged {
        if walls::leaves_out(step) {
            return Ok(());
        }
        match step {
            JailStep::ForbidUserNamespaces => {
                kernel_files::forbid_user_namespaces(kernel).at(Stage::UserNamespaces)
            }
            JailStep::SetSysctl { path, value } => {
                kernel_files::set_sysctl(kernel, path, value).at(Stage::Sysctl)
            }
            JailStep::MakePrivate => make_private().at(Stage::Propagation),
            JailStep::MakeKernelMounts => kernel.make().at(Stage::KernelMounts),
            JailStep::Pivot => self.pivot().at(Stage::Pivot),
            JailStep::Attach(mount) => kernel.attach(*mount).at(Stage::AttachKernelMounts),
            JailStep::NarrowSys(parts) => narrow_sys::narrow(kernel, parts).at(Stage::NarrowSys),
            JailStep::MountTmpfs(tmpfs) => mount_tmpfs(tmpfs).at(Stage::Tmpfs),
            JailStep::MountVolume { target, number } => {
                self.mount_volume(target, *number).at(Stage::Volume)
            }
            JailStep::MountGiven { target, number, is_asked_for } => {
                self.mount_given(target, *number, *is_asked_for).at(Stage::Given)
            }
            JailStep::MountVolumeTmpfs { target, tmpfs } => {
                mount_volume_tmpfs(target, tmpfs).at(Stage::Volume)
            }
            JailStep::BindDevices => self.bind_devices().at(Stage::Devices),
            JailStep::BindNotify => self.bind_notify().at(Stage::Notify),
            JailStep::MakeDirectory(path) => {
                rustix::fs::mkdir(*path, Mode::from_raw_mode(0o755)).at(Stage::Devices)
            }
            JailStep::MakeLink { target, path } => {
                rustix::fs::symlink(*target, *path).at(Stage::Devices)
            }
            JailStep::Mask(path) => self.mask(kernel, path).at(Stage::Mask),
            JailStep::MakeReadOnly(path) => {
                kernel_files::make_read_only(kernel, path).at(Stage::ReadOnly)
            }
            JailStep::SetHostName => set_host_name(self.host_name).at(Stage::HostName),
            // Of the process and not of the jail: see `Confinement`.
            JailStep::SetLimits(_) | JailStep::JoinKeyring => process_step(step),
        }
    }

    /// pivot_root(2), "pivot_root(".", ".")": the old root ends up below the new one and is let go.
    fn pivot(&self) -> rustix::io::Result<()> {
        attach(self.root, CWD, self.root_point, MoveMountFlags::empty())?;
        rustix::process::fchdir(self.root)?;
        rustix::process::pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    fn mount_volume(&self, target: &[PathStep], number: usize) -> rustix::io::Result<()> {
        let mount = self.volumes.get(number).ok_or(Errno::BADF)?;
        let place = place(target, is_directory(mount)?)?;
        attach(mount, &place, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
    }

    /// What nobody has asked for takes the place of a file of the image, and is left out where there is none.
    fn mount_given(
        &self,
        target: &[PathStep],
        number: usize,
        is_asked_for: bool,
    ) -> rustix::io::Result<()> {
        let Some(mount) = self.given.get(number).ok_or(Errno::BADF)? else { return Ok(()) };
        let flags = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        if is_asked_for {
            return attach(mount, place_of_given(target)?, c"", flags);
        }
        let path = &target.last().ok_or(Errno::INVAL)?.path;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let root = pin(c"/", OFlags::DIRECTORY)?;
        let open = OFlags::PATH | OFlags::CLOEXEC;
        let attached = rustix::fs::openat2(&root, path, open, Mode::empty(), resolve)
            .and_then(|place| attach(mount, place, c"", flags));
        match attached {
            // Not there, or a directory, or a link that leads nowhere.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(()),
            result => result,
        }
    }

    fn bind_devices(&self) -> rustix::io::Result<()> {
        let dev = directory(c"/dev")?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        for device in self.devices {
            for parent in &device.parents {
                match rustix::fs::mkdirat(&dev, parent, Mode::from_raw_mode(0o755)) {
                    Err(Errno::EXIST) => {}
                    result => result?,
                }
            }
            let name = &device.name;
            let place = if device.is_directory {
                rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&dev, name, flags, Mode::empty())?
            } else {
                rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666))?
            };
            attach(&device.mount, &place, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
        }
        Ok(())
    }

    fn bind_notify(&self) -> rustix::io::Result<()> {
        notify::bind_in_jail(self.notify.ok_or(Errno::BADF)?)
    }

    /// Behind the node that jailsupd has verified, not behind what is at /dev/null.
    fn mask(&self, kernel: &KernelMounts, path: &CStr) -> rustix::io::Result<()> {
        let null = self.devices.iter().find(|device| device.name.as_c_str() == c"null");
        kernel_files::mask(kernel, path, null.ok_or(Errno::BADF)?.mount.as_fd())
    }
}

/// The kernel's file systems of this jail.
#[derive(Default)]
struct KernelMounts {
    /// Between their making and their attachment.
    made: [Option<OwnedFd>; KernelMount::ALL.len()],
    /// After their attachment.
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
}

impl KernelMounts {
    fn make(&mut self) -> rustix::io::Result<()> {
        for (place, mount) in self.made.iter_mut().zip(KernelMount::ALL) {
            let mut attributes =
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            // devpts is all device nodes.
            if mount != KernelMount::Pts {
                attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
            }
            if walls::is_read_only(mount) {
                attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
            }
            let options = mount.options().iter().copied();
            *place = Some(new_mount(mount.file_system(), options, attributes)?);
        }
        Ok(())
    }

    fn attach(&mut self, mount: KernelMount) -> rustix::io::Result<()> {
        let index = KernelMount::ALL.iter().position(|other| *other == mount);
        let made = index.and_then(|index| self.made[index].take()).ok_or(Errno::BADF)?;
        let target = directory(mount.path())?;
        attach(&made, &target, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
        match mount {
            KernelMount::Proc => self.proc = Some(made),
            KernelMount::Sys => self.sys = Some(made),
            KernelMount::Cgroup | KernelMount::Pts | KernelMount::Mqueue => {}
        }
        Ok(())
    }
}

pub(super) fn new_mount<'a>(
    file_system: &CStr,
    options: impl IntoIterator<Item = (&'a CStr, &'a CStr)>,
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(super) fn attach(
    mount: impl AsFd,
    directory: impl AsFd,
    path: &CStr,
    flags: MoveMountFlags,
) -> rustix::io::Result<()> {
    move_mount(mount, c"", directory, path, flags | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

pub(super) fn make_private() -> io::Result<()> {
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    sys::mount::set_attributes(root.as_fd(), true, private)
}

/// Opens a path of the jail without following a link that the image may have put there.
fn pin(path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    if walls::is_down(Wall::PinnedPaths) {
        return rustix::fs::open(path, flags, Mode::empty());
    }
    let flags = flags | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)
}

/// Opens a directory, made if the image has none.
fn directory(path: &CStr) -> rustix::io::Result<OwnedFd> {
    match pin(path, OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))?;
            pin(path, OFlags::DIRECTORY)
        }
        result => result,
    }
}

fn mount_tmpfs(tmpfs: &Tmpfs) -> rustix::io::Result<()> {
    let target = match directory(tmpfs.path) {
        // An image without the directory, or without the one that it would be in.
        Err(Errno::ROFS | Errno::NOENT) if tmpfs.optional => return Ok(()),
        result => result?,
    };
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if !tmpfs.executable {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    let options = [(c"mode", tmpfs.mode), (c"size", tmpfs.size)];
    let made = new_mount(c"tmpfs", options, attributes)?;
    attach(&made, &target, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

fn mount_volume_tmpfs(target: &[PathStep], tmpfs: &VolumeTmpfs) -> rustix::io::Result<()> {
    let place = place(target, true)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, tmpfs.read_only);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, tmpfs.noexec);
    let options = tmpfs.options.iter().map(|(key, value)| (key.as_c_str(), value.as_c_str()));
    let made = new_mount(c"tmpfs", options, attributes)?;
    attach(&made, &place, c"", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

/// Opens the place of a volume. Links of the image are followed, but not out of the jail; what is missing
/// is made.
fn place(steps: &[PathStep], is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = pin(c"/", OFlags::DIRECTORY)?;
    let mut parent = pin(c"/", OFlags::DIRECTORY)?;
    for (index, step) in steps.iter().enumerate() {
        let is_file = !is_directory && index + 1 == steps.len();
        let kind = if is_file { OFlags::empty() } else { OFlags::DIRECTORY };
        let flags = kind | OFlags::PATH | OFlags::CLOEXEC;
        let open = || rustix::fs::openat2(&root, &step.path, flags, Mode::empty(), resolve);
        parent = match open() {
            Err(Errno::NOENT) if is_file => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, &step.name, flags, Mode::from_raw_mode(0o644))?;
                open()?
            }
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&parent, &step.name, Mode::from_raw_mode(0o755))?;
                open()?
            }
            result => result?,
        };
    }
    Ok(parent)
}

/// The same for a file of the host. A link that leads nowhere, as many images have one for their resolver's, is replaced.
fn place_of_given(steps: &[PathStep]) -> rustix::io::Result<OwnedFd> {
    match (place(steps, false), steps) {
        (Err(Errno::EXIST), [parents @ .., last]) => {
            let parent = place(parents, true)?;
            rustix::fs::unlinkat(&parent, &last.name, AtFlags::empty())?;
            place(steps, false)
        }
        (result, _) => result,
    }
}

fn is_directory(fd: &OwnedFd) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory)
}

fn set_host_name(name: &CStr) -> rustix::io::Result<()> {
    rustix::system::sethostname(name.to_bytes())
}
