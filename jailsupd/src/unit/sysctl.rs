//! Kernel settings that a jail has for itself: those of its network and IPC namespaces (sysctl(8),
//! Documentation/admin-guide/sysctl).

use std::collections::BTreeMap;
use std::fmt;

use toml::de::DeValue;

use super::value::{Fault, FromText, FromToml, Kind, Value, shown};

/// The name of a setting of a namespace, its parts separated by dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SysctlName(String);

/// All settings whose names begin like this are a namespace's own.
const PREFIXES: [&str; 2] = ["net.", "fs.mqueue."];
/// And these of kernel.*: System V IPC.
const NAMES: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
/// The longest name and value, in bytes.
const LONGEST: usize = 128;

impl SysctlName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its file.
    pub fn path(&self) -> String {
        format!("/proc/sys/{}", self.0.replace('.', "/"))
    }
}

impl fmt::Display for SysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for SysctlName {
    const KIND: Kind = Kind::text("kernel setting", "^(net|kernel|fs)\\.[a-z0-9A-Z._-]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let well_formed = text.len() <= LONGEST
            && text.split('.').all(|part| !part.is_empty() && part.chars().all(letter));
        let own = NAMES.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if well_formed && own {
            return Ok(Self(text.to_owned()));
        }
        let shown = shown(text);
        Err(match text.contains('/') && !text.contains('.') {
            true => Fault::new(format!("{shown} is not the name of a kernel setting"))
                .help("write it with dots: \"net.core.somaxconn\""),
            false if well_formed => Fault::new(format!("{shown} is a setting of the whole host"))
                .help("a jail has its own of net.*, kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.*"),
            false => Fault::new(format!("{shown} is not the name of a kernel setting"))
                .help("write it in quotes and with dots: \"net.core.somaxconn\" = \"1024\""),
        })
    }
}

/// Settings and what they are set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls(BTreeMap<SysctlName, String>);

impl Sysctls {
    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&SysctlName, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }

    /// Adds others; a name that is there gets the new value.
    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl FromToml for Sysctls {
    const KIND: Kind = Kind::Map;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(Fault::wrong_type(value, &Self::KIND));
        };
        let (mut good, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, value) in table {
            match entry(name.get_ref(), value) {
                Ok((name, text)) => drop(good.insert(name, text)),
                Err(fault) => faults.push(fault.within(name.span())),
            }
        }
        if faults.is_empty() { Ok(Self(good)) } else { Err(faults) }
    }

    fn show(&self) -> Option<String> {
        let plain: BTreeMap<String, String> =
            self.iter().map(|(name, value)| (name.to_string(), value.to_owned())).collect();
        plain.show()
    }
}

fn entry(name: &str, value: &Value<'_>) -> Result<(SysctlName, String), Fault> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        // To TOML, `net.core.somaxconn` without quotes is a table in a table.
        DeValue::Table(_) => {
            return Err(Fault::new(format!("{} is a table here", shown(name)))
                .help("write the whole name in quotes: \"net.core.somaxconn\" = \"1024\""));
        }
        _ => {
            return Err(Fault::new(format!("the value of {} is not a string", shown(name)))
                .help("write it in quotes: \"net.core.somaxconn\" = \"1024\"")
                .within(value.span()));
        }
    };
    let name = SysctlName::from_text(name)?;
    if text.is_empty() || text.len() > LONGEST || text.contains(char::is_control) {
        return Err(Fault::new(format!("{name} cannot be set to {}", shown(&text)))
            .help("write what you would write to its file in /proc/sys, on one line")
            .within(value.span()));
    }
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_namespaces_are_taken_and_those_of_the_host_are_not() {
        for good in [
            "net.core.somaxconn",
            "net.ipv4.conf.eth0.forwarding",
            "kernel.sem",
            "fs.mqueue.msg_max",
        ] {
            assert!(SysctlName::from_text(good).is_ok(), "{good}");
        }
        for bad in [
            "kernel.core_pattern",
            "kernel.modprobe",
            "vm.swappiness",
            "fs.file-max",
            "user.max_user_namespaces",
            "kernel.shm",
            "net",
            "net.",
            "net..x",
            "net.core/../../kernel.modprobe",
            "net/core/somaxconn",
            "",
        ] {
            assert!(SysctlName::from_text(bad).is_err(), "{bad}");
        }
        let name = SysctlName::from_text("net.core.somaxconn").unwrap();
        assert_eq!(name.path(), "/proc/sys/net/core/somaxconn");
    }
}
