//! System call filters that a policy allows.

use std::fmt;

use crate::unit::prefix::PathPrefix;
use crate::unit::seccomp::Seccomp;
use crate::unit::value::{Fault, FromText, Kind};

/// A profile by name, or a directory whose files may be profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeccompBound {
    Named(Seccomp),
    Below(PathPrefix),
}

impl SeccompBound {
    pub(super) fn allows(&self, asked: &Seccomp) -> bool {
        match (self, asked) {
            (Self::Below(prefix), Seccomp::File(path)) => prefix.holds(path),
            (Self::Named(named), asked) => named == asked,
            (Self::Below(_), _) => false,
        }
    }
}

impl fmt::Display for SeccompBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(seccomp) => seccomp.fmt(f),
            Self::Below(prefix) => prefix.fmt(f),
        }
    }
}

impl FromText for SeccompBound {
    const KIND: Kind =
        Kind::text("strict, default, none or a directory's path", "^(strict|default|none|/.*)$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.starts_with('/') {
            return PathPrefix::from_text(text).map(Self::Below);
        }
        Seccomp::from_text(text).map(Self::Named)
    }
}
