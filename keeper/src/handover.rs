//! What a keeper hands to the program that takes its place by an exec, as bytes: whatever it holds.
//!
//! Descriptors stand in it by their numbers, since they stay open. All integers are little-endian; the
//! whole is headed by a mark, the [`FORMAT`] and its own length, so that a program that knows another
//! format says so, and does not misread it.

#[cfg(test)]
mod tests;

use crate::flaw;
use crate::vault::Tracked;
use crate::wire::{ExitRecord, NAME_MAX, Name, Slot};
use std::fmt;

/// The format that is written, and the only one that is read.
pub(crate) const FORMAT: u32 = 1;

const MARK: [u8; 8] = *b"warder1\0";
/// More than a million jails have.
const LENGTH_MAX: usize = 1 << 30;
/// Stands for a descriptor or process that there is not.
const NONE: i32 = -1;

/// Everything that a keeper holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Handover {
    /// [`crate::wire::VERSION`] of the brain at the other end.
    pub(crate) wire: u64,
    /// The keeper's end of the wire.
    pub(crate) brain: Option<i32>,
    /// Where whoever asked for the exec hears what came of it.
    pub(crate) report: Option<i32>,
    pub(crate) triggers: Vec<i32>,
    pub(crate) services: Vec<ServiceState>,
    /// The vault's entries at their indices, which are cursors of a brain that may be asking just now.
    pub(crate) places: Vec<Option<Place>>,
}

/// How a service fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceState {
    pub(crate) name: String,
    pub(crate) pid: Option<i32>,
    /// Microseconds since it was started, or, below zero, until it is to be.
    pub(crate) age_us: i64,
    pub(crate) delay_us: u64,
}

/// One jail's entry of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) jail: Name,
    pub(crate) fds: [Option<i32>; Slot::ALL.len()],
    pub(crate) tracked: Option<Tracked>,
    pub(crate) exit: Option<ExitRecord>,
}

/// What a reader has read: both ends come to the same only if they mean the same by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) format: u32,
    /// Of all values, as they would be written again.
    pub(crate) sum: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read a state of format {}, sum {:016x}", self.format, self.sum)
    }
}

/// Why bytes are no handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not even the mark.
    Foreign,
    /// Of a format that this program does not know.
    Format(u32),
    /// Shorter or longer than it says, or something in it cannot be.
    Malformed,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "this is not the state of a keeper"),
            Self::Format(other) => {
                write!(f, "the state is of format {other}, and this program knows {}", newest())
            }
            Self::Malformed => write!(f, "the state is cut off or damaged"),
        }
    }
}

/// A test build pretends to be a later version, which reads this one's, too.
fn newest() -> u32 {
    if flaw::is(flaw::NEWER) { FORMAT + 1 } else { FORMAT }
}

impl Handover {
    /// In the newest format that this program knows.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_as(newest())
    }

    fn encode_as(&self, format: u32) -> Vec<u8> {
        let mut bytes = Writer(Vec::new());
        bytes.raw(&MARK);
        bytes.half(format);
        // The length, when it is known.
        bytes.half(0);
        bytes.word(self.wire);
        if format > FORMAT {
            bytes.word(flaw::LATER_FIELD);
        }
        bytes.number(self.brain);
        bytes.number(self.report);
        bytes.count(self.triggers.len());
        self.triggers.iter().for_each(|fd| bytes.number(Some(*fd)));
        bytes.count(self.services.len());
        self.services.iter().for_each(|service| bytes.service(service));
        bytes.count(self.places.len());
        self.places.iter().for_each(|place| bytes.place(place.as_ref()));
        let length = u32::try_from(bytes.0.len()).unwrap_or(u32::MAX);
        bytes.0[12..16].copy_from_slice(&length.to_le_bytes());
        bytes.0
    }

    /// What a reader of [`Handover::encode`] must have seen.
    pub(crate) fn seen(&self) -> Seen {
        Seen { format: newest(), sum: sum(&self.encode()) }
    }

    /// The handover in `bytes`, and what was seen of it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Seen), Unreadable> {
        let mut rest = Reader(bytes);
        if rest.raw::<8>() != Some(MARK) {
            return Err(Unreadable::Foreign);
        }
        let format = rest.half().ok_or(Unreadable::Malformed)?;
        if format < FORMAT || format > newest() {
            return Err(Unreadable::Format(format));
        }
        let length = rest.half().ok_or(Unreadable::Malformed)?;
        if length as usize != bytes.len() || bytes.len() > LENGTH_MAX {
            return Err(Unreadable::Malformed);
        }
        let read = rest.handover(format).filter(|_| rest.0.is_empty());
        let handover = read.ok_or(Unreadable::Malformed)?;
        let sum = sum(&handover.encode_as(format));
        Ok((handover, Seen { format, sum }))
    }

    /// Every descriptor that stands in it.
    pub(crate) fn fds(&self) -> impl Iterator<Item = i32> {
        let of_places = self.places.iter().flatten().flat_map(|place| place.fds);
        let single = [self.brain, self.report];
        self.triggers.iter().copied().chain(of_places.chain(single).flatten())
    }
}

/// FNV-1a, 64 bits: enough to tell that nothing was misread, which is no attack.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn half(&mut self, half: u32) {
        self.raw(&half.to_le_bytes());
    }

    fn word(&mut self, word: u64) {
        self.raw(&word.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.half(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn number(&mut self, number: Option<i32>) {
        self.raw(&number.unwrap_or(NONE).to_le_bytes());
    }

    fn service(&mut self, service: &ServiceState) {
        self.count(service.name.len());
        self.raw(service.name.as_bytes());
        self.number(service.pid);
        self.raw(&service.age_us.to_le_bytes());
        self.word(service.delay_us);
    }

    fn place(&mut self, place: Option<&Place>) {
        let Some(place) = place else { return self.raw(&[0]) };
        self.raw(&[1]);
        self.raw(place.jail.as_bytes());
        place.fds.iter().for_each(|fd| self.number(*fd));
        self.number(place.tracked.map(|tracked| tracked.pid));
        self.word(place.tracked.map_or(0, |tracked| tracked.inode));
        let exit = place.exit.unwrap_or_default();
        self.raw(&[u8::from(place.exit.is_some())]);
        self.raw(&exit.code.to_le_bytes());
        self.raw(&exit.status.to_le_bytes());
        for word in [exit.inode, exit.user_us, exit.system_us, exit.max_rss_kib, exit.at_us] {
            self.word(word);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn half(&mut self) -> Option<u32> {
        self.raw().map(u32::from_le_bytes)
    }

    fn word(&mut self) -> Option<u64> {
        self.raw().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.raw::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// `None` when the bytes end; else a descriptor or process, or that there is none.
    #[allow(clippy::option_option)] // the outer one is the end of the bytes
    fn number(&mut self) -> Option<Option<i32>> {
        match self.raw().map(i32::from_le_bytes)? {
            NONE => Some(None),
            number => (number >= 0).then_some(Some(number)),
        }
    }

    /// So many of something, each of which has a byte at least: a count cannot ask for more memory than
    /// there are bytes.
    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.half()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn handover(&mut self, format: u32) -> Option<Handover> {
        let wire = self.word()?;
        if format > FORMAT && self.word()? != flaw::LATER_FIELD {
            return None;
        }
        Some(Handover {
            wire,
            brain: self.number()?,
            report: self.number()?,
            triggers: self.list(|rest| rest.number()?)?,
            services: self.list(Self::service)?,
            places: self.list(Self::place)?,
        })
    }

    fn service(&mut self) -> Option<ServiceState> {
        let length = self.half()? as usize;
        let name = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        let pid = self.number()?;
        let age_us = i64::from_le_bytes(self.raw()?);
        Some(ServiceState { name, pid, age_us, delay_us: self.word()? })
    }

    #[allow(clippy::option_option)] // the outer one is the end of the bytes
    fn place(&mut self) -> Option<Option<Place>> {
        if !self.flag()? {
            return Some(None);
        }
        let jail = Name::from_bytes(self.raw::<{ NAME_MAX + 1 }>()?)?;
        let mut fds = [None; Slot::ALL.len()];
        for fd in &mut fds {
            *fd = self.number()?;
        }
        let (pid, inode) = (self.number()?, self.word()?);
        let has_exit = self.flag()?;
        let (code, status) = (i32::from_le_bytes(self.raw()?), i32::from_le_bytes(self.raw()?));
        let exit = ExitRecord {
            inode: self.word()?,
            code,
            status,
            user_us: self.word()?,
            system_us: self.word()?,
            max_rss_kib: self.word()?,
            at_us: self.word()?,
        };
        let tracked = pid.map(|pid| Tracked { pid, inode });
        Some(Some(Place { jail, fds, tracked, exit: has_exit.then_some(exit) }))
    }
}
