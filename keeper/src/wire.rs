//! The wire between the keeper and the brain: one fixed-size packet per request, answer and notice.
//!
//! The brain asks, the keeper answers each request with exactly one reply; a notice of shutdown may
//! come between. Descriptors travel beside a packet (`SCM_RIGHTS`), in the order of its slots' bits.
//! All integers are little-endian. The layout is private to the two programs of one image, which are
//! always replaced together; [`VERSION`] guards the plain Debian host, where they are not.

/// Checked by [`Op::Hello`].
pub const VERSION: u64 = 3;

/// Length of every packet in bytes.
pub const PACKET_LEN: usize = 160;

/// Longest jail name in bytes (a unit's file stem: 1 + 62 characters).
pub const NAME_MAX: usize = 63;

/// What is written to the descriptor of [`Op::Reexec`] when the new program has taken over.
pub const REEXECUTED: &str = "ok";

/// How a host goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop everything and switch the machine off.
    PowerOff,
    /// Stop everything and start the machine again.
    Reboot,
}

impl Shutdown {
    /// The number that stands for it in [`Packet::value`].
    #[must_use]
    pub fn to_value(self) -> u64 {
        match self {
            Self::PowerOff => 1,
            Self::Reboot => 2,
        }
    }

    /// The inverse of [`Shutdown::to_value`].
    #[must_use]
    pub fn from_value(value: u64) -> Option<Self> {
        match value {
            1 => Some(Self::PowerOff),
            2 => Some(Self::Reboot),
            _ => None,
        }
    }
}

/// One place for a descriptor in a jail's entry of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Slot {
    /// pidfd of the jail's PID 1. Putting it makes the keeper record how that process ends.
    Process = 0,
    /// Read end of the start-error pipe.
    StartError = 1,
    /// Read end of the pipe on which the in-jail init reports its main process's end.
    ExitReport = 2,
    /// Read end of the jail's standard output; of one with a terminal, the socket that holds its master.
    Stdout = 3,
    /// Read end of the jail's standard error.
    Stderr = 4,
    /// User namespace.
    UserNamespace = 5,
    /// Network namespace.
    NetNamespace = 6,
    /// A memfd with what the brain wants to remember of the jail.
    State = 7,
    /// The socket on which the jail's service says how it is.
    Notify = 8,
}

impl Slot {
    /// All slots in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::Process,
        Self::StartError,
        Self::ExitReport,
        Self::Stdout,
        Self::Stderr,
        Self::UserNamespace,
        Self::NetNamespace,
        Self::State,
        Self::Notify,
    ];

    /// Its bit in [`Packet::slots`].
    #[must_use]
    pub fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// The slots of a set, in order.
    pub fn in_set(set: u32) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |slot| set & slot.bit() != 0)
    }
}

/// What a packet asks or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Brain: `value` is its [`VERSION`].
    Hello = 1,
    /// Brain: keep the descriptors of `slots` for `jail`; a slot that is taken is replaced.
    Put = 2,
    /// Brain: forget `slots` of `jail`, and with them, as [`Op::Acknowledge`] does, the record whose inode is
    /// `value`; with 0 no record.
    Drop = 3,
    /// Brain: the first entry at or after index `value`. The reply carries copies of all its
    /// descriptors and the index to ask for next; no name means the end.
    Next = 4,
    /// Brain: the exit record of `jail`. A reply with inode 0 means there is none.
    Exit = 5,
    /// Brain: the record whose inode is `value` is stored, or not wanted; forget it.
    Acknowledge = 6,
    /// Brain: shut the host down; `value` is a [`Shutdown`].
    Shutdown = 7,
    /// Brain: execute the keeper's program anew. Beside it comes one descriptor, to which what came of it
    /// is written in words: [`REEXECUTED`], or why the keeper stays the program that it is.
    Reexec = 8,
    /// Keeper: the answer to the last request; `errno` is 0 or what was wrong.
    Reply = 64,
    /// Keeper: the host goes down (`value`): stop every jail, then exit with status 0.
    ShutdownNotice = 65,
}

impl Op {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Put,
            Self::Drop,
            Self::Next,
            Self::Exit,
            Self::Acknowledge,
            Self::Shutdown,
            Self::Reexec,
            Self::Reply,
            Self::ShutdownNotice,
        ]
        .into_iter()
        .find(|op| *op as u8 == byte)
    }
}

/// How a jail's PID 1 ended, as its parent saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitRecord {
    /// Inode of the pidfd: tells this life of the jail from every other since boot. Never 0.
    pub inode: u64,
    /// `CLD_*` of sigaction(2).
    pub code: i32,
    /// Exit status or signal number.
    pub status: i32,
    /// User time in microseconds.
    pub user_us: u64,
    /// System time in microseconds.
    pub system_us: u64,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
    /// When it was reaped: `CLOCK_BOOTTIME` in microseconds.
    pub at_us: u64,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub op: Op,
    /// The jail, zero-padded; empty where none is meant.
    pub jail: Name,
    /// 0 or an errno (replies only).
    pub errno: i32,
    /// Set of [`Slot::bit`]s.
    pub slots: u32,
    /// Depends on `op`.
    pub value: u64,
    /// Exit record; inode 0 for none.
    pub exit: ExitRecord,
}

/// A jail's name on the wire: at most [`NAME_MAX`] bytes, zero-padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; NAME_MAX + 1]);

impl Name {
    /// The absent name.
    pub const NONE: Self = Self([0; NAME_MAX + 1]);

    /// `None` when it is too long or contains a zero byte.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        if bytes.len() > NAME_MAX || bytes.contains(&0) {
            return None;
        }
        let mut padded = [0; NAME_MAX + 1];
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Self(padded))
    }

    /// The padded bytes, as they travel.
    pub(crate) fn as_bytes(&self) -> &[u8; NAME_MAX + 1] {
        &self.0
    }

    /// The inverse of [`Name::as_bytes`]; `None` for one that is not a padded name.
    pub(crate) fn from_bytes(bytes: [u8; NAME_MAX + 1]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == 0)?;
        let padded = bytes[end..].iter().all(|b| *b == 0);
        (padded && std::str::from_utf8(&bytes[..end]).is_ok()).then_some(Self(bytes))
    }

    /// The name; empty for the absent one or one that is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..end]).unwrap_or("")
    }
}

impl Packet {
    /// A packet with everything else empty.
    #[must_use]
    pub fn new(op: Op) -> Self {
        let exit = ExitRecord::default();
        Self { op, jail: Name::NONE, errno: 0, slots: 0, value: 0, exit }
    }

    /// The bytes of the packet.
    #[must_use]
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        bytes[0] = self.op as u8;
        bytes[4..8].copy_from_slice(&self.errno.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.slots.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.value.to_le_bytes());
        bytes[24..88].copy_from_slice(&self.jail.0);
        let exit = &self.exit;
        bytes[88..92].copy_from_slice(&exit.code.to_le_bytes());
        bytes[92..96].copy_from_slice(&exit.status.to_le_bytes());
        let words = [exit.inode, exit.user_us, exit.system_us, exit.max_rss_kib, exit.at_us];
        for (place, word) in bytes[96..136].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The packet in `bytes`; `None` when it has another length or an unknown operation.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PACKET_LEN] = bytes.try_into().ok()?;
        let word = |at: usize| -> u64 {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(raw)
        };
        let half = |at: usize| -> [u8; 4] {
            let mut raw = [0; 4];
            raw.copy_from_slice(&bytes[at..at + 4]);
            raw
        };
        let mut jail = Name::NONE;
        jail.0.copy_from_slice(&bytes[24..88]);
        jail.0[NAME_MAX] = 0;
        Some(Self {
            op: Op::from_byte(bytes[0])?,
            jail,
            errno: i32::from_le_bytes(half(4)),
            slots: u32::from_le_bytes(half(8)),
            value: word(16),
            exit: ExitRecord {
                code: i32::from_le_bytes(half(88)),
                status: i32::from_le_bytes(half(92)),
                inode: word(96),
                user_us: word(104),
                system_us: word(112),
                max_rss_kib: word(120),
                at_us: word(128),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_packet() -> Packet {
        Packet {
            op: Op::Next,
            jail: Name::new("web").unwrap(),
            errno: 17,
            slots: Slot::Process.bit() | Slot::State.bit(),
            value: u64::MAX,
            exit: ExitRecord {
                inode: 1,
                code: 2,
                status: -3,
                user_us: 4,
                system_us: 5,
                max_rss_kib: 6,
                at_us: 7,
            },
        }
    }

    #[test]
    fn every_field_survives_the_wire() {
        assert_eq!(Packet::decode(&full_packet().encode()), Some(full_packet()));
    }

    #[test]
    fn packets_of_another_length_or_operation_are_refused() {
        let mut bytes = full_packet().encode();
        assert_eq!(Packet::decode(&bytes[1..]), None);
        bytes[0] = 200;
        assert_eq!(Packet::decode(&bytes), None);
    }

    #[test]
    fn a_name_of_64_bytes_does_not_fit() {
        assert!(Name::new(&"a".repeat(63)).is_some());
        assert!(Name::new(&"a".repeat(64)).is_none());
    }

    #[test]
    fn slots_come_in_the_order_of_their_bits() {
        let set = Slot::State.bit() | Slot::Process.bit() | Slot::Stderr.bit();
        let slots: Vec<Slot> = Slot::in_set(set).collect();
        assert_eq!(slots, [Slot::Process, Slot::Stderr, Slot::State]);
    }
}
