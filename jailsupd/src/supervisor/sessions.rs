//! Programs that have a client: `exec` and `cp`. The client gets the descriptors, and what follows is between it
//! and the helper in the jail; nothing of it is remembered here.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use super::unknown::invalid_value;
use crate::control::server::ClientId;
use crate::control::wire::{self, Reply, Request, TerminalSize, WireError, archive, session};
use crate::exec::account::Account;
use crate::exec::ends::{Ends, Size, Streams};
use crate::exec::enter::{self, Entry};
use crate::exec::{Error, resident};
use crate::machine::State;
use crate::unit::UserSpec;
use crate::unit::value::{Fault, shown};
use rustix::fd::{AsFd as _, OwnedFd};
use std::ffi::CString;

/// What a client wants executed; see `org.warder.Jails.Exec`.
#[derive(Debug)]
struct Exec {
    /// The helper's own name, by which it knows what to do.
    helper: &'static str,
    command: Vec<String>,
    user: Option<String>,
    environment: Vec<String>,
    working_dir: Option<String>,
    streams: Streams,
}

/// What the client said, checked.
struct Wanted {
    helper: &'static str,
    argv: Vec<CString>,
    user: Option<(UserSpec, Option<UserSpec>)>,
    environment: Vec<CString>,
    working_dir: Option<CString>,
    streams: Streams,
}

impl Exec {
    /// A copy: the helper does it itself, from the root, where paths begin.
    fn copy(helper: &'static str, command: Vec<String>, user: Option<String>) -> Self {
        let streams = Streams::Pipes { stdin: helper == archive::UNPACK };
        let working_dir = Some("/".to_owned());
        Self { helper, command, user, environment: Vec::new(), working_dir, streams }
    }

    fn check(self) -> Result<Wanted, WireError> {
        let unnamed = |pair: &&String| pair.split_once('=').is_none_or(|(name, _)| name.is_empty());
        let copies = self.helper != session::EXEC;
        match self.command.first() {
            Some(path) if copies => absolute("path", path)?,
            Some(word) if !word.is_empty() => {}
            _ => return Err(invalid_value("command", Fault::new("the command is empty"))),
        }
        if let Some(pair) = self.environment.iter().find(unnamed) {
            let fault = Fault::new(format!("{} is not an environment variable", shown(pair)));
            return Err(invalid_value("environment", fault.help("write NAME=VALUE")));
        }
        if let Some(path) = &self.working_dir {
            absolute("working_dir", path)?;
        }
        Ok(Wanted {
            helper: self.helper,
            argv: strings("command", self.command)?,
            user: self.user.as_deref().map(user).transpose()?,
            environment: strings("environment", self.environment)?,
            working_dir: strings("working_dir", self.working_dir)?.pop(),
            streams: self.streams,
        })
    }
}

fn absolute(parameter: &str, path: &str) -> Result<(), WireError> {
    if path.starts_with('/') {
        return Ok(());
    }
    let fault = Fault::new(format!("{} is not an absolute path", shown(path)));
    let help = match parameter {
        "path" => "in a jail a path begins with `/`: NAME:/PATH",
        _ => "in a jail a path begins with `/`",
    };
    Err(invalid_value(parameter, fault.help(help)))
}

/// `USER` or `USER:GROUP`.
fn user(text: &str) -> Result<(UserSpec, Option<UserSpec>), WireError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let spec = |text| UserSpec::from_text(text).map_err(|fault| invalid_value("user", fault));
    Ok((spec(user)?, group.map(spec).transpose()?))
}

/// As the kernel takes them.
fn strings(
    parameter: &str,
    texts: impl IntoIterator<Item = String>,
) -> Result<Vec<CString>, WireError> {
    let nul = |text: &str| Fault::new(format!("{} holds a NUL byte", shown(text)));
    let string = |text: String| {
        CString::new(text.as_str()).map_err(|_| invalid_value(parameter, nul(&text)))
    };
    texts.into_iter().map(string).collect()
}

impl Supervisor {
    /// Executes a program or a copy in a running jail, and gives the client its ends.
    pub(super) fn open_session(&mut self, client: ClientId, request: Request) {
        let (name, exec) = match request {
            Request::Exec { name, command, user, environment, working_dir, terminal, stdin } => {
                let streams = streams(terminal, stdin);
                let helper = session::EXEC;
                (name, Exec { helper, command, user, environment, working_dir, streams })
            }
            Request::CopyFrom { name, path, user } => {
                (name, Exec::copy(archive::PACK, vec![path], user))
            }
            Request::CopyTo { name, path, base, user } => {
                (name, Exec::copy(archive::UNPACK, vec![path, base], user))
            }
            // No other request asks for a session.
            _ => return,
        };
        let ends = match (self.jails.find(&name), exec.check()) {
            (_, Err(error)) => Err(error),
            (None, _) => Err(self.no_such_jail(&name)),
            (Some(id), Ok(wanted)) => self.enter(id, wanted),
        };
        match ends {
            Ok(ends) => self.reply_with_ends(client, ends),
            Err(error) => self.reply(client, &Reply::refusal(&error)),
        }
    }

    fn enter(&self, id: JailId, wanted: Wanted) -> Result<Ends, WireError> {
        let Some(jail) = self.jails.get(id) else { return Err(self.no_such_jail("")) };
        let impossible =
            |reason: String| WireError::NotPossible { name: jail.name.clone(), reason };
        if let Some(reason) = refusal(jail) {
            return Err(impossible(reason));
        }
        self.enter_running(jail, wanted).map_err(|error| impossible(error.chain()))
    }

    fn enter_running(&self, jail: &Jail, wanted: Wanted) -> Result<Ends, Error> {
        let (Some(life), Some(loaded)) = (&jail.life, &jail.loaded) else {
            return Err(Error::NoUnit);
        };
        let resident = resident::read(life.pid, &life.pidfd, &loaded.plan.ids)?;
        let account = match &wanted.user {
            None => resident.account,
            Some((user, group)) => {
                resident::find_user(life.pid, &life.pidfd, user, group.as_ref())?
            }
        };
        let home = wanted.user.is_some().then_some(&account);
        let environment = environment(resident.environment, home, wanted.environment);
        let entry = Entry {
            pidfd: life.pidfd.as_fd(),
            cgroup: jail.cgroup.open()?,
            plan: &loaded.plan,
            ids: &loaded.plan.ids,
            account: &account,
            helper_name: wanted.helper,
            argv: wanted.argv,
            environment,
            working_dir: wanted.working_dir.unwrap_or_else(|| loaded.plan.working_dir.clone()),
            streams: wanted.streams,
        };
        enter::enter(&entry, self.helper.as_fd())
    }

    /// Sends the client its ends; they are closed here.
    pub(super) fn reply_with_ends(&mut self, client: ClientId, ends: Ends) {
        let (places, fds) = places(ends);
        if !self.server.reply_with(client, &Reply::with(&places), fds) {
            self.hang_up(client);
        }
    }
}

/// What the standard streams are to be.
pub(super) fn streams(terminal: Option<TerminalSize>, stdin: bool) -> Streams {
    match terminal {
        Some(TerminalSize { rows, columns }) => Streams::Terminal(Size { rows, columns }),
        None => Streams::Pipes { stdin },
    }
}

/// The ends as a reply brings them: which is which, and all in their order.
pub(super) fn places(ends: Ends) -> (wire::Streams, Vec<OwnedFd>) {
    let mut fds: Vec<OwnedFd> = vec![ends.session];
    let mut place = |end: Option<OwnedFd>| {
        end.map(|end| {
            fds.push(end);
            fds.len() as u64 - 1
        })
    };
    let (stdin, stdout, stderr) = (place(ends.stdin), place(ends.stdout), place(ends.stderr));
    (wire::Streams { session: 0, stdin, stdout, stderr }, fds)
}

/// Why nothing can be executed in the jail as it is.
fn refusal(jail: &Jail) -> Option<String> {
    let runs = matches!(jail.machine.state, State::Activating { .. } | State::Up { .. });
    if !runs || jail.life.is_none() {
        return Some(format!(
            "it is {}: only in a jail that is up something can be executed",
            jail.state()
        ));
    }
    if jail.frozen {
        return Some("it is frozen, and a new process would be, too: thaw it first".to_owned());
    }
    if jail.is_stale() || jail.loaded.is_none() {
        // Its walls are those of a plan that nobody has any more.
        return Some("it runs with an older version of its unit: restart it first".to_owned());
    }
    None
}

/// The resident's variables, `HOME` of another user, and those that the client gave, which win.
fn environment(
    resident: Vec<CString>,
    other: Option<&Account>,
    given: Vec<CString>,
) -> Vec<CString> {
    let home = other.and_then(|account| CString::new(format!("HOME={}", account.home)).ok());
    let added: Vec<CString> = home.into_iter().chain(given).collect();
    let mut all = resident;
    for pair in added {
        let name =
            |pair: &CString| pair.as_bytes().split(|b| *b == b'=').next().map(<[u8]>::to_vec);
        all.retain(|other| name(other) != name(&pair));
        all.push(pair);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> Exec {
        Exec {
            helper: session::EXEC,
            command: vec!["ls".into()],
            user: Some("www-data:33".into()),
            environment: vec!["A=".into()],
            working_dir: Some("/srv".into()),
            streams: Streams::Pipes { stdin: false },
        }
    }

    fn wrong(exec: Exec) -> String {
        match exec.check() {
            Err(WireError::InvalidValue { parameter, .. }) => parameter,
            other => panic!("{:?}", other.map(|wanted| wanted.argv)),
        }
    }

    #[test]
    fn what_no_program_can_have_is_refused_by_the_parameters_name() {
        let user = exec().check().unwrap().user.unwrap();
        assert_eq!(user, (UserSpec::Name("www-data".into()), Some(UserSpec::Id(33))));
        assert_eq!(wrong(Exec { command: vec![], ..exec() }), "command");
        assert_eq!(wrong(Exec { command: vec!["a".into(), "b\0".into()], ..exec() }), "command");
        assert_eq!(wrong(Exec { environment: vec!["=x".into()], ..exec() }), "environment");
        assert_eq!(wrong(Exec { environment: vec!["A".into()], ..exec() }), "environment");
        assert_eq!(wrong(Exec { working_dir: Some("srv".into()), ..exec() }), "working_dir");
        assert_eq!(wrong(Exec { user: Some("70000".into()), ..exec() }), "user");
        assert_eq!(wrong(Exec { user: Some("a:b:c".into()), ..exec() }), "user");
    }

    #[test]
    fn given_variables_win_over_the_users_and_these_over_the_services() {
        let account = Account { uid: 5, gid: 5, groups: vec![], home: "/home/x".into() };
        let strings = |texts: &[&str]| -> Vec<CString> {
            texts.iter().map(|text| CString::new(*text).unwrap()).collect()
        };
        let resident = strings(&["PATH=/bin", "HOME=/", "A=1"]);
        let all = environment(resident, Some(&account), strings(&["A=2", "A=3"]));
        assert_eq!(all, strings(&["PATH=/bin", "HOME=/home/x", "A=3"]));
    }
}
