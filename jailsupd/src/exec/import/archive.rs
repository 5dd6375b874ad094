//! From a tar archive to an erofs image. No name of the archive ever reaches a file system: the tree is
//! built in memory, so nothing in it can lead out of it.

use super::erofs::{Builder, Error, Meta, Node, ROOT};
use crate::exec::worker::{Failure, Progress};
use std::io::{self, Read, Seek, Write};

/// What is wrong with a file whose very start is not understood.
const NO_IMAGE: &str = "read it as a tar archive, and it is no erofs or squashfs file system";

/// What of an archive is not in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Device nodes mean nothing in a jail.
    pub(super) devices: u64,
}

/// Reads a tar archive, plain or packed by gzip, xz or zstd, and writes the image.
///
/// # Errors
/// The first entry that is damaged, or that no image can have.
pub(super) fn convert<W: Write + Seek>(
    input: impl Read,
    out: W,
    size_max: u64,
    progress: &mut Progress,
) -> Result<LeftOut, Failure> {
    let refused = |what: &str, error: io::Error| plain(&format!("{what}: {error}"));
    let mut input = Peeked { start: Vec::new(), rest: Counted { input, progress } };
    input.peek().map_err(|error| refused("read the archive", error))?;
    let mut is_plain = false;
    let unpacked: Box<dyn Read + '_> = match input.start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(input, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(input);
            Box::new(decoder.map_err(|error| plain(&format!("read the archive: {error}")))?)
        }
        _ => {
            is_plain = true;
            Box::new(input)
        }
    };
    let builder = Builder::new(out, size_max).map_err(|error| refused("write the image", error))?;
    let mut tree = Tree { builder, left_out: LeftOut::default() };
    let mut archive = tar::Archive::new(unpacked);
    let entries = archive.entries().map_err(|error| refused("read the archive", error))?;
    let mut is_empty = true;
    for entry in entries {
        let what = if is_empty && is_plain { NO_IMAGE } else { "read the archive" };
        let mut entry = entry.map_err(|error| refused(what, error))?;
        is_empty = false;
        tree.take(&mut entry)?;
    }
    if is_empty {
        return Err(plain("read the archive: nothing is in it"));
    }
    let left_out = tree.left_out;
    tree.builder.finish().map_err(|error| failure("write the image", error))?;
    Ok(left_out)
}

/// The crate's own words may quote a good part of the archive.
fn plain(what: &str) -> Failure {
    let what = what.lines().next().unwrap_or_default().chars().take(300).collect();
    Failure { what, errno: 0 }
}

fn failure(what: &str, error: Error) -> Failure {
    match error {
        Error::Io(error) => Failure::new(what, error),
        Error::Refused(why) => plain(&format!("{what}: {why}")),
    }
}

struct Tree<W> {
    builder: Builder<W>,
    left_out: LeftOut,
}

impl<W: Write + Seek> Tree<W> {
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), Failure> {
        let path = entry.path_bytes().into_owned();
        let shown: String = String::from_utf8_lossy(&path).chars().take(200).collect();
        let what = format!("take {shown:?} of the archive");
        self.entry(entry, &path).map_err(|error| match error {
            // A damaged archive and a full disk are told apart by the errno.
            Error::Io(error) if error.raw_os_error().is_none() => {
                plain(&format!("{what}: {error}"))
            }
            error => failure(&what, error),
        })
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, path: &[u8]) -> Result<(), Error> {
        use tar::EntryType as T;
        let kind = entry.header().entry_type();
        if matches!(kind, T::XGlobalHeader | T::XHeader | T::GNULongName | T::GNULongLink) {
            return Ok(());
        }
        let meta = meta(entry.header())?;
        let mut names = names(path)?;
        let Some(name) = names.pop() else {
            if kind != T::Directory {
                return Err(Error::Refused("it would take the place of the root"));
            }
            self.builder.set_meta(ROOT, meta);
            return Ok(());
        };
        let parent = self.directories(&names)?;
        if kind == T::Directory {
            return self.directory(parent, name, meta);
        }
        match kind {
            T::Regular | T::Continuous | T::GNUSparse => {
                self.builder.remove(parent, name)?;
                self.builder.file(parent, name, meta, entry)?;
            }
            T::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.builder.remove(parent, name)?;
                self.builder.link(parent, name, meta, &target)?;
            }
            T::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let node = self.node(&target)?;
                if self.builder.find(parent, name) != Some(node) {
                    self.builder.remove(parent, name)?;
                    self.builder.hard_link(parent, name, node)?;
                }
            }
            T::Fifo => {
                self.builder.remove(parent, name)?;
                self.builder.fifo(parent, name, meta)?;
            }
            T::Char | T::Block => self.left_out.devices += 1,
            _ => return Err(Error::Refused("it is of an unknown kind")),
        }
        Ok(())
    }

    fn directory(&mut self, parent: Node, name: &[u8], meta: Meta) -> Result<(), Error> {
        match self.builder.find(parent, name) {
            Some(node) if self.builder.is_directory(node) => self.builder.set_meta(node, meta),
            _ => {
                self.builder.remove(parent, name)?;
                self.builder.directory(parent, name, meta)?;
            }
        }
        Ok(())
    }

    /// The directory that these names lead to, made where the archive has not said it before.
    fn directories(&mut self, names: &[&[u8]]) -> Result<Node, Error> {
        let mut at = ROOT;
        for name in names {
            at = match self.builder.find(at, name) {
                Some(node) if self.builder.is_directory(node) => node,
                // Through a link it could lead anywhere.
                Some(_) => return Err(Error::Refused("it is below what is no directory")),
                None => {
                    self.builder.directory(at, name, Meta { mode: 0o755, ..Meta::default() })?
                }
            };
        }
        Ok(at)
    }

    /// The file that a hard link stands for, which must have come before.
    fn node(&self, path: &[u8]) -> Result<Node, Error> {
        let names = names(path)?;
        let found = names.iter().try_fold(ROOT, |at, name| self.builder.find(at, name));
        found.ok_or(Error::Refused("it is a hard link to what is not in the archive"))
    }
}

/// The parts of a path. One that starts at `/` starts at the image's root.
fn names(path: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let names: Vec<&[u8]> = parts.collect();
    if names.contains(&b"..".as_slice()) {
        return Err(Error::Refused("its path holds `..`"));
    }
    Ok(names)
}

fn meta(header: &tar::Header) -> Result<Meta, Error> {
    let id = |id: io::Result<u64>| -> Result<u32, Error> {
        u32::try_from(id?).map_err(|_| Error::Refused("its owner is no user"))
    };
    let mode = u16::try_from(header.mode()? & 0o7777).unwrap_or(0);
    let (uid, gid) = (id(header.uid())?, id(header.gid())?);
    // What is before 1970 is a slip; the kernel's field has a sign.
    let mtime = header.mtime().unwrap_or(0).min(i64::MAX.unsigned_abs());
    Ok(Meta { mode, uid, gid, mtime })
}

/// Counts what is read, packed as it is.
struct Counted<'a, R> {
    input: R,
    progress: &'a mut Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.progress.add(length as u64);
        Ok(length)
    }
}

/// A reader whose first bytes were looked at.
struct Peeked<R> {
    start: Vec<u8>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    fn peek(&mut self) -> io::Result<()> {
        let mut start = [0; 6];
        let mut length = 0;
        while length < start.len() {
            match self.rest.read(&mut start[length..])? {
                0 => break,
                more => length += more,
            }
        }
        self.start = start[..length].to_vec();
        Ok(())
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start.is_empty() {
            return self.rest.read(buffer);
        }
        let length = self.start.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.start[..length]);
        self.start.drain(..length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use std::path::Path;

    /// Largest image of these tests.
    const MAX: u64 = 16 << 20;

    fn entry(kind: tar::EntryType, path: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        let raw = header.as_mut_bytes();
        // As it is, whatever the crate would say to such a name.
        raw[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        raw[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
        bytes
    }

    fn run(archive: &[u8]) -> Result<LeftOut, String> {
        let out = Cursor::new(Vec::new());
        convert(archive, out, MAX, &mut Progress::silent()).map_err(|failure| failure.text())
    }

    #[test]
    fn each_hostile_archive_of_the_corpus_ends_as_it_should() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tars");
        let mut count = 0;
        for file in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension == "expected") {
                continue;
            }
            count += 1;
            let said = match run(&std::fs::read(&file).unwrap()) {
                Ok(left_out) => format!("taken, {} devices left out\n", left_out.devices),
                Err(why) => format!("cannot {why}\n"),
            };
            let expected =
                directory.join(format!("{}.expected", file.file_name().unwrap().to_string_lossy()));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&expected, &said).unwrap();
            }
            let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(said, wanted, "{}", file.display());
        }
        assert!(count >= 15, "only {count} archives");
    }

    #[test]
    fn the_root_is_a_directory_and_nothing_else() {
        use tar::EntryType as T;
        assert!(run(&entry(T::Directory, b"./", b"", b"")).is_ok());
        for kind in [T::Regular, T::Symlink, T::Link, T::Fifo, T::Char] {
            let refused = run(&entry(kind, b".", b"..", b"")).unwrap_err();
            assert!(refused.contains("take the place of the root"), "{kind:?}: {refused}");
        }
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let mut header = tar::Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(1 << 40);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        let archive = io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(0));
        let out = Cursor::new(Vec::new());
        let failed = convert(archive, out, MAX, &mut Progress::silent()).unwrap_err();
        assert!(failed.text().contains("larger than is allowed"), "{failed:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever the bytes are, the answer is an image or a refusal.
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = run(&bytes);
        }

        /// Names and links of all kinds in well-formed headers: an image that is made is one that its own
        /// names do not leave.
        #[test]
        fn no_name_leaves_the_image(
            entries in proptest::collection::vec(
                (0usize..6, "[a./]{1,12}", "[a./]{0,12}", 0usize..600),
                1..12,
            )
        ) {
            use tar::EntryType as T;
            let kinds = [T::Regular, T::Directory, T::Symlink, T::Link, T::Char, T::Fifo];
            let archive: Vec<u8> = entries
                .iter()
                .flat_map(|(kind, path, link, size)| {
                    let content = if *kind == 0 { vec![1; *size] } else { Vec::new() };
                    entry(kinds[*kind], path.as_bytes(), link.as_bytes(), &content)
                })
                .collect();
            let leaves = |path: &str| path.split('/').any(|part| part == "..");
            if run(&archive).is_ok() {
                let hard = |(kind, ..): &&(usize, String, String, usize)| *kind == 3;
                prop_assert!(entries.iter().all(|(_, path, ..)| !leaves(path)));
                prop_assert!(entries.iter().filter(hard).all(|(_, _, link, _)| !leaves(link)));
            }
        }
    }
}
