//! Answers to the control socket.

use super::commands::Command;
use super::poller::Source;
use super::streams::Wanted;
use super::unknown::invalid_value;
use super::{Supervisor, report};
use crate::control::server::{ClientId, Incoming};
use crate::control::wire::{
    HostInfo, Inspected, InterfaceDescription, JailSummary, Listed, ProcessTable, Reply, Request,
    ServiceInfo, WireError,
};
use crate::unit::Signal;
use crate::unit::value::FromText as _;
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
        // No more is read as long as calls of it wait, so that they are answered even if the stream ends next.
        if self.server.is_asking(client) {
            return;
        }
        if !self.server.receive(client) {
            return self.hang_up(client);
        }
        self.answer_calls(client);
    }

    /// Answers the next call that a client has sent. Those behind it have their turns later
    /// ([`Supervisor::answer_some`]), so that a client that sends many leaves time for everybody else; and a
    /// call whose answer takes its time holds them back.
    pub(super) fn answer_calls(&mut self, client: ClientId) {
        if self.is_being_answered(client) {
            return self.want_output(client);
        }
        match self.server.next_call(client) {
            None => return self.want_output(client),
            Some(Incoming::Gone) => return self.hang_up(client),
            Some(Incoming::Refused(error)) => self.reply(client, &Reply::refusal(&error)),
            Some(Incoming::Request(request)) => {
                // Whoever has written a file, and then asks, is answered with the file in mind.
                self.catch_up();
                self.answer(client, request);
            }
        }
        self.want_output(client);
    }

    /// Gives each client that may have sent more calls the next turn.
    pub(super) fn answer_some(&mut self) {
        for client in self.server.take_asking() {
            self.answer_calls(client);
        }
    }

    fn is_being_answered(&self, client: ClientId) -> bool {
        self.waiters.iter().any(|waiter| waiter.client == client)
            || self.streams.iter().any(|stream| stream.holds(client))
            || self.consoles.iter().any(|console| console.client == client)
            || self.looks.is_for(client)
            || self.is_importing(client)
            || self.reexec.as_ref().is_some_and(|reexec| reexec.client == client)
    }

    pub(super) fn hang_up(&mut self, client: ClientId) {
        if let Some(socket) = self.server.socket(client) {
            self.poller.forget(socket);
        }
        self.server.close(client);
        self.event_followers.retain(|(follower, _)| *follower != client);
        self.waiters.retain(|waiter| waiter.client != client);
        self.streams.retain(|stream| stream.client != client);
        self.consoles.retain(|console| console.client != client);
        self.looks.forget(client);
        self.stop_imports_of(client);
    }

    pub(super) fn reply(&mut self, client: ClientId, reply: &Reply) {
        if !self.server.reply(client, reply) {
            self.hang_up(client);
        }
    }

    pub(super) fn want_output(&mut self, client: ClientId) {
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
                let jails: Vec<JailSummary> = self.jails.iter().map(report::summary).collect();
                Reply::with(&Listed { jails })
            }
            Request::Inspect { name } => self.inspect(&name),
            Request::Logs { name, names, lines, follow, since, until, kernel } => {
                let names = names.or(name.map(|name| vec![name]));
                let times = (since.unwrap_or(0), until.unwrap_or(u64::MAX));
                let wanted = Wanted { names, kernel, lines, times, follow };
                return self.send_logs(client, &wanted);
            }
            Request::Events { follow, name, lines } => {
                return self.send_events(client, (name, lines), follow);
            }
            Request::Wait { name, state, timeout_ms } => {
                return self.wait_for(client, &name, state, timeout_ms);
            }
            Request::Why { name } => self.why(&name),
            Request::Processes { name } => self.processes(name.as_deref()),
            Request::Stats { name, processes } => {
                self.usage(name.as_deref(), processes == Some(true))
            }
            Request::Explain { key } => report::explain(key.as_deref()),
            Request::Schema {} => report::schema(),
            Request::Check { units } => self.check_units(&units),
            Request::Plan { units } => self.plan_units(&units),
            Request::Cat { name } => self.cat(&name),
            Request::HostInfo {} => Reply::with(&self.host_info()),
            Request::ListImages {} => self.list_images(),
            Request::InspectImage { image } => self.inspect_image(&image),
            Request::ListVolumes {} => self.list_volumes(),
            Request::ListRoots {} => self.list_roots(),
            Request::InspectVolume { name } => self.inspect_volume(&name),
            Request::ShowNetwork {} => return self.show_network(client),
            Request::Doctor { name } => return self.visit(client, &name),
            other => return self.change(client, other),
        };
        self.reply(client, &reply);
    }

    /// The requests that change something: root's.
    fn change(&mut self, client: ClientId, request: Request) {
        let (name, command, wait) = match request {
            Request::Start { name, wait } => (name, Command::Start, wait),
            Request::Stop { name, wait } => (name, Command::Stop, wait),
            Request::Restart { name, wait } => (name, Command::Restart, wait),
            Request::Freeze { name, wait } => (name, Command::Freeze, wait),
            Request::Thaw { name, wait } => (name, Command::Thaw, wait),
            Request::Kill { name, signal, wait } => match Signal::from_text(&signal) {
                Ok(signal) => (name, Command::Kill(signal), wait),
                Err(fault) => {
                    let error = invalid_value("signal", fault);
                    return self.reply(client, &Reply::refusal(&error));
                }
            },
            Request::Apply { wait } => return self.apply_units(client, wait),
            other @ (Request::Exec { .. } | Request::CopyFrom { .. } | Request::CopyTo { .. }) => {
                return self.open_session(client, other);
            }
            Request::Console { name } => return self.open_console(client, &name),
            Request::Run { unit, name, terminal, stdin } => {
                return self.run_unit(client, (name, unit), terminal, stdin);
            }
            other => return self.change_files(client, other),
        };
        self.command(client, &name, command, wait);
    }

    /// The requests that change files, or the whole host.
    fn change_files(&mut self, client: ClientId, request: Request) {
        let reply = match request {
            Request::Put { stem, text, expect_hash } => {
                self.put_unit(&stem, &text, expect_hash.as_deref())
            }
            Request::Delete { stem } => self.delete_unit(&stem),
            Request::Enable { name } => self.enable(&name),
            Request::Disable { name } => self.disable(&name),
            Request::Mask { name } => self.mask(&name),
            Request::Unmask { name } => self.unmask(&name),
            Request::ImportImage { path, name } => {
                return self.import_image(client, &path, name.as_deref());
            }
            Request::TagImage { image, name } => self.tag_image(&image, &name),
            Request::RemoveImage { image } => self.remove_image(&image),
            Request::CollectImages {} => self.collect_images(),
            Request::RemoveVolume { name } => self.remove_volume(&name),
            Request::RemoveRoot { jail } => self.remove_root(&jail),
            Request::Reexec {} => return self.reexec(client),
            Request::PowerOff {} => self.shut_down(Shutdown::PowerOff),
            Request::Reboot {} => self.shut_down(Shutdown::Reboot),
            // All others are answered above.
            other => Reply::refusal(&WireError::MethodNotFound { method: other.to_call().method }),
        };
        self.reply(client, &reply);
    }

    fn processes(&self, name: Option<&str>) -> Reply {
        if let Some(name) = name.filter(|name| self.jails.find(name).is_none()) {
            return Reply::refusal(&self.no_such_jail(name));
        }
        let wanted = self.jails.iter().filter(|jail| name.is_none_or(|name| name == jail.name));
        Reply::with(&ProcessTable { jails: wanted.map(report::processes).collect() })
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

    fn inspect(&self, name: &str) -> Reply {
        match self.jails.find(name).and_then(|id| self.jails.get(id)) {
            Some(jail) => Reply::with(&Inspected { jail: report::inspected(jail) }),
            None => Reply::refusal(&self.no_such_jail(name)),
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
            uplink: self.links.uplink().map(str::to_owned),
            stages: read("/run/warder/stages").lines().filter_map(report::stage).collect(),
            problems: self
                .host_problems
                .iter()
                .chain(&self.policy_problems)
                .map(ToString::to_string)
                .collect(),
        }
    }
}
