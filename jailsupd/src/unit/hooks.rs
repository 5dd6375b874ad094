//! `[hooks]`: programs of the image that run in the jail at points of its life, by OCI's names.

use std::fmt;
use std::time::Duration;

use super::command::Command;

/// The points of a jail's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookKind {
    /// Before the program is executed; OCI's `startContainer`.
    StartContainer,
    /// When the jail is ready; OCI's `poststart`.
    Poststart,
    /// Before the jail is asked to end.
    Prestop,
    /// After its end; OCI's `poststop`.
    Poststop,
}

impl HookKind {
    /// As its key.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::StartContainer => "start_container",
            Self::Poststart => "poststart",
            Self::Prestop => "prestop",
            Self::Poststop => "poststop",
        }
    }

    /// The key, with its section.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::StartContainer => "hooks.start_container",
            Self::Poststart => "hooks.poststart",
            Self::Prestop => "hooks.prestop",
            Self::Poststop => "hooks.poststop",
        }
    }

    /// `status` of the state that the hook reads (OCI's runtime specification, *State*).
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::StartContainer => "created",
            Self::Poststart | Self::Prestop => "running",
            Self::Poststop => "stopped",
        }
    }
}

impl fmt::Display for HookKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A program, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Program and arguments.
    pub exec: Option<Command>,
    /// After that it is killed.
    pub timeout: Duration,
}

impl Default for Hook {
    fn default() -> Self {
        Self { exec: None, timeout: Duration::from_secs(30) }
    }
}

/// All hooks of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Before the program.
    pub start_container: Hook,
    /// When the jail is ready.
    pub poststart: Hook,
    /// Before it is asked to end.
    pub prestop: Hook,
    /// After its end.
    pub poststop: Hook,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            start_container: Hook::default(),
            poststart: Hook::default(),
            // It is a part of `stop.timeout`, and the signal comes after it.
            prestop: Hook { timeout: Duration::from_secs(5), ..Hook::default() },
            poststop: Hook::default(),
        }
    }
}

impl Hooks {
    /// The program of one point, and how long it may take.
    #[must_use]
    pub fn get(&self, kind: HookKind) -> Option<(&[String], Duration)> {
        let hook = match kind {
            HookKind::StartContainer => &self.start_container,
            HookKind::Poststart => &self.poststart,
            HookKind::Prestop => &self.prestop,
            HookKind::Poststop => &self.poststop,
        };
        Some((hook.exec.as_ref()?.words(), hook.timeout))
    }
}
