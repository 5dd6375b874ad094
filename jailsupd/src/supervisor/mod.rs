//! The one loop: waits for what happens, asks `machine` what to do about it, has `exec` do it.
//!
//! A single thread. Everything here is cache or connection: what must outlive this program is in the
//! keeper's vault, in the unit files and on the data partition. Its start is always the same: read the
//! units, adopt what runs, then want up what should be up.

mod admission;
mod adopt;
mod answer;
mod begin;
mod beside;
mod clock;
mod commands;
mod consoles;
mod denials;
mod dependencies;
mod doctor;
mod drive;
mod end;
mod files;
mod filters;
mod health;
mod history;
mod hooks;
mod host_file;
mod images;
mod jail;
mod jails;
mod kernel;
mod layers;
mod leases;
mod leaving;
mod limits;
mod links;
mod losses;
mod namespaces;
mod networks;
mod notify;
mod output;
mod policy;
mod poller;
mod poststop;
mod pressure;
mod profiles;
mod reconcile;
mod reexec;
mod report;
mod roots;
mod runs;
mod sessions;
mod shown;
mod start;
mod starts;
mod step;
mod streams;
mod syncing;
mod ties;
mod told;
mod trash;
mod trials;
mod unknown;
mod usage;
mod volumes;
mod waiters;
mod why;
mod work;

use crate::control::server::{ClientId, Server};
use crate::exec::cgroup::{self, Cgroup};
use crate::exec::ends::Inside;
use crate::exec::ids::Table;
use crate::exec::images::Images;
use crate::exec::last_good::LastGood;
use crate::exec::logs::Log;
use crate::exec::net::Network;
use crate::exec::peek::Peek;
use crate::exec::unit_store::Store;
use crate::exec::watch::Watch;
use crate::exec::worker::Worker;
use crate::exec::{Layout, cores, devices};
use crate::machine::{Event, Moment, News};
use crate::plan::Shared;
use crate::unit::host::Host;
use crate::unit::{Policy, Problem};
use admission::Admission;
pub use begin::StartError;
use consoles::Console;
use dependencies::Ties;
use history::History;
use hooks::Hooks;
use images::Imports;
use jail::Jail;
use jails::Jails;
use keeper::{Client, Slot};
use kernel::Kernel;
use leases::Leases;
use links::Links;
use networks::Networks;
use output::Output;
use poller::{JailId, Poller, Source};
use reexec::Reexec;
use rustix::fd::OwnedFd;
use shown::Looks;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use streams::LogStream;
use syncing::Syncing;
use trash::Trash;
use trials::Trials;
use waiters::Waiter;

/// After a change of a unit file, how long nothing more must change before all are read.
const QUIET: Duration = Duration::from_millis(50);
/// How long changes that do not end put the reading off.
const BURST: Duration = Duration::from_millis(500);

/// Everything that jailsupd holds.
#[derive(Debug)]
pub struct Supervisor {
    keeper: Client,
    poller: Poller,
    peek: Peek,
    server: Server,
    network: Network,
    ids: Table,
    networks: Networks,
    layout: Layout,
    images: Images,
    devices: devices::Common,
    shared: Shared,
    helper: OwnedFd,
    machine_id: String,
    host: Host,
    host_problems: Vec<Problem>,
    kernel_version: (u32, u32),
    policy: Policy,
    policy_problems: Vec<Problem>,
    jails: Jails,
    event_followers: Vec<(ClientId, Option<String>)>,
    waiters: Vec<Waiter>,
    /// What the programs of jails that are about to start for a client get, by the jails' names.
    runs: BTreeMap<String, Inside>,
    streams: Vec<LogStream>,
    consoles: Vec<Console>,
    looks: Looks,
    imports: Imports,
    /// Workers that nobody waits for any more, until they have ended.
    discarded: Vec<Worker>,
    /// A client has asked for PID 1 to be executed anew.
    reexec: Option<Reexec>,
    history: History,
    output: Output,
    syncing: Syncing,
    kernel: Kernel,
    directories: Vec<PathBuf>,
    store: Store,
    last_good: LastGood,
    trials: Trials,
    links: Links,
    leases: Leases,
    watch: Watch,
    hooks: Hooks,
    ties: Ties,
    /// Unit files have changed: they are read at this time.
    rescan_at: Option<Moment>,
    /// When they first changed.
    changed_at: Moment,
    trash: Trash,
    /// What all jails together have of `memory.min` and `memory.low`, once that was written.
    protected: Option<[u64; 2]>,
    admission: Admission,
    going_down: bool,
    /// The keeper is gone, or told us to end: leave the loop with this status.
    done: Option<u8>,
    /// See [`crate::exec::descriptors::fill_low_numbers`].
    _low_numbers: Vec<OwnedFd>,
}

impl Supervisor {
    /// Runs until the host goes down. Returns the exit status.
    pub fn run(&mut self) -> u8 {
        self.on_keeper();
        self.keep_for_host();
        self.empty_trash();
        self.sweep_runs();
        if !self.going_down {
            self.rescan();
            // What has happened to links while nobody looked.
            self.follow_links();
            self.reclaim();
            self.resume_leases();
        }
        self.finish_cleaning();
        self.resume_besides();
        self.resume_trials();
        self.resume_hooks();
        self.resume_imports();
        loop {
            // A notice may have come in with the answer to some request: then nothing is readable.
            self.on_keeper();
            if let Some(status) = self.done {
                return status;
            }
            if self.going_down && self.jails.all().all(|(_, jail)| jail.is_at_rest()) {
                log::info!("all jails are down");
                return 0;
            }
            match self.poller.wait(self.timeout()) {
                Ok(sources) => sources.into_iter().for_each(|source| self.on(source)),
                Err(error) => {
                    log::error!("epoll: {error}");
                    return 1;
                }
            }
            self.tick();
            self.follow_dependencies();
            self.prepare_some();
            self.follow_dependencies();
            self.follow_filters();
            self.judge_trials();
            self.answer_some();
            self.answer_waiters();
            self.feed_streams();
            self.feed_showings();
            self.answer_visits();
        }
    }

    fn on(&mut self, source: Source) {
        use crate::exec::logs::Stream;
        match source {
            Source::Keeper => self.on_keeper(),
            Source::Listener => self.on_listener(),
            Source::Client(id) => self.on_client(id),
            Source::Process(id) => self.on_process(id),
            Source::StartError(id) => self.on_start_error(id),
            Source::Stdout(id) => self.on_output(id, Stream::Stdout),
            Source::Stderr(id) => self.on_output(id, Stream::Stderr),
            Source::Terminal(id) => self.on_terminal(id),
            Source::Console(client) => self.on_console(client),
            Source::Cgroup(id) => self.on_cgroup(id),
            Source::Units => self.on_units(),
            Source::Janitor => self.on_janitor(),
            Source::Limit(id, signal) => self.on_limit(id, signal),
            Source::KernelLog => self.on_kernel_log(),
            Source::Synced => self.on_synced(),
            Source::Notify(id) => self.on_notify(id),
            Source::Check(id) => self.on_check(id),
            Source::Work(id) => self.on_work(id),
            Source::Import(number) => self.on_import(number),
            Source::Discarded => self.on_discarded(),
            Source::Reexec => self.on_reexec(),
            Source::Hook(number) => self.on_hook(number),
            Source::Links => self.on_links(),
            Source::Dhcp => self.on_dhcp(),
        }
    }

    fn on_cgroup(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let events = jail.life.as_ref().and_then(|life| life.events.as_ref());
        let frozen = events.is_some_and(cgroup::is_frozen);
        if std::mem::replace(&mut jail.frozen, frozen) != frozen {
            let why = if frozen { "it is frozen" } else { "it is thawed" };
            self.apply(id, Event::News(News::Frozen(frozen)), why);
            self.freeze_health(id, frozen);
            self.run_owed_poststart(id);
        }
    }

    fn on_keeper(&mut self) {
        match self.keeper.notice() {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.going_down = true;
                for id in self.jails.ids() {
                    self.leave(id, Event::Stop, "the host goes down");
                }
            }
            Err(error) => self.lost_keeper(&error),
        }
    }

    fn lost_keeper(&mut self, error: &io::Error) {
        log::error!("lost the keeper: {error}");
        self.done = Some(1);
    }

    /// A burst of changes leads to one reading, soon after its end, and at the latest a while after its
    /// beginning.
    fn on_units(&mut self) {
        if !self.watch.drain() {
            return;
        }
        let now = clock::now();
        if self.rescan_at.is_none() {
            self.changed_at = now;
        }
        self.rescan_at = Some((now + QUIET).min(self.changed_at + BURST));
    }

    /// Reads the unit files now if they have changed, and not when their burst is over.
    fn catch_up(&mut self) {
        if (self.watch.drain() || self.rescan_at.is_some()) && !self.going_down {
            self.rescan();
        }
    }

    /// Takes back what jails that are gone were given: ids, once nothing on the data partition is theirs, and numbers in
    /// networks. Looked at when the units have been read for the first time, and after each emptying of the trash.
    fn reclaim(&mut self) {
        let (ids, jails, layout) = (&mut self.ids, &self.jails, &self.layout);
        match ids.reclaim(layout, |name| {
            [work::READER, leases::WORKER].contains(&name) || jails.find(name).is_some()
        }) {
            Ok(true) => log::info!("ranges of user ids of jails that are gone are free again"),
            Ok(false) => {}
            Err(error) => log::warn!("ranges of user ids cannot be taken back: {error}"),
        }
        self.reclaim_numbers();
        self.follow_networks();
    }

    /// The jail of this name, made if there is none.
    fn jail_named(&mut self, name: &str, path: &str) -> JailId {
        if let Some(id) = self.jails.find(name) {
            if let Some(jail) = self.jails.get_mut(id).filter(|_| !path.is_empty()) {
                path.clone_into(&mut jail.path);
            }
            return id;
        }
        let cgroup = Cgroup::of(&self.layout.cgroups, name);
        let log = Log::of(&self.layout, name);
        let id = self.jails.add(Jail::new(name, path, cgroup, log));
        self.follow_new(id);
        id
    }

    /// A jail without a unit goes when nothing of it runs any more. Its log and its ids stay.
    fn forget_if_removed(&mut self, id: JailId) {
        let gone = |jail: &Jail| jail.removed && jail.is_at_rest() && jail.life.is_none();
        if !self.jails.get(id).is_some_and(gone) {
            return;
        }
        match self.jails.get(id).map(|jail| (jail.of, jail.beside)) {
            Some((Some(_), _)) => return self.forget_beside(id),
            // What is beside it goes first.
            Some((None, Some(_))) => return,
            _ => {}
        }
        let Some(jail) = self.take_out(id) else { return };
        if self.ties.order.has(&jail.name) {
            self.renew_order();
        }
        self.forget_images();
        self.sweep_links();
        if let Err(error) = cores::discard(&jail.name, &self.layout) {
            log::warn!("jail={} leaves core dumps behind: {error}", jail.name);
        }
        if jail.key != jail.name {
            self.sweep_key(&jail.key);
        }
        self.discard_given(&jail.name);
        // Its layer went to the trash when it was cleared away.
        if let Err(error) = std::fs::remove_dir(self.layout.jail(&jail.name)) {
            // A persistent root stays for the next jail of this name.
            let kept = crate::exec::root::find(&self.layout, &jail.name).is_some();
            if error.kind() != io::ErrorKind::NotFound && !kept {
                log::warn!("jail={} leaves files behind: {error}", jail.name);
            }
        }
        self.empty_trash();
        self.follow_no_more(id);
        self.pass_place_on(&jail);
        self.syncing.keep(id, jail.log);
        self.record(&jail.name, None, "it is gone with its unit");
    }

    /// Takes a jail at rest, or what is beside one, out of everything that knows it by its number or key.
    fn take_out(&mut self, id: JailId) -> Option<Jail> {
        self.end_lease(id);
        self.end_search(id);
        let mut jail = self.jails.remove(id)?;
        if let Some(work) = jail.work.take() {
            self.discard(work.worker);
        }
        self.trials.forget(id);
        self.forget_link(id);
        // First, so that nobody takes a namespace without its link for one with it.
        if let Err(error) = self.keeper.remove(&jail.key, &Slot::ALL) {
            self.lost_keeper(&error);
        }
        // Its unit may be here again at once.
        let cleared = jail.kept.as_ref().map(|kept| self.network.clear(&kept.namespaces.net));
        if let Some(Err(error)) = cleared {
            log::warn!("jail={} {}", jail.name, error.chain());
        }
        Some(jail)
    }

    fn timeout(&self) -> Option<Duration> {
        let is_asked = self.server.is_asked();
        let is_showing = self.looks.is_under_way();
        if is_asked
            || is_showing
            || self.ties.moved
            || self.has_streams_to_feed()
            || self.can_prepare()
        {
            return Some(Duration::ZERO);
        }
        let machines = self.jails.all().filter_map(|(_, jail)| jail.deadline());
        let rescan_at = self.rescan_at.filter(|_| !self.going_down);
        let next = machines.chain(rescan_at).chain(self.waiters_deadline());
        let next = next.chain(self.ties.starts.deadline()).chain(self.hooks.deadline());
        let more = [
            self.trash.deadline(),
            self.output.deadline(),
            self.syncing.deadline(),
            self.history.deadline(),
            self.kernel.deadline(),
            self.trials.deadline(),
            self.links.deadline(),
            self.leases_deadline(),
            self.visits_deadline(),
        ];
        let next = next.chain(more.into_iter().flatten()).min()?;
        // epoll_pwait2(2) counts nanoseconds, and wakes after them, not before: then the deadline has passed.
        Some(next.saturating_sub(clock::now()))
    }

    fn tick(&mut self) {
        let now = clock::now();
        if self.rescan_at.is_some_and(|at| at <= now) && !self.going_down {
            self.rescan();
        }
        self.tick_trash(now);
        self.tick_links();
        self.tick_leases();
        self.end_late_hooks();
        if self.output.deadline().is_some_and(|at| at <= now) {
            self.store_staged();
        }
        self.tell_unstored_events(now);
        self.tell_unstored_kernel_log(now);
        self.sync_logs();
        let is_due = |jail: &Jail| jail.deadline().is_some_and(|at| at <= now);
        let due = self.jails.all().filter(|(_, jail)| is_due(jail));
        let due: Vec<JailId> = due.map(|(id, _)| id).collect();
        self.tick_checks(&due, now);
        for id in due {
            self.tick_notify(id, now);
            self.tick_work(id, now);
            self.tell_losses(id, false);
            let deadline = self.jails.get(id).and_then(|jail| jail.machine.deadline());
            if deadline.is_some_and(|at| at <= now) {
                // What it has come to and said already counts, though nobody had the time to look.
                self.on_start_error(id);
                self.on_notify(id);
                self.apply(id, Event::Tick, "its time has come");
            }
        }
    }
}
