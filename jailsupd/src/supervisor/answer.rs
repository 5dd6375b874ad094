//! Answers to the control socket.

use super::Supervisor;
use super::jail::Jail;
use super::poller::{JailId, Source};
use crate::control::server::{ClientId, Incoming};
use crate::control::wire::Jail as WireJail;
use crate::control::wire::{
    HostInfo, Inspected, InterfaceDescription, JailSummary, Listed, LogEntry, LogLine, Reply,
    Request, Seccomp, ServiceInfo, Stage, StageState, Stream as WireStream, WireError,
};
use crate::exec::logs::{Line, Stream};
use crate::plan::HostStep;
use crate::plan::link::show_mac;
use crate::unit::{Capabilities, UserSpec};
use keeper::Shutdown;

impl Supervisor {
    pub(super) fn on_listener(&mut self) {
        let Some(id) = self.server.accept() else { return };
        let watched = self.server.socket(id).map(|fd| self.poller.watch(fd, Source::Client(id)));
        if !matches!(watched, Some(Ok(()))) {
            self.server.close(id);
        }
    }

    pub(super) fn on_client(&mut self, client: ClientId) {
        if !self.server.flush(client) {
            return self.hang_up(client);
        }
        for incoming in self.server.read(client) {
            match incoming {
                Incoming::Gone => return self.hang_up(client),
                Incoming::Refused(error) => self.reply(client, &Reply::refusal(&error)),
                Incoming::Request(request) => self.answer(client, request),
            }
        }
        self.want_output(client);
    }

    fn hang_up(&mut self, client: ClientId) {
        if let Some(socket) = self.server.socket(client) {
            self.poller.forget(socket);
        }
        self.server.close(client);
        self.followers.retain(|(follower, _)| *follower != client);
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        if !self.server.reply(client, reply) {
            self.hang_up(client);
        }
    }

    fn want_output(&mut self, client: ClientId) {
        let behind = self.server.is_behind(client);
        if let Some(socket) = self.server.socket(client) {
            if let Err(error) = self.poller.watch_output(socket, Source::Client(client), behind) {
                log::warn!("control: {error}");
                self.hang_up(client);
            }
        }
    }

    fn answer(&mut self, client: ClientId, request: Request) {
        let reply = match request {
            Request::GetInfo {} => Reply::with(&ServiceInfo::jailsupd()),
            Request::GetInterfaceDescription { interface } => {
                match InterfaceDescription::of(&interface) {
                    Some(description) => Reply::with(&description),
                    None => Reply::refusal(&WireError::InterfaceNotFound { interface }),
                }
            }
            Request::List {} => {
                let jails: Vec<JailSummary> = self.jails.iter().map(summary).collect();
                Reply::with(&Listed { jails })
            }
            Request::Inspect { name } => match self.jails.find(&name) {
                Some(id) => self.inspect(id),
                None => Reply::refusal(&WireError::NoSuchJail { name }),
            },
            Request::Logs { name, lines, follow, since: _ } => match self.jails.find(&name) {
                Some(id) => return self.send_log(client, id, lines, follow),
                None => Reply::refusal(&WireError::NoSuchJail { name }),
            },
            Request::HostInfo {} => Reply::with(&self.host_info()),
            Request::PowerOff {} => self.shut_down(Shutdown::PowerOff),
            Request::Reboot {} => self.shut_down(Shutdown::Reboot),
            other => Reply::refusal(&WireError::MethodNotFound { method: other.to_call().method }),
        };
        self.reply(client, &reply);
    }

    fn shut_down(&mut self, kind: Shutdown) -> Reply {
        match self.keeper.shut_down(kind) {
            Ok(()) => Reply::empty(),
            Err(error) => {
                let reason = format!("the keeper did not take the request: {error}");
                Reply::refusal(&WireError::NotSupported { reason })
            }
        }
    }

    fn inspect(&self, id: JailId) -> Reply {
        match self.jails.get(id) {
            Some(jail) => Reply::with(&Inspected { jail: inspected(jail) }),
            None => Reply::refusal(&WireError::NoSuchJail { name: String::new() }),
        }
    }

    fn send_log(&mut self, client: ClientId, id: JailId, lines: Option<u64>, follow: bool) {
        let Some(jail) = self.jails.get(id) else { return };
        let count = lines.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let stored = jail.log.tail(count).unwrap_or_else(|error| {
            log::warn!("jail={} its log cannot be read: {error}", jail.name);
            Vec::new()
        });
        for line in stored {
            self.reply(client, &Reply::with(&LogLine { entry: Some(entry(&line)) }).continued());
        }
        if follow {
            self.followers.push((client, id));
        } else {
            self.reply(client, &Reply::with(&LogLine::default()));
        }
    }

    /// Passes new lines on to whoever follows this jail's log.
    pub(super) fn send_to_followers(&mut self, id: JailId, lines: &[Line]) {
        let following: Vec<ClientId> = self
            .followers
            .iter()
            .filter(|(_, jail)| *jail == id)
            .map(|(client, _)| *client)
            .collect();
        for client in following {
            for line in lines {
                self.reply(client, &Reply::with(&LogLine { entry: Some(entry(line)) }).continued());
            }
            self.want_output(client);
        }
    }

    fn host_info(&self) -> HostInfo {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let uname = rustix::system::uname();
        HostInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            booted: super::clock::wall_ms_of(std::time::Duration::ZERO),
            data: read("/run/warder/data"),
            uplink: self.uplink.clone(),
            stages: read("/run/warder/stages").lines().filter_map(stage).collect(),
            problems: self.host_problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `NAME START_US DURATION_US STATE MESSAGE`, as init writes it.
fn stage(line: &str) -> Option<Stage> {
    let mut words = line.splitn(5, ' ');
    Some(Stage {
        name: words.next()?.to_owned(),
        start_us: words.next()?.parse().ok()?,
        duration_us: words.next()?.parse().ok()?,
        state: match words.next()? {
            "ok" => StageState::Ok,
            "degraded" => StageState::Degraded,
            _ => StageState::Failed,
        },
        message: words.next().unwrap_or_default().to_owned(),
    })
}

fn entry(line: &Line) -> LogEntry {
    let stream = match line.stream {
        Stream::Stdout => WireStream::Stdout,
        Stream::Stderr => WireStream::Stderr,
        Stream::Warder => WireStream::Warder,
    };
    LogEntry { time: line.time, stream, text: line.text.clone() }
}

fn summary(jail: &Jail) -> JailSummary {
    let address = jail
        .loaded
        .as_ref()
        .map(|loaded| loaded.unit.network.address.iter().map(ToString::to_string).collect());
    let stale = jail.is_stale().then(|| "runs an older version of its unit".to_owned());
    JailSummary {
        name: jail.name.clone(),
        state: jail.state(),
        since: jail.since,
        address: address.unwrap_or_default(),
        pid: jail.life.as_ref().and_then(|life| u32::try_from(life.pid).ok()),
        restarts: jail.restarts.into(),
        problem: jail.problems().next().map(crate::unit::Problem::one_line).or(stale),
        unit: jail.path.clone(),
        frozen: false,
        enabled: true,
        stale: jail.is_stale(),
    }
}

fn inspected(jail: &Jail) -> WireJail {
    let unit = jail.loaded.as_ref().map(|loaded| &loaded.unit);
    let mac = jail.loaded.as_ref().and_then(|loaded| {
        loaded.plan.host.iter().find_map(|step| match step {
            HostStep::SetUpNetwork(link) => link.as_ref().map(|link| show_mac(link.mac)),
            _ => None,
        })
    });
    let usage = jail.life.as_ref().map(|_| jail.cgroup.usage());
    let status = jail.life.as_ref().and_then(|life| Status::of_service(life.pid));
    WireJail {
        summary: summary(jail),
        critical: unit.is_some_and(|unit| unit.critical),
        description: unit.and_then(|unit| unit.description.clone()),
        image: unit.map(|unit| unit.image.source.to_string()).unwrap_or_default(),
        exec: unit.map(|unit| unit.process.exec.clone()).unwrap_or_default(),
        user: unit.map(|unit| user(&unit.process.user)).unwrap_or_default(),
        uid_base: jail.loaded.as_ref().map(|loaded| loaded.ids.base()),
        mac,
        cgroup: usage.map(|_| format!("jails/{}", jail.name)),
        capabilities: status.as_ref().map(|status| status.capabilities.names()),
        seccomp: status.as_ref().and_then(|status| status.seccomp),
        no_new_privs: status.as_ref().map(|status| status.no_new_privs),
        last_exit: jail.last_exit.clone(),
        memory_current: usage.and_then(|usage| usage.memory),
        pids_current: usage.and_then(|usage| usage.pids),
        start_time: jail.life.as_ref().and_then(|life| start_time(life.pid)),
        problems: jail.problems().map(ToString::to_string).collect(),
    }
}

fn user(spec: &UserSpec) -> String {
    match spec {
        UserSpec::Name(name) => name.clone(),
        UserSpec::Id(id) => id.to_string(),
    }
}

/// What the kernel says of a jail's main process: proc_pid_status(5).
struct Status {
    capabilities: Capabilities,
    seccomp: Option<Seccomp>,
    no_new_privs: bool,
}

impl Status {
    /// Of the in-jail init's first child, the service; of the init itself while there is none.
    fn of_service(init: i32) -> Option<Self> {
        let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok();
        let service = children.as_deref().and_then(|list| list.split_whitespace().next());
        let pid = service.map_or_else(|| init.to_string(), str::to_owned);
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        Some(Self {
            capabilities: Capabilities::from_bits(u64::from_str_radix(field("CapEff")?, 16).ok()?),
            seccomp: match field("Seccomp") {
                Some("0") => Some(Seccomp::Disabled),
                Some("1") => Some(Seccomp::Strict),
                Some("2") => Some(Seccomp::Filter),
                _ => None,
            },
            no_new_privs: field("NoNewPrivs") == Some("1"),
        })
    }
}

/// Field 22 of proc_pid_stat(5); the name in field 2 may contain anything, so count from its end.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_line_of_init_is_understood() {
        let stage = stage("data 1200 3400 degraded no disk, in memory").unwrap();
        assert_eq!((stage.name.as_str(), stage.start_us, stage.duration_us), ("data", 1200, 3400));
        assert_eq!(stage.state, StageState::Degraded);
        assert_eq!(stage.message, "no disk, in memory");
    }

    #[test]
    fn our_own_start_time_is_a_number() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap() > 0);
    }
}
