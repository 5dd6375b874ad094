//! The host's links as they come and go: jails wait for their parent link, and a running one gets its own anew when the
//! parent is back.
//!
//! Level-triggered, like [`super::dependencies`]: after any change all links are listed, and each jail is looked at.

use super::jail::{Claim, Jail};
use super::namespaces::{is_beside, link_key};
use super::poller::{JailId, Source};
use super::{Supervisor, clock};
use crate::exec::net::{self, Interface, Monitor, Usage};
use crate::machine::Moment;
use crate::machine::gate::WaitsFor;
use crate::plan::Link;
use crate::plan::link::Lower;
use keeper::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After which time what the kernel has refused is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long links are made before other events are looked at: the parent of a thousand jails may come back.
pub(super) const MAKE_FOR: Duration = Duration::from_millis(20);

/// The host's links.
#[derive(Debug, Default)]
pub(super) struct Links {
    monitor: Option<Monitor>,
    /// Those that there were when they were last looked at.
    there: Vec<Interface>,
    /// Those that there were when each jail was last looked at.
    followed: Vec<Interface>,
    /// The uplink, once it is there and set up.
    uplink: Option<Interface>,
    /// What was said last about links that cannot be set up.
    problem: Option<String>,
    /// Jails whose link could not be made on the parent of this number, and when that is tried again.
    refused: BTreeMap<JailId, (u32, Moment)>,
    /// When to look again although nobody tells of a change.
    again_at: Option<Moment>,
}

impl Links {
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.again_at
    }

    /// The links that there were when they were last looked at.
    pub(super) fn there(&self) -> &[Interface] {
        &self.there
    }

    /// The name of the uplink.
    pub(super) fn uplink(&self) -> Option<&str> {
        self.uplink.as_ref().map(|uplink| uplink.name.as_str())
    }

    fn look_again(&mut self, at: Moment) {
        self.again_at = Some(self.again_at.map_or(at, |before| before.min(at)));
    }

    /// Says what is wrong, unless that was what was said last.
    fn complain(&mut self, text: String) {
        if self.problem.as_ref() != Some(&text) {
            log::error!("{text}");
            self.problem = Some(text);
        }
    }

    fn has(&self, index: u32) -> bool {
        self.there.iter().any(|link| link.index == index)
    }
}

impl Jail {
    /// The link that the unit in force asks for.
    fn link(&self) -> Option<&Link> {
        self.loaded.as_ref()?.plan.link()
    }
}

impl Supervisor {
    /// Begins to follow the host's links; before jails are adopted.
    pub(super) fn open_links(&mut self) {
        let opened = Monitor::open().and_then(|monitor| {
            self.poller.watch(&monitor, Source::Links)?;
            Ok(monitor)
        });
        match opened {
            Ok(monitor) => self.links.monitor = Some(monitor),
            Err(error) => log::error!("the host's links are looked at now and then only: {error}"),
        }
        self.list_links();
        self.set_up_uplink();
    }

    pub(super) fn on_links(&mut self) {
        if let Some(monitor) = &self.links.monitor {
            monitor.drain();
        }
        self.list_links();
        // Each link that a jail gets is to the kernel a change of its parent, too, but none of what counts here: with a
        // thousand jails to start, all of them would be looked at a thousand times.
        if self.links.there != self.links.followed {
            self.follow_listed();
        }
    }

    /// Looks again when it is time.
    pub(super) fn tick_links(&mut self) {
        if self.links.again_at.is_some_and(|at| at <= clock::now()) {
            self.follow_links();
        }
    }

    fn list_links(&mut self) {
        match self.network.links() {
            Ok(links) => self.links.there = links,
            Err(error) => {
                self.complain_of_links(format!("cannot list the host's links: {error}"));
            }
        }
    }

    /// Says what is wrong with the host's links, and has it tried again.
    pub(super) fn complain_of_links(&mut self, text: String) {
        self.links.complain(text);
        self.links.look_again(clock::now().saturating_add(TRY_AGAIN));
    }

    fn set_up_uplink(&mut self) {
        if self.links.uplink.is_some() {
            return;
        }
        match self.network.set_up_uplink(&self.host.uplink) {
            Ok(Some(link)) => {
                log::info!("uplink is {}", link.name);
                self.links.uplink = Some(link);
            }
            Ok(None) => {}
            Err(error) => {
                let text = format!("{} (see [uplink] in /etc/warder/host.toml)", error.chain());
                self.complain_of_links(text);
            }
        }
    }

    /// Does what follows from the links that the host has now.
    pub(super) fn follow_links(&mut self) {
        self.list_links();
        self.follow_listed();
    }

    fn follow_listed(&mut self) {
        self.links.again_at = None;
        self.links.followed.clone_from(&self.links.there);
        if self.links.monitor.is_none() {
            self.links.look_again(clock::now().saturating_add(TRY_AGAIN));
        }
        let there = &self.links.there;
        let is_gone = |uplink: &Interface| !there.iter().any(|link| link.index == uplink.index);
        if let Some(uplink) = self.links.uplink.take_if(|uplink| is_gone(uplink)) {
            log::warn!("the uplink {} is gone", uplink.name);
        }
        self.set_up_uplink();
        self.follow_networks();
        let end = clock::now().saturating_add(MAKE_FOR);
        for id in self.jails.all_ids() {
            self.lose_link(id);
            if clock::now() < end {
                self.renew_link(id);
            } else {
                self.links.look_again(end);
            }
        }
        self.find_lacking();
        self.sweep_links();
    }

    /// A jail's link goes with the one that it sits on.
    fn lose_link(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(kept) = &mut jail.kept else { return };
        if kept.lower.take_if(|lower| !self.links.has(*lower)).is_none() {
            return;
        }
        kept.key.clear();
        self.ties.moved = true;
        if jail.is_running() {
            let name = jail.name.clone();
            self.store_link(id);
            log::warn!("jail={name} its link is gone with the parent");
            self.record(&name, None, "its link is gone with the parent; it runs on without");
        }
    }

    /// Makes the link of a running jail that has lost it, or has started without.
    pub(super) fn renew_link(&mut self, id: JailId) {
        let Some(jail) = self.jails.get(id).filter(|jail| jail.is_running()) else { return };
        let kept_key = jail.kept.as_ref().map(|kept| kept.key.as_str());
        // One of two lives of its jail gets the jail's own when the other one is gone.
        let is_due = |key: &str| key.is_empty() || is_beside(key);
        if !kept_key.is_some_and(is_due) {
            return;
        }
        // Of an older version of the unit nobody knows any more what link it had.
        let is_stale = jail.is_stale();
        let Some(loaded) = jail.loaded.as_ref().filter(|_| !is_stale) else { return };
        let link = self.link_of(jail, loaded).cloned();
        let key = link_key(loaded, link.as_ref(), self.has_link_beside(jail));
        let place = |link: &Link| net::place_for(&link.lower, &self.host.uplink, &self.links.there);
        let parent = link.as_ref().map(place);
        let parent = match parent {
            Some(None) => return,
            Some(Some(parent)) => parent,
            None => 0,
        };
        let claimed = self.claim(id, link.as_ref());
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(kept) = jail.kept.as_mut().filter(|kept| kept.key != key) else { return };
        // What is made and refused is itself a change of links, and must not lead to the next try.
        let now = clock::now();
        let refused = self.links.refused.get(&id).filter(|(on, at)| *on == parent && now < *at);
        if let Some((_, at)) = refused.copied() {
            return self.links.look_again(at);
        }
        let name = jail.name.clone();
        let net = &kept.namespaces.net;
        let made = claimed.and_then(|()| {
            // It has had its addresses, and its program uses them.
            self.network.make_link(net, link.as_ref(), &self.host.uplink, Usage::AtOnce)
        });
        match made {
            Ok(lower) => {
                // What had the link until now was the jail's other life.
                let is_same_net = is_beside(&kept.key);
                kept.lower = lower;
                (kept.key, kept.claim) = (key, Claim::Used);
                let net = kept.namespaces.net.try_clone();
                if self.links.refused.remove(&id).is_some() {
                    jail.start_problem = None;
                }
                self.store_link(id);
                // A VLAN may have been made for it.
                self.list_links();
                if link.is_some() {
                    self.record(&name, None, "its link is there");
                }
                if let Ok(net) = net {
                    self.begin_lease(id, &net, is_same_net);
                }
                // With the link it may have got other addresses than it had beside another life.
                self.renew_files(id);
            }
            Err(error) => {
                kept.key.clear();
                self.store_link(id);
                self.start_failed(id, &error);
                self.links
                    .complain(format!("jail={name} its link is not there: {}", error.chain()));
                let at = clock::now().saturating_add(TRY_AGAIN);
                self.links.refused.insert(id, (parent, at));
                self.links.look_again(at);
            }
        }
    }

    /// Has the keeper remember the link of a running jail as it is.
    fn store_link(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (Some(life), Some(kept)) = (&mut jail.life, &jail.kept) else { return };
        (life.stored.link, life.stored.link_lower) = (kept.key.clone(), kept.lower);
        self.store_life(id);
    }

    /// Finds the jails whose start waits for a link, by the units in force and the links that there are.
    pub(super) fn find_lacking(&mut self) {
        for id in self.jails.ids() {
            let Some(jail) = self.jails.get_mut(id) else { continue };
            let waits = jail.loaded.as_ref().is_some_and(|l| l.unit.network.wait_for_parent);
            let link = jail.link().filter(|_| waits);
            let lacks = link.is_some_and(|link| {
                net::place_for(&link.lower, &self.host.uplink, &self.links.there).is_none()
            });
            if std::mem::replace(&mut jail.lacks_link, lacks) != lacks {
                self.ties.moved = true;
            }
        }
    }

    /// What a jail without its parent link waits for.
    pub(super) fn waits_for_link(&self, jail: &Jail) -> Option<WaitsFor> {
        let link = jail.link().filter(|_| jail.lacks_link)?;
        let Lower::Parent { link: parent, .. } = &link.lower else { return None };
        let place = jail.loaded.as_ref()?.unit.origin.at("network.parent");
        let there = net::names(&self.links.there);
        let why = format!("is not there (network.parent, {place}; the host has {there})");
        Some(WaitsFor { name: format!("link {parent}"), is_coming: false, is_brief: false, why })
    }

    /// A jail at rest whose unit asks for another link now: the one that it has would answer for addresses that may be
    /// another jail's by now.
    pub(super) fn drop_stale_link(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id).filter(|jail| jail.rests()) else { return };
        let Some(loaded) = &jail.loaded else { return };
        let key = link_key(loaded, loaded.plan.link(), false);
        let Some(kept) = jail.kept.take_if(|kept| !kept.key.is_empty() && kept.key != key) else {
            return;
        };
        let slots = [Slot::UserNamespace, Slot::NetNamespace];
        if let Err(error) = self.keeper.remove(&jail.key, &slots) {
            return self.lost_keeper(&error);
        }
        if let Err(error) = self.network.clear(&kept.namespaces.net) {
            log::warn!("jail={} {}", jail.name, error.chain());
        }
        self.end_lease(id);
        self.end_search(id);
        // Its state stays as it is stored: that it rests after its new version is not so yet.
    }

    /// Forgets a jail that is gone.
    pub(super) fn forget_link(&mut self, id: JailId) {
        self.links.refused.remove(&id);
    }

    /// Deletes the VLANs and bridges that were made for jails which do not need them any more.
    pub(super) fn sweep_links(&mut self) {
        if !self.links.there.iter().any(|link| link.is_ours) {
            return;
        }
        let (mut used, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        let all = self.jails.all().map(|(_, jail)| jail);
        for jail in all.filter(|jail| !jail.removed || jail.life.is_some()) {
            // One that was taken out of a unit is used as long as the jail runs.
            used.extend(jail.kept.as_ref().and_then(|kept| kept.lower));
            wanted.extend(jail.link().map(|link| link.lower.clone()));
        }
        match self.network.sweep(&self.links.there, &used, &wanted, &self.host.uplink) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                log::info!("nobody needs {}: deleted", gone.join(", "));
                self.list_links();
                self.follow_networks();
            }
            Err(error) => log::warn!("a VLAN or bridge that nobody needs is left: {error}"),
        }
    }
}
