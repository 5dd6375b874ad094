//! What each command asks and shows; here those that only look.

mod console;
mod copy;
mod edit;
mod exec;
mod image;
mod logs;
mod net;
mod order;
mod run;
mod storage;
mod stream;
mod top;
mod unit;

use std::io::Write;
use std::path::Path;

use jailsupd::control::wire::{
    Evidence, HostInfo, Inspected, Listed, ProcessTable, Reply, Request,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::{Arguments, Command, Host};
use crate::error::Error;
use crate::output::Output;
use crate::render::{self, Style};
use crate::varlink;

/// Does what the command says; the exit code when all went well.
pub(crate) fn run(
    arguments: &Arguments,
    socket: &Path,
    out: &mut Output<impl Write>,
) -> Result<u8, Error> {
    let show = Show { socket, json: arguments.json };
    match &arguments.command {
        Command::Exec(exec) => exec::exec(&show, exec),
        Command::Run(of) => run::run(&show, of),
        other => done(&show, other, out).map(|()| 0),
    }
}

/// The commands that are done or not.
fn done(show: &Show<'_>, command: &Command, out: &mut Output<impl Write>) -> Result<(), Error> {
    match command {
        Command::Console(of) => console::console(show, of, out),
        Command::Cp(of) => copy::copy(show, of),
        // Above.
        Command::Exec(_) | Command::Run(_) => Ok(()),
        Command::Ls => {
            show.tell(&Request::List {}, out, |l: &Listed, now, s| render::list(&l.jails, now, s))
        }
        Command::Inspect(of) => {
            let request = Request::Inspect { name: of.name.clone() };
            show.tell(&request, out, |i: &Inspected, now, s| render::jail(&i.jail, now, s))
        }
        Command::Tree(of) => {
            let request = Request::Processes { name: of.name.clone() };
            show.tell(&request, out, |t: &ProcessTable, _, s| render::tree(&t.jails, s))
        }
        Command::Top(of) => top::top(show, of, out),
        Command::Why(of) => {
            let request = Request::Why { name: of.name.clone() };
            show.tell(&request, out, |e: &Evidence, now, s| render::why(e, now, s))
        }
        Command::Host(host) => show.host(*host, out),
        Command::Logs(logs) => logs::logs(show, logs, out),
        Command::Events(events) => stream::events(show, events, out),
        Command::Start(order) => order::start(show, order, out),
        Command::Stop(order) => order::stop(show, order, out),
        Command::Restart(order) => order::restart(show, order, out),
        Command::Kill(kill) => order::kill(show, kill, out),
        Command::Freeze(order) => order::freeze(show, order, out),
        Command::Thaw(order) => order::thaw(show, order, out),
        Command::Wait(wait) => order::wait(show, wait, out),
        Command::Check(files) => unit::check(show, &files.files, out),
        Command::Plan(files) => unit::plan(show, &files.files, out),
        Command::Apply { no_wait } => unit::apply(show, !no_wait, out),
        Command::Cat(of) => unit::cat(show, &of.name, out),
        Command::Edit(edit) => edit::edit(show, edit, out),
        Command::Explain(explain) => unit::explain(show, explain, out),
        Command::Delete(of) => order::delete(show, of, out),
        Command::Enable(of) => order::enable(show, of, out),
        Command::Disable(of) => order::disable(show, of, out),
        Command::Mask(of) => order::mask(show, of, out),
        Command::Unmask(of) => order::unmask(show, of, out),
        Command::Image(command) => image::image(show, command, out),
        Command::Volume(command) => storage::volume(show, command, out),
        Command::Root(command) => storage::root(show, command, out),
        Command::Net(command) => net::net(show, command, out),
    }
}

/// Whom to ask, and in which form to show the answer.
struct Show<'a> {
    socket: &'a Path,
    json: bool,
}

impl Show<'_> {
    /// Asks a question with one answer, shows it, and hands it back.
    fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        out: &mut Output<impl Write>,
        text: impl FnOnce(&T, u64, Style) -> String,
    ) -> Result<T, Error> {
        let value = results::<Value>(varlink::call(self.socket, request)?)?;
        let answer: T = typed(value.clone())?;
        let shown =
            if self.json { format!("{value:#}\n") } else { text(&answer, out.now, out.style) };
        out.write(&shown)?;
        Ok(answer)
    }

    /// The same where nothing follows from the answer.
    fn tell<T: DeserializeOwned>(
        &self,
        request: &Request,
        out: &mut Output<impl Write>,
        text: impl FnOnce(&T, u64, Style) -> String,
    ) -> Result<(), Error> {
        self.ask(request, out, text).map(drop)
    }

    fn host(&self, host: Host, out: &mut Output<impl Write>) -> Result<(), Error> {
        let told = |text: &'static str| move |_: &Value, _, _| text.to_owned();
        match host {
            Host::Info => self.tell(&Request::HostInfo {}, out, |info: &HostInfo, now, style| {
                render::host(info, now, style)
            }),
            Host::Poweroff => {
                let text = told("the jails are being stopped, then the host turns off\n");
                self.tell(&Request::PowerOff {}, out, text)
            }
            Host::Reboot => {
                let text = told("the jails are being stopped, then the host boots anew\n");
                self.tell(&Request::Reboot {}, out, text)
            }
            Host::Reexec => self.tell(&Request::Reexec {}, out, told("PID 1 was executed anew\n")),
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
