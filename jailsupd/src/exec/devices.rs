//! A jail's device nodes: the host's own, bound after they were verified, and those that its unit asks
//! for, made anew for it. No other can be opened in it: a program on its cgroup sees to that, whatever
//! nodes an image or a volume brings.

use super::cgroup::Cgroup;
use super::device_filter::{Kind, Programs, Rule, TERMINALS};
use super::overlay::Attached;
use super::walls::{self, Wall};
use super::{Error, Layout, mounts};
use crate::plan::IdMap;
use crate::unit::{Access, Device};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, major, makedev, minor};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen,
};
use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;
use sys::mount::Attributes;

/// Name in /dev, major and minor (Documentation/admin-guide/devices.txt).
const NODES: [(&str, &CStr, u32, u32); 6] = [
    ("null", c"null", 1, 3),
    ("zero", c"zero", 1, 5),
    ("full", c"full", 1, 7),
    ("random", c"random", 1, 8),
    ("urandom", c"urandom", 1, 9),
    ("tty", c"tty", 5, 0),
];

/// What is bound into a jail's /dev: a device node, or the store of core dumps. A mount of its own that is
/// attached nowhere.
#[derive(Debug)]
pub struct Pinned {
    /// Directories of its name, the outer ones first: `net`.
    pub parents: Vec<CString>,
    /// Its name in the jail's /dev: `null`, `net/tun`.
    pub name: CString,
    /// The mount.
    pub mount: OwnedFd,
    /// Whether it is the mount of a directory, and not of a node.
    pub is_directory: bool,
}

/// Whom the nodes are for.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the unit asks for.
    pub devices: &'a [Device],
    /// The jail's ids.
    pub ids: &'a IdMap,
    /// The group in the jail that may use them, beside its root.
    pub group: u32,
}

/// What jails' devices have in common, made with the first jail.
#[derive(Debug, Default)]
pub struct Common {
    programs: Programs,
    /// The [`NODES`], opened and verified: what a descriptor stands for cannot change.
    nodes: Vec<OwnedFd>,
}

impl Common {
    fn nodes(&mut self) -> Result<&[OwnedFd], Error> {
        if self.nodes.is_empty() {
            let open = |(path, _, major, minor): &(&str, _, _, _)| {
                let node = open_character(path, *major, *minor);
                node.map_err(|source| Error::Device { name: (*path).to_owned(), source })
            };
            self.nodes = NODES.iter().map(open).collect::<Result<_, _>>()?;
        }
        Ok(&self.nodes)
    }
}

/// Clones each node as a mount, and has the kernel refuse all others to the processes of `cgroup`.
///
/// # Errors
/// When one is missing or is something else: then /dev is not what it should be, and no jail starts.
pub fn pin(
    request: &Request<'_>,
    cgroup: &Cgroup,
    common: &mut Common,
    layout: &Layout,
) -> Result<Vec<Pinned>, Error> {
    let mut pinned = Vec::new();
    let mut rules = TERMINALS.to_vec();
    for ((path, name, major, minor), node) in NODES.into_iter().zip(common.nodes()?) {
        let mount = clone(node, c"");
        let mount = mount.map_err(|source| Error::Device { name: path.to_owned(), source })?;
        pinned.push(Pinned {
            parents: Vec::new(),
            name: name.to_owned(),
            mount,
            is_directory: false,
        });
        let access = Access { read: true, write: true, make: false };
        rules.push(Rule { kind: Kind::Character, major, minor: Some(minor), access });
    }
    let mut nodes = None;
    for device in request.devices {
        let granted = match &nodes {
            Some(nodes) => Nodes::grant(nodes, device),
            None => Nodes::new(request, layout).and_then(|new| nodes.insert(new).grant(device)),
        };
        let (mount, rule) =
            granted.map_err(|source| Error::Granted { name: device.host.to_string(), source })?;
        let name = device.name();
        let parents =
            Path::new(name).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        let mut parents: Vec<CString> = parents.filter_map(c_path).collect();
        parents.reverse();
        let name = c_path(Path::new(name)).unwrap_or_default();
        pinned.push(Pinned { parents, name, mount, is_directory: false });
        rules.push(rule);
    }
    walls::raise(Wall::DeviceFilter, || filter(cgroup, &mut common.programs, &rules))
        .map_err(Error::DeviceFilter)?;
    Ok(pinned)
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).ok()
}

fn filter(cgroup: &Cgroup, programs: &mut Programs, rules: &[Rule]) -> io::Result<()> {
    let program = programs.of(rules)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(cgroup.path(), flags, Mode::empty())?;
    sys::bpf::attach_device_program(directory.as_fd(), program)
}

fn open_character(name: &str, major: u32, minor: u32) -> io::Result<OwnedFd> {
    let (node, stat) = open(Path::new(name))?;
    let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_character || stat.st_rdev != makedev(major, minor) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    Ok(node)
}

/// A node of the host's /dev, never by a link.
fn open(name: &Path) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = rustix::fs::open(c"/dev", flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let node = rustix::fs::openat2(&dev, name, flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&node)?;
    Ok((node, stat))
}

fn clone(node: &OwnedFd, path: &CStr) -> io::Result<OwnedFd> {
    let mount = mounts::copy(node, path, OpenTreeFlags::empty())?;
    // A copy of a shared mount would take part in what happens to it on the host.
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    sys::mount::set_attributes(mount.as_fd(), false, private)?;
    Ok(mount)
}

/// A file system for the nodes that a unit asks for: those of the host belong to the host's root, which in
/// a jail is nobody.
struct Nodes {
    /// Linux 6.12 clones a mount only when it is attached somewhere.
    _attached: Attached,
    mount: OwnedFd,
    owner: Uid,
    group: Gid,
}

impl Nodes {
    fn new(request: &Request<'_>, layout: &Layout) -> io::Result<Self> {
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), c"mode", c"0755")?;
        fsconfig_set_string(context.as_fd(), c"size", c"64k")?;
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        let attached = Attached::new(&mount, layout.run.join("nodes"))?;
        let missing = || io::Error::from_raw_os_error(libc::EOVERFLOW);
        let owner = request.ids.host_user(0).ok_or_else(missing)?;
        let group = request.ids.host_group(request.group).ok_or_else(missing)?;
        Ok(Self {
            _attached: attached,
            mount,
            owner: Uid::from_raw(owner),
            group: Gid::from_raw(group),
        })
    }

    /// A node like the host's, and what the jail may do with it.
    fn grant(&self, device: &Device) -> io::Result<(OwnedFd, Rule)> {
        let path = device.host.as_path().strip_prefix("/dev");
        let path = path.map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        let (_, stat) = open(path)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let kind = match file_type {
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            _ => return Err(io::Error::from_raw_os_error(libc::ENODEV)),
        };
        let name = device.name().replace('/', "!");
        let mode = Mode::from_raw_mode(0o660);
        rustix::fs::mknodat(&self.mount, &name, file_type, mode, stat.st_rdev)?;
        // Whatever jailsupd's umask is.
        rustix::fs::chmodat(&self.mount, &name, mode, rustix::fs::AtFlags::empty())?;
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.mount, &name, Some(self.owner), Some(self.group), flags)?;
        let name = CString::new(name)?;
        let mount = clone(&self.mount, &name)?;
        let made = rustix::fs::fstat(&mount)?;
        if made.st_rdev != stat.st_rdev || FileType::from_raw_mode(made.st_mode) != file_type {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        Ok((mount, Rule { kind, major, minor: Some(minor), access: device.access }))
    }
}
