//! The host's own networks, which units join by name: their files are read with the units, so that a change of one counts
//! as a change of every unit that names it. What they are and who is in them is in a table, which outlives reboots.

use super::Supervisor;
use super::clock;
use super::jail::{Jail, Loaded};
use super::namespaces::link_in;
use super::poller::JailId;
use super::step::Step;
use crate::control::wire::UnitDraft;
use crate::exec::net::Interface;
use crate::exec::networks::Table;
use crate::exec::{Error, Layout, units};
use crate::plan::Link;
use crate::plan::firewall::Firewall;
use crate::plan::link::{Kind, Lower, show_mac};
use crate::plan::networks::Networks as Numbers;
use crate::unit::named_network::{self, DIRECTORY, NamedNetwork, ROUTER};
use crate::unit::nearest::nearest;
use crate::unit::section::Forward;
use crate::unit::tree::unit_stem;
use crate::unit::value::FromText as _;
use crate::unit::{IpPrefix, Joined, NetworkName, Problem, Resolved, Subnet, Unit, text};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The key that names the network.
const KEY: &str = "network.network";
/// For the file of a network that cannot be read.
const HELP: &str = "put a readable file of a network there, or remove it";

/// Names in a network: of each jail in it, with its addresses.
type Names = BTreeMap<String, Vec<IpAddr>>;

/// The host's own networks.
#[derive(Debug)]
pub(super) struct Networks {
    table: Table,
    /// What was wrong with their files when they were read last.
    problems: Vec<Problem>,
    /// The names in each, as the jails in it were told them last.
    told: BTreeMap<NetworkName, Names>,
}

impl Networks {
    /// As the table on the data partition has them.
    pub(super) fn open(layout: &Layout) -> io::Result<Self> {
        Ok(Self { table: Table::open(layout)?, problems: Vec::new(), told: BTreeMap::new() })
    }

    /// All of them by name, each as it was taken last.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Joined)> {
        self.table.get().all()
    }
}

/// What their files say, each by its name.
#[derive(Debug, Default)]
pub(super) struct Found {
    networks: BTreeMap<String, Result<Joined, Problem>>,
    /// All that is wrong with the files.
    pub(super) problems: Vec<Problem>,
}

/// The directories that their files are in.
pub(super) fn directories(of_units: &[PathBuf]) -> impl Iterator<Item = PathBuf> + '_ {
    of_units.iter().map(|directory| directory.join(DIRECTORY))
}

/// Drafts of networks, by the directory that they are to be in, and of units.
pub(super) fn split(drafts: &[UnitDraft]) -> (Vec<UnitDraft>, Vec<UnitDraft>) {
    drafts.iter().cloned().partition(|draft| {
        let path = draft.path.as_deref().map(Path::new);
        path.and_then(|path| path.parent()?.file_name()).is_some_and(|name| name == DIRECTORY)
    })
}

impl Found {
    /// How many there are, good ones and others.
    pub(super) fn files(&self) -> usize {
        self.networks.len()
    }
}

impl Supervisor {
    /// Reads their files as they are now, with `drafts` in the place of those of their stems.
    pub(super) fn read_networks(&self, drafts: &[UnitDraft]) -> Found {
        let mut files: BTreeMap<String, Result<NamedNetwork, Vec<Problem>>> = BTreeMap::new();
        for directory in directories(&self.directories) {
            for (name, path) in units::list(&directory) {
                let Some(stem) = unit_stem(&name) else { continue };
                files.insert(stem.to_owned(), read(stem, &path));
            }
        }
        for draft in drafts {
            let path = draft.path.as_deref().unwrap_or_default();
            let parsed = named_network::parse(&draft.stem, path, &draft.text);
            files.insert(draft.stem.clone(), parsed);
        }
        let mut found = Found::default();
        let mut good = Vec::new();
        for (stem, file) in files {
            match file {
                Ok(network) => good.push(network),
                Err(problems) => {
                    let first = problems.first().cloned();
                    found.networks.extend(first.map(|first| (stem, Err(first))));
                    found.problems.extend(problems);
                }
            }
        }
        let own = self.host.uplink.address.iter();
        let host: Vec<Subnet> =
            own.filter_map(|own| Subnet::around(own.address(), own.length())).collect();
        let settled = self.networks.table.get().settle(&good, &host, &self.machine_id);
        found.problems.extend(settled.values().filter_map(|network| network.clone().err()));
        found.networks.extend(settled);
        found
    }

    /// Gives each unit that names a network what that is. One whose network cannot be had is one with that problem.
    pub(super) fn join_networks(&self, units: &mut [Resolved], found: &Found) {
        for resolved in units {
            let Ok(unit) = &mut resolved.result else { continue };
            if let Err(problem) = self.join(unit, found) {
                resolved.result = Err(vec![problem]);
            }
        }
    }

    fn join(&self, unit: &mut Unit, found: &Found) -> Result<(), Problem> {
        let Some(name) = unit.network.network.clone() else { return Ok(()) };
        let joined = match found.networks.get(name.as_str()) {
            Some(Ok(joined)) => joined.clone(),
            Some(Err(problem)) => {
                let message =
                    format!("the network `{name}` cannot be used: {}", problem.one_line());
                return Err(unit.problem(KEY, message, "mend its file"));
            }
            None => return Err(unknown(unit, &name, found)),
        };
        self.check_addresses(unit, &name, &joined)?;
        if joined.forward == Forward::None && !unit.network.publish.is_empty() {
            let message = format!("the network `{name}` has no way out, so none in");
            let help = format!("write `forward = \"nat\"` into networks/{name}.toml");
            return Err(unit.problem("network.publish", message, help));
        }
        let has = |is_ipv4: bool| joined.subnets.iter().any(|subnet| subnet.is_ipv4() == is_ipv4);
        let ports = unit.network.publish.iter();
        let lost = ports.filter_map(|port| port.address).find(|ip| !has(ip.is_ipv4()));
        if let Some(address) = lost {
            let message = format!("{address}: no jail in the network `{name}` has such addresses");
            return Err(unit.problem("network.publish", message, format!("it is {joined}")));
        }
        unit.join(joined);
        Ok(())
    }

    /// The same for a version of a unit that was in force before: its network is what it was.
    pub(super) fn join_again(&self, unit: &mut Unit) -> Result<(), Problem> {
        let Some(name) = unit.network.network.as_ref() else { return Ok(()) };
        match self.networks.table.get().get(name.as_str()).cloned() {
            Some(joined) => {
                // What it had may have been given to another one meanwhile.
                self.check_addresses(unit, name, &joined)?;
                unit.join(joined);
            }
            None => self.join(unit, &self.read_networks(&[]))?,
        }
        Ok(())
    }

    /// What a unit gives itself must be the network's, and nobody else's in it.
    fn check_addresses(
        &self,
        unit: &Unit,
        name: &NetworkName,
        joined: &Joined,
    ) -> Result<(), Problem> {
        let own = unit.network.fixed().map(|own| ("network.address", own));
        let beside = unit.deploy.address.iter().map(|own| ("deploy.address", *own));
        for (key, address) in own.chain(beside) {
            let ip = address.address();
            let around = Subnet::around(ip, address.length());
            let Some(subnet) = joined.subnets.iter().find(|subnet| Some(**subnet) == around) else {
                let message =
                    format!("{address} is not in the network `{name}`, which is {joined}");
                let help = "give an address in it with its prefix length, or none";
                return Err(unit.problem(key, message, help));
            };
            let number = subnet.number(ip).unwrap_or_default();
            if number == ROUTER {
                let message = format!("{ip} is kept for the router of the network `{name}`");
                return Err(unit.problem(key, message, "give another address in it, or none"));
            }
            let holder = self.networks.table.get().holder(name.as_str(), number);
            let is_others = |other: &&str| *other != unit.name.as_str() || key == "deploy.address";
            if let Some(other) = holder.filter(is_others) {
                let message = format!("{ip} was given to jail `{other}`, which keeps it");
                return Err(unit.problem(key, message, "give another address in it, or none"));
            }
        }
        Ok(())
    }

    /// Says what is wrong with their files, once.
    pub(super) fn note_network_problems(&mut self, found: &Found) {
        if self.networks.problems != found.problems {
            found.problems.iter().for_each(|problem| log::error!("{}", problem.one_line()));
            self.networks.problems.clone_from(&found.problems);
        }
    }

    /// Keeps the table for these units: what their networks are, a number for each that needs one, and none for jails that
    /// are in no network any more. All at once, since each storing waits for the disk.
    pub(super) fn keep_networks(&mut self, found: &Found, steps: &[Step]) {
        let mut table = self.networks.table.get().clone();
        let units = || steps.iter().filter_map(|step| step.unit.as_deref());
        if units().all(|unit| unit.joined().is_none()) && table == Numbers::default() {
            return;
        }
        for (name, joined) in units().filter_map(named) {
            // One that was remembered may have it as it was.
            let by_file = found.networks.get(name.as_str()).and_then(|found| found.as_ref().ok());
            table.take(name.as_str(), by_file.unwrap_or(joined));
        }
        // That one is closed counts, too, when no unit that names it is good any more.
        for (name, file) in &found.networks {
            if let Ok(joined) = file {
                table.forward(name, joined.forward);
            }
        }
        self.release(&mut table, steps);
        let all: Vec<&Unit> = units().collect();
        for unit in units() {
            self.allot(&mut table, unit, &all);
        }
        if let Err(error) = self.networks.table.put(table) {
            log::error!("{}", error.chain());
        }
    }

    /// Takes the numbers back of jails that are gone.
    pub(super) fn reclaim_numbers(&mut self) {
        let mut table = self.networks.table.get().clone();
        self.release(&mut table, &[]);
        if let Err(error) = self.networks.table.put(table) {
            log::warn!("{}", error.chain());
        }
    }

    /// What was of use to a jail that is gone only, goes too. Its place may be what another one could not have: the units are read again.
    pub(super) fn pass_place_on(&mut self, gone: &Jail) {
        self.follow_networks();
        let had_one = gone.loaded.as_ref().is_some_and(|loaded| loaded.unit.joined().is_some());
        let lacks = |jail: &Jail| jail.unit_problems.iter().any(|problem| problem.key == KEY);
        if had_one && self.jails.all().any(|(_, jail)| lacks(jail)) {
            self.rescan_at = Some(clock::now());
        }
    }

    /// Takes out of a table who is in no network any more, and networks that nobody names: neither what is in force, nor
    /// these steps.
    fn release(&self, table: &mut Numbers, steps: &[Step]) {
        let asked: BTreeMap<&str, &Step> =
            steps.iter().map(|step| (step.name.as_str(), step)).collect();
        let new = || steps.iter().filter_map(|step| step.unit.as_deref());
        let is_named = |network: &str| {
            let mut all = new().chain(self.units_in_force()).filter_map(named);
            all.any(|(name, _)| name.as_str() == network)
        };
        let is_in = |network: &str, jail: &str| {
            is_member(network, asked.get(jail).copied(), &self.lives(jail))
        };
        table.release(is_named, is_in);
    }

    fn units_in_force(&self) -> impl Iterator<Item = &Unit> {
        self.jails.all().filter_map(|(_, jail)| Some(&jail.loaded.as_ref()?.unit))
    }

    /// The jail and what is beside it.
    fn lives(&self, name: &str) -> Vec<&Jail> {
        let jail = self.jails.find(name).and_then(|id| self.jails.get(id));
        let beside = jail.and_then(|jail| self.jails.beside(jail));
        jail.into_iter().chain(beside).collect()
    }

    /// Gives a jail a number in its network, if it needs one and has none.
    fn allot(&self, table: &mut Numbers, unit: &Unit, others: &[&Unit]) -> Option<u32> {
        let (name, joined) = named(unit)?;
        let jail = unit.name.as_str();
        if !needs_number(unit, joined) {
            return None;
        }
        if let Some(number) = table.number(name.as_str(), jail) {
            return Some(number);
        }
        let fixed: BTreeSet<u32> = others
            .iter()
            .copied()
            .chain(self.units_in_force())
            .filter(|other| other.network.network.as_ref() == Some(name))
            .flat_map(|other| other.network.fixed().chain(other.deploy.address.iter().copied()))
            .filter_map(|own| joined.subnets.iter().find_map(|one| one.number(own.address())))
            .collect();
        table.allot(name.as_str(), jail, &fixed)
    }

    /// The number of a jail in its network; none when it needs none.
    pub(super) fn number_of(&mut self, unit: &Unit) -> Result<Option<u32>, Error> {
        let Some((name, joined)) = named(unit).filter(|(_, joined)| needs_number(unit, joined))
        else {
            return Ok(None);
        };
        let table = self.networks.table.get();
        if let Some(number) = table.number(name.as_str(), unit.name.as_str()) {
            return Ok(Some(number));
        }
        let mut table = table.clone();
        if table.get(name.as_str()).is_none() {
            table.take(name.as_str(), joined);
        }
        let number = self.allot(&mut table, unit, &[]);
        let full = || Error::NetworkFull { network: name.to_string() };
        let number = number.ok_or_else(full)?;
        self.networks.table.put(table)?;
        Ok(Some(number))
    }

    /// What must be so before a link is made in a network: the host is kept from it, and the Ethernet address is free.
    pub(super) fn claim(&mut self, id: JailId, link: Option<&Link>) -> Result<(), Error> {
        if link.is_some_and(|link| matches!(link.lower, Lower::Network(_))) {
            self.protect()?;
        }
        self.check_mac(id, link)
    }

    /// Refuses an Ethernet address that another jail has in the same network: a bridge would lose both.
    pub(super) fn check_mac(&self, id: JailId, link: Option<&Link>) -> Result<(), Error> {
        let Some(Link { lower: lower @ Lower::Network(_), kind: Kind::Veth { mac, .. }, .. }) =
            link
        else {
            return Ok(());
        };
        let mac = show_mac(*mac);
        let begin = format!("bridge on {lower} as {mac}");
        let has_it = |jail: &Jail| {
            jail.kept.as_ref().is_some_and(|kept| link_in(&kept.key).contains(&begin))
        };
        match self.jails.all().find(|(other, jail)| *other != id && has_it(jail)) {
            None => Ok(()),
            Some((_, other)) => {
                let what = format!("use {mac}, which jail `{}` has in {lower}", other.name);
                Err(Error::Link { what, source: io::ErrorKind::AddrInUse.into() })
            }
        }
    }

    /// Keeps the host's packet filter as the networks need it that the table has.
    pub(super) fn protect(&mut self) -> Result<(), Error> {
        let networks = self.networks.table.get().all();
        let networks = networks
            .filter_map(|(name, joined)| Some((NetworkName::from_text(name).ok()?, joined)));
        // Of two versions of a jail, the ports are as the one says that has come first or has taken over.
        let jails = self.jails.iter().filter(|jail| !jail.removed);
        let loaded = jails.filter_map(|jail| jail.loaded.as_ref());
        let loaded = loaded.filter(|one| one.unit.enabled && !one.unit.network.publish.is_empty());
        let publish = loaded.filter_map(|one| Some((&one.unit, one.plan.link()?)));
        // Of one that runs although it may not be started any more, nothing else may be known.
        let is_there = self.links.there().iter().any(Interface::is_network);
        let firewall = Firewall::of(networks).with_ports(publish).with_others(is_there);
        self.network.protect(firewall)
    }

    /// The same, where nobody waits for it.
    pub(super) fn follow_networks(&mut self) {
        if let Err(error) = self.protect() {
            self.complain_of_links(error.chain());
        }
    }

    /// Tells the jails that run in a network who else is in it, where that has changed.
    pub(super) fn follow_names(&mut self) {
        let mut names: BTreeMap<NetworkName, Names> = BTreeMap::new();
        for jail in self.jails.iter().filter(|jail| !jail.removed) {
            let link = jail.loaded.as_ref().and_then(|loaded| loaded.plan.link());
            let Some(link) = link else { continue };
            if let Lower::Network(network) = &link.lower {
                let addresses = link.address.iter().map(IpPrefix::address).collect();
                let of_network = names.entry(network.clone()).or_default();
                of_network.insert(jail.name.clone(), addresses);
            }
        }
        let former = std::mem::replace(&mut self.networks.told, names);
        for id in self.jails.ids() {
            let network = self
                .jails
                .get(id)
                .and_then(|jail| jail.loaded.as_ref()?.unit.network.network.as_ref());
            let has_changed =
                |network: &&NetworkName| self.networks.told.get(*network) != former.get(*network);
            if network.filter(has_changed).is_some() {
                self.renew_files(id);
            }
        }
    }

    /// The others in the jail's network, by name, each at its addresses.
    pub(super) fn neighbours(&self, loaded: &Loaded) -> Vec<(IpAddr, String)> {
        let network = loaded.unit.network.network.as_ref();
        let names = network.and_then(|network| self.networks.told.get(network));
        let others = names.into_iter().flatten();
        // `localhost` is everybody's own.
        let is_other = |name: &str| name != loaded.unit.name.as_str() && name != "localhost";
        let others = others.filter(|(name, _)| is_other(name));
        others
            .flat_map(|(name, addresses)| addresses.iter().map(|address| (*address, name.clone())))
            .collect()
    }

    /// The addresses that a life of the jail has from its network and not from its unit.
    pub(super) fn given_addresses(&self, id: JailId, loaded: &Loaded) -> Vec<IpAddr> {
        let link = self.jails.get(id).and_then(|jail| self.link_of(jail, loaded));
        let is_fixed =
            |address: &IpAddr| loaded.unit.network.fixed().any(|own| own.address() == *address);
        let all = link.into_iter().flat_map(|link| &link.address).map(IpPrefix::address);
        all.filter(|address| loaded.unit.joined().is_some() && !is_fixed(address)).collect()
    }
}

fn read(stem: &str, path: &Path) -> Result<NamedNetwork, Vec<Problem>> {
    let bytes = units::read_file(path, HELP).map_err(|problem| vec![problem])?;
    let file = path.to_string_lossy();
    let text = text(&file, &bytes).map_err(|problem| vec![problem])?;
    named_network::parse(stem, &file, text)
}

fn unknown(unit: &Unit, name: &NetworkName, found: &Found) -> Problem {
    let near = nearest(name.as_str(), found.networks.keys().map(String::as_str));
    let help = match near {
        Some(near) => {
            format!("did you mean `{near}`? Else write /etc/jails.d/{DIRECTORY}/{name}.toml")
        }
        None => format!("write /etc/jails.d/{DIRECTORY}/{name}.toml; `version = 1` is enough"),
    };
    unit.problem(KEY, format!("there is no network `{name}`"), help)
}

fn named(unit: &Unit) -> Option<(&NetworkName, &Joined)> {
    unit.network.network.as_ref().zip(unit.joined())
}

/// Whether the unit leaves an address to the network.
fn needs_number(unit: &Unit, joined: &Joined) -> bool {
    let has = |is_ipv4: bool| unit.network.fixed().any(|own| own.address().is_ipv4() == is_ipv4);
    joined.subnets.iter().any(|subnet| !has(subnet.is_ipv4()))
}

/// Whether a jail is in a network, or may come back to it: what nobody could read yet may say so.
fn is_member(network: &str, step: Option<&Step>, lives: &[&Jail]) -> bool {
    let is_it = |unit: &Unit| unit.network.network.as_ref().is_some_and(|n| n.as_str() == network);
    let new = step.and_then(|step| step.unit.as_deref());
    let mut in_force = lives.iter().filter_map(|jail| Some(&jail.loaded.as_ref()?.unit));
    let is_gone = step.is_some_and(|step| step.is_gone);
    let has_files = step.is_some_and(|step| !step.files.is_empty());
    let is_unread = lives.iter().any(|jail| jail.loaded.is_none()) || has_files && lives.is_empty();
    let is_unknown = is_unread && !is_gone && new.is_none();
    let has_link = |jail: &Jail| {
        let kept = jail.kept.as_ref();
        let place = format!("on network {network} ");
        kept.is_some_and(|kept| link_in(&kept.key).contains(&place))
    };
    is_unknown
        || new.is_some_and(is_it)
        || in_force.any(is_it)
        || lives.iter().any(|jail| has_link(jail))
}
