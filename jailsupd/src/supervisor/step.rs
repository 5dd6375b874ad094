//! What the files mean for one jail: decided here, done by `reconcile`.

use super::jail::Jail;
use super::report;
use crate::control::wire::{Consequence, PlanStep};
use crate::machine::{State, Want};
use crate::unit::change::{self, Change};
use crate::unit::{Effect, Problem, Resolved, Unit};
use std::borrow::Cow;

const KEPT: &str = "the last good version stays in force";

/// What the files mean for one jail.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) consequence: Consequence,
    pub(super) why: Cow<'static, str>,
    pub(super) changes: Vec<Change>,
    pub(super) problems: Vec<Problem>,
    /// The files that the unit is made from; empty when it has none.
    pub(super) files: Vec<String>,
    /// There are drop-ins at most, without a unit that they are a part of.
    pub(super) is_gone: bool,
    pub(super) unit: Option<Box<Unit>>,
    /// It follows from what is done with other jails: nobody has to see to it.
    pub(super) is_derived: bool,
}

impl Step {
    pub(super) fn new(name: &str, consequence: Consequence, why: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            consequence,
            why: Cow::Borrowed(why),
            changes: Vec::new(),
            problems: Vec::new(),
            files: Vec::new(),
            is_gone: false,
            unit: None,
            is_derived: false,
        }
    }

    pub(super) fn to_wire(&self) -> PlanStep {
        PlanStep {
            name: self.name.clone(),
            consequence: self.consequence,
            why: self.why.to_string(),
            changes: self.changes.iter().map(report::change).collect(),
            problems: self.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Judges what the files say now by the version in force, and by the one that is on trial beside it, if there is one.
/// `last_good` is what an earlier jailsupd had in force, if this one has nothing yet.
pub(super) fn judge(
    (jail, on_trial): (Option<&Jail>, Option<&Jail>),
    resolved: Resolved,
    last_good: Option<Unit>,
) -> Step {
    let Resolved { name, files, result, is_orphan } = resolved;
    let unit = match result {
        Ok(unit) => unit,
        Err(problems) => {
            let step = broken(jail, &name, is_orphan, last_good);
            return Step { problems, files, is_gone: is_orphan, ..step };
        }
    };
    let goes_on = on_trial.is_some_and(|on_trial| on_trial.is_trial_of(&unit));
    if goes_on && jail.is_some_and(|jail| !jail.removed) {
        let why = "its new version is on trial beside it";
        return Step { files, ..Step::new(&name, Consequence::Nothing, why) };
    }
    let in_force = jail.filter(|jail| !jail.removed).and_then(|jail| jail.loaded.as_ref());
    let changes = in_force.map_or_else(Vec::new, |old| change::diff(&old.unit, &unit));
    let (consequence, why) = match in_force {
        None => first_seen(jail, &unit, last_good.as_ref()),
        Some(old) => changed(jail, &old.unit, &unit, &changes),
    };
    Step { changes, files, unit: Some(Box::new(unit)), ..Step::new(&name, consequence, why) }
}

/// The files make no unit now.
fn broken(jail: Option<&Jail>, name: &str, is_orphan: bool, last_good: Option<Unit>) -> Step {
    let wanted = |jail: &Jail| jail.loaded.is_some() || jail.machine.want == Want::Up;
    if is_orphan && jail.is_some_and(wanted) {
        return Step::new(name, Consequence::Stop, "its unit is gone");
    }
    if jail.is_some_and(|jail| jail.loaded.is_some()) {
        return Step::new(name, Consequence::Invalid, KEPT);
    }
    match last_good.filter(|_| !is_orphan) {
        Some(unit) => {
            let (consequence, _) = first_seen(jail, &unit, None);
            Step { unit: Some(Box::new(unit)), ..Step::new(name, consequence, KEPT) }
        }
        None => Step::new(name, Consequence::Invalid, "it cannot be used"),
    }
}

fn first_seen(
    jail: Option<&Jail>,
    unit: &Unit,
    last_good: Option<&Unit>,
) -> (Consequence, &'static str) {
    // One that was disabled already was started by hand.
    let disabled = !unit.enabled && last_good.is_some_and(|old| old.enabled);
    match jail.filter(|jail| !jail.removed) {
        Some(jail) if disabled && jail.machine.want == Want::Up => {
            (Consequence::Stop, "it was disabled")
        }
        Some(jail) if jail.held_down => (Consequence::Nothing, "someone stopped it"),
        Some(jail) if last_good.is_some_and(|old| jail.left_starts_first(old, unit)) => {
            (Consequence::Replace, "its unit changed meanwhile: the new version starts first")
        }
        Some(jail) if jail.life.is_some() && jail.machine.want == Want::Up => {
            (Consequence::Nothing, "it runs already")
        }
        Some(jail) if jail.rested.as_deref() == Some(&unit.restart_hash().to_string()) => {
            (Consequence::Nothing, "it has run already")
        }
        _ if !unit.enabled => (Consequence::Nothing, "it is disabled"),
        _ => (Consequence::Start, "its unit is here"),
    }
}

fn changed(
    jail: Option<&Jail>,
    old: &Unit,
    new: &Unit,
    changes: &[Change],
) -> (Consequence, &'static str) {
    let at_rest = jail.is_none_or(|jail| matches!(jail.machine.state, State::Down | State::Failed));
    let restart = changes.iter().any(|change| change.effect == Effect::Restart);
    match (old.enabled, new.enabled) {
        (true, false) => (Consequence::Stop, "it was disabled"),
        (false, true) if at_rest => (Consequence::Start, "it was enabled"),
        (_, false) if at_rest => (Consequence::Nothing, "it is disabled"),
        _ if restart && at_rest => (Consequence::Start, "its unit changed"),
        _ if restart && jail.is_some_and(|jail| jail.starts_first(new)) => {
            (Consequence::Replace, "its unit changed: the new version starts first")
        }
        _ if restart => (Consequence::Restart, "its unit changed"),
        _ if !changes.is_empty() => (Consequence::Live, "its unit changed"),
        _ => (Consequence::Nothing, ""),
    }
}
