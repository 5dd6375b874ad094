//! What `org.warder.Jails` tells of unit files and of what follows from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::jail::{JailState, JailSummary, words};

/// A unit as a client would have it, to be looked at but not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDraft {
    /// The file's name without `.toml`: the jail's name, or `NAME@` for a template.
    pub stem: String,
    /// The file's text.
    pub text: String,
    /// What to call the file in problems; without it `STEM.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// One thing that is wrong with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file's path.
    pub file: String,
    /// From 1; 0 when the whole file is meant.
    pub line: u32,
    /// From 1, in characters; 0 when the whole file is meant.
    pub column: u32,
    /// The key concerned as `section.key`; empty when none is.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do, or what is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// All of that as its writer reads it (several lines, ending with a line feed).
    pub text: String,
}

/// Results of `Check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// By file, then by line.
    pub problems: Vec<Problem>,
    /// How many files were looked at.
    pub checked: u64,
}

words! {
    /// What a unit file leads to for its jail.
    Consequence {
        /// The jail is started.
        Start = "start",
        /// The jail is stopped.
        Stop = "stop",
        /// The jail is stopped, then started with its new unit.
        Restart = "restart",
        /// The new version is started beside the running one, and takes its place when it is good.
        Replace = "replace",
        /// The running jail is changed; no process notices a restart.
        Live = "live",
        /// The jail stays as it is.
        Nothing = "nothing",
        /// The unit has problems: the jail stays as it is, with the last good version if there is one.
        Invalid = "invalid",
    }
}

words! {
    /// When a changed key is in force.
    Effect {
        /// At once, while the jail runs.
        Live = "live",
        /// With the restart that the change leads to.
        Restart = "restart",
    }
}

/// A key whose value differs between the unit in force and the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// The value in force, as TOML; missing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The file's value, as TOML; missing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// When it would be in force.
    pub effect: Effect,
}

/// What would happen to one jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// The jail.
    pub name: String,
    /// What would happen.
    pub consequence: Consequence,
    /// Why, in words; may be empty when nothing would.
    pub why: String,
    /// Field by field; empty for a jail that is new or goes.
    pub changes: Vec<Change>,
    /// The unit's problems, each as its writer reads it (several lines).
    pub problems: Vec<String>,
}

/// Results of `Plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// By name; also jails to which nothing would happen.
    pub steps: Vec<PlanStep>,
}

/// What has happened to one jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The jail.
    pub name: String,
    /// What was to be done.
    pub consequence: Consequence,
    /// Where that led to.
    pub reached: JailState,
    /// Why that is not what the unit wants, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Results of `Apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// By name; also jails to which nothing was done.
    pub jails: Vec<Applied>,
}

words! {
    /// What a file is to a unit.
    UnitRole {
        /// The file of the jail's own name.
        Unit = "unit",
        /// A fragment of `NAME.toml.d`, merged on top.
        DropIn = "drop_in",
        /// `NAME@.toml`, which the jail is an instance of.
        Template = "template",
    }
}

/// A file that a unit is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitText {
    /// Where it is.
    pub path: String,
    /// Its text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// What it is to the unit.
    pub role: UnitRole,
    /// SHA-256 of its bytes, in hexadecimal; `Put` takes it as `expect_hash`.
    pub hash: String,
}

/// Results of `Cat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFiles {
    /// In the order in which they are merged: later ones win.
    pub files: Vec<UnitText>,
}

/// Results of the methods that change files: `Put`, `Delete`, `Enable`, `Disable`, `Mask`, `Unmask`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What was made, changed or taken away; empty when all was so already.
    pub paths: Vec<String>,
    /// The jail as it is now; missing for a template, and when nothing is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<JailSummary>,
}

/// What a unit file may say under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDoc {
    /// `section.key`.
    pub key: String,
    /// What it takes, in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// A unit without it is refused.
    pub required: bool,
    /// Its value when the unit does not say, as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What holds without it, in words, when no value says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// When a change of it is in force.
    pub effect: Effect,
    /// What it does.
    pub doc: String,
    /// A value, as TOML.
    pub example: String,
}

/// Results of `Explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDocs {
    /// In the order of docs/units.md.
    pub entries: Vec<KeyDoc>,
}

/// Results of `Schema`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSchema {
    /// The JSON Schema of a unit file, as text.
    pub schema: String,
}
