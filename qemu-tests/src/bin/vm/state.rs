//! What `make run` keeps in `target/run`: the disk, whose data partition outlives each new build of
//! the image, the console's log, and the socket for `make stop`.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use qemu_tests::{Error, Image, Result, disk, image, qmp::Qmp};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Room for the jails' data; the file has holes. The guest grows its data partition to it.
const DISK_SIZE: u64 = 4 << 30;
const DATA: &str = "warder-data";
/// The monitor's socket, in the directory.
pub(crate) const CONTROL: &str = "control";

/// The directory of the one guest that `make run` runs, taken for this process.
pub(crate) struct State {
    pub(crate) dir: PathBuf,
    _lock: File,
}

/// `target/run`.
fn dir() -> Result<PathBuf> {
    image::ensure_dir(image::target().join("run"))
}

/// A monitor of the running guest; `None` when there is no such guest.
pub(crate) fn control() -> Result<Option<Qmp>> {
    let dir = File::open(dir()?).map_err(Error::io("open target/run"))?;
    // By its fd: the whole path may be too long for a socket's address.
    let path = format!("/proc/self/fd/{}/{CONTROL}", dir.as_fd().as_raw_fd());
    match UnixStream::connect(path) {
        Ok(stream) => Qmp::new(stream).map(Some),
        Err(error) if no_listener(&error) => Ok(None),
        Err(error) => Err(Error::io("connect to target/run/control")(error)),
    }
}

fn no_listener(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

impl State {
    /// Refused while another process runs a guest there.
    pub(crate) fn take() -> Result<Self> {
        let dir = dir()?;
        let lock = File::create(dir.join("lock")).map_err(Error::io("make target/run/lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse {
                what: "target/run".into(),
                remedy: "a guest of make run is running; stop it with make stop",
            }),
            Err(errno) => Err(Error::io("lock target/run")(errno.into())),
        }
    }

    /// The disk to boot: the built image, with the data partition of the last run.
    pub(crate) fn disk(&self) -> Result<PathBuf> {
        let built = Image::Production.file("warder.raw")?;
        let (disk, stamp) = (self.dir.join("warder.raw"), self.dir.join("image"));
        let identity = identity(&built)?;
        if disk.exists() && fs::read_to_string(&stamp).is_ok_and(|text| text == identity) {
            return Ok(disk);
        }
        let new = self.dir.join("warder.raw.new");
        disk::copy(&built, &new)?;
        grow(&new)?;
        if disk.exists() {
            carry_data(&disk, &new)?;
        }
        fs::rename(&new, &disk).map_err(Error::io("put the new disk in place"))?;
        fs::write(&stamp, identity).map_err(Error::io("write target/run/image"))?;
        Ok(disk)
    }
}

/// Changes with each build of the image.
fn identity(built: &Path) -> Result<String> {
    let meta = fs::metadata(built).map_err(Error::io(format!("see {}", built.display())))?;
    Ok(format!("{} {} {}.{:09}\n", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn grow(disk: &Path) -> Result<()> {
    let grow = || {
        let file = File::options().write(true).open(disk)?;
        let size = file.metadata()?.len();
        file.set_len(size.max(DISK_SIZE))
    };
    grow().map_err(Error::io(format!("grow {}", disk.display())))
}

/// Where the new image's data partition begins elsewhere, the data is left behind, which is said.
fn carry_data(old: &Path, new: &Path) -> Result<()> {
    let from = disk::partition(old, DATA)?;
    let to = disk::partition(new, DATA)?;
    if from.start != to.start {
        println!("the new image has another layout: its data partition starts empty");
        return Ok(());
    }
    // The guest has grown it with its file system, which does not mount from a smaller one.
    disk::resize(new, DATA, from.size)?;
    disk::transplant(old, &from, new, to.start, from.size)
}
