//! Linux capabilities by name: capabilities(7) and include/uapi/linux/capability.h.

use std::fmt;

use super::nearest::nearest;
use super::value::{Fault, FromText, FromToml, Kind, Value, shown};

/// In the order of the kernel's numbers, without the `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability, by its kernel number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// The kernel's number, 0 to 40.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name as units write it, without `CAP_`.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("?")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromText for Capability {
    const KIND: Kind = Kind::text("capability", "^[A-Za-z_]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let found = (0_u8..).zip(NAMES).find(|(_, known)| *known == name);
        if let Some((number, _)) = found {
            return Ok(Self(number));
        }
        let help = match nearest(name, NAMES) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => {
                "the names are those of capabilities(7), such as \"NET_BIND_SERVICE\"".to_owned()
            }
        };
        Err(Fault::new(format!("{} is not a capability", shown(text))).help(help))
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability at all: a jail's default.
    pub const NONE: Self = Self(0);

    /// The set as the kernel writes it: bit n is capability number n.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A set from the kernel's bits; bits that this program has no name for are kept.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set of these names; names of no capability are left out.
    pub(crate) fn of(names: &[&str]) -> Self {
        let known = names.iter().filter_map(|name| Capability::from_text(name).ok());
        Self(known.fold(0, |bits, c| bits | 1 << c.0))
    }

    /// Whether it is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Its named members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0_u8..41).map(Capability).filter(move |c| self.contains(*c))
    }

    /// The names of its members, and `CAP_n` for bits without a name.
    pub fn names(self) -> Vec<String> {
        let unnamed = (41_u8..64).filter(|n| self.0 & (1 << n) != 0).map(|n| format!("CAP_{n}"));
        self.iter().map(|c| c.to_string()).chain(unnamed).collect()
    }
}

impl FromToml for Capabilities {
    const KIND: Kind = Kind::List(&<Capability as FromText>::KIND);

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let list = Vec::<Capability>::from_toml(value)?;
        Ok(Self(list.iter().fold(0, |bits, c| bits | 1 << c.0)))
    }

    fn show(&self) -> Option<String> {
        self.iter().collect::<Vec<_>>().show()
    }
}
