//! What to do about a start that failed.

use super::Error;
use jail_init::Stage;
use std::io;

const SEE_THE_CONSOLE: &str = "see the console; the jail is tried again when it may pass";

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoImage { .. } => "put the image there, or correct the path",
            Self::NoStoredImage { .. } => {
                "`jailctl image ls` lists the images; `jailctl image import` brings one in"
            }
            Self::BrokenSeal { .. } => "import the image again",
            Self::NotAnImage { .. } => {
                "build it with mkfs.erofs, or give a directory as `dir:/path`"
            }
            Self::NoAccount { .. } | Self::Accounts { .. } => {
                "give a name of the image's /etc/passwd or /etc/group, or a number"
            }
            Self::NoParent { .. } | Self::Mtu { .. } | Self::Link { .. } => self.network_help(),
            Self::Jail { stage: Stage::Exec, source } => exec_help(source),
            Self::Jail { stage: Stage::StartContainer, source } => hook_help(source),
            Self::Jail { stage: Stage::WorkingDir, .. } => {
                "the directory must exist in the image and be open to the jail's user"
            }
            Self::Given { .. }
            | Self::Cores(_)
            | Self::CorePattern { .. }
            | Self::Granted { .. }
            | Self::NoLimit { .. }
            | Self::Disk { .. }
            | Self::Limit { .. } => self.host_help(),
            Self::Jail { stage: Stage::Sysctl, source } => match source.raw_os_error() {
                Some(libc::ENOENT) => "the kernel has no such setting for a namespace of its own",
                _ => "the kernel refused a value; see Documentation/admin-guide/sysctl",
            },
            Self::WorkTimeout { .. } => {
                "raise `timeout` in `[image]`, or look for what holds it up"
            }
            Self::NetworkFull { .. } => {
                "give the network a larger `subnet`, or remove jails that are not needed"
            }
            Self::Policy => "`jailctl check` names the rule",
            Self::Overcommit(_) => {
                "stop another jail, ask for less, or see [reserve] of host.toml; then the jail is tried again if `restart.policy` says so, or `jailctl start` does"
            }
            Self::Jail { stage: Stage::Volume, .. }
            | Self::NoVolumeSource { .. }
            | Self::Volume { .. }
            | Self::Work { .. }
            | Self::Overlay { .. }
            | Self::Root { .. } => self.storage_help(),
            Self::Image { .. }
            | Self::Cgroup { .. }
            | Self::Namespaces(_)
            | Self::Device { .. }
            | Self::DeviceFilter(_)
            | Self::Process { .. }
            | Self::Jail { .. }
            | Self::Keeper(_)
            | Self::Ids(_)
            | Self::Networks(_)
            | Self::NoUnit
            | Self::NoClient
            | Self::Plan(_) => SEE_THE_CONSOLE,
        }
    }

    /// The same of links.
    fn network_help(&self) -> &'static str {
        match self {
            Self::NoParent { .. } => {
                "name a link of the host, or set [uplink] match in /etc/warder/host.toml; the jail is tried again"
            }
            Self::Jail { stage: Stage::Given, .. } => {
                "the image needs an empty file there, or the root must not be read-only"
            }
            Self::Mtu { .. } => "make it smaller, or leave it out for the parent's",
            Self::Link { source, .. } if source.raw_os_error() == Some(libc::EBUSY) => {
                "the parent has links of another kind: macvlan and ipvlan cannot share one"
            }
            _ => SEE_THE_CONSOLE,
        }
    }

    /// The same of volumes and roots.
    fn storage_help(&self) -> &'static str {
        match self {
            Self::Jail { stage: Stage::Volume, source } => match source.raw_os_error() {
                Some(libc::EROFS) => {
                    "the image has no directory where the volume is to be, and its root is read-only: make one in the image, or choose another `path`"
                }
                _ => {
                    "each `path` must be a directory, and one of the image's or one that can be made there"
                }
            },
            Self::NoVolumeSource { .. } => {
                "make it, or correct the path; no part of it may be a link"
            }
            Self::Volume { source, .. } => match source.raw_os_error() {
                Some(libc::EINVAL) => {
                    "its file system, or one that is mounted below it, has no id-mapped mounts"
                }
                Some(libc::ELOOP) => "no part of the path may be a symbolic link",
                _ => "look at the data partition: `jailctl host info`",
            },
            Self::Work { failure, .. } if failure.errno == libc::EDQUOT => {
                "raise `size_max`: what is copied from the image must fit, too"
            }
            _ => "look at the data partition: `jailctl host info`",
        }
    }

    /// The same of what the unit asks of this very host.
    fn host_help(&self) -> &'static str {
        match self {
            Self::Cores(_) => {
                "core dumps need a data partition on a disk; remove the key on a host without"
            }
            Self::CorePattern { .. } => {
                "set it to /dev/cores/core.%e.%p.%t, as on a Warder host, or remove the key"
            }
            Self::Given { .. } => "the host's /run must have room: `jailctl host info` shows it",
            Self::Granted { .. } => "name a device node of this host below /dev, not a link to one",
            Self::NoLimit { .. } => {
                "remove the key: it needs a controller of cgroup v2 (io.weight: CONFIG_BLK_CGROUP_IOCOST) that this host's kernel was built without"
            }
            Self::Disk { .. } => {
                "name a block device of this host, or `data` for the disk of its data partition"
            }
            _ => "the kernel refused the value; correct or remove the key",
        }
    }
}

fn hook_help(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(_) => {
            "the hook's first word must be a program in the image that the jail's user may execute"
        }
        None => "what it printed is in the log: `jailctl logs`",
    }
}

fn exec_help(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOENT) => {
            "the first word of exec must be a program in the image, with the loader and libraries that it names"
        }
        Some(libc::EACCES) => "the program must be executable by the jail's user",
        Some(libc::ENOEXEC) => "the program must be an ELF file or start with `#!`",
        _ => "see `jailctl logs` and the console",
    }
}
