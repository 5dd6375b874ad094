//! `run`: a jail for one program with a client, gone when the program has ended.
//!
//! Its unit is a file like any other, in a directory of jailsupd's own that goes with the boot: so it is
//! checked, adopted and shown like any other. It starts once, with the streams of the client that asked for
//! it; whatever would start it again finds no client, and is its end.

use super::jail::Jail;
use super::poller::JailId;
use super::unknown::invalid_value;
use super::waiters::{Answer, Goal, Waiter};
use super::{Supervisor, clock, report};
use crate::control::server::ClientId;
use crate::control::wire::{Ran, Reply, TerminalSize, UnitDraft, WireError};
use crate::exec::Error;
use crate::exec::ends::{self, Ends, Inside};
use crate::machine::State;
use crate::unit::JailName;
use rustix::fd::OwnedFd;
use std::io;
use std::path::{Path, PathBuf};

/// The units of such jails: of higher rank than those of people.
pub(super) const DIRECTORY: &str = "/run/jailsupd/runs";

impl Jail {
    /// Whether it is one of these.
    pub(super) fn is_run(&self) -> bool {
        Path::new(&self.path).starts_with(DIRECTORY)
    }
}

impl Supervisor {
    /// Makes the jail, gives the client its ends, and answers it once more when the jail is gone.
    pub(super) fn run_unit(
        &mut self,
        client: ClientId,
        (name, unit): (Option<String>, String),
        terminal: Option<TerminalSize>,
        stdin: bool,
    ) {
        let streams = super::sessions::streams(terminal, stdin);
        let made = self.check_run(name, &unit).and_then(|name| {
            let impossible = |error: io::Error| WireError::NotPossible {
                name: name.clone(),
                reason: format!("it cannot be made: {error}"),
            };
            let ends = ends::make(streams).map_err(impossible)?;
            std::fs::write(file_of(&name), &unit).map_err(impossible)?;
            Ok((name, ends))
        });
        let (name, (ends, inside)) = match made {
            Ok(made) => made,
            Err(error) => return self.reply(client, &Reply::refusal(&error)),
        };
        self.runs.insert(name.clone(), inside);
        self.reply_with_started(client, &name, ends);
        self.rescan();
        // As a rule it is on its way now, and not gone already.
        let id = self.jails.find(&name).unwrap_or(JailId::MAX);
        let jails = vec![(id, Goal::Gone)];
        let answer = Answer::Ran { problem: None };
        self.waiters.push(Waiter { client, jails, answer, until: None });
        self.finish_run(id);
    }

    /// A good unit, of a name that nothing else has.
    fn check_run(&self, name: Option<String>, unit: &str) -> Result<String, WireError> {
        let tree = self.read_units(&[]);
        let is_taken = |name: &str| {
            tree.units.iter().any(|resolved| resolved.name == name)
                || tree.masked.iter().any(|masked| masked.name == name)
                || self.jails.find(name).is_some()
        };
        let name = name.unwrap_or_else(|| first_free(is_taken));
        if self.going_down {
            let reason = "the host goes down".to_owned();
            return Err(WireError::NotPossible { name, reason });
        }
        JailName::new(&name).map_err(|fault| invalid_value("name", fault))?;
        if is_taken(&name) {
            let reason = "there is a jail of that name already".to_owned();
            return Err(WireError::NotPossible { name, reason });
        }
        let draft =
            UnitDraft { stem: name.clone(), text: unit.to_owned(), path: Some(path_of(&name)) };
        let tree = self.read_units(&[draft]);
        let found = tree.units.iter().find(|resolved| resolved.name == name);
        let problems: Vec<_> = found
            .and_then(|resolved| resolved.result.as_ref().err())
            .into_iter()
            .flatten()
            .map(report::problem)
            .collect();
        if problems.is_empty() { Ok(name) } else { Err(WireError::InvalidUnit { problems }) }
    }

    /// What the start of this jail is to use instead of pipes to the log.
    ///
    /// # Errors
    /// When it is to have a client, and that one is gone.
    pub(super) fn take_client(&mut self, id: JailId) -> Result<Option<Inside>, Error> {
        match self.jails.get(id).filter(|jail| jail.is_run()) {
            None => Ok(None),
            Some(jail) => self.runs.remove(&jail.name).map(Some).ok_or(Error::NoClient),
        }
    }

    /// Whether the jail may be started: one that is to have a client must have it.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn require_client(&self, id: JailId) -> Result<(), Error> {
        match self.jails.get(id).filter(|jail| jail.is_run()) {
            Some(jail) if !self.runs.contains_key(&jail.name) => Err(Error::NoClient),
            _ => Ok(()),
        }
    }

    /// A jail that has had its one start and is at rest: its unit goes, and it goes with it.
    pub(super) fn finish_run(&mut self, id: JailId) {
        let over = |jail: &Jail| {
            let tried = jail.starts > 0 || jail.last_exit.is_some() || jail.start_problem.is_some();
            let at_rest = matches!(jail.machine.state, State::Down | State::Failed);
            jail.is_run() && at_rest && jail.life.is_none() && (tried || jail.held_down)
        };
        let Some(jail) = self.jails.get(id).filter(|jail| over(jail) && !jail.removed) else {
            return;
        };
        let told = jail.start_problem.as_ref().map(|problem| problem.message.clone());
        let path = PathBuf::from(&jail.path);
        self.runs.remove(&jail.name.clone());
        for waiter in &mut self.waiters {
            if waiter.jails.iter().any(|(of, goal)| *of == id && *goal == Goal::Gone) {
                waiter.answer = Answer::Ran { problem: told.clone() };
            }
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{}: {error}", path.display());
            }
            _ => {}
        }
        // Not at once: whoever called this is still about the jail.
        self.rescan_at = Some(clock::now());
    }

    /// At the start of jailsupd: units whose jail does not run have had their client.
    pub(super) fn sweep_runs(&self) {
        for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let jail = self.jails.find(name).and_then(|id| self.jails.get(id));
            if jail.is_none_or(|jail| jail.life.is_none()) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn reply_with_started(&mut self, client: ClientId, name: &str, ends: Ends) {
        let (streams, fds): (_, Vec<OwnedFd>) = super::sessions::places(ends);
        let ran = Ran {
            name: name.to_owned(),
            session: Some(streams.session),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            problem: None,
        };
        if !self.server.reply_with(client, &Reply::with(&ran).continued(), fds) {
            self.hang_up(client);
        }
    }
}

fn path_of(name: &str) -> String {
    format!("{DIRECTORY}/{name}.toml")
}

/// A name for a jail that has none. The first, so that a host has as many ranges of ids for these jails as ran at once.
fn first_free(is_taken: impl Fn(&str) -> bool) -> String {
    let mut names = (1u32..).map(|number| format!("run-{number}"));
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

fn file_of(name: &str) -> PathBuf {
    PathBuf::from(path_of(name))
}
