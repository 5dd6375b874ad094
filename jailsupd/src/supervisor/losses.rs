//! What of a jail's output, of the events and of the kernel's log was not stored: counted, and told in the log itself as
//! soon as that takes it.

use super::poller::JailId;
use super::{Supervisor, clock};
use crate::exec::logs::{self, Line, Stream};
use crate::machine::Moment;
use crate::unit::Logs;
use std::time::Duration;

/// Between two lines about losses.
const PAUSE: Duration = Duration::from_secs(1);

/// Why lines are lost, as a rule.
pub(super) const FULL: &str = "the data partition had no room for them";

/// How a jail fares with its log.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// What its log does not tell of so far.
    lost: Option<Lost>,
    /// All that was lost since jailsupd knows it.
    total: Amount,
    /// Since when lines are counted, and how many there were.
    window: (Moment, u64),
    /// Bytes since the last of these ended.
    begun: usize,
    /// Since when a pipe of it is full whatever is taken: standard output, standard error.
    pub(super) full_since: [Option<Moment>; 2],
    /// Nobody listens to its pipes: it is to wait.
    pub(super) paused: bool,
    /// Which of two lives of it has written last, if not the jail itself: standard output, standard error.
    pub(super) writers: [Option<JailId>; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Lines that were lost, and when that is to be told.
#[derive(Debug)]
struct Lost {
    amount: Amount,
    why: String,
    tell_at: Moment,
}

/// How many entries a log that is no jail's is short of, and when that is told where nothing else comes.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    count: u64,
    tell_at: Option<Moment>,
}

impl Unstored {
    /// Counts some. True for the first ones.
    pub(super) fn add(&mut self, count: u64, now: Moment) -> bool {
        let is_first = self.count == 0;
        self.count += count;
        self.put_off(now);
        is_first
    }

    /// There is still no room to tell it.
    pub(super) fn put_off(&mut self, now: Moment) {
        self.tell_at = Some(now + PAUSE);
    }

    /// When a loss is to be told.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.tell_at
    }

    /// A sentence for people, where something is missing.
    pub(super) fn sentence(&self, what: &str) -> Option<String> {
        let (verb, ending) = if self.count == 1 { ("was", "") } else { ("were", "s") };
        (self.count > 0).then(|| format!("{} {what}{ending} {verb} not stored: {FULL}", self.count))
    }
}

impl Amount {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { lines: logs::count_lines(bytes), bytes: bytes.len() as u64 }
    }

    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

impl Intake {
    /// Counts a loss. It is told at `tell_at`, or a while from now.
    pub(super) fn lose(&mut self, amount: Amount, why: &str, tell_at: Option<Moment>) {
        self.total.add(amount);
        match &mut self.lost {
            Some(lost) => lost.amount.add(amount),
            None => {
                let tell_at = tell_at.unwrap_or_else(|| clock::now() + PAUSE);
                self.lost = Some(Lost { amount, why: why.to_owned(), tell_at });
            }
        }
    }

    /// When a loss is to be told.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.lost.as_ref().map(|lost| lost.tell_at)
    }

    /// How many bytes of these the rate limit lets through: whole lines, and the rest of one that was begun. Lines
    /// are counted where they end; a long one is as many as it is stored in pieces.
    pub(super) fn admit(&mut self, bytes: &[u8], is_begun: bool, limits: &Logs) -> usize {
        let Some(interval) = limits.rate_limit_interval else { return bytes.len() };
        let (now, burst) = (clock::now(), limits.rate_limit_burst.get());
        if now >= self.window.0.saturating_add(interval) {
            self.window = (now, 0);
        }
        let left = burst.saturating_sub(self.window.1);
        // One line beyond the limit, which one without an end cannot have twice.
        let rest = u64::from(is_begun && self.window.1 <= burst);
        let (kept, lines, begun) = first_lines(bytes, left.max(rest), self.begun);
        self.window.1 += lines;
        self.begun = begun;
        kept
    }

    /// The end of the time that the rate limit counts in.
    pub(super) fn window_end(&self, limits: &Logs) -> Moment {
        self.window.0.saturating_add(limits.rate_limit_interval.unwrap_or_default())
    }

    /// A sentence for people.
    pub(super) fn sentence(&self) -> Option<String> {
        let lost = show(self.total);
        (self.total != Amount::default())
            .then(|| format!("Of what it has printed {lost} are not in its log."))
    }
}

/// The length of the first `count` lines, how many there are, and how many bytes of another one follow them. Of the
/// first line `begun` bytes came before. A rest without an end belongs to the line before the limit, or is over it.
fn first_lines(bytes: &[u8], count: u64, begun: usize) -> (usize, u64, usize) {
    let (mut at, mut lines, mut begun) = (0, 0, begun);
    while lines < count {
        let rest = bytes.get(at..).unwrap_or_default();
        let room = logs::LINE_MAX.saturating_sub(begun).max(1);
        let piece = &rest[..rest.len().min(room)];
        let length = match memchr::memchr(b'\n', piece) {
            Some(end) => end + 1,
            None if piece.len() == room => room,
            None => return (bytes.len(), lines, begun + piece.len()),
        };
        (at, lines, begun) = (at + length, lines + 1, 0);
    }
    (at, lines, begun)
}

fn show(Amount { lines, bytes }: Amount) -> String {
    let ending = if lines == 1 { "" } else { "s" };
    format!("{lines} line{ending} ({bytes} bytes)")
}

impl Supervisor {
    /// Tells in a jail's log what is not in it, when its time has come or it has ended.
    pub(super) fn tell_losses(&mut self, id: JailId, ended: bool) {
        let now = clock::now();
        let of = self.log_of(id);
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(lost) = jail.intake.lost.take_if(|lost| ended || lost.tell_at <= now) else {
            return;
        };
        let text = format!("dropped {}: {}", show(lost.amount), lost.why);
        let line = Line { time: clock::wall_ms(), stream: Stream::Warder, text };
        // While a batch of it waits, nothing else is stored.
        let is_free = self.output.is_free(&jail.name);
        let logged = self.jails.get_mut(of).filter(|_| is_free);
        match logged.is_some_and(|logged| logged.log.append(&[line]).is_ok()) {
            true => self.grown(of),
            false => {
                if let Some(jail) = self.jails.get_mut(id) {
                    jail.intake.lost = Some(Lost { tell_at: now + PAUSE, ..lost });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::LineCount;

    #[test]
    fn lines_are_admitted_up_to_the_limit() {
        assert_eq!(first_lines(b"a\nb\nc", 2, 0), (4, 2, 0));
        assert_eq!(first_lines(b"a\nb\nc", 3, 0), (5, 2, 1));
        assert_eq!(first_lines(b"a\nb\nc", 0, 0), (0, 0, 0));
        assert_eq!(first_lines(b"abc", 1, 2), (3, 0, 5));
        // One without an end is as many as its pieces.
        let long = vec![b'x'; 3 * logs::LINE_MAX];
        assert_eq!(first_lines(&long, 2, 0), (2 * logs::LINE_MAX, 2, 0));
        assert_eq!(first_lines(&long, 1, 100), (logs::LINE_MAX - 100, 1, 0));
    }

    #[test]
    fn more_lines_than_the_limit_are_over_it_until_its_time_is_over() {
        let limits = Logs {
            rate_limit_interval: Some(Duration::from_secs(3600)),
            rate_limit_burst: LineCount::clamped(3),
            ..Logs::default()
        };
        // The first time is over as soon as the machine has run for an hour: then begins another.
        let mut intake = Intake { window: (clock::now(), 0), ..Intake::default() };
        assert_eq!(intake.admit(b"a\nb\n", false, &limits), 4);
        assert_eq!(intake.admit(b"c\nd\n", false, &limits), 2);
        assert_eq!(intake.admit(b"e\n", false, &limits), 0);
        // Its beginning is stored: its rest belongs to it.
        assert_eq!(intake.admit(b"e\nf\n", true, &limits), 2);
        assert_eq!(intake.admit(b"but not for ever", true, &limits), 0);
        assert_eq!(intake.admit(b"e\n", false, &Logs::default()), 2);
        intake.window.0 = Moment::ZERO;
        let short = Logs { rate_limit_interval: Some(Duration::from_millis(1)), ..limits };
        assert_eq!(intake.admit(b"e\n", false, &short), 2);
    }

    #[test]
    fn what_no_jail_has_said_is_counted_too() {
        let mut unstored = Unstored::default();
        assert_eq!((unstored.sentence("event"), unstored.deadline()), (None, None));
        assert!(unstored.add(1, Moment::ZERO));
        let one = "1 event was not stored: the data partition had no room for them";
        assert_eq!(unstored.sentence("event").unwrap(), one);
        assert!(!unstored.add(2, PAUSE));
        assert_eq!(unstored.deadline(), Some(PAUSE * 2));
        assert!(unstored.sentence("event").unwrap().starts_with("3 events were not stored: "));
    }

    #[test]
    fn losses_add_up() {
        let mut intake = Intake::default();
        assert_eq!(intake.sentence(), None);
        intake.lose(Amount::of(b"a\nb\n"), "why", None);
        intake.lose(Amount::of(b"c"), "why", None);
        assert!(intake.deadline().is_some());
        let said = "Of what it has printed 2 lines (5 bytes) are not in its log.";
        assert_eq!(intake.sentence().unwrap(), said);
    }
}
