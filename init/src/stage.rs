//! Stages as data: one row each, run in order, timed, logged and recorded.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;

/// One step of the boot, on a context of type `C`.
pub(crate) struct Stage<C> {
    /// One word; tests and figures go by it.
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) run: fn(&mut C) -> Result<Outcome, Error>,
    /// What a failure means.
    pub(crate) on_failure: OnFailure,
}

/// How a stage that did not fail ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// As it should.
    Done,
    /// The host runs, but lacks something; the text says what, and what helps.
    Degraded(String),
}

/// What the failure of a stage means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Nothing after it depends on it: log, go on.
    Continue,
    /// Nothing after it can work: log, then what `panic=` says.
    Stop,
}

/// Lines `NAME START_US DURATION_US ok|failed|degraded MESSAGE` of the stages so far (microseconds of
/// CLOCK_BOOTTIME). Kept in memory until the file can be written.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    unwritten: String,
}

impl Ledger {
    /// Adds a line; a message of several lines becomes one.
    pub(crate) fn add(&mut self, name: &str, start: Duration, took: Duration, end: &End) {
        let message = end.message().replace(['\n', '\r'], " ");
        let line =
            format!("{name} {} {} {} {message}", start.as_micros(), took.as_micros(), end.word());
        self.unwritten.push_str(line.trim_end());
        self.unwritten.push('\n');
    }

    /// Appends what is new to `file`, as soon as its directory is there.
    fn flush(&mut self, file: &Path) {
        let written = File::options()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut f| f.write_all(self.unwritten.as_bytes()));
        if written.is_ok() {
            self.unwritten.clear();
        }
    }
}

/// How a stage ended, with the message to log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ok,
    Degraded(String),
    Failed(String),
}

impl End {
    fn of(result: Result<Outcome, Error>) -> Self {
        match result {
            Ok(Outcome::Done) => Self::Ok,
            Ok(Outcome::Degraded(message)) => Self::Degraded(message),
            Err(e) => Self::Failed(e.to_string()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Ok => "",
            Self::Degraded(message) | Self::Failed(message) => message,
        }
    }
}

/// Runs the stages in order, recording to `ledger` and `file`.
///
/// # Errors
/// The name of the stage that failed with [`OnFailure::Stop`]; the stages after it have not run.
pub(crate) fn run_all<C>(
    stages: &[Stage<C>],
    context: &mut C,
    ledger: &mut Ledger,
    file: &Path,
) -> Result<(), &'static str> {
    for stage in stages {
        let start = since_boot();
        let end = End::of((stage.run)(context));
        let took = since_boot().saturating_sub(start);
        log_end(stage.name, took, &end);
        ledger.add(stage.name, start, took, &end);
        ledger.flush(file);
        if matches!(end, End::Failed(_)) && stage.on_failure == OnFailure::Stop {
            return Err(stage.name);
        }
    }
    Ok(())
}

fn log_end(name: &str, took: Duration, end: &End) {
    match end {
        End::Ok => log::info!("stage {name} ok {}ms", took.as_millis()),
        End::Degraded(message) => log::warn!("stage {name} degraded: {message}"),
        End::Failed(message) => log::error!("stage {name} failed: {message}"),
    }
}

/// Time since the kernel started, sleep included.
pub(crate) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{End, Ledger, OnFailure, Outcome, Stage, run_all};
    use crate::error::Error;

    const NOWHERE: &str = "/nonexistent/stages";

    fn fine(ran: &mut Vec<&'static str>) -> Result<Outcome, Error> {
        ran.push("fine");
        Ok(Outcome::Done)
    }

    fn broken(_: &mut Vec<&'static str>) -> Result<Outcome, Error> {
        Err(Error::refused("do it", "two\nlines"))
    }

    fn words(ledger: &Ledger) -> Vec<String> {
        let word = |line: &str| line.splitn(5, ' ').skip(3).collect::<Vec<_>>().join(" ");
        ledger.unwritten.lines().map(word).collect()
    }

    #[test]
    fn a_failed_stage_that_may_fail_lets_the_rest_run() {
        let stages = [
            Stage { name: "a", run: broken, on_failure: OnFailure::Continue },
            Stage { name: "b", run: fine, on_failure: OnFailure::Stop },
        ];
        let (mut ran, mut ledger) = (Vec::new(), Ledger::default());
        assert_eq!(run_all(&stages, &mut ran, &mut ledger, Path::new(NOWHERE)), Ok(()));
        assert_eq!(ran, ["fine"]);
        assert_eq!(words(&ledger), ["failed do it: two lines", "ok"]);
    }

    #[test]
    fn a_failed_stage_that_must_not_fail_stops() {
        let stages = [
            Stage { name: "a", run: broken, on_failure: OnFailure::Stop },
            Stage { name: "b", run: fine, on_failure: OnFailure::Stop },
        ];
        let (mut ran, mut ledger) = (Vec::new(), Ledger::default());
        assert_eq!(run_all(&stages, &mut ran, &mut ledger, Path::new(NOWHERE)), Err("a"));
        assert!(ran.is_empty());
    }

    #[test]
    fn a_line_has_microseconds() {
        let mut ledger = Ledger::default();
        let end = End::Degraded("no disk".to_owned());
        ledger.add("data", Duration::from_millis(2), Duration::from_micros(7), &end);
        assert_eq!(ledger.unwritten, "data 2000 7 degraded no disk\n");
    }
}
