//! How jailsupd begins: it takes what it needs, and adopts what runs.

use super::admission::Admission;
use super::dependencies::Ties;
use super::history::History;
use super::hooks::Hooks;
use super::images::Imports;
use super::jails::Jails;
use super::kernel::Kernel;
use super::leases::Leases;
use super::links::Links;
use super::networks::Networks;
use super::output::Output;
use super::poller::{Poller, Source};
use super::shown::Looks;
use super::syncing::Syncing;
use super::trash::Trash;
use super::trials::Trials;
use super::{Supervisor, host_file, networks, policy, runs};
use crate::control::server::Server;
use crate::exec::deploys::Deploys;
use crate::exec::ids::Table;
use crate::exec::images::Images;
use crate::exec::last_good::LastGood;
use crate::exec::net::Network;
use crate::exec::peek::Peek;
use crate::exec::unit_store::{self, Store};
use crate::exec::watch::Watch;
use crate::exec::{self, Layout, descriptors, devices, helper, units};
use crate::machine::Moment;
use crate::plan::Shared;
use crate::unit::host::Host;
use crate::unit::{Policy, Problem};
use keeper::Client;
use rustix::fd::AsFd as _;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The in-jail init on the host.
const HELPER: &str = "/usr/lib/warder/jail-init";

/// Why jailsupd cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct StartError {
    what: &'static str,
    source: io::Error,
}

/// Names the step of a start that failed.
fn to<T>(what: &'static str, result: Result<T, impl Into<io::Error>>) -> Result<T, StartError> {
    result.map_err(|source| StartError { what, source: source.into() })
}

/// What jails are put into.
fn make_places(layout: &Layout) -> Result<(), StartError> {
    to("use a mount namespace of its own", own_mounts())?;
    to("make its run directory", layout.make())?;
    to("make the jails' cgroup", make_cgroups(&layout.cgroups))
}

impl Supervisor {
    /// Takes everything that is needed, reads the units and adopts what runs.
    ///
    /// # Errors
    /// When a thing is missing without which no jail could run. The keeper tries again.
    pub fn start(layout: Layout) -> Result<Self, StartError> {
        let keeper = to("reach the keeper: is this its child?", Client::inherit())?;
        let low_numbers = to("use /dev/null", descriptors::fill_low_numbers())?;
        make_places(&layout)?;
        let poller = to("use epoll", Poller::new())?;
        let server = to("wait for the keeper and for clients", listen(&keeper, &poller))?;
        let (directories, watch) = to("watch the unit directories", watched(&poller))?;
        let (host, host_problems) = to("set the host's name", named_host())?;
        let mut supervisor = Self {
            keeper,
            poller,
            server,
            network: to("use rtnetlink", Network::open())?,
            ids: to("read the table of id ranges", Table::open(&layout))?,
            networks: to("read the table of networks", Networks::open(&layout))?,
            images: Images::default(),
            devices: devices::Common::default(),
            shared: Shared::default(),
            helper: to("seal the in-jail init", helper::seal(Path::new(HELPER)))?,
            machine_id: std::fs::read_to_string("/etc/machine-id").unwrap_or_default(),
            history: History::new(&layout),
            ties: Ties::on(&host),
            output: to("make the pipe to the logs", Output::new(None))?,
            syncing: Syncing::default(),
            kernel: Kernel::new(&layout),
            host,
            host_problems,
            kernel_version: kernel_version(),
            policy: Policy::default(),
            policy_problems: Vec::new(),
            jails: Jails::default(),
            event_followers: Vec::new(),
            waiters: Vec::new(),
            runs: BTreeMap::new(),
            streams: Vec::new(),
            consoles: Vec::new(),
            looks: Looks::default(),
            imports: Imports::default(),
            discarded: Vec::new(),
            reexec: None,
            store: Store::new(Path::new(unit_store::DIRECTORY)),
            last_good: to("keep units", LastGood::open(&layout.last_good()))?,
            trials: Trials::new(to("keep good versions", Deploys::open(&layout))?),
            links: Links::default(),
            leases: Leases::new(to("keep leases", exec::leases::Leases::open(&layout))?),
            hooks: Hooks::default(),
            watch,
            directories,
            rescan_at: None,
            changed_at: Moment::ZERO,
            trash: Trash::default(),
            protected: None,
            admission: Admission::default(),
            going_down: false,
            done: None,
            layout,
            peek: to("make a pipe", Peek::new())?,
            _low_numbers: low_numbers,
        };
        to("adopt running jails", supervisor.take_over())?;
        Ok(supervisor)
    }

    /// Before anything is started: what the host has, and what runs.
    fn take_over(&mut self) -> io::Result<()> {
        self.tidy_storage();
        self.open_links();
        self.adopt()
    }
}

/// The first two numbers of the kernel's release.
fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What the host's file says, with the host's name set from it.
fn named_host() -> io::Result<(Host, Vec<Problem>)> {
    let (host, problems) = host_file::read_host();
    for problem in &problems {
        log::error!("{}", problem.one_line());
    }
    if let Some(name) = &host.hostname {
        rustix::system::sethostname(name.as_str().as_bytes())?;
    }
    Ok((host, problems))
}

/// Where units are looked for, the later winning. /run's are ours to make; the others are there on a Warder
/// host, and may be missing elsewhere.
fn unit_directories() -> Vec<PathBuf> {
    let all = units::DIRECTORIES.iter().chain([&runs::DIRECTORY]);
    let all: Vec<PathBuf> = all.map(PathBuf::from).collect();
    for directory in &all {
        let _ = std::fs::create_dir_all(directory);
    }
    all
}

fn listen(keeper: &Client, poller: &Poller) -> io::Result<Server> {
    let server = Server::listen(Path::new(crate::control::wire::SOCKET))?;
    poller.watch(keeper, Source::Keeper)?;
    poller.watch(server.listener(), Source::Listener)?;
    Ok(server)
}

/// The directories of units, with a watch on them and on that of the policy.
fn watched(poller: &Poller) -> io::Result<(Vec<PathBuf>, Watch)> {
    let directories = unit_directories();
    let others = networks::directories(&directories).chain([PathBuf::from(policy::DIRECTORY)]);
    let watch = Watch::new(directories.iter().cloned().chain(others).collect())?;
    poller.watch(&watch, Source::Units)?;
    Ok((directories, watch))
}

/// Mounts that are made for a moment during a start are nobody else's business, and go with us. What
/// the host mounts later still reaches us.
fn own_mounts() -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    use sys::mount::Attributes;
    sys::mount::own_namespace()?;
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let slave = Attributes { propagation: libc::MS_SLAVE, ..Attributes::default() };
    sys::mount::set_attributes(root.as_fd(), true, slave)
}

/// The jails' part of the cgroup tree, with every controller that the host has for its children.
fn make_cgroups(path: &PathBuf) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let available = std::fs::read_to_string(path.join("cgroup.controllers"))?;
    let enable: Vec<String> =
        available.split_whitespace().map(|controller| format!("+{controller}")).collect();
    std::fs::write(path.join("cgroup.subtree_control"), enable.join(" "))
}
