//! The store of images on the data partition: one sealed file for each, by the SHA-256 of its bytes.
//!
//! ```text
//!  <data>/images/.store/objects/HEX          the file system, sealed by fs-verity
//!                       objects/HEX.image    what it is: lines of `WORD VALUE`; only with this it counts
//!                       names/NAME/TAG       HEX
//!                       archives/KEY         HEX of what a file that units name was made into
//!                       new/                 what is being made
//! ```

use super::table::replace;
use super::{Error, Layout, private_directory};
use crate::unit::{Digest, ImageKind, ImageName};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::io;
use std::path::{Path, PathBuf};

/// The store's directories.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its digest.
    pub digest: Digest,
    /// erofs or squashfs.
    pub kind: ImageKind,
    /// Bytes.
    pub size: u64,
    /// The digest of fs-verity, hexadecimal.
    pub verity: String,
    /// When it was imported, in milliseconds since 1970.
    pub created: u64,
    /// What it was made from, in words.
    pub origin: String,
}

impl Store {
    /// The store of this host.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { root: layout.data.join("images/.store") }
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where something is made.
    #[must_use]
    pub fn new_path(&self, name: &str) -> PathBuf {
        self.directory("new").join(name)
    }

    fn object_path(&self, digest: &Digest) -> PathBuf {
        self.directory("objects").join(digest.hex())
    }

    fn note_path(&self, digest: &Digest) -> PathBuf {
        self.directory("objects").join(format!("{}.image", digest.hex()))
    }

    fn name_path(&self, name: &ImageName) -> PathBuf {
        self.directory("names").join(name.name()).join(name.tag())
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn make(&self) -> io::Result<()> {
        for name in ["objects", "names", "archives", "new"] {
            private_directory(&self.directory(name))?;
        }
        Ok(())
    }

    /// Removes what an import that was interrupted has left.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn clean(&self) -> io::Result<()> {
        if !self.root.exists() {
            return Ok(());
        }
        for name in names(&self.directory("new"))? {
            std::fs::remove_file(self.new_path(&name))?;
        }
        let objects = self.directory("objects");
        for name in names(&objects)? {
            let is_noted = |name: &str| objects.join(format!("{name}.image")).exists();
            let has_object = |name: &str| {
                name.strip_suffix(".image").is_some_and(|object| objects.join(object).exists())
            };
            if !is_noted(&name) && !has_object(&name) {
                ::log::info!("an unfinished image is removed: {name}");
                std::fs::remove_file(objects.join(name))?;
            }
        }
        Ok(())
    }

    /// Waits until no other import changes the store, and lets none until the descriptor is closed: each runs in a
    /// process of its own. jailsupd itself never waits here.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn turn(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.directory("new"), flags, Mode::empty())?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        Ok(directory)
    }

    /// Takes a finished, sealed file of `new/` over. One that is there already stays.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn add(&self, new: &Path, object: &Object) -> io::Result<()> {
        let path = self.object_path(&object.digest);
        if self.find(&object.digest).is_some() {
            return std::fs::remove_file(new);
        }
        std::fs::rename(new, &path)?;
        let Object { kind, size, verity, created, origin, .. } = object;
        let text = format!(
            "kind {}\nsize {size}\nverity {verity}\ncreated {created}\norigin {}\n",
            kind.scheme(),
            origin.replace('\n', " ")
        );
        replace(&self.note_path(&object.digest), text.as_bytes())
    }

    /// The image of this digest.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Object> {
        let text = std::fs::read_to_string(self.note_path(digest)).ok()?;
        let value =
            |word: &str| text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        if !self.object_path(digest).exists() {
            return None;
        }
        Some(Object {
            digest: digest.clone(),
            kind: match value("kind")? {
                "erofs" => ImageKind::Erofs,
                "squashfs" => ImageKind::Squashfs,
                _ => return None,
            },
            size: value("size")?.parse().ok()?,
            verity: value("verity")?.to_owned(),
            created: value("created")?.parse().ok()?,
            origin: value("origin").unwrap_or_default().to_owned(),
        })
    }

    /// All images.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> io::Result<Vec<Object>> {
        let found = names(&self.directory("objects"))?;
        let digests = found.iter().filter_map(|name| Digest::from_hex(name));
        Ok(digests.filter_map(|digest| self.find(&digest)).collect())
    }

    /// Which image has this name.
    #[must_use]
    pub fn named(&self, name: &ImageName) -> Option<Digest> {
        let text = std::fs::read_to_string(self.name_path(name)).ok()?;
        Digest::from_hex(text.trim())
    }

    /// All names, and the images that have them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn all_names(&self) -> io::Result<Vec<(ImageName, Digest)>> {
        use crate::unit::value::FromText as _;
        let mut all = Vec::new();
        let directory = self.directory("names");
        for name in names(&directory)? {
            for tag in names(&directory.join(&name))? {
                let Ok(name) = ImageName::from_text(&format!("{name}:{tag}")) else { continue };
                if let Some(digest) = self.named(&name) {
                    all.push((name, digest));
                }
            }
        }
        all.sort();
        Ok(all)
    }

    /// Gives a name, also one that another image had.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn set_name(&self, name: &ImageName, digest: &Digest) -> io::Result<()> {
        let path = self.directory("names").join(name.name());
        private_directory(&path)?;
        // jailsupd and an import may do this at once.
        let new = self.new_path(&format!("name-{}-{}", name.name(), std::process::id()));
        let mut file = std::fs::File::create(&new)?;
        io::Write::write_all(&mut file, format!("{}\n", digest.hex()).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path.join(name.tag()))?;
        std::fs::File::open(&path)?.sync_all()
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn remove_name(&self, name: &ImageName) -> io::Result<()> {
        std::fs::remove_file(self.name_path(name))?;
        // Of the last tag.
        let _ = std::fs::remove_dir(self.directory("names").join(name.name()));
        Ok(())
    }

    /// Removes an image. What is mounted of it stays as long as it is mounted.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        // The note first: without it the rest is rubbish that the next start clears away.
        std::fs::remove_file(self.note_path(digest))?;
        std::fs::remove_file(self.object_path(digest))?;
        let archives = self.directory("archives");
        for name in names(&archives)? {
            if self.archive(&name).as_ref() == Some(digest) {
                std::fs::remove_file(archives.join(name))?;
            }
        }
        Ok(())
    }

    /// What an archive was made into.
    #[must_use]
    pub fn archive(&self, key: &str) -> Option<Digest> {
        let text = std::fs::read_to_string(self.directory("archives").join(key)).ok()?;
        Digest::from_hex(text.trim()).filter(|digest| self.find(digest).is_some())
    }

    /// Remembers what an archive was made into.
    ///
    /// # Errors
    /// When the data partition refuses.
    pub fn set_archive(&self, key: &str, digest: &Digest) -> io::Result<()> {
        replace(&self.directory("archives").join(key), format!("{}\n", digest.hex()).as_bytes())
    }

    /// Opens an image whose seal is that of its import: what is read from it is what was imported, or an error.
    ///
    /// # Errors
    /// When there is no such image, or its file is another.
    pub fn open(&self, digest: &Digest) -> Result<(OwnedFd, ImageKind), Error> {
        let no_image = || Error::NoStoredImage { what: digest.to_string() };
        let object = self.find(digest).ok_or_else(no_image)?;
        let path = self.object_path(digest);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| Error::Image {
            what: "open",
            path: path.clone(),
            source: e.into(),
        })?;
        match sys::verity::measure(file.as_fd()) {
            Ok(seal) if hex(&seal) == object.verity => Ok((file, object.kind)),
            Ok(_) | Err(_) => Err(Error::BrokenSeal { path }),
        }
    }

    /// The path of an image's file.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.object_path(digest)
    }
}

/// Hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names in a directory; none when it is not there.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::value::FromText as _;
    use std::fs;

    fn store(root: &Path) -> Store {
        let layout = Layout { data: root.into(), run: root.join("run"), cgroups: root.join("c") };
        let store = Store::of(&layout);
        store.make().unwrap();
        store
    }

    fn object(digit: &str) -> Object {
        Object {
            digest: Digest::from_hex(&digit.repeat(64)).unwrap(),
            kind: ImageKind::Erofs,
            size: 5,
            verity: "v".to_owned(),
            created: 7,
            origin: "dir:/srv/web".to_owned(),
        }
    }

    fn add_as(store: &Store, object: &Object, new: &str) {
        let new = store.new_path(new);
        fs::write(&new, "image").unwrap();
        store.add(&new, object).unwrap();
        assert!(!new.exists());
    }

    fn add(store: &Store, object: &Object) {
        add_as(store, object, "x");
    }

    #[test]
    fn an_image_is_found_by_its_digest_and_its_names() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let (one, two) = (object("1"), object("2"));
        add(&store, &one);
        add(&store, &two);
        add(&store, &one);
        let name = ImageName::from_text("web").unwrap();
        store.set_name(&name, &one.digest).unwrap();
        store.set_name(&name, &two.digest).unwrap();

        assert_eq!(store.list().unwrap(), [one.clone(), two.clone()]);
        assert_eq!(store.find(&one.digest), Some(one.clone()));
        assert_eq!(store.all_names().unwrap(), [(name.clone(), two.digest.clone())]);
        store.remove_name(&name).unwrap();
        store.remove(&one.digest).unwrap();
        assert_eq!(store.named(&name), None);
        assert_eq!(store.list().unwrap(), [two]);
        assert!(matches!(store.open(&one.digest), Err(Error::NoStoredImage { .. })));
    }

    #[test]
    fn imports_of_the_same_contents_at_once_do_not_disturb_each_other() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        std::thread::scope(|scope| {
            for new in ["a", "b", "c", "d"] {
                let store = &store;
                scope.spawn(move || {
                    for digit in 0..32 {
                        let one = object(&format!("{:x}", digit % 16));
                        let _turn = store.turn().unwrap();
                        add_as(store, &one, new);
                        store.set_archive("k", &one.digest).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.list().unwrap().len(), 16);
    }

    #[test]
    fn what_was_not_finished_is_cleared_away_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        add(&store, &object("1"));
        fs::write(store.new_path("half"), "im").unwrap();
        fs::write(store.object_path(&object("2").digest), "no note").unwrap();
        fs::write(store.note_path(&object("3").digest), "no object").unwrap();

        store.clean().unwrap();

        assert_eq!(store.list().unwrap(), [object("1")]);
        assert_eq!(names(&store.directory("objects")).unwrap().len(), 2);
        assert_eq!(names(&store.directory("new")).unwrap().len(), 0);
    }

    #[test]
    fn a_file_without_its_seal_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        add(&store, &object("1"));
        assert!(matches!(store.open(&object("1").digest), Err(Error::BrokenSeal { .. })));
    }
}
