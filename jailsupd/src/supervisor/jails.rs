//! All jails, by number and by name.

use super::jail::Jail;
use super::poller::JailId;
use std::collections::BTreeMap;

/// The jails that have a unit, or of which anything is left; and beside some of them another version of them.
#[derive(Debug, Default)]
pub(super) struct Jails {
    /// Boxed: the tree's nodes, which hold eleven, are little more than half full when numbers only grow.
    by_id: BTreeMap<JailId, Box<Jail>>,
    by_name: BTreeMap<String, JailId>,
    next: JailId,
}

impl Jails {
    /// Adds a jail. Its name must be new.
    pub(super) fn add(&mut self, jail: Jail) -> JailId {
        let name = jail.name.clone();
        let id = self.add_unnamed(jail);
        self.by_name.insert(name, id);
        id
    }

    /// Adds what is beside a jail, under a number that no other has had: by that alone it is found.
    pub(super) fn add_unnamed(&mut self, jail: Jail) -> JailId {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_id.insert(id, Box::new(jail));
        id
    }

    pub(super) fn remove(&mut self, id: JailId) -> Option<Jail> {
        let jail = self.by_id.remove(&id)?;
        if self.by_name.get(&jail.name) == Some(&id) {
            self.by_name.remove(&jail.name);
        }
        Some(*jail)
    }

    pub(super) fn find(&self, name: &str) -> Option<JailId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: JailId) -> Option<&Jail> {
        self.by_id.get(&id).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: JailId) -> Option<&mut Jail> {
        self.by_id.get_mut(&id).map(AsMut::as_mut)
    }

    /// What is beside a jail.
    pub(super) fn beside(&self, jail: &Jail) -> Option<&Jail> {
        self.get(jail.beside?)
    }

    /// Numbers of all jails as they are now, in the order of their names; not of what is beside them.
    pub(super) fn ids(&self) -> Vec<JailId> {
        self.by_name.values().copied().collect()
    }

    /// Two at once.
    pub(super) fn pair(&mut self, one: JailId, other: JailId) -> Option<[&mut Jail; 2]> {
        let (mut first, mut second) = (None, None);
        for (id, jail) in &mut self.by_id {
            match *id {
                id if id == one => first = Some(jail),
                id if id == other => second = Some(jail),
                _ => {}
            }
        }
        Some([first?.as_mut(), second?.as_mut()])
    }

    /// All jails and what is beside them, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (JailId, &Jail)> {
        self.by_id.iter().map(|(id, jail)| (*id, jail.as_ref()))
    }

    /// The numbers of the same, as they are now.
    pub(super) fn all_ids(&self) -> Vec<JailId> {
        self.by_id.keys().copied().collect()
    }

    /// All jails in the order of their names; not what is beside them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Jail> {
        self.by_name.values().filter_map(|id| self.get(*id))
    }
}
