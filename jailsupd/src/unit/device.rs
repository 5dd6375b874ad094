//! Device nodes of the host that a unit asks for, written as Quadlet's `AddDevice`: `HOST[:JAIL[:rwm]]`.

use std::fmt;

use super::path::{HostPath, JailPath};
use super::value::{Fault, FromText, Kind, shown};

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node on the host, below /dev.
    pub host: HostPath,
    /// The node in the jail, below /dev.
    pub jail: JailPath,
    /// What the jail may do with it.
    pub access: Access,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make further nodes of it (mknod(2)); the kernel allows that in no user namespace.
    pub make: bool,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, is_set) in [("r", self.read), ("w", self.write), ("m", self.make)] {
            f.write_str(if is_set { letter } else { "" })?;
        }
        Ok(())
    }
}

/// What Warder puts into each /dev.
const TAKEN: [&str; 15] = [
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
    "stdout", "tty", "urandom", "zero",
];

impl Device {
    /// The name in the jail's /dev: `net/tun`.
    pub fn name(&self) -> &str {
        self.jail.as_str().strip_prefix("/dev/").unwrap_or_default()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.host, self.jail, self.access)
    }
}

impl FromText for Device {
    const KIND: Kind = Kind::text("device", "^/dev/[^:]+(:/dev/[^:]+)?(:[rwm]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let mut parts = text.split(':');
        let host = HostPath::new(parts.next().unwrap_or_default())?;
        let (jail, access) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (None, None),
            (Some(one), None, _) if one.starts_with('/') => (Some(one), None),
            (Some(one), None, _) => (None, Some(one)),
            (Some(jail), Some(access), None) => (Some(jail), Some(access)),
            _ => {
                return Err(Fault::new(format!("{} has too many parts", shown(text)))
                    .help("write \"/dev/HOST\", or \"/dev/HOST:/dev/JAIL:rw\""));
            }
        };
        let jail = JailPath::new(jail.unwrap_or(host.as_str()))?;
        for path in [host.as_str(), jail.as_str()] {
            if !path.starts_with("/dev/") {
                return Err(Fault::new(format!("{} is not below /dev", shown(path)))
                    .help("device nodes are taken from the host's /dev, and put into the jail's"));
            }
        }
        let device = Self { host, jail, access: access_of(access)? };
        let first = device.name().split('/').next().unwrap_or_default();
        if TAKEN.contains(&first) {
            return Err(Fault::new(format!("each jail has a {} of its own", device.jail))
                .help("give it another name: \"/dev/HOST:/dev/JAIL\""));
        }
        Ok(device)
    }
}

fn access_of(text: Option<&str>) -> Result<Access, Fault> {
    let Some(text) = text else { return Ok(Access { read: true, write: true, make: false }) };
    let mut access = Access { read: false, write: false, make: false };
    for letter in text.chars() {
        match letter {
            'r' => access.read = true,
            'w' => access.write = true,
            'm' => access.make = true,
            _ => {
                return Err(Fault::new(format!("{} is no access to a device", shown(text)))
                    .help("write the letters of what is allowed: r (read), w (write), m (mknod)"));
            }
        }
    }
    if text.is_empty() {
        return Err(Fault::new("no access is allowed").help("write r, w or rw"));
    }
    Ok(access)
}
