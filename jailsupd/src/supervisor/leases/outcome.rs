//! What comes of asking: a lease is looked at, put on its link, kept, and lost.

use super::super::jail::Jail;
use super::super::poller::JailId;
use super::super::{Supervisor, clock};
use super::{Held, now, show};
use crate::exec::given;
use crate::exec::leases::Found;
use crate::plan::files;
use crate::plan::link::show_mac;
use crate::unit::amount::show_duration;
use crate::unit::value::FromText as _;
use crate::unit::{HostName, IpPrefix};
use dhcp_worker::lease::{DNS_MAX, DOMAINS_MAX, Lease, MTU_MIN, ROUTES_MAX};
use dhcp_worker::wire::{Order, Trouble};
use std::net::IpAddr;
use std::time::Duration;

/// Why there is no address, to be read after "waits for an address, which".
pub(super) fn told(trouble: &Trouble, lower: &str) -> String {
    match trouble {
        Trouble::NoAnswer { .. } => format!("no DHCP server on {lower} has given"),
        Trouble::Refused { server: Some(server) } => {
            format!("the DHCP server {server} on {lower} has refused")
        }
        Trouble::Refused { server: None } => format!("a DHCP server on {lower} has refused"),
        Trouble::Taken { address, by } => format!(
            "is not free: a DHCP server on {lower} gave {address}, which {} has already",
            show_mac(*by)
        ),
        Trouble::Unusable { address, server } => format!(
            "cannot be used: the DHCP server {server} on {lower} gave {address}, which this host or a jail on it has"
        ),
        Trouble::Ended => format!("has ended on {lower}, since no DHCP server renewed it"),
    }
}

impl Supervisor {
    pub(super) fn granted(&mut self, id: JailId, lease: Lease, age: u64) {
        let (address, server) = (lease.address, lease.server);
        let Some(lease) = self.checked(id, lease) else {
            return self.decline(id, Trouble::Unusable { address, server });
        };
        let Some(link) = self.leases.clients.get(&id).map(|client| client.link.clone()) else {
            return;
        };
        let Some(jail) = self.jails.get(id) else { return };
        let name = jail.name.clone();
        let former = jail.lease.as_ref().map(|held| held.lease.clone());
        let since = clock::now().saturating_sub(Duration::from_secs(age));
        let held = Held { lease, since, link };
        let is_new = former.as_ref().is_none_or(|former| show(former) != show(&held.lease));
        if held.left() == 0 {
            return self.lost_lease(id, Trouble::Ended);
        }
        // Without a link nothing of it is true any more: with the next one it is asked anew.
        let Some(kept) = self.with_link(id) else { return };
        let lent =
            self.network.lend(&kept.namespaces.net, former.as_ref(), &held.lease, held.left());
        if let Err(error) = lent {
            log::warn!("jail={name} {}", error.chain());
            if is_new {
                return self.decline(id, Trouble::Unusable { address, server });
            }
            // It is a good one; the link has it still, for now.
            self.lend_later(id);
        }
        if let Some(client) = self.leases.clients.get_mut(&id) {
            (client.is_sure, client.trouble) = (true, None);
        }
        self.keep_lease(id, &held);
        if is_new {
            let time = match held.lease.left(0) {
                Some(seconds) => format!("for {}", show_duration(Duration::from_secs(seconds))),
                None => "for ever".to_owned(),
            };
            let text = format!("has {} from the DHCP server {server} {time}", show(&held.lease));
            log::info!("jail={name} {text}");
            self.record(&name, None, &text);
        }
        if let Some(jail) = self.jails.get_mut(id) {
            jail.lease = Some(held);
        }
        self.renew_files(id);
        self.ties.moved = true;
    }

    /// Keeps it for the next jailsupd, and for the time after a reboot.
    pub(super) fn keep_lease(&self, id: JailId, held: &Held) {
        let (Some(jail), Some(client)) = (self.jails.get(id), self.leases.clients.get(&id)) else {
            return;
        };
        let found = Found {
            lease: held.lease.clone(),
            identity: client.identity.clone(),
            is_sure: client.is_sure,
            is_of_this_boot: true,
        };
        let begun = now().before(held.age());
        if let Err(error) = self.leases.store.put(&jail.name, &held.link, found, begun) {
            log::warn!("jail={} its lease is not kept: {error}", jail.name);
        }
    }

    /// What was granted cannot be used: the server is told, and another address is asked for.
    fn decline(&mut self, id: JailId, trouble: Trouble) {
        if let Some(client) = self.leases.clients.get(&id) {
            let order = Order::Decline { id: client.number };
            self.tell_worker(&order, None);
        }
        self.lost_lease(id, trouble);
    }

    /// A lease as it may be used: what comes from the worker is anybody's word.
    fn checked(&self, id: JailId, mut lease: Lease) -> Option<Lease> {
        let jail = self.jails.get(id)?;
        IpPrefix::of_host(lease.address.into(), lease.length)?;
        let former = jail.lease.as_ref().map(|held| &held.lease);
        // What it has already stays its own.
        if former.is_none_or(|former| show(former) != show(&lease)) {
            let mut hosts = self.host.uplink.address.iter();
            if hosts.any(|host| host.address() == lease.address) || self.is_anothers(id, &lease) {
                return None;
            }
        }
        match &jail.loaded {
            Some(loaded) => {
                let network = &loaded.unit.network;
                if network.gateway.iter().any(IpAddr::is_ipv4) {
                    lease.router = None;
                }
                if network.mtu.is_some() || network.fixed().any(|own| own.address().is_ipv6()) {
                    lease.mtu = None;
                }
            }
            // It runs though its unit cannot be used any more: only what it has goes on.
            None => {
                lease.router = former?.router;
                lease.mtu = former?.mtu;
            }
        }
        lease.mtu = lease.mtu.filter(|mtu| *mtu >= MTU_MIN);
        lease.seconds = lease.seconds.max(1);
        lease.dns.truncate(DNS_MAX);
        lease.search.retain(|name| HostName::from_text(name).is_ok());
        lease.search.truncate(DOMAINS_MAX);
        lease.routes.truncate(ROUTES_MAX);
        lease.routes.retain(|(_, length, _)| (1..=32).contains(length));
        Some(lease)
    }

    /// Whether the address belongs to a unit, this or another one, or another jail has it from DHCP on the same link.
    fn is_anothers(&self, id: JailId, lease: &Lease) -> bool {
        let lower = |jail: &Jail| Some(jail.loaded.as_ref()?.plan.link()?.lower.clone());
        let own = self.jails.get(id).and_then(lower);
        self.jails.all().any(|(other, jail)| {
            let units = jail.loaded.iter().map(|loaded| &loaded.unit);
            let mut claimed = units
                .flat_map(|unit| unit.network.fixed().chain(unit.deploy.address.iter().copied()));
            let has_it = |held: &Held| held.lease.address == lease.address;
            let is_lent = jail.lease.as_ref().is_some_and(has_it);
            claimed.any(|claimed| claimed.address() == lease.address)
                || other != id && is_lent && lower(jail) == own
        })
    }

    pub(super) fn lost_lease(&mut self, id: JailId, trouble: Trouble) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (name, held) = (jail.name.clone(), jail.lease.take());
        // First, so that the next jailsupd does not put it on the link again.
        self.forget_lease(&name);
        let Some(held) = held else { return self.note_trouble(id, trouble) };
        let kept = self.with_link(id);
        let taken = kept.map(|kept| self.network.take_back(&kept.namespaces.net, &held.lease));
        if let Some(Err(error)) = taken {
            log::warn!("jail={name} {}", error.chain());
        }
        let why = match &trouble {
            Trouble::Ended => "its lease has ended, and no DHCP server renewed it",
            Trouble::Refused { .. } => "the DHCP server has refused it",
            Trouble::NoAnswer { .. } | Trouble::Taken { .. } | Trouble::Unusable { .. } => {
                "it cannot be kept"
            }
        };
        let text = format!("has lost its address {}: {why}", show(&held.lease));
        log::warn!("jail={name} {text}");
        self.record(&name, None, &text);
        self.renew_files(id);
        self.note_trouble(id, trouble);
    }

    /// Remembers why a jail has no address, and tells it where it waits for one.
    pub(super) fn note_trouble(&mut self, id: JailId, trouble: Trouble) {
        if let (Trouble::Refused { .. } | Trouble::Taken { .. }, Some(jail)) =
            (&trouble, self.jails.get(id))
        {
            // That was about what it had before.
            self.forget_lease(&jail.name);
        }
        let Some(client) = self.leases.clients.get_mut(&id) else { return };
        client.trouble = Some(trouble);
        self.ties.moved = true;
    }

    /// The files in /etc of a jail's running lives say what its network tells now.
    pub(in super::super) fn renew_files(&self, id: JailId) {
        let Some(jail) = self.jails.get(id) else { return };
        let beside = jail.beside.and_then(|beside| Some((beside, self.jails.get(beside)?)));
        for (id, life) in [Some((id, jail)), beside].into_iter().flatten() {
            let Some(loaded) = life.loaded.as_ref().filter(|_| life.life.is_some()) else {
                continue;
            };
            if life.is_stale() {
                continue;
            }
            let files = files(&loaded.unit, &self.machine_id, &self.learned(id, loaded));
            if let Err(error) = given::renew(&life.key, &files, &self.layout) {
                log::warn!("jail={} its files in /etc are as they were: {error}", life.name);
            }
        }
    }
}
