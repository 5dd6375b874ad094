//! The canonical form of a unit, and its hash: what "the same unit" means.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use super::document::Effect;
use super::keys::UNIT;
use super::parse::parse;
use super::{Problem, Unit};

/// SHA-256 of a unit's canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash([u8; 32]);

impl UnitHash {
    /// The hash's bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Unit {
    /// One line `section.key = value` for each key that is not at its default, in the order of the
    /// keys, values in one spelling. A key that a later version adds does not change it.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.settings() {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    /// The unit that has this canonical form. `file` is where it came from, for messages.
    ///
    /// # Errors
    /// Every problem of it: it was written by another version.
    pub fn from_canonical(name: &str, file: &str, canonical: &str) -> Result<Self, Vec<Problem>> {
        // The one thing that a file needs and a unit does not differ in.
        parse(name, file, &format!("version = 1\n{canonical}"))
    }

    /// The hash of [`Self::canonical`]: independent of key order, comments, spelling of values, and of the
    /// file's name and place. It outlives this process (the state of running jails holds it).
    pub fn canonical_hash(&self) -> UnitHash {
        UnitHash(Sha256::digest(self.canonical().as_bytes()).into())
    }

    /// The hash over the keys that only a restart changes: two units with the same one differ at most in what
    /// a running jail takes over.
    pub fn restart_hash(&self) -> UnitHash {
        let mut hash = Sha256::new();
        for key in UNIT.keys.iter().filter(|key| key.effect == Effect::Restart) {
            let path = key.path();
            if let Some(value) = self.settings().get(&path) {
                hash.update(format!("{path} = {value}\n"));
            }
        }
        UnitHash(hash.finalize().into())
    }
}
