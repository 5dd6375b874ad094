//! The vault: per jail, the descriptors that outlive the brain and the record of how the jail ended.
//!
//! Bookkeeping over owned descriptors; the only system calls are `close` on drop and the last kill.

use crate::handover::Place;
use crate::wire::{ExitRecord, Name, Op, Packet, Slot};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Everything that is kept.
#[derive(Debug, Default)]
pub struct Vault {
    /// Indices are the cursor of [`Op::Next`]: an entry keeps its index as long as it lives, and a
    /// free place is used again.
    entries: Vec<Option<Entry>>,
}

/// What is kept of one jail.
#[derive(Debug)]
pub struct Entry {
    jail: Name,
    fds: [Option<OwnedFd>; Slot::ALL.len()],
    tracked: Option<Tracked>,
    exit: Option<ExitRecord>,
}

/// The process whose end is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// Its id in the keeper's pid namespace.
    pub pid: i32,
    /// Inode of its pidfd.
    pub inode: u64,
}

impl Vault {
    /// Keeps `fds` in `slots` (same order) of `jail`. With [`Slot::Process`] comes whom to track.
    pub fn put(&mut self, jail: Name, slots: u32, fds: Vec<OwnedFd>, process: Option<Tracked>) {
        let entry = self.entry_or_new(jail);
        for (slot, fd) in Slot::in_set(slots).zip(fds) {
            entry.fds[slot as usize] = Some(fd);
        }
        if process.is_some() {
            entry.tracked = process;
        }
    }

    /// Forgets `slots` of `jail`; an entry with nothing left goes.
    pub fn remove(&mut self, jail: Name, slots: u32) {
        if let Some(entry) = self.entry(jail) {
            for slot in Slot::in_set(slots) {
                entry.fds[slot as usize] = None;
            }
        }
        self.drop_empty();
    }

    /// Forgets `slots` of `jail` and the record of `inode`, if that is not 0: a life is over.
    pub fn end(&mut self, jail: Name, slots: u32, inode: u64) {
        self.remove(jail, slots);
        if inode != 0 {
            self.acknowledge(jail, inode);
        }
    }

    /// The record of the end of `jail`, if it has ended and nobody has acknowledged it.
    #[must_use]
    pub fn exit(&self, jail: Name) -> Option<ExitRecord> {
        self.entries.iter().flatten().find(|entry| entry.jail == jail).and_then(|entry| entry.exit)
    }

    /// Forgets the record of `jail` if it is the one of `inode`, or never makes one if that process has
    /// not ended yet. An unknown one is fine: the answer to an earlier acknowledgement may have been lost
    /// with the brain that asked.
    pub fn acknowledge(&mut self, jail: Name, inode: u64) {
        if let Some(entry) = self.entry(jail) {
            if entry.tracked.is_some_and(|tracked| tracked.inode == inode) {
                entry.tracked = None;
            }
            if entry.exit.is_some_and(|exit| exit.inode == inode) {
                entry.exit = None;
            }
        }
        self.drop_empty();
    }

    /// Records the end of process `pid`. False when it is no jail's.
    pub fn record_exit(&mut self, pid: i32, exit: ExitRecord) -> bool {
        let of_pid = |entry: &&mut Entry| entry.tracked.is_some_and(|tracked| tracked.pid == pid);
        let Some(entry) = self.entries.iter_mut().flatten().find(of_pid) else { return false };
        let inode = entry.tracked.take().map_or(0, |tracked| tracked.inode);
        entry.exit = Some(ExitRecord { inode, ..exit });
        true
    }

    /// The first entry at or after index `cursor`, with copies to be made of its descriptors, and
    /// the reply that describes it.
    #[must_use]
    pub fn next(&self, cursor: u64) -> (Packet, Vec<BorrowedFd<'_>>) {
        let mut reply = Packet::new(Op::Reply);
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        let rest = self.entries.iter().enumerate().skip(start);
        let Some((index, entry)) = rest.filter_map(|(i, e)| Some((i, e.as_ref()?))).next() else {
            return (reply, Vec::new());
        };
        reply.jail = entry.jail;
        reply.value = index as u64 + 1;
        reply.exit = entry.exit.unwrap_or_default();
        let mut fds = Vec::new();
        for slot in Slot::ALL {
            if let Some(fd) = &entry.fds[slot as usize] {
                reply.slots |= slot.bit();
                fds.push(fd.as_fd());
            }
        }
        (reply, fds)
    }

    /// Whether a jail's process is held whose end has not been seen.
    #[must_use]
    pub fn has_processes(&self) -> bool {
        self.entries.iter().flatten().any(|entry| entry.tracked.is_some())
    }

    /// Sends SIGKILL to every jail's PID 1, which takes the rest of the jail along.
    pub fn kill_processes(&self) {
        for process in
            self.entries.iter().flatten().filter_map(|e| e.fds[Slot::Process as usize].as_ref())
        {
            // It may have ended already.
            let _ = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
        }
    }

    /// How many jails have something here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries for the program that takes over, descriptors by their numbers.
    pub(crate) fn places(&self) -> Vec<Option<Place>> {
        let place = |entry: &Entry| Place {
            jail: entry.jail,
            fds: entry.fds.each_ref().map(|fd| fd.as_ref().map(AsRawFd::as_raw_fd)),
            tracked: entry.tracked,
            exit: entry.exit,
        };
        self.entries.iter().map(|entry| entry.as_ref().map(place)).collect()
    }

    /// The inverse of [`Vault::places`]; `take` gives a number's descriptor.
    pub(crate) fn of_places(
        places: Vec<Option<Place>>,
        mut take: impl FnMut(i32) -> Option<OwnedFd>,
    ) -> Self {
        let mut entry = |place: Place| Entry {
            jail: place.jail,
            fds: place.fds.map(|fd| fd.and_then(&mut take)),
            tracked: place.tracked,
            exit: place.exit,
        };
        Self { entries: places.into_iter().map(|place| place.map(&mut entry)).collect() }
    }

    fn entry(&mut self, jail: Name) -> Option<&mut Entry> {
        self.entries.iter_mut().flatten().find(|entry| entry.jail == jail)
    }

    fn entry_or_new(&mut self, jail: Name) -> &mut Entry {
        let of_jail =
            |place: &Option<Entry>| place.as_ref().is_some_and(|entry| entry.jail == jail);
        let index = match self.entries.iter().position(of_jail) {
            Some(index) => index,
            None => self.entries.iter().position(Option::is_none).unwrap_or_else(|| {
                self.entries.push(None);
                self.entries.len() - 1
            }),
        };
        self.entries[index].get_or_insert_with(|| Entry {
            jail,
            fds: Default::default(),
            tracked: None,
            exit: None,
        })
    }

    fn drop_empty(&mut self) {
        for place in &mut self.entries {
            let empty = place.as_ref().is_some_and(|entry| {
                entry.exit.is_none()
                    && entry.tracked.is_none()
                    && entry.fds.iter().all(Option::is_none)
            });
            if empty {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn names(vault: &Vault) -> Vec<String> {
        let (mut cursor, mut names) = (0, Vec::new());
        loop {
            let (reply, _) = vault.next(cursor);
            if reply.jail == Name::NONE {
                return names;
            }
            names.push(reply.jail.as_str().to_owned());
            cursor = reply.value;
        }
    }

    const TRACKED: Tracked = Tracked { pid: 77, inode: 5 };

    #[test]
    fn an_entry_lives_until_its_last_descriptor_and_record_are_gone() {
        let mut vault = Vault::default();
        let slots = Slot::Process.bit() | Slot::Stdout.bit();
        vault.put(name("web"), slots, vec![fd(), fd()], Some(TRACKED));
        assert!(vault.record_exit(77, ExitRecord { status: 3, ..Default::default() }));
        vault.remove(name("web"), slots);
        assert_eq!(names(&vault), ["web"]);
        vault.acknowledge(name("web"), 5);
        assert!(names(&vault).is_empty());
    }

    #[test]
    fn the_end_of_a_life_leaves_what_is_not_its_own() {
        let mut vault = Vault::default();
        let slots = Slot::Process.bit() | Slot::NetNamespace.bit();
        vault.put(name("web"), slots, vec![fd(), fd()], Some(TRACKED));
        assert!(vault.record_exit(77, ExitRecord::default()));
        vault.end(name("web"), Slot::Process.bit(), 4);
        assert!(vault.exit(name("web")).is_some(), "of another life");
        vault.end(name("web"), Slot::Process.bit(), 5);
        assert_eq!(vault.exit(name("web")), None);
        assert_eq!(vault.next(0).0.slots, Slot::NetNamespace.bit());
    }

    #[test]
    fn a_process_still_tracked_keeps_its_entry() {
        let mut vault = Vault::default();
        vault.put(name("web"), Slot::Process.bit(), vec![fd()], Some(TRACKED));
        vault.remove(name("web"), u32::MAX);
        assert_eq!(names(&vault), ["web"]);
        assert!(vault.record_exit(77, ExitRecord::default()));
        assert_eq!(vault.exit(name("web")).map(|exit| exit.inode), Some(5));
    }

    #[test]
    fn the_end_of_an_unknown_process_is_no_jails() {
        assert!(!Vault::default().record_exit(1, ExitRecord::default()));
    }

    #[test]
    fn a_record_that_nobody_wants_is_never_made() {
        let mut vault = Vault::default();
        vault.put(name("web"), Slot::Process.bit(), vec![fd()], Some(TRACKED));
        vault.remove(name("web"), Slot::Process.bit());
        vault.acknowledge(name("web"), 5);
        assert!(!vault.record_exit(77, ExitRecord::default()));
        assert!(names(&vault).is_empty());
    }

    #[test]
    fn acknowledging_an_older_life_keeps_the_newer_record() {
        let mut vault = Vault::default();
        vault.put(name("web"), Slot::Process.bit(), vec![fd()], Some(TRACKED));
        vault.record_exit(77, ExitRecord::default());
        vault.acknowledge(name("web"), 4);
        assert!(vault.exit(name("web")).is_some());
    }

    #[test]
    fn indices_stay_while_other_entries_go() {
        let mut vault = Vault::default();
        for jail in ["a", "b", "c"] {
            vault.put(name(jail), Slot::State.bit(), vec![fd()], None);
        }
        vault.remove(name("a"), u32::MAX);
        let (reply, fds) = vault.next(1);
        assert_eq!((reply.jail.as_str(), fds.len()), ("b", 1));
        vault.put(name("d"), Slot::State.bit(), vec![fd()], None);
        assert_eq!(names(&vault), ["d", "b", "c"]);
    }
}
