//! `jailctl net`: what the kernel has of links, addresses and routes, joined with who has set them.
//!
//! Each jail's namespace is entered for it. A client's answer is made over several turns of the loop, so that the others
//! are not held up by a thousand jails.

mod join;

use super::doctor::Visit;
use super::jail::{Jail, Loaded};
use super::leases::Held;
use super::links::MAKE_FOR;
use super::poller::JailId;
use super::{Supervisor, clock};
use crate::control::server::ClientId;
use crate::control::wire::{JailNetwork, NetworkShown, Reply, SetBy, WireError};
use crate::exec::net::Seen;
use crate::plan::Link;
use crate::plan::link::Lower;
use crate::unit::NetworkName;
use crate::unit::value::FromText as _;
use join::{By, Claims, Place};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// What clients have asked for about networks, until it is answered.
#[derive(Debug, Default)]
pub(super) struct Looks {
    showings: Vec<Showing>,
    pub(super) visits: Vec<Visit>,
}

impl Looks {
    /// Whether a client waits for an answer.
    pub(super) fn is_for(&self, client: ClientId) -> bool {
        self.showings.iter().any(|showing| showing.client == client)
            || self.visits.iter().any(|visit| visit.client == client)
    }

    /// Forgets a client.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.showings.retain(|showing| showing.client != client);
        self.visits.retain(|visit| visit.client != client);
    }

    /// Whether an answer is being made.
    pub(super) fn is_under_way(&self) -> bool {
        !self.showings.is_empty()
    }
}

/// An answer that is being made.
#[derive(Debug)]
struct Showing {
    client: ClientId,
    /// What the host has.
    host: Seen,
    /// Those that are yet to be looked at, the last one first.
    left: Vec<JailId>,
    jails: Vec<JailNetwork>,
}

impl Supervisor {
    /// Begins to answer who asks for everything.
    pub(super) fn show_network(&mut self, client: ClientId) {
        let host = match self.network.see() {
            Ok(host) => host,
            Err(error) => return self.reply(client, &Reply::refusal(&unseen(&error))),
        };
        let mut left = self.jails.ids();
        left.reverse();
        self.looks.showings.push(Showing { client, host, left, jails: Vec::new() });
    }

    /// Goes on with what is being answered, for a while.
    pub(super) fn feed_showings(&mut self) {
        let end = clock::now().saturating_add(MAKE_FOR);
        for mut showing in std::mem::take(&mut self.looks.showings) {
            while clock::now() < end {
                let Some(id) = showing.left.pop() else { break };
                showing.jails.extend(self.network_of(id, &showing.host));
            }
            if showing.left.is_empty() {
                let client = showing.client;
                self.reply(client, &self.shown(showing));
                self.answer_calls(client);
            } else {
                self.looks.showings.push(showing);
            }
        }
    }

    fn shown(&self, showing: Showing) -> Reply {
        let place = Place { parent: None, network: None, host: Some(&showing.host) };
        let (links, routes) = join::join(&showing.host, &self.claims_of_host(), &place);
        Reply::with(&NetworkShown { links, routes, jails: showing.jails })
    }

    /// What a jail has now; none where the jail is gone.
    fn network_of(&self, id: JailId, host: &Seen) -> Option<JailNetwork> {
        let jail = self.jails.get(id)?;
        let mut found = JailNetwork {
            jail: jail.name.clone(),
            running: jail.is_running(),
            links: Vec::new(),
            routes: Vec::new(),
            problem: self.problem_of_link(id, jail),
            cut: false,
        };
        let Some(kept) = self.namespaces_with_link(id) else { return Some(found) };
        let parent = kept.lower.and_then(|lower| host.numbered(lower));
        let place = Place {
            parent: parent.map(|link| link.name.as_str()),
            network: parent.and_then(join::network_of),
            host: None,
        };
        match self.network.see_inside(&kept.namespaces.net) {
            Ok(seen) => {
                let claims = self.claims_of(jail);
                (found.links, found.routes) = join::join(&seen, &claims, &place);
                found.cut = seen.is_cut;
            }
            Err(error) => found.problem = Some(format!("cannot be looked at: {error}")),
        }
        Some(found)
    }

    /// What a jail's link waits for.
    fn problem_of_link(&self, id: JailId, jail: &Jail) -> Option<String> {
        let waits = jail.waits_text().filter(|_| jail.lacks_link || jail.lacks_address());
        waits.or_else(|| self.lacks_lease(id).map(|why| format!("an address {why}")))
    }

    /// What Warder has set on the host's links.
    fn claims_of_host(&self) -> Claims {
        let uplink = &self.host.uplink;
        let place = |key: &str| {
            let place = self.host.origin.at(key).to_string();
            By { set_by: SetBy::Host, from: Some(place), ends: None }
        };
        let mut claims = Claims::default();
        for own in &uplink.address {
            claims.address(own.address(), own.length(), place("uplink.address"));
        }
        for gateway in &uplink.gateway {
            claims.default_route(*gateway, place("uplink.gateway"));
        }
        let by = |name: &str| By::network(name);
        for (name, joined) in self.networks.all() {
            let routers = joined.routers();
            routers.for_each(|own| claims.address(own.address(), own.length(), by(name)));
        }
        claims
    }

    /// What Warder has set on a jail's link.
    fn claims_of(&self, jail: &Jail) -> Claims {
        let mut claims = Claims::default();
        if let Some(loaded) = &jail.loaded {
            if let Some(link) = loaded.plan.link() {
                claim_link(&mut claims, loaded, link);
            }
        }
        if let Some(held) = &jail.lease {
            claim_lease(&mut claims, held);
        }
        claims
    }
}

/// The host's links cannot be looked at.
pub(super) fn unseen(error: &io::Error) -> WireError {
    WireError::NotPossible { name: "the host's links".to_owned(), reason: error.to_string() }
}

/// What a unit and its network have set.
fn claim_link(claims: &mut Claims, loaded: &Loaded, link: &Link) {
    let network = &loaded.unit.network;
    let of_unit = |key: &str| {
        let from = Some(loaded.unit.origin.at(key).to_string());
        By { set_by: SetBy::Unit, from, ends: None }
    };
    let of_network = || match &link.lower {
        Lower::Network(name) => By::network(name.as_str()),
        Lower::Parent { .. } => of_unit("network.parent"),
    };
    for own in &link.address {
        let is_fixed = network.fixed().any(|fixed| fixed == *own);
        let by = if is_fixed { of_unit("network.address") } else { of_network() };
        claims.address(own.address(), own.length(), by);
    }
    for gateway in &link.gateway {
        let is_own = network.gateway.contains(gateway);
        let by = if is_own { of_unit("network.gateway") } else { of_network() };
        claims.default_route(*gateway, by);
    }
}

/// What a DHCP server has.
fn claim_lease(claims: &mut Claims, held: &Held) {
    let lease = held.lease();
    let by = || By {
        set_by: SetBy::Lease,
        from: Some(lease.server.to_string()),
        ends: held.ends_at_wall(),
    };
    claims.address(lease.address.into(), lease.length, by());
    let endless = || By { ends: None, ..by() };
    if let Some(router) = lease.router {
        claims.default_route(router.into(), endless());
    }
    for (prefix, length, hop) in &lease.routes {
        let via = Some(*hop).filter(|hop| *hop != Ipv4Addr::UNSPECIFIED).map(IpAddr::V4);
        claims.route(((*prefix).into(), *length), via, endless());
    }
}

/// The network of the host's own whose bridge has this name.
fn network_named(bridge: &str) -> Option<NetworkName> {
    NetworkName::from_text(bridge.strip_prefix("br-")?).ok()
}
