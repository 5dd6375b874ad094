//! Calls and refusals as types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Call, parameters};

/// Every method that jailsupd serves, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Request {
    /// Who serves this socket.
    #[serde(rename = "org.varlink.service.GetInfo")]
    GetInfo {},
    /// The text of an interface.
    #[serde(rename = "org.varlink.service.GetInterfaceDescription")]
    GetInterfaceDescription {
        /// Its name.
        interface: String,
    },
    /// All jails.
    #[serde(rename = "org.warder.Jails.List")]
    List {},
    /// Everything about one jail.
    #[serde(rename = "org.warder.Jails.Inspect")]
    Inspect {
        /// The jail.
        name: String,
    },
    /// The log of one jail; a call with `more`.
    #[serde(rename = "org.warder.Jails.Logs")]
    Logs {
        /// The jail.
        name: String,
        /// Only the last so many lines of what is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u64>,
        /// Go on with new lines until the client hangs up.
        #[serde(default)]
        follow: bool,
    },
    /// What the host is and how it booted.
    #[serde(rename = "org.warder.Host.Info")]
    HostInfo {},
    /// Stop all jails, then turn the host off.
    #[serde(rename = "org.warder.Host.PowerOff")]
    PowerOff {},
    /// Stop all jails, then boot the host anew.
    #[serde(rename = "org.warder.Host.Reboot")]
    Reboot {},
}

impl Request {
    /// Reads a call.
    ///
    /// # Errors
    /// The refusal to answer with: no such interface or method, a parameter missing or of the wrong type, or a
    /// call without `more` of a method that needs it.
    pub fn from_call(call: &Call) -> Result<Self, WireError> {
        let (interface, _) = call.method.rsplit_once('.').unwrap_or_default();
        let known = super::INTERFACES.iter().find(|(name, _)| *name == interface);
        let Some((_, text)) = known else {
            return Err(WireError::InterfaceNotFound { interface: interface.to_owned() });
        };
        let method = call.method.rsplit('.').next().unwrap_or_default();
        if !text.lines().any(|line| line.starts_with(&format!("method {method}("))) {
            return Err(WireError::MethodNotFound { method: call.method.clone() });
        }
        let tagged = serde_json::json!({ "method": call.method, "parameters": call.parameters });
        let request: Self = serde_json::from_value(tagged)
            .map_err(|_| WireError::InvalidParameter { parameter: wrong_one(call) })?;
        if request.needs_more() && !call.more {
            return Err(WireError::ExpectedMore);
        }
        Ok(request)
    }

    /// The call that asks for this.
    pub fn to_call(&self) -> Call {
        let mut tagged = parameters(self);
        let method = tagged.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let parameters = match tagged.remove("parameters") {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        Call { method, parameters, more: self.needs_more(), oneway: false }
    }

    /// Whether there is more than one reply to it.
    pub const fn needs_more(&self) -> bool {
        matches!(self, Self::Logs { .. })
    }

    /// Whether it only looks.
    pub const fn is_read_only(&self) -> bool {
        !matches!(self, Self::PowerOff {} | Self::Reboot {})
    }
}

/// The parameter that is missing or of the wrong type. All of our required parameters are strings.
fn wrong_one(call: &Call) -> String {
    let required = match call.method.as_str() {
        "org.varlink.service.GetInterfaceDescription" => "interface",
        _ => "name",
    };
    let good = call.parameters.get(required).is_some_and(Value::is_string);
    let other = call.parameters.keys().find(|key| *key != required);
    match other {
        Some(key) if good => key.clone(),
        _ => required.to_owned(),
    }
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// `org.warder.Jails.NoSuchJail`.
    #[error("there is no jail `{name}`")]
    NoSuchJail {
        /// As the client wrote it.
        name: String,
    },
    /// `org.varlink.service.PermissionDenied`.
    #[error("permission denied")]
    PermissionDenied,
    /// `org.warder.Host.NotSupported`: this is not a host that Warder booted.
    #[error("not possible on this host: {reason}")]
    NotSupported {
        /// Why not.
        reason: String,
    },
    /// `org.varlink.service.InterfaceNotFound`.
    #[error("jailsupd has no interface `{interface}`")]
    InterfaceNotFound {
        /// As the client wrote it.
        interface: String,
    },
    /// `org.varlink.service.MethodNotFound`.
    #[error("jailsupd has no method `{method}`")]
    MethodNotFound {
        /// As the client wrote it.
        method: String,
    },
    /// `org.varlink.service.InvalidParameter`.
    #[error("the parameter `{parameter}` is missing or not valid")]
    InvalidParameter {
        /// Its name.
        parameter: String,
    },
    /// `org.varlink.service.ExpectedMore`.
    #[error("the method has several replies: call it with `more`")]
    ExpectedMore,
    /// An error that this program does not know.
    #[error("jailsupd refused: {name}")]
    Other {
        /// `interface.Error`.
        name: String,
    },
    /// Never on the wire: the reply is not what the method promises.
    #[error("the reply was not understood: {detail}")]
    NotUnderstood {
        /// What did not fit.
        detail: String,
    },
}

impl WireError {
    pub(super) fn to_parts(&self) -> (String, Map<String, Value>) {
        let (name, detail) = match self {
            Self::NoSuchJail { name } => ("org.warder.Jails.NoSuchJail", Some(("name", name))),
            Self::PermissionDenied => ("org.varlink.service.PermissionDenied", None),
            Self::NotSupported { reason } => {
                ("org.warder.Host.NotSupported", Some(("reason", reason)))
            }
            Self::InterfaceNotFound { interface } => {
                ("org.varlink.service.InterfaceNotFound", Some(("interface", interface)))
            }
            Self::MethodNotFound { method } => {
                ("org.varlink.service.MethodNotFound", Some(("method", method)))
            }
            Self::InvalidParameter { parameter } => {
                ("org.varlink.service.InvalidParameter", Some(("parameter", parameter)))
            }
            Self::ExpectedMore => ("org.varlink.service.ExpectedMore", None),
            Self::Other { name } => (name.as_str(), None),
            Self::NotUnderstood { .. } => ("org.varlink.service.InvalidParameter", None),
        };
        let parameters = detail.map(|(key, value)| (key.to_owned(), Value::String(value.clone())));
        (name.to_owned(), parameters.into_iter().collect())
    }

    pub(super) fn from_parts(name: String, parameters: &Map<String, Value>) -> Self {
        let text =
            |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match name.as_str() {
            "org.warder.Jails.NoSuchJail" => Self::NoSuchJail { name: text("name") },
            "org.varlink.service.PermissionDenied" => Self::PermissionDenied,
            "org.warder.Host.NotSupported" => Self::NotSupported { reason: text("reason") },
            "org.varlink.service.InterfaceNotFound" => {
                Self::InterfaceNotFound { interface: text("interface") }
            }
            "org.varlink.service.MethodNotFound" => Self::MethodNotFound { method: text("method") },
            "org.varlink.service.InvalidParameter" => {
                Self::InvalidParameter { parameter: text("parameter") }
            }
            "org.varlink.service.ExpectedMore" => Self::ExpectedMore,
            _ => Self::Other { name },
        }
    }
}
