//! What `org.warder.Host` and `org.varlink.service` tell.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::jail::words;

/// Results of `org.warder.Host.Info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Warder's version.
    pub version: String,
    /// The host's name.
    pub hostname: String,
    /// The kernel's release.
    pub kernel: String,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// When the kernel started, in milliseconds since 1970.
    pub booted: u64,
    /// Where data is kept: `disk`, or `memory: REASON`.
    pub data: String,
    /// The link that `uplink` names, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// The stages of the boot, in order; empty on a host that Warder did not boot.
    pub stages: Vec<Stage>,
    /// Problems of `host.toml` and `policy.toml`, each as its writer reads it (several lines).
    pub problems: Vec<String>,
}

words! {
    /// How a stage of the boot ended.
    StageState {
        /// As it should.
        Ok = "ok",
        /// It could not do its work; the host goes on without.
        Degraded = "degraded",
        /// It failed.
        Failed = "failed",
    }
}

/// One stage of the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its start, in microseconds since the kernel's (CLOCK_BOOTTIME).
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub state: StageState,
    /// What it has to say; often empty.
    pub message: String,
}

/// Results of `org.varlink.service.GetInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Who makes the service.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Where to read about it.
    pub url: String,
    /// The names of its interfaces.
    pub interfaces: Vec<String>,
}

impl ServiceInfo {
    /// jailsupd's own.
    pub fn jailsupd() -> Self {
        Self {
            vendor: "Warder".to_owned(),
            product: "jailsupd".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: String::new(),
            interfaces: super::INTERFACES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

/// Results of `org.varlink.service.GetInterfaceDescription`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceDescription {
    /// In Varlink's interface language.
    pub description: String,
}

impl InterfaceDescription {
    /// Of one of our interfaces.
    pub fn of(interface: &str) -> Option<Self> {
        let (_, text) = super::INTERFACES.iter().find(|(name, _)| *name == interface)?;
        Some(Self { description: (*text).to_owned() })
    }
}
