//! What people are told of a jail beside its state, as the keeper remembers it: `why` says the same after a death of
//! jailsupd.

use super::jail::{Jail, Loaded};
use crate::exec::state::{StartProblem, Told, cut};
use crate::unit::Problem;

impl Jail {
    /// To be remembered.
    pub(super) fn told(&self) -> Told {
        let problem = self.start_problem.as_ref().zip(self.loaded.as_ref());
        Told {
            start_problem: problem
                .map(|(problem, loaded)| stored(problem, loaded))
                .or_else(|| self.found_problem.clone()),
            hook_problem: self.hook_problem.as_deref().map(cut),
            evidence: self.evidence.as_deref().map(cut),
            denied: self
                .denied
                .iter()
                .map(|(call, (count, program))| (*call, *count, cut(program)))
                .collect(),
        }
    }

    /// Takes over what an earlier jailsupd has told.
    pub(super) fn take_told(&mut self, told: &Told) {
        self.found_problem.clone_from(&told.start_problem);
        self.hook_problem.clone_from(&told.hook_problem);
        self.evidence.clone_from(&told.evidence);
        let denied = told.denied.iter();
        self.denied =
            denied.map(|(call, count, program)| (*call, (*count, program.clone()))).collect();
    }

    /// Its unit was read: what an earlier jailsupd could not start is a problem still if it is the same.
    pub(super) fn place_found_problem(&mut self) {
        let Some((found, loaded)) = self.found_problem.take().zip(self.loaded.as_ref()) else {
            return;
        };
        if found.unit == loaded.restart_hash {
            self.start_problem = Some(loaded.unit.problem(&found.key, found.message, found.help));
        }
    }
}

fn stored(problem: &Problem, loaded: &Loaded) -> StartProblem {
    StartProblem {
        unit: loaded.restart_hash.clone(),
        key: cut(&problem.key),
        message: cut(&problem.message),
        help: cut(problem.help.as_deref().unwrap_or_default()),
    }
}
