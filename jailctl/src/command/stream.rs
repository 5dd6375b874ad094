//! Commands with many answers: one line each, until the last.

use std::io::Write;

use jailsupd::control::wire::{Event, LogEntry, Request, WireError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Show, results};
use crate::cli::{Events, Logs};
use crate::error::Error;
use crate::output::{self, Output};
use crate::render::{self, Style};
use crate::varlink::Client;

pub(super) fn logs(
    show: &Show<'_>,
    logs: &Logs,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let request = Request::Logs {
        name: logs.name.clone(),
        lines: logs.lines.map(u64::from),
        follow: logs.follow,
        since: logs.since.map(|when| when.since_1970(out.now)),
    };
    let count =
        stream(show, &request, "entry", out, |entry: &LogEntry, s| render::log_entry(entry, s))?;
    if count == 0 && !show.json {
        let since = if logs.since.is_some() { " since then" } else { "" };
        output::remark(&format!("nothing is in the log of `{}`{since}", logs.name));
    }
    Ok(())
}

pub(super) fn events(
    show: &Show<'_>,
    events: &Events,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let request = Request::Events {
        follow: events.follow,
        name: events.of.name.clone(),
        lines: events.lines.map(u64::from),
    };
    let count = stream(show, &request, "event", out, |event: &Event, s| render::event(event, s))?;
    if count == 0 && !show.json {
        output::remark("there are no events yet");
    }
    Ok(())
}

/// Shows `field` of each reply; the last one may have none. How many there were.
fn stream<T: DeserializeOwned>(
    show: &Show<'_>,
    request: &Request,
    field: &str,
    out: &mut Output<impl Write>,
    text: impl Fn(&T, Style) -> String,
) -> Result<usize, Error> {
    let mut client = Client::send(show.socket, request)?;
    let mut count = 0;
    loop {
        let reply = client.receive()?;
        let last = !reply.continues;
        let mut line = results::<Value>(reply)?;
        match line.get_mut(field).map(Value::take) {
            None | Some(Value::Null) => {
                if last {
                    return Ok(count);
                }
                continue;
            }
            Some(value) if show.json => out.write(&format!("{value}\n"))?,
            Some(value) => {
                let item = serde_json::from_value(value).map_err(|error| {
                    Error::Refused(WireError::NotUnderstood { detail: error.to_string() })
                })?;
                out.write(&text(&item, out.style))?;
            }
        }
        count += 1;
        if last {
            return Ok(count);
        }
    }
}
