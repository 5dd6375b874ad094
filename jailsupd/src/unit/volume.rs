//! `[[volume]]`: directories of a jail that are not its image's.

use std::fmt;

use toml::de::DeTable;

use super::amount::Bytes;
use super::path::{HostPath, JailPath};
use super::tables::Tables;
use super::value::{Fault, Field, FieldPresence, FromText, FromToml, Kind, Value, quoted, shown};

/// One volume of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Where it is in the jail; never `/`, nor where the kernel's file systems are.
    pub path: JailPath,
    /// What it holds.
    pub source: VolumeSource,
    /// Nothing in it can be written, nor in what is mounted below it.
    pub read_only: bool,
    /// No program in it can be executed.
    pub noexec: bool,
    /// The most that it may hold; none for a bind.
    pub size_max: Option<Bytes>,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// What the host keeps under this name.
    Named(VolumeName),
    /// A directory or file of the host.
    Bind(HostPath),
    /// Nothing at first, in memory that counts as the jail's.
    Tmpfs,
}

/// The name of a volume that outlives jails: made like a jail's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeName(String);

impl VolumeName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for VolumeName {
    const KIND: Kind = Kind::text("volume name", "^[a-z0-9][a-z0-9-]*$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.starts_with('-') || !text.chars().all(fits) {
            return Err(Fault::new(format!("{} is not the name of a volume", shown(text)))
                .help("use `a-z`, `0-9` and `-`, and start with a letter or a digit"));
        }
        if text.len() > 63 {
            return Err(Fault::new(format!("the name {} is too long", shown(text)))
                .help("at most 63 characters are allowed"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// All volumes of a jail, those further up first; no two at one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes(Vec<Volume>);

impl Volumes {
    /// In the order in which they are mounted.
    pub fn iter(&self) -> impl Iterator<Item = &Volume> {
        self.0.iter()
    }

    /// Adds those of a later file; one at the same path takes the other's place.
    pub(crate) fn extend(&mut self, later: Self) {
        self.0.retain(|volume| !later.0.iter().any(|new| new.path == volume.path));
        self.0.extend(later.0);
        // A path sorts behind those that lead to it.
        self.0.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    }
}

static FIELDS: &[Field] = &[
    Field {
        name: "path",
        kind: &<JailPath as FromToml>::KIND,
        presence: FieldPresence::Required,
        example: "\"/var/lib/web\"",
        doc: "Where the volume is in the jail. A directory that the image lacks is made, if the root can be written.",
    },
    Field {
        name: "name",
        kind: &<VolumeName as FromToml>::KIND,
        presence: FieldPresence::Unset("see `source` and `tmpfs`"),
        example: "\"web-data\"",
        doc: "A volume of the host by name. It is made when it is first used, as a copy of the image's directory at `path` (without one, it is empty and the jail's user's), and it stays until `jailctl volume rm`, whatever becomes of the jail. Jails that name the same one share it.",
    },
    Field {
        name: "source",
        kind: &<HostPath as FromToml>::KIND,
        presence: FieldPresence::Unset("see `name` and `tmpfs`"),
        example: "\"/data/shared/www\"",
        doc: "A directory or file of the host, with all that is mounted below it; where the host's policy allows that (`/data/shared`, unless it says otherwise). No part of the path may be a symbolic link. Owners are counted from 0: the host's root is the jail's.",
    },
    Field {
        name: "tmpfs",
        kind: &<bool as FromToml>::KIND,
        presence: FieldPresence::Default("false"),
        example: "true",
        doc: "Memory that counts as the jail's; empty at each start.",
    },
    Field {
        name: "read_only",
        kind: &<bool as FromToml>::KIND,
        presence: FieldPresence::Default("false"),
        example: "true",
        doc: "Whether nothing in it can be written, nor in what is mounted below it on the host.",
    },
    Field {
        name: "noexec",
        kind: &<bool as FromToml>::KIND,
        presence: FieldPresence::Default("false"),
        example: "true",
        doc: "Whether no program in it can be executed. Set-user-id bits and device nodes are never honoured.",
    },
    Field {
        name: "size_max",
        kind: &<Bytes as FromToml>::KIND,
        presence: FieldPresence::Unset("what the disk has, or half of the host's memory"),
        example: "\"1G\"",
        doc: "The most that it may hold; not with `source`. Of a volume that several jails use, the one that was started last decides.",
    },
];

static TABLES: Tables = Tables { header: "volume", fields: FIELDS };

impl FromToml for Volumes {
    const KIND: Kind = Kind::Tables(FIELDS);

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let mut places = Vec::<JailPath>::new();
        let good = TABLES.read(value, |table| {
            let volume = read(table)?;
            if places.contains(&volume.path) {
                let fault = Fault::new(format!("two volumes are at {}", volume.path));
                return Err(fault.help("take one of them out").alone());
            }
            places.push(volume.path.clone());
            Ok(volume)
        })?;
        let mut volumes = Self::default();
        volumes.extend(Self(good));
        Ok(volumes)
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// The canonical spelling, an inline table.
impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ path = {}", quoted(self.path.as_str()))?;
        match &self.source {
            VolumeSource::Named(name) => write!(f, ", name = {}", quoted(name.as_str()))?,
            VolumeSource::Bind(path) => write!(f, ", source = {}", quoted(path.as_str()))?,
            VolumeSource::Tmpfs => f.write_str(", tmpfs = true")?,
        }
        if self.read_only {
            f.write_str(", read_only = true")?;
        }
        if self.noexec {
            f.write_str(", noexec = true")?;
        }
        if let Some(size) = self.size_max {
            write!(f, ", size_max = {}", quoted(&size.to_string()))?;
        }
        f.write_str(" }")
    }
}

/// The keys of one table as they are read.
#[derive(Default)]
struct Draft {
    path: Option<JailPath>,
    name: Option<VolumeName>,
    source: Option<HostPath>,
    tmpfs: bool,
    read_only: bool,
    noexec: bool,
    size_max: Option<Bytes>,
}

fn read(table: &DeTable<'_>) -> Result<Volume, Vec<Fault>> {
    let mut draft = Draft::default();
    TABLES.keys(table, |word, value| match word {
        "path" => set(&mut draft.path, value),
        "name" => set(&mut draft.name, value),
        "source" => set(&mut draft.source, value),
        "tmpfs" => bool::from_toml(value).map(|on| draft.tmpfs = on),
        "read_only" => bool::from_toml(value).map(|on| draft.read_only = on),
        "noexec" => bool::from_toml(value).map(|on| draft.noexec = on),
        _ => set(&mut draft.size_max, value),
    })?;
    check(draft).map_err(Fault::alone)
}

fn set<T: FromToml>(place: &mut Option<T>, value: &Value<'_>) -> Result<(), Vec<Fault>> {
    *place = Some(T::from_toml(value)?);
    Ok(())
}

fn check(draft: Draft) -> Result<Volume, Fault> {
    let Some(path) = draft.path else {
        return Err(Fault::new("`path` is missing")
            .help("add `path = \"/where/it/is\"`, a directory in the jail"));
    };
    mountable(&path)?;
    let source = match (draft.name, draft.source, draft.tmpfs) {
        (Some(name), None, false) => VolumeSource::Named(name),
        (None, Some(source), false) => VolumeSource::Bind(source),
        (None, None, true) => VolumeSource::Tmpfs,
        (None, None, false) => {
            return Err(Fault::new(format!("the volume at {path} does not say what it holds"))
                .help("add one of `name = \"...\"`, `source = \"/...\"` and `tmpfs = true`"));
        }
        _ => {
            return Err(Fault::new(format!("the volume at {path} is said to be two things"))
                .help("keep one of `name`, `source` and `tmpfs`"));
        }
    };
    let is_bind = matches!(source, VolumeSource::Bind(_));
    if is_bind && draft.size_max.is_some() {
        return Err(Fault::new("`size_max` cannot be kept for a directory of the host")
            .help("take it out, or use a volume by `name`"));
    }
    if draft.size_max.is_some_and(|size| size < Bytes::new(64 << 10)) {
        return Err(
            Fault::new("`size_max` is less than any program needs").help("at least \"64K\"")
        );
    }
    let Draft { read_only, noexec, size_max, .. } = draft;
    Ok(Volume { path, source, read_only, noexec, size_max })
}

/// Where a volume must not be: in the place of the root or of what the kernel shows.
fn mountable(path: &JailPath) -> Result<(), Fault> {
    let path = path.as_str();
    if path == "/" {
        return Err(Fault::new("`path` is the jail's whole root")
            .help("give a directory in it; the root itself is `[image]` and `[root]`"));
    }
    for kernel in ["/proc", "/sys", "/dev"] {
        let below = path.strip_prefix(kernel);
        if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!("`path` is in {kernel}, which is the kernel's");
            return Err(Fault::new(message).help("give another directory"));
        }
    }
    Ok(())
}
