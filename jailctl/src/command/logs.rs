//! `jailctl logs`: lines of one log or several, all or those that are looked for.

use std::collections::VecDeque;
use std::io::Write;

use jailsupd::control::wire::{LogEntry, Request};
use serde_json::Value;

use super::Show;
use super::stream::{Item, stream};
use crate::cli::Logs;
use crate::error::Error;
use crate::output::{self, Output};
use crate::render;

pub(super) fn logs(
    show: &Show<'_>,
    logs: &Logs,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let request = request(logs, out.now);
    let mut shown = Shown::new(logs, show.json);
    stream(show, &request, "entry", |item: Item<LogEntry>| match item {
        Item::One(entry, value) => shown.take(entry, value, out),
        Item::CaughtUp => shown.caught_up(out),
    })?;
    shown.caught_up(out)?;
    if shown.count == 0 && !show.json {
        output::remark(&nothing(logs));
    }
    Ok(())
}

fn request(logs: &Logs, now: u64) -> Request {
    let only_kernel = logs.kernel && logs.names.is_empty();
    let names = (only_kernel || !logs.names.is_empty()).then(|| logs.names.clone());
    // Which lines are the last ones is known when it is known which are looked for.
    let lines = logs.lines.map(u64::from).filter(|_| !filters(logs));
    Request::Logs {
        name: None,
        names,
        lines,
        follow: logs.follow,
        since: logs.since.map(|when| when.since_1970(now)),
        until: logs.until.map(|when| when.since_1970(now)),
        kernel: logs.kernel.then_some(true),
    }
}

fn filters(logs: &Logs) -> bool {
    logs.grep.is_some() || !logs.stream.is_empty()
}

fn nothing(logs: &Logs) -> String {
    let of = match logs.names.as_slice() {
        [] if logs.kernel => "the kernel's log".to_owned(),
        [] => "any log".to_owned(),
        [name] => format!("the log of `{name}`"),
        _ => "the logs of these jails".to_owned(),
    };
    let matching = if filters(logs) { " that is looked for" } else { "" };
    let when = match (logs.since, logs.until) {
        (Some(_), None) => " since then",
        (None, Some(_)) => " until then",
        (Some(_), Some(_)) => " in that time",
        (None, None) => "",
    };
    format!("nothing{matching} is in {of}{when}")
}

/// Lines on their way to the reader.
struct Shown<'a> {
    logs: &'a Logs,
    json: bool,
    /// The last ones that are looked for, until all that was stored has come.
    held: Option<VecDeque<(LogEntry, Value)>>,
    /// Width of the names' column, as far as lines have come; none when there is one log only.
    names: Option<usize>,
    count: usize,
}

impl<'a> Shown<'a> {
    fn new(logs: &'a Logs, json: bool) -> Self {
        let one = (logs.names.len() == 1 && !logs.kernel) || (logs.names.is_empty() && logs.kernel);
        let held = (logs.lines.is_some() && filters(logs)).then(VecDeque::new);
        let width = logs.names.iter().map(String::len).max().unwrap_or(0);
        Self { logs, json, held, names: (!one).then_some(width), count: 0 }
    }

    fn take(
        &mut self,
        entry: LogEntry,
        value: Value,
        out: &mut Output<impl Write>,
    ) -> Result<(), Error> {
        let Logs { grep, stream, lines, .. } = self.logs;
        let found = grep.as_ref().is_none_or(|regex| regex.is_match(&entry.text));
        if !found || !(stream.is_empty() || stream.contains(&entry.stream)) {
            return Ok(());
        }
        let Some(held) = &mut self.held else { return self.show(&entry, &value, out) };
        held.push_back((entry, value));
        if held.len() > lines.map_or(usize::MAX, |lines| lines as usize) {
            held.pop_front();
        }
        Ok(())
    }

    fn caught_up(&mut self, out: &mut Output<impl Write>) -> Result<(), Error> {
        for (entry, value) in self.held.take().into_iter().flatten() {
            self.show(&entry, &value, out)?;
        }
        Ok(())
    }

    fn show(
        &mut self,
        entry: &LogEntry,
        value: &Value,
        out: &mut Output<impl Write>,
    ) -> Result<(), Error> {
        self.count += 1;
        if self.json {
            return out.write(&format!("{value}\n"));
        }
        if let Some(width) = &mut self.names {
            *width = entry.jail.as_ref().map_or(1, String::len).clamp(*width, 24.max(*width));
        }
        out.write(&render::log_entry(entry, self.names, out.style))
    }
}
