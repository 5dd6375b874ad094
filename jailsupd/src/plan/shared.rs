//! What plans have in common: most jails of a host ask for the same things.

use super::seccomp::Filters;
use super::steps::JailStep;
use std::sync::Arc;

/// As many different lists of steps as are kept to be found again.
const MOST: usize = 32;

/// Parts of the last plans, to be parts of the next ones.
#[derive(Debug, Default)]
pub struct Shared {
    /// Compiled filters.
    pub filters: Filters,
    steps: Vec<Arc<[JailStep]>>,
}

impl Shared {
    /// These steps, or the same that an earlier plan has.
    pub(super) fn steps(&mut self, steps: Vec<JailStep>) -> Arc<[JailStep]> {
        if let Some(known) = self.steps.iter().find(|known| known[..] == steps[..]) {
            return Arc::clone(known);
        }
        let new: Arc<[JailStep]> = steps.into();
        if self.steps.len() == MOST {
            self.steps.remove(0);
        }
        self.steps.push(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_steps_are_there_once_and_not_all_are_kept() {
        let mut shared = Shared::default();
        let first = shared.steps(vec![JailStep::Pivot]);
        assert!(Arc::ptr_eq(&first, &shared.steps(vec![JailStep::Pivot])));
        let two = |number| JailStep::MountVolume { target: Vec::new(), number };
        for number in 0..100 {
            assert_eq!(shared.steps(vec![two(number)])[..], [two(number)]);
        }
        assert_eq!(shared.steps.len(), MOST);
        assert_eq!(shared.steps(vec![JailStep::Pivot]), first);
    }
}
