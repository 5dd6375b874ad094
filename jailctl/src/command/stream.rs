//! Commands with many answers: one line each, until the last.

use std::io::Write;

use jailsupd::control::wire::{Event, Request, WireError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Show, results};
use crate::cli::Events;
use crate::error::Error;
use crate::output::{self, Output};
use crate::render;
use crate::varlink::Client;

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
    let mut count = 0;
    stream(show, &request, "event", |item: Item<Event>| {
        let Item::One(event, value) = item else { return Ok(()) };
        count += 1;
        let style = out.style;
        out.write(&if show.json { format!("{value}\n") } else { render::event(&event, style) })
    })?;
    if count == 0 && !show.json {
        output::remark("there are no events yet");
    }
    Ok(())
}

/// What a reply brings.
pub(super) enum Item<T> {
    /// One thing, and how it was sent.
    One(T, Value),
    /// All that was there has come.
    CaughtUp,
}

/// Passes `field` of each reply on; the last one may have none.
pub(super) fn stream<T: DeserializeOwned>(
    show: &Show<'_>,
    request: &Request,
    field: &str,
    mut take: impl FnMut(Item<T>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut client = Client::send(show.socket, request)?;
    loop {
        let reply = client.receive()?;
        let last = !reply.continues;
        let mut line = results::<Value>(reply)?;
        match line.get_mut(field).map(Value::take) {
            None | Some(Value::Null) => take(Item::CaughtUp)?,
            Some(value) => {
                let item = serde_json::from_value(value.clone()).map_err(|error| {
                    Error::Refused(WireError::NotUnderstood { detail: error.to_string() })
                })?;
                take(Item::One(item, value))?;
            }
        }
        if last {
            return Ok(());
        }
    }
}
