//! Paths. One on the host and one inside a jail are different types and cannot be mixed up.

use std::fmt;
use std::path::Path;

use super::value::{Fault, FromText, Kind, shown};

/// An absolute path on the host, without `.`, `..`, doubled or final slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath(String);

/// An absolute path as a process of the jail sees it, without `.`, `..`, doubled or final slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailPath(String);

impl HostPath {
    /// Checks the path; nothing is looked up.
    pub fn new(text: &str) -> Result<Self, Fault> {
        clean(text).map(|()| Self(text.to_owned()))
    }

    /// As the standard library's type.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JailPath {
    /// Checks the path; nothing is looked up.
    pub fn new(text: &str) -> Result<Self, Fault> {
        clean(text).map(|()| Self(text.to_owned()))
    }

    /// The jail's `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// As text. Not a `Path`: on the host it would name something else.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for HostPath {
    const KIND: Kind = Kind::text("absolute path on the host", "^/");

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::new(text)
    }
}

impl FromText for JailPath {
    const KIND: Kind = Kind::text("absolute path in the jail", "^/");

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::new(text)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JailPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// PATH_MAX, its final NUL not counted.
const LONGEST: usize = 4095;

fn clean(text: &str) -> Result<(), Fault> {
    let shown = shown(text);
    let Some(relative) = text.strip_prefix('/') else {
        return Err(
            Fault::new(format!("the path {shown} is not absolute")).help("start it with `/`")
        );
    };
    if text.contains('\0') {
        return Err(Fault::new(format!("the path {shown} holds a NUL byte")));
    }
    if text.len() > LONGEST {
        return Err(Fault::new(format!("the path is {} bytes long", text.len()))
            .help(format!("at most {LONGEST} bytes are allowed")));
    }
    if relative.is_empty() {
        return Ok(());
    }
    match relative.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        None => Ok(()),
        Some("") => Err(Fault::new(format!("the path {shown} has a slash too many"))
            .help("write it without doubled and without final slashes")),
        Some(part) => Err(Fault::new(format!("the path {shown} holds `{part}`"))
            .help("write the path that it stands for")),
    }
}
