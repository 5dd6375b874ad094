//! What a server has granted.

use crate::wire::Identity;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Name servers, domains and routes that are taken of a lease at most: the resolver's own bounds (resolv.conf(5)), and more routes
/// than any network has had.
pub const DNS_MAX: usize = 3;
/// See [`DNS_MAX`].
pub const DOMAINS_MAX: usize = 6;
/// See [`DNS_MAX`].
pub const ROUTES_MAX: usize = 32;
/// Bytes of a packet that every host takes (RFC 791): less is not taken for the largest one.
pub const MTU_MIN: u16 = 576;

/// A lease, as RFC 2131 and RFC 2132 have it. Serialised, it is what is kept of it across restarts and reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of its subnet's prefix: 1 to 32.
    pub length: u8,
    /// Next hop of the default route.
    pub router: Option<Ipv4Addr>,
    /// Routes to other networks: prefix, its length in bits, next hop (0.0.0.0: on the link itself). Where there are any,
    /// `router` is one of them or none (RFC 3442).
    #[serde(default)]
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// Name servers; at most three.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// Domains in which names are looked for.
    #[serde(default)]
    pub search: Vec<String>,
    /// Bytes of the largest packet.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// The Ethernet address that its answers come from.
    pub server_mac: [u8; 6],
    /// How long it holds, seconds. [`Lease::FOR_EVER`] does not end.
    pub seconds: u32,
    /// After how many seconds it is to be renewed.
    pub t1: u32,
    /// After how many seconds any server is asked for that.
    pub t2: u32,
}

impl Lease {
    /// RFC 2131, section 3.3.
    pub const FOR_EVER: u32 = u32::MAX;

    /// How many seconds of it are left after `age` seconds. None when it does not end.
    #[must_use]
    pub fn left(&self, age: u64) -> Option<u64> {
        (self.seconds != Self::FOR_EVER).then(|| u64::from(self.seconds).saturating_sub(age))
    }

    /// What is left of it after `age` seconds, as a lease that begins then.
    #[must_use]
    pub fn rest(self, age: u64) -> Self {
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let rest = |time: u32| if time == Self::FOR_EVER { time } else { time.saturating_sub(age) };
        let (seconds, t1, t2) = (rest(self.seconds), rest(self.t1), rest(self.t2));
        Self { seconds, t1, t2, ..self }
    }
}

/// A lease as it is kept, with the time at which it began by both clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// It.
    pub lease: Lease,
    /// The link that it was granted to, in words.
    pub link: String,
    /// What the link said of itself.
    pub identity: Identity,
    /// A server has granted it on the link as that is now.
    pub is_sure: bool,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Microseconds since the boot of this id (random(4), `boot_id`).
    pub boot_us: u64,
    /// That id.
    pub boot_id: String,
}

/// A lease from earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// What is left of it.
    pub lease: Lease,
    /// The link has its address now.
    pub is_in_use: bool,
    /// Nothing has happened since that could have changed what it is worth; else the server is asked whether it still holds.
    pub is_sure: bool,
}
