//! Importing: from a file or directory of the host to a sealed image of the store. Runs in a worker, and what
//! reads archives in a jail of its own.

mod archive;
mod erofs;
mod tree;

use super::image::by_descriptor;
use super::sandbox;
use super::store::{Object, Store, hex};
use super::worker::{Doing as _, Failure, Progress, Worker, spawn};
use super::{Error, Layout};
use crate::plan::IdRange;
use crate::unit::{Digest, ImageKind, ImageName};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The largest image: a bomb ends here, if not at the end of the disk before.
const SIZE_MAX: u64 = 64 << 30;
const BUFFER: usize = 1 << 20;

/// What is imported.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// A file with an erofs or squashfs file system, a tar archive, or a directory.
    pub path: &'a Path,
    /// The name that it gets.
    pub name: Option<&'a ImageName>,
    /// Under which it is found again when it is a file that a unit names.
    pub archive: Option<&'a str>,
    /// What it must be; none means any of them.
    pub kind: Option<ImageKind>,
    /// The ids of who reads archives.
    pub ids: IdRange,
}

/// Starts to import. The worker's result is the digest.
///
/// # Errors
/// When there is nothing at the path, or the data partition refuses.
pub fn start(request: &Request<'_>, layout: &Layout) -> Result<Worker, Error> {
    let path = request.path;
    let failed =
        |what| move |source: io::Error| Error::Image { what, path: path.to_owned(), source };
    // Looked at before it is really opened: the open alone would wait at a FIFO and start a device.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| super::image::open_error(path, errno))?;
    let stat = rustix::fs::fstat(&place).map_err(|e| failed("open")(e.into()))?;
    let directory = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return Err(Error::NotAnImage { path: path.into(), what: "a file or a directory" }),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = if directory { flags | OFlags::DIRECTORY } else { flags };
    let input = rustix::fs::open(by_descriptor(&place), flags, Mode::empty())
        .map_err(|e| failed("open")(e.into()))?;
    if let Some(format) = request.kind.and_then(ImageKind::format) {
        if !super::image::has_magic(&input, format.magic) {
            return Err(Error::NotAnImage { path: path.into(), what: format.what });
        }
    }
    let store = Store::of(layout);
    store.make().map_err(failed("make room for"))?;
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let new = store.new_path(&format!("{:x}", nanos.as_nanos()));
    let work = Work {
        store,
        input,
        size: if directory { None } else { Some(stat.st_size.unsigned_abs()) },
        new: new.clone(),
        origin: path.to_string_lossy().into_owned(),
        name: request.name.cloned(),
        archive: request.archive.map(str::to_owned),
        ids: request.ids,
        root_point: CString::new(layout.root_point().as_os_str().as_encoded_bytes())
            .unwrap_or_default(),
    };
    let keep = [work.input.as_fd()];
    let worker = spawn(&keep, &mut |progress| work.run(progress)).map_err(failed("import"))?;
    Ok(worker.making(new))
}

struct Work {
    store: Store,
    input: OwnedFd,
    /// Of a file.
    size: Option<u64>,
    new: PathBuf,
    origin: String,
    name: Option<ImageName>,
    archive: Option<String>,
    ids: IdRange,
    root_point: CString,
}

impl Work {
    fn run(&self, progress: &mut Progress) -> Result<String, Failure> {
        let (kind, left_out) = self.make(progress)?;
        let digest = digest(&self.new).doing(|| "read the new image".to_owned())?;
        let verity = seal(&self.new).doing(|| "seal the new image by fs-verity".to_owned())?;
        let size = std::fs::metadata(&self.new).doing(|| "look at the new image".to_owned())?.len();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let created = u64::try_from(now.as_millis()).unwrap_or(0);
        let origin = format!("{}{left_out}", self.origin);
        let object = Object { digest, kind, size, verity, created, origin };
        self.take_over(&object)?;
        // A power cut from here on takes nothing back.
        let store = std::fs::File::open(self.new.with_file_name("")).doing(|| "sync".to_owned())?;
        rustix::fs::syncfs(&store).doing(|| "sync the store".to_owned())?;
        Ok(object.digest.to_string())
    }

    /// From here on the store has it.
    fn take_over(&self, object: &Object) -> Result<(), Failure> {
        // Others may import the same contents, or give the same name, just now.
        let _turn = self.store.turn().doing(|| "wait for the store".to_owned())?;
        self.store.add(&self.new, object).doing(|| "store the image".to_owned())?;
        if let Some(name) = &self.name {
            self.store.set_name(name, &object.digest).doing(|| "name the image".to_owned())?;
        }
        if let Some(key) = &self.archive {
            self.store.set_archive(key, &object.digest).doing(|| "note the image".to_owned())?;
        }
        Ok(())
    }

    /// Writes the new file, whole and synced.
    fn make(&self, progress: &mut Progress) -> Result<(ImageKind, String), Failure> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.new, flags, Mode::from_raw_mode(0o600))
            .doing(|| "make a new image".to_owned())?;
        let made = match self.size {
            None => {
                let out = io::BufWriter::with_capacity(BUFFER, std::fs::File::from(dup(&file)?));
                tree::convert(&self.input, out, SIZE_MAX, progress)?;
                (ImageKind::Erofs, String::new())
            }
            Some(size) => {
                progress.set_total(size);
                match magic(&self.input) {
                    Some(kind) => {
                        // Where the file system can, without a copy of what is in it.
                        if rustix::fs::ioctl_ficlone(&file, &self.input).is_err() {
                            self.copy(&file, progress)?;
                        }
                        (kind, String::new())
                    }
                    None => (ImageKind::Erofs, self.unpack(&file, progress)?),
                }
            }
        };
        rustix::fs::fsync(&file).doing(|| "write the image".to_owned())?;
        Ok(made)
    }

    fn copy(&self, out: &OwnedFd, progress: &mut Progress) -> Result<(), Failure> {
        let doing = || "write the image".to_owned();
        let mut out = std::fs::File::from(dup(out)?);
        let mut input = std::fs::File::from(dup(&self.input)?);
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = input.read(&mut buffer).doing(|| "read the image".to_owned())?;
            if length == 0 {
                return Ok(());
            }
            out.write_all(&buffer[..length]).doing(doing)?;
            progress.add(length as u64);
        }
    }

    fn unpack(&self, out: &OwnedFd, progress: &mut Progress) -> Result<String, Failure> {
        let writer = std::fs::File::from(dup(out)?);
        let reader = std::fs::File::from(dup(&self.input)?);
        let pipe = progress.pipe();
        let mut keep = vec![writer.as_fd(), reader.as_fd()];
        keep.extend(pipe.as_ref().map(|pipe| pipe.as_fd()));
        let limits = sandbox::Limits {
            ids: self.ids,
            root_point: &self.root_point,
            file_max: SIZE_MAX,
            keep: &keep,
        };
        let mut work = || {
            let out = io::BufWriter::with_capacity(BUFFER, &writer);
            let left_out = archive::convert(&reader, out, SIZE_MAX, progress)?;
            Ok(match left_out.devices {
                0 => String::new(),
                devices => format!(" (without {devices} device nodes)"),
            })
        };
        sandbox::run(&limits, &mut work)
    }
}

fn dup(file: &OwnedFd) -> Result<OwnedFd, Failure> {
    file.try_clone().doing(|| "make a descriptor".to_owned())
}

/// What file system a file has; none means that it must be an archive.
fn magic(file: &OwnedFd) -> Option<ImageKind> {
    use super::image::{EROFS, SQUASHFS, has_magic};
    if has_magic(file, EROFS.magic) {
        return Some(ImageKind::Erofs);
    }
    has_magic(file, SQUASHFS.magic).then_some(ImageKind::Squashfs)
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
    }
    Digest::from_hex(&hex(&hash.finalize())).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// No more writes from here on. The file must not be open for writing.
fn seal(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    match sys::verity::enable(file.as_fd()) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    sys::verity::measure(file.as_fd()).map(|seal| hex(&seal))
}
