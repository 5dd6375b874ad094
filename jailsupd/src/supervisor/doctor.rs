//! `jailctl net doctor`: observes a jail and what it stands on, and tells what may keep others from it.
//!
//! Its routers are asked for their Ethernet addresses from where the jail is, if it does not know them. Nobody waits for
//! the answer but the client.

mod findings;

use super::jail::{Jail, Loaded};
use super::poller::JailId;
use super::shown::unseen;
use super::{Supervisor, clock, report};
use crate::control::server::ClientId;
use crate::control::wire::{LinkState, Reply};
use crate::exec::net::{self, Neighbour, Seen, SeenLink};
use crate::machine::Moment;
use crate::plan::Link;
use crate::plan::link::{Lower, NAME};
use crate::unit::IpPrefix;
use crate::unit::section::Forward;
use findings::{Firewall, Lease, Life, Observed, Router, diagnose};
use std::net::IpAddr;
use std::time::Duration;

/// How long a router is waited for: the kernel asks three times, a second apart.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// How often its answer is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A jail that is looked at for a client.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) client: ClientId,
    jail: JailId,
    name: String,
    /// When to look next.
    at: Moment,
    /// When its routers were waited for long enough.
    until: Moment,
}

impl Supervisor {
    /// Begins to look at a jail.
    pub(super) fn visit(&mut self, client: ClientId, name: &str) {
        let Some(jail) = self.jails.find(name) else {
            let refusal = self.no_such_jail(name);
            return self.reply(client, &Reply::refusal(&refusal));
        };
        self.ask_routers(jail);
        let (at, name) = (clock::now(), name.to_owned());
        let until = at.saturating_add(ANSWERS_WITHIN);
        self.looks.visits.push(Visit { client, jail, name, at, until });
    }

    /// When the next look is due.
    pub(super) fn visits_deadline(&self) -> Option<Moment> {
        self.looks.visits.iter().map(|visit| visit.at).min()
    }

    /// Answers those whose routers have answered, or did not in time.
    pub(super) fn answer_visits(&mut self) {
        let now = clock::now();
        for mut visit in std::mem::take(&mut self.looks.visits) {
            if visit.at > now {
                self.looks.visits.push(visit);
                continue;
            }
            let is_asked = |router: &Router| router.of_jail == Some(Neighbour::Asked);
            if now < visit.until && self.routers_of(visit.jail).iter().any(is_asked) {
                visit.at = now.saturating_add(LOOK);
                self.looks.visits.push(visit);
                continue;
            }
            let reply = self.diagnosis(&visit);
            self.reply(visit.client, &reply);
            self.answer_calls(visit.client);
        }
    }

    /// Has a jail ask those of its routers for their Ethernet addresses that it does not know. Over a link that carries
    /// nothing, nobody would answer.
    fn ask_routers(&self, id: JailId) {
        let Some(kept) = self.namespaces_with_link(id) else { return };
        let net = &kept.namespaces.net;
        let seen = self.network.see_inside(net).unwrap_or_default();
        if seen.named(NAME).is_none_or(|own| own.state != LinkState::Up) {
            return;
        }
        for Router { address, of_jail, .. } in self.routers_of(id) {
            if !matches!(of_jail, Some(Neighbour::Unknown | Neighbour::Silent)) {
                continue;
            }
            if let Err(error) = self.network.ask_inside(net, address) {
                log::debug!("{address} is not asked: {error}");
            }
        }
    }

    fn diagnosis(&self, visit: &Visit) -> Reply {
        let host = match self.network.see() {
            Ok(host) => host,
            Err(error) => return Reply::refusal(&unseen(&error)),
        };
        match self.observe(visit.jail, &host) {
            Some(observed) => Reply::with(&diagnose(&observed)),
            None => Reply::refusal(&self.no_such_jail(&visit.name)),
        }
    }

    /// All that is looked at; none when the jail is gone.
    fn observe(&self, id: JailId, host: &Seen) -> Option<Observed> {
        let jail = self.jails.get(id)?;
        let loaded = jail.loaded.as_ref();
        let link = loaded.and_then(|loaded| loaded.plan.link());
        let kept = self.namespaces_with_link(id);
        let see = |net| self.network.see_inside(net).map_err(|error| error.to_string());
        Some(Observed {
            jail: jail.name.clone(),
            life: life(jail),
            link: link.cloned(),
            lower: link.map_or(findings::Lower::None, |link| self.lower_of(link, loaded, host)),
            inside: kept.map(|kept| see(&kept.namespaces.net)),
            lease: self.lease_of(id, jail),
            routers: self.routers_of(id),
            firewall: loaded.map(firewall).unwrap_or_default(),
            ports: loaded.map(|loaded| self.ports_of(loaded)).unwrap_or_default(),
        })
    }

    fn lower_of(&self, link: &Link, loaded: Option<&Loaded>, host: &Seen) -> findings::Lower {
        match &link.lower {
            Lower::Network(name) => {
                let joined = loaded.and_then(|loaded| loaded.unit.joined());
                findings::Lower::Network {
                    name: name.to_string(),
                    bridge: host.named(&name.bridge()).cloned(),
                    has_way_out: joined.is_some_and(|joined| joined.forward != Forward::None),
                }
            }
            Lower::Parent { link: parent, vlan } => {
                let there = self.links.there();
                let index = net::place_for(&link.lower, &self.host.uplink, there);
                let seen = index.and_then(|index| host.numbered(index)).cloned();
                let is_vlan =
                    |id: u16| move |one: &&SeenLink| one.vlan == Some(id) && one.lower == index;
                let vlan = vlan.map(|id| (id, host.links.iter().find(is_vlan(id)).cloned()));
                findings::Lower::Parent {
                    name: parent.to_string(),
                    is_wireless: seen.as_ref().is_some_and(|seen| net::is_wireless(&seen.name)),
                    seen,
                    others: net::names(there),
                    vlan,
                }
            }
        }
    }

    fn lease_of(&self, id: JailId, jail: &Jail) -> Lease {
        match (&jail.lease, self.lacks_lease(id)) {
            (Some(held), _) => {
                let lease = held.lease();
                let (address, server) = (lease.address.into(), lease.server.into());
                Lease::Held { address, length: lease.length, server }
            }
            (None, Some(why)) => Lease::Lacking(why),
            (None, None) => Lease::NotAsked,
        }
    }

    /// The next hops of the default routes that a jail is to have.
    fn routers_of(&self, id: JailId) -> Vec<Router> {
        let Some(jail) = self.jails.get(id) else { return Vec::new() };
        let link = jail.loaded.as_ref().and_then(|loaded| loaded.plan.link());
        let fixed = link.into_iter().flat_map(|link| link.gateway.iter().copied());
        let leased = jail.lease.as_ref().and_then(|held| held.lease().router).map(IpAddr::V4);
        let Some(kept) = self.namespaces_with_link(id) else { return Vec::new() };
        let router = |address: IpAddr| Router {
            address,
            of_jail: self.network.neighbour_inside(&kept.namespaces.net, address).ok(),
            of_host: kept.lower.and_then(|lower| self.network.neighbour(lower, address).ok()),
        };
        fixed.chain(leased).map(router).collect()
    }

    /// The ports that a unit publishes, and whether a rule leads to the jail by each.
    fn ports_of(&self, loaded: &Loaded) -> Vec<(String, bool)> {
        let own = loaded.plan.link().into_iter().flat_map(|link| &link.address);
        let own: Vec<IpAddr> = own.map(IpPrefix::address).collect();
        let ports = loaded.unit.network.publish.iter();
        ports.map(|port| (port.to_string(), self.network.leads(port, &own))).collect()
    }
}

fn life(jail: &Jail) -> Life {
    Life {
        state: jail.state(),
        has_unit: jail.loaded.is_some(),
        is_running: jail.is_running(),
        is_frozen: jail.frozen,
        is_stale: jail.is_stale(),
        is_enabled: jail.loaded.as_ref().is_none_or(|loaded| loaded.unit.enabled),
        problem: report::problem_line(jail),
    }
}

fn firewall(loaded: &Loaded) -> Firewall {
    let firewall = &loaded.unit.firewall;
    let ingress = firewall.ingress.as_ref().map(|all| &all.0);
    let egress = firewall.egress.as_ref().map(|all| &all.0);
    Firewall {
        ingress: ingress.map(|all| all.iter().map(ToString::to_string).collect()),
        egress: egress.map(|all| all.iter().map(ToString::to_string).collect()),
    }
}
