//! What an edit of a unit changes, and what follows for its jail.

use std::fmt;

use super::Unit;
use super::document::{Effect, Key, Presence};
use super::keys::{Draft, UNIT};

/// One key that two units differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// The canonical value that was in force, the default included; none when nothing was set.
    pub old: Option<String>,
    /// The same of the new unit.
    pub new: Option<String>,
    /// What the change asks for.
    pub effect: Effect,
    /// What it means that nothing is set: "no limit".
    pub unset: &'static str,
}

/// `resources.memory_max: "256M" -> (no limit)`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| match value {
            Some(value) => value.clone(),
            None => format!("({})", self.unset),
        };
        write!(f, "{}: {} -> {}", self.key, value(&self.old), value(&self.new))
    }
}

/// The keys in which `new` differs from `old`, in the order of the table of keys.
pub fn diff(old: &Unit, new: &Unit) -> Vec<Change> {
    let differs = |key: &Key<Draft>| {
        let path = key.path();
        let (default, unset) = match key.presence {
            Presence::Default(value) => (Some(value), ""),
            Presence::Unset(meaning) => (None, meaning),
            Presence::Required => (None, ""),
        };
        let value = |unit: &Unit| {
            let said = unit.settings().get(&path).map(String::as_str);
            said.or(default).map(str::to_owned)
        };
        let (old, new) = (value(old), value(new));
        (old != new).then_some(Change { key: path, old, new, effect: key.effect, unset })
    };
    UNIT.keys.iter().filter_map(differs).collect()
}

/// What follows for a jail when its unit appears, changes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// When it is up it is restarted, because a key has changed that holds from the start only.
    Restart,
    /// When it is up it goes on, and takes the changes over.
    Live,
    /// Nothing.
    Nothing,
}

/// What follows when `new` takes the place of `in_force`; none is a unit that is not there.
pub fn consequence(in_force: Option<&Unit>, new: Option<&Unit>) -> Consequence {
    match (in_force, new) {
        (None, Some(new)) if new.enabled => Consequence::Start,
        (None, _) => Consequence::Nothing,
        (Some(_), None) => Consequence::Stop,
        (Some(old), Some(new)) if old.settings() == new.settings() => Consequence::Nothing,
        (Some(old), Some(new)) if old.restart_hash() == new.restart_hash() => Consequence::Live,
        (Some(_), Some(_)) => Consequence::Restart,
    }
}

impl Consequence {
    /// For people, with what [`diff`] has found: `restarts, since process.exec holds from a start on`.
    pub fn sentence(self, changes: &[Change]) -> String {
        let keys = |effect: Effect| -> Vec<&str> {
            changes.iter().filter(|c| c.effect == effect).map(|c| c.key.as_str()).collect()
        };
        match self {
            Self::Start => "starts".to_owned(),
            Self::Stop => "stops, since its unit is gone".to_owned(),
            Self::Restart => format!("restarts, for {}", few(&keys(Effect::Restart))),
            Self::Live => format!("goes on, with {} taken over", few(&keys(Effect::Live))),
            Self::Nothing => "stays as it is".to_owned(),
        }
    }
}

/// At most three of them by name.
fn few(keys: &[&str]) -> String {
    match keys {
        [] => "another unit".to_owned(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, more @ ..] => format!("{one}, {two} and {} more", more.len()),
    }
}
