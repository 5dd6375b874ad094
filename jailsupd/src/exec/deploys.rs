//! What the data partition knows of the versions of each unit: the last good one, and the one that was tried and did not
//! prove itself. Lines of `WORD VALUE`, and in the file of the good one the unit after them.
//!
//! ```text
//!  <data>/deploys/NAME.good       unit HASH, image DIGEST, an empty line, the unit's canonical form
//!                 NAME.refused    unit HASH, image DIGEST, files STAMP, why TEXT
//! ```
//!
//! Each file is replaced whole. Nothing waits for the disk: what a power cut takes is found out again.

use super::{Layout, private_directory};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What a jail was started from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The hash of its unit's keys that a start reads.
    pub unit: String,
    /// The digest of its image, of one that was imported.
    pub image: Option<String>,
}

/// A version that has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// Which.
    pub version: Version,
    /// The whole unit.
    pub canonical: String,
}

/// A version that has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub version: Version,
    /// What its files were: see [`stamp`].
    pub files: String,
    /// What it has failed by, one line.
    pub why: String,
}

/// What is known of one jail's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last good version.
    pub good: Option<Good>,
    /// The version of its files that is not to be tried again.
    pub refused: Option<Refused>,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Deploys {
    directory: PathBuf,
}

impl Deploys {
    /// Those of this host; the directory is made if it is not there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let directory = layout.data.join("deploys");
        private_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Everything that is known, by the jails' names. What cannot be read is not known.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Known> {
        let mut all: BTreeMap<String, Known> = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((name, kind)) = file.rsplit_once('.') else { continue };
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            match kind {
                "good" => all.entry(name.to_owned()).or_default().good = read_good(&text),
                "refused" => all.entry(name.to_owned()).or_default().refused = read_refused(&text),
                _ => {}
            }
        }
        all
    }

    /// Replaces what is known of a jail.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put(&self, jail: &str, known: &Known) -> io::Result<()> {
        let good = known.good.as_ref().map(show_good);
        let refused = known.refused.as_ref().map(show_refused);
        // A refusal without what is to come back would be worse than none.
        self.replace(&format!("{jail}.good"), good.as_deref())?;
        self.replace(&format!("{jail}.refused"), refused.as_deref())
    }

    fn replace(&self, file: &str, text: Option<&str>) -> io::Result<()> {
        let path = self.directory.join(file);
        match text {
            Some(text) => {
                let new = self.directory.join(".new");
                std::fs::write(&new, text)?;
                std::fs::rename(&new, path)
            }
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

/// What the files of a unit are, so that a change of one of them, or `touch`, makes it another. Files that are
/// not there count, too.
#[must_use]
pub fn stamp(files: &BTreeSet<String>) -> String {
    let one = |file: &String| match std::fs::metadata(file) {
        Ok(found) => format!("{}.{}.{}", found.ino(), found.mtime(), found.mtime_nsec()),
        Err(_) => "none".to_owned(),
    };
    files.iter().map(one).collect::<Vec<_>>().join(",")
}

fn show_version(version: &Version) -> String {
    let image = version.image.as_deref().unwrap_or("-");
    format!("unit {}\nimage {image}\n", version.unit)
}

fn show_good(good: &Good) -> String {
    format!("{}\n{}", show_version(&good.version), good.canonical)
}

fn show_refused(refused: &Refused) -> String {
    let Refused { version, files, why } = refused;
    format!("{}files {files}\nwhy {}\n", show_version(version), why.replace('\n', " "))
}

/// The value of a line that begins with `word`.
fn value<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
}

fn read_version(text: &str) -> Option<Version> {
    let image = value(text, "image")?;
    let image = (image != "-").then(|| image.to_owned());
    Some(Version { unit: value(text, "unit")?.to_owned(), image })
}

fn read_good(text: &str) -> Option<Good> {
    let (head, canonical) = text.split_once("\n\n")?;
    Some(Good { version: read_version(head)?, canonical: canonical.to_owned() })
}

fn read_refused(text: &str) -> Option<Refused> {
    let (files, why) = (value(text, "files")?.to_owned(), value(text, "why")?.to_owned());
    Some(Refused { version: read_version(text)?, files, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_known_outlives_who_knew_it() {
        let data = tempfile::tempdir().unwrap();
        let at = data.path().to_owned();
        let layout = Layout { data: at.clone(), run: at.clone(), cgroups: at };
        let deploys = Deploys::open(&layout).unwrap();
        let version = Version { unit: "ab".into(), image: Some("sha256:cd".into()) };
        let canonical = "image.source = \"image:web\"\nprocess.exec = [\"/a\"]\n".to_owned();
        let good = Good { version: Version { image: None, ..version.clone() }, canonical };
        let refused =
            Refused { version, files: "1.2.3,none".into(), why: "exited with 1\nagain".into() };
        let known = Known { good: Some(good.clone()), refused: Some(refused.clone()) };
        deploys.put("web", &known).unwrap();
        deploys.put("a-b", &Known { good: Some(good.clone()), refused: None }).unwrap();

        let all = Deploys::open(&layout).unwrap().all();

        assert_eq!(all.len(), 2);
        assert_eq!(all["web"].good.as_ref(), Some(&good));
        let why = "exited with 1 again".to_owned();
        assert_eq!(all["web"].refused.as_ref(), Some(&Refused { why, ..refused }));
        deploys.put("web", &Known::default()).unwrap();
        assert_eq!(deploys.all().len(), 1);
        // Cut in two by a power cut: not known.
        fs::write(data.path().join("deploys/a-b.good"), "unit ab\n").unwrap();
        assert_eq!(deploys.all()["a-b"].good, None);
    }

    #[test]
    fn a_touched_file_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.toml");
        let files = BTreeSet::from([file.to_string_lossy().into_owned(), "/nowhere".to_owned()]);
        fs::write(&file, "1").unwrap();
        let before = stamp(&files);
        assert_eq!(stamp(&files), before);
        let later =
            fs::metadata(&file).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_ne!(stamp(&files), before);
    }
}
