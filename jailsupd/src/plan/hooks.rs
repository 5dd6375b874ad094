//! The hook that the jail's PID 1 runs before the program, and OCI's state for all hooks.

use super::c_string;
use crate::unit::{HookKind, Unit};
use std::ffi::CString;
use std::time::Duration;

/// A program that is executed before the jail's own, or in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartHook {
    /// Program and arguments.
    pub argv: Vec<CString>,
    /// How long it may take.
    pub timeout: Duration,
    /// Its standard input.
    pub state: CString,
}

impl StartHook {
    /// The unit's hook of this kind, if it has one.
    #[must_use]
    pub fn of(unit: &Unit, kind: HookKind) -> Option<Self> {
        let (words, timeout) = unit.hooks.get(kind)?;
        let argv = words.iter().map(|word| c_string(word)).collect();
        Some(Self { argv, timeout, state: c_string(&state(unit.name.as_str(), kind)) })
    }
}

/// OCI's state of a container (runtime specification, *State*), as JSON. The process is the jail's first one, by the
/// number that it has there; a bundle there is none.
#[must_use]
pub fn state(name: &str, kind: HookKind) -> String {
    let pid = if kind == HookKind::Poststop { "" } else { "\"pid\":1," };
    format!(
        "{{\"ociVersion\":\"1.2.0\",\"id\":\"{name}\",\"status\":\"{}\",{pid}\"bundle\":\"/\",\"annotations\":{{}}}}",
        kind.status()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_what_oci_says() {
        let value: serde_json::Value =
            serde_json::from_str(&state("web", HookKind::StartContainer)).unwrap();
        assert_eq!((&value["id"], &value["status"]), (&"web".into(), &"created".into()));
        assert_eq!((&value["pid"], &value["bundle"]), (&1.into(), &"/".into()));
        let value: serde_json::Value =
            serde_json::from_str(&state("web", HookKind::Poststop)).unwrap();
        assert_eq!((&value["status"], value.get("pid")), (&"stopped".into(), None));
    }
}
