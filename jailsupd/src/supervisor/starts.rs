//! Whose turn it is to start: in the order in which jails were wanted, and not more at once than are of use.

use super::jail::Jail;
use super::poller::JailId;
use super::{Supervisor, clock};
use crate::machine::{Moment, State};
use crate::unit::host::Host;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a start counts. One that hangs, or waits for a thing that comes after it, holds the others up for that
/// long and no longer.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// The queue of starts.
#[derive(Debug)]
pub(super) struct Starts {
    /// To be prepared, in this order.
    queue: VecDeque<JailId>,
    /// On their way up, each since when.
    under_way: Vec<(JailId, Moment)>,
    /// In the queue still, and not wanted any more.
    given_up: Vec<JailId>,
    most: usize,
}

impl Starts {
    /// As many as this host wants at once.
    pub(super) fn on(host: &Host) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(host.jails.starts_by(processors))
    }

    fn new(most: usize) -> Self {
        Self { queue: VecDeque::new(), under_way: Vec::new(), given_up: Vec::new(), most }
    }

    /// Has the jail prepared when it is its turn.
    pub(super) fn want(&mut self, id: JailId) {
        self.queue.push_back(id);
    }

    /// Has it prepared before the others: it has had its turn, and has failed once. A thousand jails may be wanted by now.
    pub(super) fn want_again(&mut self, id: JailId) {
        self.queue.push_front(id);
    }

    /// It is to stop: if it is in the queue, that is all there is to do for it, and nobody has to wait.
    pub(super) fn give_up(&mut self, id: JailId) {
        if self.queue.contains(&id) && !self.given_up.contains(&id) {
            self.given_up.push(id);
        }
    }

    fn is_under_way(&self, id: JailId) -> bool {
        self.under_way.iter().any(|(other, _)| *other == id)
    }

    /// The place in the queue of the one whose turn it is: the first, or when there are too many on their way the
    /// first of these (a worker has made what it was waiting for), or of those that are not wanted any more.
    fn turn(&self, now: Moment, is_starting: impl Fn(JailId) -> bool) -> Option<usize> {
        let counted = self.under_way.iter().filter(|entry| counts(entry, now, &is_starting));
        if counted.count() < self.most {
            return (!self.queue.is_empty()).then_some(0);
        }
        self.queue.iter().position(|id| self.is_under_way(*id) || self.given_up.contains(id))
    }

    /// When the first of those on their way counts no more, as long as somebody waits for that.
    pub(super) fn deadline(&self) -> Option<Moment> {
        if self.queue.is_empty() {
            return None;
        }
        self.under_way.iter().map(|(_, since)| since.saturating_add(COUNTS_FOR)).min()
    }

    /// Takes the next one out of the queue. `is_starting` says of those on their way whether they still are.
    fn next(&mut self, now: Moment, is_starting: impl Fn(JailId) -> bool) -> Option<JailId> {
        self.under_way.retain(|entry| counts(entry, now, &is_starting));
        let id = self.queue.remove(self.turn(now, is_starting)?)?;
        let was_given_up = self.given_up.contains(&id);
        self.given_up.retain(|other| *other != id);
        if !was_given_up && !self.is_under_way(id) {
            self.under_way.push((id, now));
        }
        Some(id)
    }
}

fn counts(
    (id, since): &(JailId, Moment),
    now: Moment,
    is_starting: impl Fn(JailId) -> bool,
) -> bool {
    now < since.saturating_add(COUNTS_FOR) && is_starting(*id)
}

/// Whether it is on its way up. In the queue itself it is Preparing, too, but not under way.
fn is_starting(jail: &Jail) -> bool {
    matches!(
        jail.machine.state,
        State::Preparing | State::Starting { .. } | State::Activating { .. }
    )
}

impl Supervisor {
    /// The next jail that is to be prepared.
    pub(super) fn next_start(&mut self) -> Option<JailId> {
        let jails = &self.jails;
        self.ties.starts.next(clock::now(), |id| jails.get(id).is_some_and(is_starting))
    }

    /// Whether one could be prepared at once.
    pub(super) fn can_prepare(&self) -> bool {
        let is_starting = |id| self.jails.get(id).is_some_and(is_starting);
        self.ties.starts.turn(clock::now(), is_starting).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Duration::from_secs(100);

    #[test]
    fn starts_take_turns_and_no_more_are_under_way_than_allowed() {
        let mut starts = Starts::new(2);
        (1..=4).for_each(|id| starts.want(id));
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        assert_eq!(starts.next(NOW, |_| true), Some(2));
        assert_eq!(starts.next(NOW, |_| true), None);
        // The first is up.
        assert_eq!(starts.next(NOW, |id| id != 1), Some(3));
        assert_eq!(starts.next(NOW, |id| id != 1), None);
    }

    #[test]
    fn one_that_is_not_wanted_any_more_does_not_wait_for_its_turn() {
        let mut starts = Starts::new(1);
        (1..=3).for_each(|id| starts.want(id));
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        starts.give_up(3);
        starts.give_up(4);
        assert_eq!(starts.next(NOW, |_| true), Some(3));
        assert_eq!(starts.next(NOW, |_| true), None);
        assert_eq!(starts.next(NOW, |id| id != 1), Some(2));
        assert!(starts.given_up.is_empty());
    }

    #[test]
    fn one_that_has_failed_once_does_not_wait_for_all_others() {
        let mut starts = Starts::new(1);
        (1..=3).for_each(|id| starts.want(id));
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        starts.want_again(1);
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        assert_eq!(starts.next(NOW, |id| id != 1), Some(2));
    }

    #[test]
    fn one_that_hangs_holds_the_others_up_for_a_while_only() {
        let mut starts = Starts::new(1);
        (1..=2).for_each(|id| starts.want(id));
        assert_eq!(starts.deadline(), None);
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        assert_eq!(starts.next(NOW, |_| true), None);
        let then = starts.deadline().unwrap();
        assert_eq!(starts.next(then, |_| true), Some(2));
        assert_eq!(starts.deadline(), None);
    }

    #[test]
    fn one_whose_image_has_been_made_goes_on_at_once() {
        let mut starts = Starts::new(1);
        starts.want(1);
        assert_eq!(starts.next(NOW, |_| true), Some(1));
        starts.want(2);
        starts.want(1);
        assert_eq!(starts.next(NOW, |_| true), Some(1));
    }
}
