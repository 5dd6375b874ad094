//! Directories of the host that a policy opens to units.

use std::fmt;

use super::path::HostPath;
use super::value::{Fault, FromText, Kind};

/// A directory of the host, and everything below it. By name only: a link in it leads where whoever may write
/// there wants it to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(HostPath);

impl PathPrefix {
    /// Whether `path` is this directory or below it.
    pub fn holds(&self, path: &HostPath) -> bool {
        path.as_path().starts_with(self.0.as_path())
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for PathPrefix {
    const KIND: Kind = Kind::text("absolute path of a directory on the host", "^/");

    fn from_text(text: &str) -> Result<Self, Fault> {
        HostPath::new(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let holds = |prefix: &str, path: &str| {
            PathPrefix::from_text(prefix).unwrap().holds(&HostPath::new(path).unwrap())
        };
        assert!(holds("/srv", "/srv"));
        assert!(holds("/srv", "/srv/web"));
        assert!(!holds("/srv", "/srvother"));
        assert!(!holds("/srv/web", "/srv"));
        assert!(holds("/", "/srv"));
    }
}
