//! Unit files: from text to a checked, typed [`Unit`].
//!
//! The first of the three pure rooms (`unit` -> `plan`, `machine`): no file is opened here, no clock
//! read, nothing logged, and nothing of the rooms above is used. The caller reads the file and says what
//! it is called; what comes back is either a unit in which everything that can be checked without the host
//! has been checked, or every [`Problem`] of the text at once, each with its line, column and remedy. [`tree`] does
//! this for all files of all directories: drop-ins, templates, masks.
//!
//! `keys` is the one table of what a unit may say: the parser, the reference page, the JSON Schema, the
//! explanations, the canonical form and what an edit leads to are driven by it. `host` reads `host.toml` and `policy`
//! `policy.toml` with the same means; `set` compares units.

pub mod address;
pub mod amount;
pub mod canonical;
pub mod capability;
pub mod change;
mod check;
mod command;
pub mod dependencies;
pub mod device;
mod document;
mod exit_status;
pub mod explain;
pub mod firewall;
pub mod graph;
pub mod health;
mod hidden;
pub mod hooks;
pub mod host;
pub mod image;
mod keys;
pub mod layer;
pub mod name;
pub mod named_network;
pub(crate) mod nearest;
mod parse;
pub mod path;
pub mod policy;
pub mod prefix;
pub mod problem;
pub mod publish;
pub mod reference;
pub mod resources;
pub mod schema;
pub mod seccomp;
pub mod section;
pub mod set;
pub mod signal;
mod specifier;
pub mod sysctl;
mod tables;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod ulimit;
mod unknown;
pub mod user;
pub mod value;
pub mod volume;

pub(crate) use address::is_link_local;
pub use address::{Address, IpPrefix, MacAddress, Prefix, Subnet};
pub use amount::{Bytes, CpuQuota};
pub use canonical::UnitHash;
pub use capability::{Capabilities, Capability};
pub use change::{Change, Consequence, consequence, diff};
pub use dependencies::{Dependencies, Relation};
pub use device::{Access, Device};
pub use document::Effect;
pub use exit_status::ExitStatus;
pub use explain::explain;
pub use firewall::Firewall;
pub use health::{Check, Health};
pub use hidden::{Covered, Hidden, OF_PROC};
pub use hooks::{HookKind, Hooks};
pub use host::Host;
pub use image::{Digest, ImageKind, ImageName, ImageSource};
pub use name::{BESIDE, HostEntry, HostName, JailName, LinkName, NetworkName, UserSpec};
pub use named_network::Joined;
pub use parse::{MAX_FILE, parse, text};
pub use path::{HostPath, JailPath};
pub use policy::Policy;
pub use prefix::PathPrefix;
pub use problem::{Place, Problem};
pub use resources::{HugePage, IoDevice, Resources};
pub use seccomp::Seccomp;
pub use section::{
    Backing, Deploy, Forward, Image, IpvlanMode, LineCount, Logs, MacvlanMode, Network,
    NetworkMode, Notify, OnFull, Process, Reaction, Restart, RestartPolicy, Root, RootMode,
    Security, Start, Stop, Strategy,
};
pub use signal::Signal;
pub use sysctl::{SysctlName, Sysctls};
pub use tree::{RawFile, RawKind, Resolved, Tree};
pub use ulimit::{Ulimit, UlimitName};
pub use user::User;
pub use volume::{Volume, VolumeName, VolumeSource, Volumes};

use std::collections::BTreeMap;
use std::time::Duration;

/// One jail as its unit file asks for it. Only [`parse`] and [`tree`] make one, so all checks hold.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The file's stem; of an instance `NAME@INSTANCE`, `NAME-INSTANCE`.
    pub name: JailName,
    /// Version of the unit format: 1.
    pub version: u32,
    /// One line for people.
    pub description: Option<String>,
    /// Whether the host's A/B commit waits for this jail.
    pub critical: bool,
    /// Whether it is started when its unit appears, and at boot.
    pub enabled: bool,
    /// What its root is made from.
    pub image: Image,
    /// What happens to writes.
    pub root: Root,
    /// The program.
    pub process: Process,
    /// Its ids on the host.
    pub user: User,
    /// Privileges.
    pub security: Security,
    /// Link and addresses.
    pub network: Network,
    /// With whom its connections may be.
    pub firewall: Firewall,
    /// Limits.
    pub resources: Resources,
    /// Other jails that it needs, or comes before or after.
    pub dependencies: Dependencies,
    /// How it comes up.
    pub start: Start,
    /// How its health is checked.
    pub health: Health,
    /// What follows when it ends by itself.
    pub restart: Restart,
    /// What makes another version of it a good one.
    pub deploy: Deploy,
    /// How it is asked to end.
    pub stop: Stop,
    /// Programs at points of its life.
    pub hooks: Hooks,
    /// What becomes of what it prints.
    pub logs: Logs,
    /// Its directories that are not the image's.
    pub volumes: Volumes,
    /// Where each key stands, for problems that are found later.
    pub origin: Origin,
    /// What the file says that `security.seccomp` names, once it was read.
    profile: Option<seccomp::Profile>,
    /// What the file says that `network.network` names, once it was read.
    joined: Option<Joined>,
    settings: BTreeMap<String, String>,
}

impl Unit {
    /// What the unit says that is not the default: `section.key` to its canonical TOML value.
    pub const fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// How long the jail's processes may take until its program is executed: the hook before it included.
    pub fn executed_within(&self) -> Duration {
        let hook = self.hooks.get(HookKind::StartContainer);
        let hook = hook.map_or(Duration::ZERO, |(_, timeout)| timeout);
        self.start.timeout.saturating_add(hook)
    }

    /// What the file of `security.seccomp` says; none before it was read, and when no file is named.
    pub const fn profile(&self) -> Option<&seccomp::Profile> {
        self.profile.as_ref()
    }

    /// Takes what the file of `security.seccomp` says, and the hash of its text: from now on, another text is a
    /// change of the unit.
    pub fn set_profile(&mut self, profile: seccomp::Profile, hash: &str) {
        self.profile = Some(profile);
        if let Some(value) = self.settings.get_mut("security.seccomp") {
            value.push_str(&format!(" # sha256:{hash}"));
        }
    }

    /// The network that `network.network` names; none before its file was read, and when none is named.
    pub const fn joined(&self) -> Option<&Joined> {
        self.joined.as_ref()
    }

    /// Takes what the network is that it names: from now on, another one is a change of the unit.
    pub fn join(&mut self, network: Joined) {
        if let Some(value) = self.settings.get_mut("network.network") {
            value.push_str(&format!(" # {network}"));
        }
        self.joined = Some(network);
    }

    /// A problem of this unit that shows only on the host ("no such file"), at `key`'s place.
    pub fn problem(
        &self,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem::new(self.origin.at(key), key, message).help(help)
    }
}

/// Where each key of a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    file: String,
    places: BTreeMap<String, Place>,
}

impl Origin {
    /// The file's path, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The place of `section.key`; the whole file when the key is not in it.
    pub fn at(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or_else(|| Place::whole(&self.file))
    }

    /// Whether the file itself says it.
    pub fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }
}
