//! The control wire: what jailsupd and its clients say to each other, as types.
//!
//! Varlink (<https://varlink.org>): JSON objects, each ended by a NUL byte, over `/run/jailsupd.sock`. The
//! interfaces are described by the `.varlink` files beside this one, which the server hands out and a test
//! compares with these types. Pure: bytes and values only; both ends, and all clients, use it.
//!
//! All of this is a promise to clients of other versions: fields are added, never changed.

mod frame;
mod history;
mod host;
mod jail;
mod network;
mod refusal;
mod request;
mod storage;
mod streams;
#[cfg(test)]
mod tests;
mod unit;
mod usage;

pub use frame::{Decoder, FrameError, MAX_MESSAGE, MAX_REPLY, Message, encode};
pub use history::{Event, EventLine, Evidence, JailProcesses, Process, ProcessTable};
pub use host::{HostInfo, InterfaceDescription, ServiceInfo, Stage, StageState};
pub use jail::{
    Checks, Exit, ExitReason, HealthState, Inspected, Jail, JailState, JailSummary, Listed,
    LogEntry, LogLine, Privileges, Reached, Seccomp, Stream, Usage, Victim,
};
/// What goes over the session's socket of `Exec`, and the streams of `CopyFrom` and `CopyTo`.
pub use jail_init::{ExitReport, Stage as StartStage, StartError, archive, session};
pub use network::{
    Diagnosis, Finding, JailNetwork, LinkState, NetAddress, NetLink, NetRoute, NetworkShown, SetBy,
    Weight,
};
pub use refusal::WireError;
pub use request::Request;
pub use storage::{
    Image, ImageImported, ImageInspected, ImageRemoved, ImageTagged, ImagesCollected, ImagesListed,
    Root, RootRemoved, RootsListed, Volume, VolumeInspected, VolumeRemoved, VolumesListed,
};
pub use streams::{Attached, Ran, Streams, TerminalSize};
pub use unit::{
    Applied, Change, Changed, Checked, Consequence, Effect, KeyDoc, KeyDocs, Outcome, PlanStep,
    Planned, Problem, UnitDraft, UnitFiles, UnitRole, UnitSchema, UnitText,
};
pub use usage::{Counters, JailUsage, ProcessUsage, UsageTable};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where jailsupd listens.
pub const SOCKET: &str = "/run/jailsupd.sock";

/// Each interface's name and description in Varlink's own language.
pub const INTERFACES: [(&str, &str); 5] = [
    ("org.varlink.service", include_str!("wire/org.varlink.service.varlink")),
    ("org.warder.Jails", include_str!("wire/org.warder.Jails.varlink")),
    ("org.warder.Host", include_str!("wire/org.warder.Host.varlink")),
    ("org.warder.Storage", include_str!("wire/org.warder.Storage.varlink")),
    ("org.warder.Network", include_str!("wire/org.warder.Network.varlink")),
];

/// What a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `interface.Method`.
    pub method: String,
    /// The method's parameters by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The client takes several replies.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The client takes no reply at all.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
}

/// What the server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The results, or the details of the error, by name.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Further replies to the same call follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// `interface.Error` when the call was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Reply {
    /// A reply without results.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The last, or only, reply with these results; `results` is a struct of this module.
    pub fn with(results: &impl Serialize) -> Self {
        Self { parameters: parameters(results), ..Self::default() }
    }

    /// The same, and further ones follow.
    #[must_use]
    pub fn continued(mut self) -> Self {
        self.continues = true;
        self
    }

    /// A refusal.
    pub fn refusal(error: &WireError) -> Self {
        let (name, parameters) = error.to_parts();
        Self { parameters, continues: false, error: Some(name) }
    }

    /// The results, or why there are none.
    ///
    /// # Errors
    /// The server's refusal; or [`WireError::NotUnderstood`] when the results are not a `T`.
    pub fn results<T: serde::de::DeserializeOwned>(self) -> Result<T, WireError> {
        if let Some(name) = self.error {
            return Err(WireError::from_parts(name, &self.parameters));
        }
        serde_json::from_value(Value::Object(self.parameters))
            .map_err(|error| WireError::NotUnderstood { detail: error.to_string() })
    }
}

/// A struct of this module as parameters: by construction an object, and without keys that could fail.
fn parameters(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
