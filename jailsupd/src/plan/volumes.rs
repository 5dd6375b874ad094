//! From a unit's volumes to the steps that open and mount them.

use super::steps::{HostStep, JailStep};
use super::{c_string, path_steps};
use crate::unit::{Volume, VolumeSource, Volumes};
use std::ffi::CString;

/// A directory on the way to a volume's place, and that place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The whole path so far.
    pub path: CString,
    /// Its last part, to be made in the directory before it.
    pub name: CString,
}

/// A volume in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeTmpfs {
    /// Options of fsconfig(2).
    pub options: Vec<(CString, CString)>,
    /// Nothing in it can be written.
    pub read_only: bool,
    /// No program in it can be executed.
    pub noexec: bool,
}

/// What is opened on the host, in the order of the jail's steps that mount it.
pub(super) fn host_steps(volumes: &Volumes) -> impl Iterator<Item = HostStep> {
    let on_host = volumes.iter().filter(|volume| volume.source != VolumeSource::Tmpfs);
    on_host.map(|volume| HostStep::OpenVolume(volume.clone()))
}

/// The mounts, each after those that lead to it.
pub(super) fn jail_steps(volumes: &Volumes) -> Vec<JailStep> {
    let mut opened = 0;
    let step = |volume: &Volume| {
        let target = path_steps(volume.path.as_str());
        if volume.source == VolumeSource::Tmpfs {
            return JailStep::MountVolumeTmpfs { target, tmpfs: tmpfs(volume) };
        }
        opened += 1;
        JailStep::MountVolume { target, number: opened - 1 }
    };
    volumes.iter().map(step).collect()
}

fn tmpfs(volume: &Volume) -> VolumeTmpfs {
    // Of whatever user the jail's program is.
    let mut options = vec![(c_string("mode"), c_string("1777"))];
    if let Some(size) = volume.size_max {
        options.push((c_string("size"), c_string(&size.get().to_string())));
    }
    VolumeTmpfs { options, read_only: volume.read_only, noexec: volume.noexec }
}
