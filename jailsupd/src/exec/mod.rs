//! Performing: the room that does what `plan` and `machine` say.
//!
//! Every file here is one subject: cgroups, namespaces, images, links, processes, logs. Nothing here
//! decides; it does, or says in an [`Error`] what could not be done and how to mend it.

pub mod account;
pub mod cgroup;
pub mod check;
mod child;
mod copy;
pub mod cores;
pub mod deploys;
pub mod descriptors;
pub mod device_filter;
pub mod devices;
pub mod dhcp;
pub mod ends;
pub mod enter;
pub mod error;
pub mod faults;
pub mod given;
pub mod helper;
pub mod host_limits;
pub mod ids;
pub mod image;
pub mod images;
pub mod import;
pub mod kernel_log;
pub mod last_good;
pub mod leases;
pub mod limits;
pub mod logs;
mod mounts;
pub mod namespaces;
pub mod net;
pub mod networks;
pub mod notify;
pub mod overlay;
pub mod peek;
mod place;
pub mod pressure;
pub mod privileges;
pub mod processes;
pub mod resident;
mod rlimit;
pub mod root;
mod sandbox;
pub mod spawn;
pub mod state;
pub mod store;
pub mod subvolume;
mod table;
pub mod terminal;
pub mod trash;
pub mod unit_store;
pub mod units;
pub mod usage;
pub mod volume;
pub mod walls;
pub mod watch;
pub mod worker;

pub use error::Error;

use std::path::{Path, PathBuf};

/// Where jailsupd keeps things on the host.
#[derive(Clone, Debug)]
pub struct Layout {
    /// State that survives a reboot, if the host has a disk for it.
    pub data: PathBuf,
    /// State of this boot.
    pub run: PathBuf,
    /// The jails' cgroup directory.
    pub cgroups: PathBuf,
}

impl Layout {
    /// The directory of one jail's state.
    #[must_use]
    pub fn jail(&self, name: &str) -> PathBuf {
        self.data.join("jails").join(name)
    }

    /// The directory of all volumes, which only root can enter.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// The directory of one volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// The directory of all logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.data.join("log")
    }

    /// The directory of the last good units.
    #[must_use]
    pub fn last_good(&self) -> PathBuf {
        self.run.join("units")
    }

    /// Makes the directories of this boot. A jail's first process, which is nobody on the host, must
    /// get to the root point; what else is made in the run directory is root's alone.
    ///
    /// # Errors
    /// When /run cannot be written.
    pub fn make(&self) -> std::io::Result<()> {
        for path in [self.run.clone(), self.root_point()] {
            directory(&path, 0o711)?;
        }
        Ok(())
    }

    /// An empty directory on which a jail's first process attaches its root, in its own namespace.
    #[must_use]
    pub fn root_point(&self) -> PathBuf {
        self.run.join("root")
    }
}

/// Reads a file of /proc or of the cgroup tree. Such a file says of its size that it is 0: with room from the beginning two
/// reads are enough, where the standard library's would be many small ones.
pub(crate) fn kernel_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::with_capacity(KERNEL_FILE);
    // Not of the file itself: that would ask for its size first, which is always 0 here.
    std::fs::File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What most of them have room in, in bytes; a longer one is read nevertheless.
const KERNEL_FILE: usize = 4 << 10;

/// Makes a directory that only root can enter, if it is not there.
pub(crate) fn private_directory(path: &Path) -> std::io::Result<()> {
    directory(path, 0o700)
}

fn directory(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}
