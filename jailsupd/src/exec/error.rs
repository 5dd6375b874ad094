//! What can go wrong at a jail's start, with what a user can do about it.

mod help;

use crate::unit::Signal;
use jail_init::hook::Failure;
use jail_init::{Stage, StartError};
use std::io;
use std::path::PathBuf;

/// A start that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image's path does not exist.
    #[error("there is no image {path}")]
    NoImage {
        /// The path.
        path: PathBuf,
    },
    /// The store has no such image.
    #[error("there is no image {what}")]
    NoStoredImage {
        /// Its name or digest.
        what: String,
    },
    /// The image's file is not the one that was imported.
    #[error("the image {path} is not what was imported: its fs-verity digest is another, or gone")]
    BrokenSeal {
        /// The path.
        path: PathBuf,
    },
    /// The image is not of the kind that the unit says.
    #[error("the image {path} is not {what}")]
    NotAnImage {
        /// The path.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// Opening, mounting or shifting the image failed otherwise.
    #[error("cannot {what} the image {path}")]
    Image {
        /// The step.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The writable layer.
    #[error("cannot {what} the writable layer {path}")]
    Overlay {
        /// The step.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The root of a persistent jail.
    #[error("cannot {what} its root")]
    Root {
        /// The step.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// What a worker was to do.
    #[error("cannot {}", failure.text())]
    Work {
        /// The unit's key that it was for.
        key: &'static str,
        /// What went wrong.
        failure: super::worker::Failure,
    },
    /// Work that a start waits for took too long.
    #[error("cannot finish within {timeout} what `{key}` needs")]
    WorkTimeout {
        /// The unit's key that it was for.
        key: &'static str,
        /// `image.timeout`.
        timeout: String,
    },
    /// A volume.
    #[error("cannot {what} the volume {name}")]
    Volume {
        /// The step.
        what: &'static str,
        /// Its name, or its path on the host.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// What a volume is to show is not there.
    #[error("there is no directory or file {path}")]
    NoVolumeSource {
        /// The path.
        path: PathBuf,
    },
    /// User or group is not in the image.
    #[error("the image has no {what} {name:?}")]
    NoAccount {
        /// `user` or `group`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The image's passwd or group cannot be read.
    #[error("cannot read {file} of the image")]
    Accounts {
        /// The file.
        file: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The parent link does not exist.
    #[error("there is no link {name:?} on this host (links: {links})")]
    NoParent {
        /// As the unit says it.
        name: String,
        /// What there is.
        links: String,
    },
    /// A file that the host gives the jail.
    #[error("cannot give it the host's {name}")]
    Given {
        /// Its name in /etc.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The parent link does not take packets of that size.
    #[error("packets of {mtu} bytes are more than {parent} takes: {most}")]
    Mtu {
        /// Bytes that the unit asks for.
        mtu: u32,
        /// Bytes that the parent takes.
        most: u32,
        /// The parent.
        parent: String,
    },
    /// Making the jail's link.
    #[error("cannot {what}")]
    Link {
        /// The step and its object.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The jails that run were promised too much already.
    #[error("the host cannot promise it what it asks for: {}", .0.text())]
    Overcommit(crate::plan::admission::Overcommit),
    /// The cgroup.
    #[error("cannot {what} the cgroup {path}")]
    Cgroup {
        /// The step.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// One limit.
    #[error("cannot write {value:?} to {file}")]
    Limit {
        /// The unit's key.
        key: &'static str,
        /// The cgroup's file.
        file: &'static str,
        /// The value.
        value: String,
        /// The cause.
        source: io::Error,
    },
    /// The kernel does not have a limit.
    #[error("this kernel has no {file}")]
    NoLimit {
        /// The unit's key.
        key: &'static str,
        /// The cgroup's file.
        file: &'static str,
    },
    /// A disk that is to be limited.
    #[error("cannot limit the disk {name}")]
    Disk {
        /// The unit's key.
        key: &'static str,
        /// As the unit writes it.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// Namespaces.
    #[error("cannot make the user and network namespaces")]
    Namespaces(#[source] io::Error),
    /// A device node of the host.
    #[error("cannot pin /dev/{name}")]
    Device {
        /// The node.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// A device that the unit asks for.
    #[error("cannot give it the device {name}")]
    Granted {
        /// The node.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The store of its core dumps.
    #[error("cannot make a store for its core dumps")]
    Cores(#[source] io::Error),
    /// Core dumps of this host go elsewhere.
    #[error("this host's kernel.core_pattern is {found:?}")]
    CorePattern {
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The program that refuses all other devices.
    #[error("cannot filter its devices")]
    DeviceFilter(#[source] io::Error),
    /// Making pipes and processes.
    #[error("cannot {what}")]
    Process {
        /// The step.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A step in the jail's own processes.
    #[error("cannot {}", stage.text())]
    Jail {
        /// The step.
        stage: Stage,
        /// The cause.
        source: io::Error,
    },
    /// The keeper.
    #[error("the keeper did not take its descriptors")]
    Keeper(#[source] io::Error),
    /// All ranges are given away, or their table cannot be written.
    #[error("cannot give it a range of user ids")]
    Ids(#[source] io::Error),
    /// The table of the host's own networks cannot be written.
    #[error("cannot keep the addresses of networks")]
    Networks(#[source] io::Error),
    /// All addresses of a network are given away.
    #[error("no address is left in the network {network}")]
    NetworkFull {
        /// Its name.
        network: String,
    },
    /// It was made for a client.
    #[error("the client that it was run for is gone")]
    NoClient,
    /// The jail's unit has never been usable.
    #[error("its unit cannot be used")]
    NoUnit,
    /// The policy has changed since its unit was taken.
    #[error("its unit asks for more than this host's policy allows")]
    Policy,
    /// The seccomp profile.
    #[error("cannot build its plan")]
    Plan(#[source] crate::plan::seccomp::Error),
}

/// Why a step in the jail's own processes failed; `hook` is the one that it is a run of.
#[must_use]
pub fn source_of(failed: StartError, hook: &str) -> io::Error {
    if failed.stage != Stage::StartContainer {
        return io::Error::from_raw_os_error(failed.errno);
    }
    match Failure::decode(failed.errno) {
        Failure::NotExecuted(errno) => io::Error::from_raw_os_error(errno),
        Failure::Exited(code) => io::Error::other(format!("it exited with {code}")),
        Failure::Killed(signal) => {
            io::Error::other(format!("{} killed it", Signal::from_number(signal)))
        }
        Failure::TimedOut => io::Error::other(format!("it took longer than its `{hook}_timeout`")),
    }
}

impl Error {
    /// A start that failed in the jail's own processes.
    #[must_use]
    pub fn of_start(failed: StartError) -> Self {
        Self::Jail { stage: failed.stage, source: source_of(failed, "start_container") }
    }

    /// The unit's key whose line the message names.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoImage { .. }
            | Self::NoStoredImage { .. }
            | Self::BrokenSeal { .. }
            | Self::NotAnImage { .. }
            | Self::Image { .. } => "image.source",
            Self::Overlay { .. } | Self::Root { .. } => "root.mode",
            Self::Work { key, .. } => key,
            Self::WorkTimeout { .. } => "image.timeout",
            Self::Volume { .. }
            | Self::NoVolumeSource { .. }
            | Self::Jail { stage: Stage::Volume, .. } => "volume",
            Self::NoAccount { what: "group", .. } => "process.group",
            Self::NoAccount { .. } | Self::Accounts { .. } => "process.user",
            Self::Overcommit(overcommit) => overcommit.key,
            Self::NoParent { .. } => "network.parent",
            Self::Mtu { .. } => "network.mtu",
            Self::Link { .. } => "network.mode",
            Self::Given { .. } | Self::Jail { stage: Stage::Given, .. } => "network.dns",
            Self::Granted { .. } => "security.add_device",
            Self::Cores(_) | Self::CorePattern { .. } => "process.core_dump",
            Self::Limit { key, .. } | Self::NoLimit { key, .. } | Self::Disk { key, .. } => key,
            Self::Jail { stage: Stage::Exec, .. } => "process.exec",
            Self::Jail { stage: Stage::StartContainer, .. } => "hooks.start_container",
            Self::Jail { stage: Stage::WorkingDir, .. } => "process.working_dir",
            Self::Jail { stage: Stage::User, .. } => "process.user",
            Self::Plan(_) => "security.seccomp",
            Self::Networks(_) | Self::NetworkFull { .. } => "network.network",
            Self::Jail { stage: Stage::Sysctl, .. } => "security.sysctl",
            Self::Jail { .. }
            | Self::Cgroup { .. }
            | Self::Namespaces(_)
            | Self::Device { .. }
            | Self::DeviceFilter(_)
            | Self::Process { .. }
            | Self::Keeper(_)
            | Self::Ids(_)
            | Self::NoUnit
            | Self::NoClient
            | Self::Policy => "",
        }
    }

    /// Whether another try can only fail in the same way until the unit or image changes.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NoImage { .. }
            | Self::NoStoredImage { .. }
            | Self::BrokenSeal { .. }
            | Self::NotAnImage { .. }
            | Self::NoVolumeSource { .. }
            | Self::NoAccount { .. }
            | Self::Limit { .. }
            | Self::NoLimit { .. }
            | Self::NoUnit
            | Self::NoClient
            | Self::Policy
            | Self::Plan(_) => true,
            Self::Jail { stage: Stage::Sysctl, .. } => true,
            Self::Work { failure, .. } => failure.errno == libc::EDQUOT,
            Self::Jail {
                stage: Stage::Exec | Stage::StartContainer | Stage::WorkingDir | Stage::Volume,
                source,
            } => {
                matches!(
                    source.raw_os_error(),
                    Some(
                        libc::ENOENT
                            | libc::EACCES
                            | libc::ENOEXEC
                            | libc::ENOTDIR
                            | libc::ELOOP
                            | libc::EROFS
                            | libc::EEXIST
                    )
                )
            }
            Self::Image { .. }
            | Self::Overlay { .. }
            | Self::Root { .. }
            | Self::WorkTimeout { .. }
            | Self::Volume { .. }
            | Self::Accounts { .. }
            | Self::NoParent { .. }
            | Self::Mtu { .. }
            | Self::Given { .. }
            | Self::Link { .. }
            | Self::Cgroup { .. }
            | Self::Disk { .. }
            | Self::Granted { .. }
            | Self::Cores(_)
            | Self::CorePattern { .. }
            | Self::Namespaces(_)
            | Self::Device { .. }
            | Self::DeviceFilter(_)
            | Self::Process { .. }
            | Self::Jail { .. }
            | Self::Keeper(_)
            | Self::Overcommit(_)
            | Self::Networks(_)
            | Self::NetworkFull { .. }
            | Self::Ids(_) => false,
        }
    }

    /// The whole chain in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&describe(error));
            cause = error.source();
        }
        text
    }
}

/// An operating system error without "(os error 2)", and with its symbol.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(0) => "the process ended".to_owned(),
        Some(errno) => nix::errno::Errno::from_raw(errno).to_string(),
        None => error.to_string(),
    }
}
