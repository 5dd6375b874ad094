//! Names: of jails, of hosts, of network links, and of users inside a jail.

use std::fmt;
use std::net::IpAddr;

use super::value::{Fault, FromText, FromToml, Kind, Value, quoted, shown};

/// A jail's name: the stem of its unit file, `[a-z0-9][a-z0-9-]{0,62}`.
///
/// The alphabet is that of a DNS label, so the name serves as host name, cgroup and directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JailName(String);

/// What follows a jail's name where its second life has its things, beside the first; no name has it.
pub const BESIDE: &str = ".2";

impl JailName {
    /// The longest name, in bytes (a DNS label's).
    pub const MAX: usize = 63;

    /// Checks `stem`; the fault says which rule is broken and offers a name that would do.
    pub fn new(stem: &str) -> Result<Self, Fault> {
        check(stem, "name", ".toml").map(|()| Self(stem.to_owned()))
    }

    /// Checks the name of a template, the part before the `@`.
    pub(crate) fn template(name: &str) -> Result<(), Fault> {
        check(name, "template's name", "@.toml")
    }

    /// The name of `instance` of `template`.
    pub(crate) fn instance(template: &str, instance: &str) -> Result<Self, Fault> {
        Self::template(template)?;
        check(instance, "instance's name", "")?;
        let name = format!("{template}-{instance}");
        if name.len() <= Self::MAX {
            return Ok(Self(name));
        }
        let message = format!(
            "the jail's name {} is {} bytes long, {} are allowed",
            shown(&name),
            name.len(),
            Self::MAX
        );
        Err(Fault::new(message).help(
            "it is made of the template's name, `-` and the instance's; make one of them shorter",
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks `stem`, the `what` of a file that ends in `suffix`.
fn check(stem: &str, what: &str, suffix: &str) -> Result<(), Fault> {
    let broken = if stem.is_empty() {
        "is empty".to_owned()
    } else if stem.len() > JailName::MAX {
        format!("is {} bytes long, {} are allowed", stem.len(), JailName::MAX)
    } else if let Some(c) = stem.chars().find(|c| !is_label_char(*c)) {
        format!("holds {}", quoted(&c.to_string()))
    } else if stem.starts_with('-') {
        "starts with `-`".to_owned()
    } else {
        return Ok(());
    };
    let rule = "it is made of a-z, 0-9 and `-`, and starts with a letter or a digit";
    let offer = mend(stem).map_or_else(String::new, |name| format!("; try `{name}{suffix}`"));
    Err(Fault::new(format!("the {what} {} {broken}", shown(stem))).help(format!("{rule}{offer}")))
}

impl fmt::Display for JailName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Another jail's, in a unit.
impl FromText for JailName {
    const KIND: Kind = Kind::text("jail's name", "^[a-z0-9][a-z0-9-]{0,62}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        // As its file is called, or as systemd would have it.
        let suffix = [".toml", ".service"].into_iter().find(|suffix| text.ends_with(suffix));
        if let Some(name) = suffix.and_then(|suffix| text.strip_suffix(suffix)) {
            let fault = Fault::new(format!("{} is not a jail's name", shown(text)));
            return Err(fault.help(format!("write {}", shown(name))));
        }
        check(text, "jail's name", "").map(|()| Self(text.to_owned()))
    }
}

/// The name of one of the host's own networks: the stem of its file, `[a-z0-9][a-z0-9-]{0,11}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(String);

impl NetworkName {
    /// The longest name, in bytes: that of its bridge, with `br-` before it, has 15 (`IFNAMSIZ`).
    pub const MAX: usize = 12;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its bridge is called on the host.
    pub fn bridge(&self) -> String {
        format!("br-{}", self.0)
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for NetworkName {
    const KIND: Kind = Kind::text("network's name", "^[a-z0-9][a-z0-9-]{0,11}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        // As Quadlet has it, or as its file is called.
        let suffix = [".network", ".toml"].into_iter().find(|suffix| text.ends_with(suffix));
        if let Some(name) = suffix.and_then(|suffix| text.strip_suffix(suffix)) {
            let fault = Fault::new(format!("{} is not a network's name", shown(text)));
            return Err(fault.help(format!("write {}", shown(name))));
        }
        check(text, "network's name", "")?;
        if text.len() > Self::MAX {
            let message =
                format!("the network's name {} is {} bytes long", shown(text), text.len());
            return Err(Fault::new(message).help(format!(
                "at most {}: it is a part of the name of a link of the host",
                Self::MAX
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// The nearest allowed name, when one is to be seen in `stem`.
fn mend(stem: &str) -> Option<String> {
    let lower = stem.to_lowercase();
    let mapped: String = lower
        .chars()
        .map(|c| if is_label_char(c) { c } else { '-' })
        .skip_while(|c| *c == '-')
        .take(JailName::MAX)
        .collect();
    let name = mapped.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// A host name as `sethostname(2)` takes it: dot-separated labels, at most 64 bytes in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for HostName {
    const KIND: Kind = Kind::text("host name", "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        // HOST_NAME_MAX of the kernel's utsname.
        if text.len() <= 64 && text.split('.').all(label) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!("{} is not a host name", shown(text))).help(
            "at most 64 letters, digits and `-` in parts separated by `.`; \
             no part empty, and none starts or ends with `-`",
        ))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name and its address, as Quadlet's `AddHost`: `db:192.0.2.11`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The name.
    pub name: HostName,
    /// Where it leads.
    pub address: IpAddr,
}

impl FromText for HostEntry {
    const KIND: Kind = Kind::text("name:address", "^[A-Za-z0-9.-]+:[0-9A-Fa-f.:]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help =
            "a host name, a colon and an IP address, such as `db:192.0.2.11` or `db:2001:db8::11`";
        let bad = || Fault::new(format!("{} is no name with an address", shown(text))).help(help);
        let (name, address) = text.split_once(':').ok_or_else(bad)?;
        let address = address.parse().map_err(|_| bad())?;
        Ok(Self { name: HostName::from_text(name)?, address })
    }
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}

/// The name of a network link of the host, or the alias `uplink` (see `host.toml`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

impl LinkName {
    /// The alias that `host.toml` resolves to a physical link.
    pub const UPLINK: &'static str = "uplink";

    /// The alias `uplink`.
    pub fn uplink() -> Self {
        Self(Self::UPLINK.to_owned())
    }

    /// Whether this is the alias and not a link's own name.
    pub fn is_uplink(&self) -> bool {
        self.0 == Self::UPLINK
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for LinkName {
    const KIND: Kind = Kind::text("link name", "^[^/:\\s]{1,15}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        // dev_valid_name() of the kernel, IFNAMSIZ 16.
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(bad) {
            return Err(Fault::new(format!("{} is not the name of a network link", shown(text)))
                .help("1 to 15 bytes without `/`, `:` and blanks, such as `eth0`; or `uplink`, the host's own link"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user or group inside the jail: a name of the image's own `/etc/passwd` or `/etc/group`, or
/// a number as the jail sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSpec {
    /// Looked up in the image when the jail starts.
    Name(String),
    /// 0 to 65535, before the jail's own id range is added.
    Id(u32),
}

impl UserSpec {
    /// The highest id inside a jail: each has a range of 65536.
    pub const MAX_ID: u32 = 65535;

    /// The jail's root.
    pub const fn root() -> Self {
        Self::Id(0)
    }

    /// Reads a name or a number.
    pub(crate) fn from_text(text: &str) -> Result<Self, Fault> {
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            return Self::from_id(text.parse().ok(), text);
        }
        Self::from_name(text)
    }

    fn from_id(id: Option<u32>, shown: &str) -> Result<Self, Fault> {
        match id {
            Some(id) if id <= Self::MAX_ID => Ok(Self::Id(id)),
            _ => Err(Fault::new(format!("the id {shown} is outside the jail's range"))
                .help(format!("a jail has the ids 0 to {}", Self::MAX_ID))),
        }
    }

    fn from_name(text: &str) -> Result<Self, Fault> {
        if let Some((user, group)) = text.split_once(':') {
            return Err(Fault::new(format!("{} names two things", shown(text))).help(format!(
                "write them apart: user = {} and group = {}",
                shown(user),
                shown(group)
            )));
        }
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let rest = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if text.len() > 32 || !text.starts_with(first) || !text.chars().all(rest) {
            return Err(Fault::new(format!("{} is not the name of a user or group", shown(text)))
                .help("give a name from the image's /etc/passwd or /etc/group, or a number from 0 to 65535"));
        }
        // One spelling for one user, so that both have one hash.
        Ok(if text == "root" { Self::root() } else { Self::Name(text.to_owned()) })
    }
}

impl FromToml for UserSpec {
    const KIND: Kind = Kind::NameOrId;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        if let Some(integer) = value.get_ref().as_integer() {
            let shown = integer.to_string();
            return Self::from_id(super::value::number(integer), &shown).map_err(Fault::alone);
        }
        let text = value.get_ref().as_str().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        Self::from_text(text).map_err(Fault::alone)
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Name(name) => quoted(name),
            Self::Id(0) => quoted("root"),
            Self::Id(id) => id.to_string(),
        })
    }
}
