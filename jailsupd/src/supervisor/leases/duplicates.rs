//! Addresses that units give: others on the wire are asked for them before they are used, and a jail whose address
//! somebody has waits until that one is gone.
//!
//! What is certain is remembered with the jail's namespaces ([`Claim`]), so that restarts ask nobody. All else follows from that,
//! and is begun anew with another jailsupd, and with another process that asks.

use super::super::jail::{Claim, Jail, Kept};
use super::super::poller::JailId;
use super::super::{Supervisor, clock};
use super::worker::TRY_AGAIN;
use crate::exec::net::Kernels;
use crate::machine::gate::WaitsFor;
use crate::machine::{Moment, State};
use crate::plan::Link;
use crate::plan::link::show_mac;
use crate::unit::IpPrefix;
use dhcp_worker::wire::{Order, Said, Trouble};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long after the kernel was told to ask it has heard nobody, and how often it is looked at whether it has.
const KERNEL_ASKS: Duration = Duration::from_millis(215);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked at whether the link has a carrier.
const NO_CARRIER: Duration = Duration::from_millis(250);
/// For how long nobody can be asked before addresses are used all the same: a cable that is not there, or a process that
/// asks and does not live, must not keep jails from starting.
const PATIENCE: Duration = Duration::from_secs(10);
/// After which time others are asked again for an address that one of them had.
const AGAIN: Duration = Duration::from_secs(10);
/// More than that, by the Ethernet address: two who are after one address must not always ask at the same time.
const SPREAD_MS: u64 = 2500;

/// All searches.
#[derive(Debug)]
pub(super) struct Searches {
    of: BTreeMap<JailId, Search>,
    /// Whose the numbers are that the worker knows searches by. It has one thing to say of each.
    numbers: BTreeMap<u64, JailId>,
}

/// One jail's search.
#[derive(Debug)]
struct Search {
    /// The Ethernet address of its link.
    mac: [u8; 6],
    /// Since when there is an answer to wait for.
    since: Moment,
    phase: Phase,
    /// When it is looked at.
    look_at: Moment,
    /// Who had which address when others were asked last.
    taken: Option<(IpAddr, Option<[u8; 6]>)>,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody is asked at the moment.
    Rests,
    /// Others are asked.
    Asks {
        /// By the worker, under this number.
        worker: Option<u64>,
        /// By the kernel.
        kernel: bool,
    },
}

impl Searches {
    pub(super) const fn new() -> Self {
        Self { of: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.of.values().map(|search| search.look_at).min()
    }

    /// Whose search it is about that the worker says something of.
    pub(super) fn take_number(&mut self, number: u64) -> Option<JailId> {
        self.numbers.remove(&number)
    }

    pub(super) fn knows(&self, number: u64) -> bool {
        self.numbers.contains_key(&number)
    }

    fn set_phase(&mut self, id: JailId, phase: Phase, look_at: Moment) {
        if let Some(search) = self.of.get_mut(&id) {
            (search.phase, search.look_at) = (phase, look_at);
        }
    }
}

impl Jail {
    /// Whether its start waits until it is certain that nobody else has its addresses.
    pub(in super::super) fn lacks_certainty(&self) -> bool {
        let Some(loaded) = self.loaded.as_ref().filter(|_| self.of.is_none()) else { return false };
        let is_searched = loaded.plan.link().is_some_and(Link::is_searched);
        if !is_searched || !loaded.unit.network.wait_for_address {
            return false;
        }
        let is_unsure = |kept: &Kept| kept.claim == Claim::Unsure;
        self.kept.as_ref().is_none_or(is_unsure) || !self.has_own_link()
    }
}

fn ipv4(addresses: &[IpPrefix]) -> Vec<Ipv4Addr> {
    let addresses = addresses.iter().map(IpPrefix::address);
    addresses
        .filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        })
        .collect()
}

impl Supervisor {
    /// What a jail waits for whose link is there, and of which it is not certain that nobody else has its addresses: others
    /// are asked, if they are not already.
    pub(super) fn search(&mut self, id: JailId) -> Option<WaitsFor> {
        if !self.leases.searches.of.contains_key(&id) {
            let now = clock::now();
            if now >= self.leases.links_until {
                return self.ask_soon(now);
            }
            let mac = self.jails.get(id)?.loaded.as_ref()?.plan.link()?.mac()?;
            let (since, phase) = (now, Phase::Rests);
            let search = Search { mac, since, phase, look_at: since, taken: None };
            self.leases.searches.of.insert(id, search);
            self.ask_others(id);
        }
        let jail = self.jails.get(id).filter(|jail| jail.lacks_certainty())?;
        let loaded = jail.loaded.as_ref()?;
        let (lower, place) = (loaded.lower(), loaded.unit.origin.at("network.address"));
        let first = loaded.plan.link()?.address.first()?.address();
        let search = self.leases.searches.of.get(&id)?;
        let (address, why) = match (search.taken, search.phase) {
            (Some((address, by)), _) => {
                let who = by.map_or_else(|| "somebody else".to_owned(), show_mac);
                (address, format!("{who} on {lower} has already (network.address, {place})"))
            }
            (None, Phase::Asks { .. }) => {
                (first, format!("somebody else on {lower} may have: that is being asked"))
            }
            (None, Phase::Rests) => {
                (first, format!("nobody on {lower} can be asked about yet: it has no carrier"))
            }
        };
        // Of what is over in a moment nobody need hear.
        let (is_coming, is_brief) = (search.taken.is_none(), search.taken.is_none());
        Some(WaitsFor { name: address.to_string(), is_coming, is_brief, why })
    }

    /// Does what it is time for.
    pub(super) fn tick_searches(&mut self, now: Moment) {
        let searches = self.leases.searches.of.iter();
        let due = searches.filter(|(_, search)| search.look_at <= now).map(|(id, _)| *id);
        for id in due.collect::<Vec<_>>() {
            self.look_at_search(id, now);
        }
    }

    fn look_at_search(&mut self, id: JailId, now: Moment) {
        let Some(search) = self.leases.searches.of.get(&id) else { return };
        let is_over = search.taken.is_none() && now.saturating_sub(search.since) >= PATIENCE;
        let phase = search.phase;
        let Some((net, link)) = self.searched_link(id) else { return self.end_search(id) };
        if is_over {
            let text = format!(
                "uses {} though nobody could be asked whether somebody else has it",
                link.address.first().map(|own| own.address().to_string()).unwrap_or_default()
            );
            self.tell_of_search(id, &text);
            return self.use_addresses(id);
        }
        match phase {
            Phase::Rests | Phase::Asks { kernel: false, .. } => self.ask_others(id),
            Phase::Asks { worker, kernel: true } => match self.network.others(&net, &link) {
                Ok(Kernels::Taken(address)) => self.found_other(id, address, None),
                Ok(Kernels::Free) => {
                    let phase = Phase::Asks { worker, kernel: false };
                    self.leases.searches.set_phase(id, phase, now.saturating_add(PATIENCE));
                    self.conclude(id);
                }
                Ok(Kernels::Asks) => {
                    self.leases.searches.set_phase(id, phase, now.saturating_add(LOOK_AGAIN));
                }
                Err(_) => {
                    self.leases.searches.set_phase(id, phase, now.saturating_add(NO_CARRIER));
                }
            },
        }
    }

    /// The link of a jail that waits for the end of a search, and the namespace that it is in; none when it does not any more.
    fn searched_link(&self, id: JailId) -> Option<(OwnedFd, Link)> {
        let jail = self.jails.get(id).filter(|jail| jail.machine.state == State::Waiting)?;
        let jail = Some(jail).filter(|jail| jail.lacks_certainty() && jail.has_own_link())?;
        let net = jail.kept.as_ref()?.namespaces.net.try_clone().ok()?;
        Some((net, jail.loaded.as_ref()?.plan.link()?.clone()))
    }

    /// Begins to ask others for all addresses of a jail's link.
    fn ask_others(&mut self, id: JailId) {
        let Some((net, link)) = self.searched_link(id) else { return self.end_search(id) };
        self.hush(id);
        let now = clock::now();
        let asked = self.network.look_for_others(&net, &link);
        let look_at = match asked {
            Ok(true) => {
                let kernel = link.address.iter().any(|own| own.address().is_ipv6());
                let look_at = if kernel { KERNEL_ASKS } else { PATIENCE };
                let phase = Phase::Asks { worker: None, kernel };
                self.leases.searches.set_phase(id, phase, now.saturating_add(look_at));
                self.leases.searches.of.entry(id).and_modify(|search| search.since = now);
                return self.tell_detect(id, &net, &link);
            }
            Ok(false) => NO_CARRIER,
            Err(error) => {
                self.tell_of_search(id, &error.chain());
                TRY_AGAIN
            }
        };
        self.leases.searches.set_phase(id, Phase::Rests, now.saturating_add(look_at));
    }

    /// Has the worker ask for a link's IPv4 addresses. Where there is none, the next one is told.
    fn tell_detect(&mut self, id: JailId, net: &OwnedFd, link: &Link) {
        let (addresses, mac) = (ipv4(&link.address), link.mac().unwrap_or_default());
        if addresses.is_empty() {
            return;
        }
        let number = self.leases.next_number();
        let Some(search) = self.leases.searches.of.get_mut(&id) else { return };
        let Phase::Asks { worker, .. } = &mut search.phase else { return };
        let former = worker.replace(number);
        former.map(|former| self.leases.searches.numbers.remove(&former));
        self.leases.searches.numbers.insert(number, id);
        self.start_worker();
        match self.network.open_ear(net) {
            Ok(wire) => {
                let order = Order::Detect { id: number, mac, addresses, index: wire.index };
                self.tell_worker(&order, Some(&wire));
            }
            Err(error) => self.tell_of_search(id, &format!("cannot ask on its link: {error}")),
        }
    }

    /// There is another worker, which knows of nothing.
    pub(super) fn detect_anew(&mut self) {
        let asks = |search: &Search| matches!(search.phase, Phase::Asks { worker: Some(_), .. });
        let searches = self.leases.searches.of.iter().filter(|(_, search)| asks(search));
        for id in searches.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.searched_link(id) {
                Some((net, link)) => self.tell_detect(id, &net, &link),
                None => self.end_search(id),
            }
        }
    }

    /// The worker has said what there is to say of a search.
    pub(super) fn detected(&mut self, id: JailId, said: &Said) {
        let Some((_, link)) = self.searched_link(id) else { return self.end_search(id) };
        let Some(search) = self.leases.searches.of.get_mut(&id) else { return };
        let Phase::Asks { worker, .. } = &mut search.phase else { return };
        *worker = None;
        match said {
            Said::Trouble(Trouble::Taken { address, by }) => {
                let own = ipv4(&link.address);
                // It may be anybody's word.
                let address = Some(*address).filter(|address| own.contains(address));
                if let Some(address) = address.or_else(|| own.first().copied()) {
                    self.found_other(id, address.into(), Some(*by));
                }
            }
            Said::Free => self.conclude(id),
            // Of an address that is not asked of a server it has nothing else to say: it is asked again.
            Said::WantsWire | Said::Granted { .. } | Said::Lost(_) | Said::Trouble(_) => {
                let at = clock::now().saturating_add(TRY_AGAIN);
                self.leases.searches.set_phase(id, Phase::Rests, at);
            }
        }
    }

    /// Somebody has one of a jail's addresses: others are asked for all of them again in a while.
    fn found_other(&mut self, id: JailId, address: IpAddr, by: Option<[u8; 6]>) {
        self.hush(id);
        let Some(search) = self.leases.searches.of.get_mut(&id) else { return };
        search.taken = Some((address, by));
        let [.., high, low] = search.mac;
        let spread = Duration::from_millis(u64::from(u16::from_be_bytes([high, low])) % SPREAD_MS);
        let at = clock::now().saturating_add(AGAIN).saturating_add(spread);
        self.leases.searches.set_phase(id, Phase::Rests, at);
        self.ties.moved = true;
    }

    /// Nobody was found: when all were asked, the addresses are the jail's.
    fn conclude(&mut self, id: JailId) {
        let phase = self.leases.searches.of.get(&id).map(|search| search.phase);
        if phase == Some(Phase::Asks { worker: None, kernel: false }) {
            self.use_addresses(id);
        }
    }

    /// The addresses are the jail's from now on. Why its link cannot have them, its start tells.
    fn use_addresses(&mut self, id: JailId) {
        let found = self.searched_link(id);
        self.end_search(id);
        let Some((net, link)) = found else { return };
        let used = self.network.use_addresses(&net, &link);
        if let Some(kept) = self.jails.get_mut(id).and_then(|jail| jail.kept.as_mut()) {
            kept.claim = if used.is_ok() { Claim::Used } else { Claim::Free };
        }
        self.ties.moved = true;
    }

    /// Nobody is to be asked for a jail's addresses any more.
    pub(in super::super) fn end_search(&mut self, id: JailId) {
        self.hush(id);
        self.leases.searches.of.remove(&id);
    }

    /// Has the worker ask no more, if it does.
    fn hush(&mut self, id: JailId) {
        let Some(search) = self.leases.searches.of.get(&id) else { return };
        let Phase::Asks { worker: Some(number), .. } = search.phase else { return };
        self.leases.searches.numbers.remove(&number);
        self.tell_worker(&Order::End { id: number }, None);
    }

    fn tell_of_search(&mut self, id: JailId, text: &str) {
        let Some(name) = self.jails.get(id).map(|jail| jail.name.clone()) else { return };
        log::warn!("jail={name} {text}");
        self.record(&name, None, text);
    }
}
