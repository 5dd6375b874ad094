//! Addresses from DHCP: jails wait for theirs, get what comes of it, and keep it whatever becomes of the process that asks.
//!
//! What is asked for follows from the links: with each link that is made for a unit that wants it, the worker is told to ask,
//! and told anew when there is another worker. An address is on its link for as long as its lease holds, by the kernel's own
//! clock: neither jailsupd nor the worker is needed for it to stay, or to end.

mod duplicates;
mod outcome;
mod shown;
mod worker;

pub(super) use worker::WORKER;

use super::jail::{Jail, Kept, Loaded};
use super::links::MAKE_FOR;
use super::namespaces::{is_beside, link_in, link_key};
use super::poller::JailId;
use super::{Supervisor, clock};
use crate::exec::dhcp::Worker;
use crate::exec::leases::{self, Now};
use crate::machine::Moment;
use crate::machine::gate::WaitsFor;
use crate::plan::Learned;
use crate::unit::value::FromText as _;
use crate::unit::{HostName, IpPrefix};
use dhcp_worker::lease::{Earlier, Lease};
use dhcp_worker::wire::{Identity, Order, Trouble};
use duplicates::Searches;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Leases {
    store: leases::Leases,
    worker: Option<Worker>,
    started: Moment,
    delay: Duration,
    /// When the next worker is started.
    worker_at: Option<Moment>,
    /// When what the kernel has refused is tried again.
    again_at: Option<Moment>,
    /// For how long, in this turn of the loop, links of jails that wait are made.
    links_until: Moment,
    /// When more of them are.
    links_at: Option<Moment>,
    clients: BTreeMap<JailId, Client>,
    /// Whose the numbers are that the worker knows them by.
    numbers: BTreeMap<u64, JailId>,
    last_number: u64,
    /// Who asks others for the addresses of its unit.
    searches: Searches,
    /// How much the worker has said since then.
    reports: (usize, Moment),
}

/// One jail's asking.
#[derive(Debug)]
struct Client {
    /// By which the worker knows it: another one for each link.
    number: u64,
    /// The link that it asks on, in words.
    link: String,
    identity: Identity,
    /// A server has granted what it has on this very link, or nobody was asked since.
    is_sure: bool,
    /// Why it has nothing.
    trouble: Option<Trouble>,
    /// The worker needs sockets of its link.
    wants_wire: bool,
    /// Its lease is not on its link as it should be.
    is_to_lend: bool,
}

/// A lease that a jail has.
#[derive(Clone, Debug)]
pub(super) struct Held {
    lease: Lease,
    /// Since when.
    since: Moment,
    /// The link that it was granted to, in words: it is worth nothing on another one.
    link: String,
}

impl Held {
    /// How many whole seconds of it are over.
    fn age(&self) -> u64 {
        clock::now().saturating_sub(self.since).as_secs()
    }

    /// When it ends; none when it does not.
    fn ends_at(&self) -> Option<Moment> {
        let left = self.lease.left(0)?;
        Some(self.since.saturating_add(Duration::from_secs(left)))
    }

    /// Seconds that are left of it, as the kernel counts them.
    fn left(&self) -> u32 {
        let left = self.lease.left(self.age());
        left.map_or(Lease::FOR_EVER, |left| u32::try_from(left).unwrap_or(Lease::FOR_EVER - 1))
    }
}

impl Leases {
    pub(super) const fn new(store: leases::Leases) -> Self {
        Self {
            store,
            worker: None,
            started: Moment::ZERO,
            delay: worker::RESTART_DELAY,
            worker_at: None,
            again_at: None,
            links_until: Moment::ZERO,
            links_at: None,
            clients: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last_number: 0,
            searches: Searches::new(),
            reports: (0, Moment::ZERO),
        }
    }

    /// Has a jail ask on this link from now on.
    fn add(&mut self, id: JailId, link: String, identity: Identity, is_sure: bool) {
        let number = self.next_number();
        self.numbers.insert(number, id);
        let client = Client {
            number,
            link,
            identity,
            is_sure,
            trouble: None,
            wants_wire: false,
            is_to_lend: false,
        };
        self.clients.insert(id, client);
    }

    /// A number that the worker has heard of nobody.
    const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Who asks.
    fn ids(&self) -> Vec<JailId> {
        self.clients.keys().copied().collect()
    }

    fn remove(&mut self, id: JailId) -> Option<Client> {
        let client = self.clients.remove(&id)?;
        self.numbers.remove(&client.number);
        Some(client)
    }
}

impl Loaded {
    fn asks_dhcp(&self) -> bool {
        self.unit.network.asks_dhcp()
    }

    /// The link that the unit asks for, in words.
    fn link_text(&self) -> String {
        self.plan.link().map(ToString::to_string).unwrap_or_default()
    }

    /// What people call the link that the unit's sits on.
    fn lower(&self) -> String {
        self.plan.link().map(|link| link.lower.to_string()).unwrap_or_default()
    }
}

impl Jail {
    /// Whether its start waits for an address, or for certainty about those that it has. What is beside a jail never does.
    pub(super) fn lacks_address(&self) -> bool {
        self.lacks_lease() || self.lacks_certainty()
    }

    fn lacks_lease(&self) -> bool {
        let Some(loaded) = self.loaded.as_ref().filter(|_| self.of.is_none()) else { return false };
        let has_one = || self.lease.as_ref().is_some_and(|held| held.link == loaded.link_text());
        loaded.asks_dhcp() && loaded.unit.network.wait_for_address && !has_one()
    }

    /// All its addresses, for people.
    pub(super) fn addresses(&self) -> Vec<String> {
        let link = self.loaded.as_ref().and_then(|loaded| loaded.plan.link());
        let fixed = link.into_iter().flat_map(|link| &link.address).map(IpPrefix::to_string);
        let lease = self.lease.iter().map(|held| show(&held.lease));
        fixed.chain(lease).collect()
    }

    /// The address that it has from DHCP.
    pub(super) fn leased(&self) -> Option<std::net::IpAddr> {
        self.lease.as_ref().map(|held| held.lease.address.into())
    }

    /// Whether its namespaces have the link that its unit asks for.
    fn has_own_link(&self) -> bool {
        let key = self.loaded.as_ref().map(|loaded| link_key(loaded, loaded.plan.link(), false));
        let kept = self.kept.as_ref().map(|kept| &kept.key);
        key.is_some() && kept == key.as_ref()
    }
}

fn show(lease: &Lease) -> String {
    format!("{}/{}", lease.address, lease.length)
}

fn now() -> Now {
    Now { boot: clock::now(), wall_ms: clock::wall_ms() }
}

impl Supervisor {
    /// When there is something to do although nobody says so.
    pub(super) fn leases_deadline(&self) -> Option<Moment> {
        let held = |id| self.jails.get(id).and_then(|jail| jail.lease.as_ref());
        let ends = self.leases.clients.keys().filter_map(|id| held(*id)?.ends_at());
        let Leases { worker_at, again_at, links_at, .. } = self.leases;
        let looks = self.leases.searches.deadline();
        ends.chain(looks).chain(worker_at).chain(again_at).chain(links_at).min()
    }

    /// Does what it is time for.
    pub(super) fn tick_leases(&mut self) {
        let now = clock::now();
        self.leases.links_until = now.saturating_add(MAKE_FOR);
        if self.leases.links_at.take_if(|at| *at <= now).is_some() {
            self.ties.moved = true;
        }
        let is_over = |id: &JailId| {
            let held = self.jails.get(*id).and_then(|jail| jail.lease.as_ref());
            held.and_then(Held::ends_at).is_some_and(|ends_at| ends_at <= now)
        };
        let over: Vec<JailId> = self.leases.clients.keys().copied().filter(is_over).collect();
        over.into_iter().for_each(|id| self.lost_lease(id, Trouble::Ended));
        if self.leases.worker_at.take_if(|at| *at <= now).is_some() {
            self.leases.ids().into_iter().for_each(|id| self.tell_begin(id));
            self.detect_anew();
        }
        self.tick_searches(now);
        if self.leases.again_at.take_if(|at| *at <= now).is_some() {
            self.leases.ids().into_iter().for_each(|id| self.try_again(id));
        }
    }

    /// Does for a jail what the kernel has refused before.
    fn try_again(&mut self, id: JailId) {
        let Some(client) = self.leases.clients.get_mut(&id) else { return };
        let (lends, gives) = (std::mem::take(&mut client.is_to_lend), client.wants_wire);
        if lends {
            let kept = self.with_link(id);
            let net = kept.and_then(|kept| kept.namespaces.net.try_clone().ok());
            net.into_iter().for_each(|net| self.lend_again(id, &net));
        }
        if gives {
            self.give_wire(id);
        }
    }

    /// After the units were read for the first time: jails that an earlier jailsupd has left with a link go on asking.
    pub(super) fn resume_leases(&mut self) {
        for id in self.jails.ids() {
            // What has just got its link asks already.
            if !self.leases.clients.contains_key(&id) {
                self.resume_lease(id);
            }
        }
        let asks = |(id, jail): &(JailId, &Jail)| {
            let wants = jail.loaded.as_ref().is_some_and(Loaded::asks_dhcp);
            wants || self.leases.clients.contains_key(id)
        };
        let names = self.jails.all().filter(asks).map(|(_, jail)| jail.name.as_str()).collect();
        if let Err(error) = self.leases.store.keep_only(&names) {
            log::warn!("leases that nobody asks for any more are remembered: {error}");
        }
    }

    fn resume_lease(&mut self, id: JailId) {
        let Some((net, link)) = self.with_link(id).and_then(|kept| {
            Some((kept.namespaces.net.try_clone().ok()?, link_in(&kept.key).to_owned()))
        }) else {
            return;
        };
        let Some(jail) = self.jails.get(id) else { return };
        let found = self.leases.store.get(&jail.name, &link, now());
        let own = jail.loaded.as_ref().filter(|loaded| loaded.link_text() == link);
        let identity = match (own, &found) {
            (Some(loaded), _) => self.identity(loaded, &net),
            // It runs as an earlier version of its unit.
            (None, Some(found)) => Some(found.identity.clone()),
            _ => None,
        };
        let Some(identity) = identity else { return };
        let found = found.filter(|found| found.is_of_this_boot);
        let is_sure = found.as_ref().is_some_and(|found| found.is_sure);
        let held =
            found.map(|found| Held { lease: found.lease, since: clock::now(), link: link.clone() });
        if let Some(jail) = self.jails.get_mut(id) {
            jail.lease = held;
        }
        self.leases.add(id, link, identity, is_sure);
        self.lend_again(id, &net);
        self.tell_begin(id);
        // An earlier jailsupd may have died before it has done so.
        self.renew_files(id);
    }

    /// The namespaces of the life that has the jail's own link; none while it has none.
    fn with_link(&self, id: JailId) -> Option<&Kept> {
        let jail = self.jails.get(id)?;
        let lives = [Some(jail), self.jails.beside(jail)].into_iter().flatten();
        let has_it = |kept: &&Kept| !kept.key.is_empty() && !is_beside(&kept.key);
        lives.filter_map(|life| life.kept.as_ref()).find(has_it)
    }

    /// Gives a jail's link the address that it has.
    fn lend_again(&mut self, id: JailId, net: &OwnedFd) {
        let Some(jail) = self.jails.get(id) else { return };
        let Some(held) = &jail.lease else { return };
        if let Err(error) = self.network.lend(net, None, &held.lease, held.left()) {
            log::warn!("jail={} {}", jail.name, error.chain());
            self.lend_later(id);
        }
    }

    /// Has a lease that its link did not take put on it soon.
    fn lend_later(&mut self, id: JailId) {
        if let Some(client) = self.leases.clients.get_mut(&id) {
            client.is_to_lend = true;
            let at = clock::now().saturating_add(worker::TRY_AGAIN);
            self.leases.again_at.get_or_insert(at);
        }
    }

    /// A link was made for a jail, in the network namespace `net`: what its unit wants of it is asked for. `is_same_net`: the
    /// link that it sits on was there all the time since it had its address, so that it has this at once.
    pub(super) fn begin_lease(&mut self, id: JailId, net: &OwnedFd, is_same_net: bool) {
        let Some(jail) = self.jails.get(id).filter(|jail| jail.of.is_none()) else { return };
        // While another life of it has its own link, this one asks for nothing.
        if self.has_link_beside(jail) {
            return;
        }
        let Some(loaded) = jail.loaded.as_ref().filter(|loaded| loaded.asks_dhcp()) else {
            return self.end_lease(id);
        };
        let link = loaded.link_text();
        let Some(identity) = self.identity(loaded, net) else { return };
        if let Some(jail) = self.jails.get_mut(id) {
            jail.lease.take_if(|held| held.link != link || !is_same_net);
        }
        if let Some(former) = self.leases.remove(id) {
            self.tell_worker(&Order::End { id: former.number }, None);
        }
        self.leases.add(id, link, identity, false);
        let held = self.jails.get(id).and_then(|jail| jail.lease.clone());
        if let Some(held) = held {
            // Until the server says otherwise.
            self.keep_lease(id, &held);
            self.lend_again(id, net);
        }
        self.tell_begin(id);
    }

    /// A jail is started on the link that it has: what it says of itself may have changed with its unit.
    pub(super) fn renew_identity(&mut self, id: JailId, net: &OwnedFd) {
        let (Some(jail), Some(client)) = (self.jails.get(id), self.leases.clients.get(&id)) else {
            return;
        };
        let Some(loaded) = &jail.loaded else { return };
        let identity = self.identity(loaded, net);
        if identity.is_some_and(|identity| identity != client.identity) {
            self.begin_lease(id, net, true);
        }
    }

    /// What a link says of itself; none where its unit does not ask, or it cannot.
    fn identity(&self, loaded: &Loaded, net: &OwnedFd) -> Option<Identity> {
        let link = loaded.plan.link()?;
        let dhcp = link.dhcp.as_ref()?;
        let mac = link.mac().map_or_else(|| self.network.mac(net), Ok);
        let unasked = |error| {
            log::warn!("jail={} its link has no Ethernet address: {error}", loaded.unit.name);
        };
        let mac = mac.map_err(unasked).ok()?;
        // RFC 2132, section 9.14: hardware type 1 is Ethernet.
        let own_id = || [1].into_iter().chain(mac).collect();
        Some(Identity {
            mac,
            client_id: dhcp.client_id.clone().unwrap_or_else(own_id),
            hostname: dhcp.hostname.clone(),
            broadcast: dhcp.client_id.is_some(),
        })
    }

    /// Has the worker ask for a jail, or go on.
    fn tell_begin(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let Some(client) = self.leases.clients.get(&id) else { return };
        let earlier = match &jail.lease {
            Some(held) => {
                let lease = held.lease.clone().rest(held.age());
                Some(Earlier { lease, is_in_use: true, is_sure: client.is_sure })
            }
            None => {
                let found = self.leases.store.get(&jail.name, &client.link, now());
                found.map(|found| Earlier { lease: found.lease, is_in_use: false, is_sure: false })
            }
        };
        let identity = client.identity.clone();
        let order = Order::Begin { id: client.number, identity, earlier: earlier.map(Box::new) };
        self.start_worker();
        self.tell_worker(&order, None);
    }

    /// A jail does not want an address from DHCP any more, or is gone.
    pub(super) fn end_lease(&mut self, id: JailId) {
        let Some(client) = self.leases.remove(id) else { return };
        self.tell_worker(&Order::End { id: client.number }, None);
        let Some(jail) = self.jails.get_mut(id) else { return };
        jail.lease = None;
        let name = jail.name.clone();
        self.forget_lease(&name);
    }

    /// Forgets what a jail was granted.
    fn forget_lease(&self, name: &str) {
        if let Err(error) = self.leases.store.forget(name) {
            log::warn!("jail={name} its lease is remembered: {error}");
        }
    }

    /// Has a jail that waits ask for its address, on its link, which is made first; what it waits for then. None when there
    /// is nothing to wait for: what is wrong with its link, its start tells.
    pub(super) fn ask_for_address(&mut self, id: JailId) -> Option<WaitsFor> {
        let waits = |is_coming, why| {
            Some(WaitsFor { name: "an address".to_owned(), is_coming, is_brief: false, why })
        };
        let jail = self.jails.get(id)?;
        if self.has_link_beside(jail) {
            if !jail.lacks_lease() {
                // Until then it has the addresses of a trial, or none.
                return None;
            }
            return waits(true, "is asked for when its former version has ended".to_owned());
        }
        if !jail.has_own_link() {
            let now = clock::now();
            if now >= self.leases.links_until {
                return self.ask_soon(now);
            }
            self.make_link_ahead(id).ok()?;
        }
        let jail = self.jails.get(id).filter(|jail| jail.lacks_address())?;
        if !jail.has_own_link() {
            // Its parent is not there, and its unit lets it start without.
            return None;
        }
        if jail.lacks_certainty() {
            return self.search(id);
        }
        let loaded = jail.loaded.as_ref()?;
        let (lower, place) = (loaded.lower(), loaded.unit.origin.at("network.address"));
        match &self.leases.clients.get(&id)?.trouble {
            _ if self.leases.worker.is_none() => {
                let why = "cannot be asked for: the process that does it has ended";
                waits(false, why.to_owned())
            }
            None => waits(true, format!("is asked for by DHCP on {lower}")),
            Some(trouble) => waits(false, format!("{} ({place})", outcome::told(trouble, &lower))),
        }
    }

    /// The other events of a host with a thousand jails are to have their turn.
    fn ask_soon(&mut self, now: Moment) -> Option<WaitsFor> {
        self.leases.links_at = Some(now);
        let (name, why) = ("an address".to_owned(), "is about to be asked for".to_owned());
        Some(WaitsFor { name, is_coming: true, is_brief: true, why })
    }

    /// What the network has told a jail, as far as a life of it started from this unit is to know.
    pub(super) fn learned(&self, id: JailId, loaded: &Loaded) -> Learned {
        let jail = self.jails.get(id);
        let owner = jail.and_then(|jail| self.jails.get(jail.of?)).or(jail);
        let held = owner.and_then(|jail| jail.lease.as_ref()).filter(|_| loaded.asks_dhcp());
        let (given, others) = (self.given_addresses(id, loaded), self.neighbours(loaded));
        let Some(Held { lease, .. }) = held else {
            return Learned { address: given, others, ..Learned::default() };
        };
        Learned {
            others,
            address: vec![lease.address.into()],
            dns: lease.dns.iter().copied().map(IpAddr::V4).collect(),
            search: lease.search.iter().filter_map(|name| HostName::from_text(name).ok()).collect(),
        }
    }
}
