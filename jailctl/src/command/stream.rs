//! Commands with many answers: one line each, until the last.

use std::io::Write;

use jailsupd::control::wire::{Event, LogEntry, Request, WireError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Show, results};
use crate::cli::{Events, Logs};
use crate::error::Error;
use crate::output::Output;
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
    stream(show, &request, "entry", out, |entry: &LogEntry, s| render::log_entry(entry, s))
}

pub(super) fn events(
    show: &Show<'_>,
    events: &Events,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let request = Request::Events { follow: events.follow, name: events.of.name.clone() };
    stream(show, &request, "event", out, |event: &Event, s| render::event(event, s))
}

/// Shows `field` of each reply; the last one may have none.
fn stream<T: DeserializeOwned>(
    show: &Show<'_>,
    request: &Request,
    field: &str,
    out: &mut Output<impl Write>,
    text: impl Fn(&T, Style) -> String,
) -> Result<(), Error> {
    let mut client = Client::send(show.socket, request)?;
    loop {
        let reply = client.receive()?;
        let last = !reply.continues;
        let mut line = results::<Value>(reply)?;
        match line.get_mut(field).map(Value::take) {
            None | Some(Value::Null) => {}
            Some(value) if show.json => out.write(&format!("{value}\n"))?,
            Some(value) => {
                let item = serde_json::from_value(value).map_err(|error| {
                    Error::Refused(WireError::NotUnderstood { detail: error.to_string() })
                })?;
                out.write(&text(&item, out.style))?;
            }
        }
        if last {
            return Ok(());
        }
    }
}
