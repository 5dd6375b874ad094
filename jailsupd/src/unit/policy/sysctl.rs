//! Names of kernel settings with `*`.

use std::fmt;

use crate::unit::host::fits;
use crate::unit::value::{Fault, FromText, Kind, shown};

/// A pattern for names of settings: `*` is any run of characters, `?` any one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SysctlPattern(String);

impl SysctlPattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }
}

impl fmt::Display for SysctlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for SysctlPattern {
    const KIND: Kind = Kind::text("pattern of kernel settings", "^[a-zA-Z0-9._*?-]{1,128}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._*?-".contains(c);
        if text.is_empty() || text.len() > 128 || !text.chars().all(good) {
            return Err(Fault::new(format!("{} matches no kernel setting", shown(text)))
                .help("write names with dots, as in \"net.ipv4.tcp_*\""));
        }
        Ok(Self(text.to_owned()))
    }
}
