//! One function per command: ask, then show.

use std::io::Write;
use std::path::Path;

use jailsupd::control::wire::{HostInfo, Inspected, Listed, LogLine, Reply, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::{Arguments, Command, Host, Logs};
use crate::error::Error;
use crate::output::Output;
use crate::render::{self, Style};
use crate::varlink::{self, Client};

pub(crate) fn run(
    arguments: &Arguments,
    socket: &Path,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let show = Show { socket, json: arguments.json };
    match &arguments.command {
        Command::Ls => show.answer(&Request::List {}, out, |listed: Listed, now, style| {
            render::list(&listed.jails, now, style)
        }),
        Command::Inspect { name } => {
            let request = Request::Inspect { name: name.clone() };
            show.answer(&request, out, |found: Inspected, now, style| {
                render::jail(&found.jail, now, style)
            })
        }
        Command::Logs(logs) => show.logs(logs, out),
        Command::Host(Host::Info) => {
            show.answer(&Request::HostInfo {}, out, |info: HostInfo, now, style| {
                render::host(&info, now, style)
            })
        }
        Command::Host(Host::Poweroff) => show.order(
            &Request::PowerOff {},
            out,
            "the jails are being stopped, then the host turns off\n",
        ),
        Command::Host(Host::Reboot) => show.order(
            &Request::Reboot {},
            out,
            "the jails are being stopped, then the host boots anew\n",
        ),
    }
}

struct Show<'a> {
    socket: &'a Path,
    json: bool,
}

impl Show<'_> {
    /// A question with one answer.
    fn answer<T: DeserializeOwned>(
        &self,
        request: &Request,
        out: &mut Output<impl Write>,
        show: fn(T, u64, Style) -> String,
    ) -> Result<(), Error> {
        let reply = varlink::call(self.socket, request)?;
        let text = if self.json {
            format!("{:#}\n", results::<Value>(reply)?)
        } else {
            show(results(reply)?, out.now, out.style)
        };
        out.write(&text)
    }

    /// An order whose answer says only that it was taken.
    fn order(
        &self,
        request: &Request,
        out: &mut Output<impl Write>,
        done: &str,
    ) -> Result<(), Error> {
        let value = results::<Value>(varlink::call(self.socket, request)?)?;
        out.write(&if self.json { format!("{value:#}\n") } else { done.to_owned() })
    }

    /// One line for each reply, until the last.
    fn logs(&self, logs: &Logs, out: &mut Output<impl Write>) -> Result<(), Error> {
        let request = Request::Logs {
            name: logs.name.clone(),
            lines: logs.lines.map(u64::from),
            follow: logs.follow,
            since: None,
        };
        let mut client = Client::send(self.socket, &request)?;
        loop {
            let reply = client.receive()?;
            let last = !reply.continues;
            let line = results::<Value>(reply)?;
            let entry = line.get("entry").filter(|entry| !entry.is_null());
            match entry {
                Some(entry) if self.json => out.write(&format!("{entry}\n"))?,
                Some(_) => {
                    let line: LogLine = typed(line)?;
                    let style = out.style;
                    out.write(
                        &line.entry.map_or_else(String::new, |e| render::log_entry(&e, style)),
                    )?;
                }
                None => {}
            }
            if last {
                return Ok(());
            }
        }
    }
}

fn results<T: DeserializeOwned>(reply: Reply) -> Result<T, Error> {
    reply.results().map_err(Error::Refused)
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    let parameters = match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    results(Reply { parameters, ..Reply::default() })
}
