//! The images that are mounted: each once, whatever number of jails use it and however often they start.
//!
//! A file system that is mounted anew begins with an empty cache: it would read and unpack a service's
//! program again at each start, and each jail would have a copy of its own in memory. So an image, also one of the store, stays
//! mounted in jailsupd's own mount namespace as long as its file is the same and a unit names it, and a
//! jail gets a copy of that mount.

use super::{Error, Layout, image, mounts, private_directory};
use crate::unit::ImageSource;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, unmount};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What is mounted.
#[derive(Debug, Default)]
pub struct Images {
    mounted: Vec<Mounted>,
    next: u64,
}

#[derive(Debug)]
struct Mounted {
    source: ImageSource,
    file: File,
    /// Where, in jailsupd's own mount namespace.
    point: PathBuf,
}

/// The file that was mounted: another one at the same path, or the same with other contents, is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl File {
    /// The file of an image that stays mounted: not a directory, which is mounted already.
    fn at(source: &ImageSource, layout: &Layout) -> Option<Self> {
        let file = std::fs::metadata(image::file(source, layout)?).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl Images {
    /// The image, read-only and attached nowhere: mounted now, or a copy of the mount that is there.
    ///
    /// # Errors
    /// As [`image::open`].
    pub fn open(&mut self, source: &ImageSource, layout: &Layout) -> Result<OwnedFd, Error> {
        let Some(file) = File::at(source, layout) else { return image::open(source, layout) };
        if let Some(mounted) = self.mounted.iter().find(|mounted| mounted.source == *source) {
            match copy(mounted) {
                Ok(copy) if file == mounted.file => return Ok(copy),
                _ => self.forget_if(|other| other.source == *source),
            }
        }
        let mount = image::open(source, layout)?;
        // What has changed while it was mounted is another image by now.
        if File::at(source, layout) != Some(file) {
            return Ok(mount);
        }
        match self.keep(&mount, source, file, layout) {
            Ok(copy) => Ok(copy),
            Err(error) => {
                ::log::warn!("{source} does not stay mounted: {error}");
                Ok(mount)
            }
        }
    }

    /// Lets go of each image that no unit names any more, and of each whose file is gone or is another.
    /// Jails that run from it keep what they have.
    pub fn keep_only(&mut self, is_named: impl Fn(&ImageSource) -> bool, layout: &Layout) {
        self.forget_if(|mounted| {
            !is_named(&mounted.source) || File::at(&mounted.source, layout) != Some(mounted.file)
        });
    }

    /// Lets go of the image if its file is gone or is another.
    pub fn look_again(&mut self, source: &ImageSource, layout: &Layout) {
        self.forget_if(|mounted| {
            mounted.source == *source && File::at(source, layout) != Some(mounted.file)
        });
    }

    /// Attaches it, and gives a copy.
    fn keep(
        &mut self,
        mount: &OwnedFd,
        source: &ImageSource,
        file: File,
        layout: &Layout,
    ) -> io::Result<OwnedFd> {
        let point = layout.run.join("images").join(self.next.to_string());
        self.next += 1;
        private_directory(&point)?;
        move_mount(mount, c"", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let mounted = Mounted { source: source.clone(), file, point };
        let copy = copy(&mounted);
        self.mounted.push(mounted);
        copy
    }

    fn forget_if(&mut self, gone: impl Fn(&Mounted) -> bool) {
        self.mounted.retain(|mounted| {
            let gone = gone(mounted);
            if gone {
                let detached = unmount(&mounted.point, UnmountFlags::DETACH);
                let removed = std::fs::remove_dir(&mounted.point);
                if let Err(error) = detached.map_err(io::Error::from).and(removed) {
                    ::log::warn!("{} stays mounted: {error}", mounted.source);
                }
            }
            !gone
        });
    }
}

fn copy(mounted: &Mounted) -> io::Result<OwnedFd> {
    Ok(mounts::copy(CWD, &mounted.point, OpenTreeFlags::empty())?)
}
