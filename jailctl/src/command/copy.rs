//! `cp`: files between the host and a running jail. In the jail a helper reads or writes them, within the
//! jail's walls; here they are read and written as whoever runs jailctl, and what comes out of a jail is
//! distrusted (`archive`).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use jailsupd::control::wire::Request;
use jailsupd::control::wire::archive::{self, Links};
use rustix::fd::OwnedFd;

use super::Show;
use super::exec::open;
use crate::cli::Copy;
use crate::error::Error;
use crate::render::printable;
use crate::session::{self, End, Ends};

/// `NAME:PATH`, or a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host(PathBuf),
    Jail { name: String, path: String },
}

impl Place {
    /// A path with a slash before its first colon is the host's.
    fn of(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !name.is_empty() && !name.contains('/') => {
                Self::Jail { name: name.to_owned(), path: path.to_owned() }
            }
            _ => Self::Host(PathBuf::from(text)),
        }
    }
}

pub(super) fn copy(show: &Show<'_>, copy: &Copy) -> Result<(), Error> {
    match (Place::of(&copy.from), Place::of(&copy.to)) {
        (Place::Jail { name, path }, Place::Host(to)) => from_jail(show, copy, name, path, &to),
        (Place::Host(from), Place::Jail { name, path }) => to_jail(show, copy, &from, name, path),
        _ => Err(Error::NoCopy),
    }
}

fn from_jail(
    show: &Show<'_>,
    copy: &Copy,
    name: String,
    path: String,
    to: &Path,
) -> Result<(), Error> {
    let base = base(Path::new(&path))?;
    let ends = open(show, &Request::CopyFrom { name, path, user: copy.user.clone() })?;
    let Ends { session, stdout, stderr, .. } = ends;
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err(Error::NoDescriptors) };
    let told = tell(stderr);
    let mut from = BufReader::new(File::from(stdout));
    let done = archive::unpack(&mut from, to, &base, Links::Inside, &mut |text| complain(&text));
    // A helper that is refused has ended already; another one is not to wait for us.
    drop(from);
    finish(done, &session, told)
}

fn to_jail(
    show: &Show<'_>,
    copy: &Copy,
    from: &Path,
    name: String,
    path: String,
) -> Result<(), Error> {
    // Before the jail is asked: most mistakes are made here.
    let here = from.canonicalize();
    let here = here.map_err(|source| Error::Read { path: from.to_owned(), source })?;
    let base = base(&here)?.into_string().map_err(|_| Error::NoCopy)?;
    let ends = open(show, &Request::CopyTo { name, path, base, user: copy.user.clone() })?;
    let Ends { session, stdin, stderr, .. } = ends;
    let (Some(stdin), Some(stderr)) = (stdin, stderr) else { return Err(Error::NoDescriptors) };
    let told = tell(stderr);
    let mut out = BufWriter::new(File::from(stdin));
    let done = archive::pack(&here, &mut out, &mut |text| complain(&text));
    // Not flushed on drop: the pipe may be closed already.
    drop(out.into_parts());
    finish(done, &session, told)
}

/// What it is called at the other end, when that is a directory.
fn base(path: &Path) -> Result<OsString, Error> {
    path.file_name().map(OsString::from).ok_or(Error::NoCopy)
}

/// Passes the helper's messages on, as any jail's: without control characters.
fn tell(stderr: OwnedFd) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut text = Vec::new();
        // More than that nobody reads.
        let _ = File::from(stderr).take(1 << 20).read_to_end(&mut text);
        String::from_utf8_lossy(&text).lines().for_each(complain);
    })
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "jailctl: {}", printable(text));
}

/// Both sides' words on how it went.
fn finish(
    done: io::Result<bool>,
    session: &OwnedFd,
    told: thread::JoinHandle<()>,
) -> Result<(), Error> {
    let end = session::wait(session);
    let _ = told.join();
    match (end, done) {
        (End::Ended(report), Ok(true)) if report.status == 0 => Ok(()),
        (End::Failed(error), _) => Err(Error::not_started(error)),
        // The helper's message says it.
        (End::Ended(report), _) if report.status != 0 => Err(Error::NotCopied),
        (_, Err(source)) => Err(Error::Copy(source)),
        _ => Err(Error::NotCopied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_jail_has_a_name_and_a_colon() {
        let jail = |name: &str, path: &str| Place::Jail { name: name.into(), path: path.into() };
        assert_eq!(Place::of("web:/etc/x"), jail("web", "/etc/x"));
        assert_eq!(Place::of("web:a:b"), jail("web", "a:b"));
        for host in ["/etc/x", "./web:x", "file", ":x"] {
            assert_eq!(Place::of(host), Place::Host(host.into()));
        }
    }
}
