//! Refusals as types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{JailState, Problem, parameters};

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
pub enum WireError {
    /// There is no unit of that name, and nothing is left of such a jail.
    #[serde(rename = "org.warder.Jails.NoSuchJail")]
    #[error("there is no jail `{name}`")]
    NoSuchJail {
        /// As the client wrote it.
        name: String,
        /// One that is written alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<String>,
    },
    /// The jail exists, but what was asked cannot be done with it as it is.
    #[serde(rename = "org.warder.Jails.NotPossible")]
    #[error("`{name}`: {reason}")]
    NotPossible {
        /// The jail, or the unit's stem.
        name: String,
        /// Why not, in words.
        reason: String,
    },
    /// The state that was waited for was not reached in time.
    #[serde(rename = "org.warder.Jails.Timeout")]
    #[error("the time is up, and the jail is {state}")]
    Timeout {
        /// Where the jail is instead.
        state: JailState,
    },
    /// The unit that was to be written has problems; nothing was written.
    #[serde(rename = "org.warder.Jails.InvalidUnit")]
    #[error("the unit has {}", count(problems))]
    InvalidUnit {
        /// All of them.
        problems: Vec<Problem>,
    },
    /// The unit's file is not the one that the client expected; nothing was written.
    #[serde(rename = "org.warder.Jails.Conflict")]
    #[error("{path} was changed meanwhile")]
    Conflict {
        /// The file.
        path: String,
        /// What its hash is; empty when there is no such file.
        hash: String,
    },
    /// Unit files have no such key or table.
    #[serde(rename = "org.warder.Jails.NoSuchKey")]
    #[error("unit files have no key `{key}`")]
    NoSuchKey {
        /// As the client wrote it.
        key: String,
        /// One that is written alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<String>,
        /// Those that hold the word, or else whose text speaks of it.
        #[serde(default)]
        related: Vec<String>,
    },
    /// A parameter is of the right type, but its value is none that can be taken.
    #[serde(rename = "org.warder.Jails.InvalidValue")]
    #[error("{problem}")]
    InvalidValue {
        /// The parameter's name.
        parameter: String,
        /// What is wrong with it; names the value.
        problem: String,
        /// What is allowed, or was probably meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        help: Option<String>,
    },
    /// There is no image of that name or digest.
    #[serde(rename = "org.warder.Storage.NoSuchImage")]
    #[error("there is no image `{image}`")]
    NoSuchImage {
        /// As the client wrote it.
        image: String,
        /// One that is written alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<String>,
    },
    /// The jail has no root of its own.
    #[serde(rename = "org.warder.Storage.NoSuchRoot")]
    #[error("the jail `{jail}` has no root of its own")]
    NoSuchRoot {
        /// As the client wrote it.
        jail: String,
        /// One that is written alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<String>,
    },
    /// There is no volume of that name.
    #[serde(rename = "org.warder.Storage.NoSuchVolume")]
    #[error("there is no volume `{name}`")]
    NoSuchVolume {
        /// As the client wrote it.
        name: String,
        /// One that is written alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<String>,
    },
    /// This is not a host that Warder booted.
    #[serde(rename = "org.warder.Host.NotSupported")]
    #[error("not possible on this host: {reason}")]
    NotSupported {
        /// Why not.
        reason: String,
    },
    /// PID 1 stays the program that it is.
    #[serde(rename = "org.warder.Host.NotReexecuted")]
    #[error("PID 1 was not executed anew and runs on as it is: {reason}")]
    NotReexecuted {
        /// Why.
        reason: String,
    },
    /// The peer may not do this.
    #[serde(rename = "org.varlink.service.PermissionDenied")]
    #[error("permission denied")]
    PermissionDenied,
    /// Varlink's own.
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    #[error("jailsupd has no interface `{interface}`")]
    InterfaceNotFound {
        /// As the client wrote it.
        interface: String,
    },
    /// Varlink's own.
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    #[error("jailsupd has no method `{method}`")]
    MethodNotFound {
        /// As the client wrote it.
        method: String,
    },
    /// Varlink's own.
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    #[error("the parameter `{parameter}` is missing or not valid")]
    InvalidParameter {
        /// Its name.
        parameter: String,
    },
    /// Varlink's own.
    #[serde(rename = "org.varlink.service.ExpectedMore")]
    #[error("the method has several replies: call it with `more`")]
    ExpectedMore,
    /// An error that this program does not know. Not sent by jailsupd.
    #[serde(skip)]
    #[error("jailsupd refused: {name}")]
    Other {
        /// `interface.Error`.
        name: String,
    },
    /// Never on the wire: the reply is not what the method promises.
    #[serde(skip)]
    #[error("the reply was not understood: {detail}")]
    NotUnderstood {
        /// What did not fit.
        detail: String,
    },
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "a problem".to_owned(),
        more => format!("{more} problems"),
    }
}

impl WireError {
    /// The error's full name and its parameters.
    pub(super) fn to_parts(&self) -> (String, Map<String, Value>) {
        let mut tagged = parameters(self);
        let name = match (self, tagged.get("error").and_then(Value::as_str)) {
            (Self::Other { name }, _) => name.clone(),
            (_, Some(name)) => name.to_owned(),
            (_, None) => "org.varlink.service.InvalidParameter".to_owned(),
        };
        let parameters = match tagged.remove("parameters") {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        (name, parameters)
    }

    /// Reads a refusal. Those without parameters are known also when a later version adds some.
    pub(super) fn from_parts(name: String, parameters: &Map<String, Value>) -> Self {
        let full = serde_json::from_value(json!({ "error": name, "parameters": parameters }));
        full.or_else(|_| serde_json::from_value(json!({ "error": name })))
            .unwrap_or(Self::Other { name })
    }
}
