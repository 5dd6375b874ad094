//! Whether a jail that waits may start, by how the jails stand that it depends on.
//!
//! Level-triggered: asked anew whenever some jail's state has changed, with nothing remembered in between. So a
//! change that nobody saw is not lost, and a jail starts by itself as soon as what it needs is there, whoever
//! brought that about.

use super::{Machine, State, Want};
use crate::unit::Relation;

/// How a jail that another one depends on stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its program runs and is ready.
    Ready,
    /// It has ended with success: a job that has done its work.
    Done,
    /// It is on its way, and nobody need do anything.
    Coming(String),
    /// It is not there, and not on its way.
    Absent(String),
}

/// One jail that another one depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is to the other one.
    pub relation: Relation,
}

/// What a jail waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// The name of a jail.
    pub name: String,
    /// It is on its way.
    pub is_coming: bool,
    /// It is there in a moment: nobody need be told.
    pub is_brief: bool,
    /// How it stands: "failed: exited with 1".
    pub why: String,
}

/// Whether the jail may start. Of several that it waits for, the one is told about which somebody must do
/// something.
///
/// # Errors
/// What it waits for.
pub fn is_open<'a>(
    needs: impl IntoIterator<Item = Needed<'a>>,
    standing: impl Fn(&str) -> Standing,
) -> Result<(), WaitsFor> {
    let mut waits: Option<WaitsFor> = None;
    for need in needs {
        let is_needed = need.relation.is_needed();
        let (is_coming, why) = match standing(need.name) {
            Standing::Ready => continue,
            Standing::Done if need.relation != Relation::BindsTo => continue,
            Standing::Done => (false, "has ended with success".to_owned()),
            Standing::Coming(why) => (true, why),
            Standing::Absent(_) if !is_needed => continue,
            Standing::Absent(why) => (false, why),
        };
        if waits.as_ref().is_none_or(|other| other.is_coming && !is_coming) {
            let name = need.name.to_owned();
            waits = Some(WaitsFor { name, is_coming, is_brief: false, why });
        }
    }
    waits.map_or(Ok(()), Err)
}

/// How a machine stands, as far as it says that itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// Its program runs and is ready.
    Ready,
    /// It has ended by itself, with success.
    Done,
    /// It is on its way.
    Coming,
    /// It waits, too: what for decides.
    Waits,
    /// It is not there, and not on its way.
    Absent,
}

/// How a jail stands to those that depend on it. One that has failed and is tried again in a while counts as
/// absent: who can do without it is not held up by it.
#[must_use]
pub fn prospect(machine: &Machine) -> Prospect {
    let wanted = machine.want == Want::Up;
    match machine.state {
        State::Up { .. } => Prospect::Ready,
        State::Waiting => Prospect::Waits,
        State::Down if wanted => Prospect::Done,
        State::Preparing | State::Starting { .. } | State::Activating { .. } if wanted => {
            Prospect::Coming
        }
        // What follows is its policy's to say; it is known in a moment.
        State::Stopping { .. } | State::Cleaning { .. } if wanted => Prospect::Coming,
        State::Preparing
        | State::Starting { .. }
        | State::Activating { .. }
        | State::Stopping { .. }
        | State::Cleaning { .. }
        | State::Down
        | State::Backoff { .. }
        | State::Failed => Prospect::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn standing(name: &str) -> Standing {
        match name {
            "ready" => Standing::Ready,
            "done" => Standing::Done,
            "coming" => Standing::Coming("is starting".into()),
            _ => Standing::Absent("failed: exited with 1".into()),
        }
    }

    #[test]
    fn one_that_is_not_ready_yet_is_only_coming() {
        let machine = |state| Machine { state, want: Want::Up, ..Machine::NEW };
        let activating = State::Activating { ready_by: Duration::ZERO };
        let well_since = Some(Duration::ZERO);
        let up =
            State::Up { since: Duration::ZERO, well_since, watchdog_at: None, runtime_until: None };
        assert_eq!(prospect(&machine(activating)), Prospect::Coming);
        assert_eq!(prospect(&machine(up)), Prospect::Ready);
    }

    fn waits(needs: &[(&'static str, Relation)]) -> Option<WaitsFor> {
        let needs = needs.iter().map(|(name, relation)| Needed { name, relation: *relation });
        is_open(needs, standing).err()
    }

    #[test]
    fn what_is_needed_must_be_ready() {
        use Relation::{BindsTo, Requires};
        assert_eq!(waits(&[]), None);
        assert_eq!(waits(&[("ready", Requires), ("ready", BindsTo)]), None);
        assert_eq!(waits(&[("coming", Requires)]).unwrap().name, "coming");
        let failed = waits(&[("coming", Requires), ("failed", BindsTo)]).unwrap();
        assert_eq!((failed.name.as_str(), failed.is_coming), ("failed", false));
        assert_eq!(failed.why, "failed: exited with 1");
    }

    #[test]
    fn a_job_that_is_done_can_be_required_and_not_be_bound_to() {
        assert_eq!(waits(&[("done", Relation::Requires), ("done", Relation::After)]), None);
        assert!(!waits(&[("done", Relation::BindsTo)]).unwrap().is_coming);
    }

    #[test]
    fn what_is_not_needed_is_waited_for_while_it_is_coming() {
        use Relation::{After, Wants};
        assert_eq!(waits(&[("ready", Wants), ("failed", After)]), None);
        assert_eq!(waits(&[("failed", Wants), ("coming", After)]).unwrap().name, "coming");
    }

    proptest! {
        #[test]
        fn the_gate_is_open_exactly_when_nothing_holds_it(
            needs in proptest::collection::vec((0usize..4, 0usize..5), 0..6)
        ) {
            let names = ["ready", "done", "coming", "failed"];
            let needs: Vec<(&'static str, Relation)> =
                needs.into_iter().map(|(at, relation)| (names[at], Relation::ALL[relation])).collect();
            let is_absent = |(name, relation): &(&str, Relation)| match *name {
                "done" => *relation == Relation::BindsTo,
                "failed" => relation.is_needed(),
                _ => false,
            };
            let holds = |need: &(&str, Relation)| need.0 == "coming" || is_absent(need);
            let waits = waits(&needs);
            prop_assert_eq!(waits.is_none(), !needs.iter().any(holds));
            // It is told to be coming only when all that holds it is.
            if let Some(waits) = waits {
                prop_assert_eq!(waits.is_coming, !needs.iter().any(is_absent));
            }
        }
    }
}
