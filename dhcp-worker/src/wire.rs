//! The socket between jailsupd and this program: JSON, one message a datagram (`SOCK_SEQPACKET`).
//!
//! jailsupd believes nothing that it hears here: this program may be somebody else's by then.

use crate::lease::{Earlier, Lease};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Bytes of the largest message.
pub const MESSAGE_MAX: usize = 8192;

/// The descriptor at which this program finds its socket.
pub const SOCKET: i32 = 3;

/// What jailsupd says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Ask for an address, from now on.
    Begin {
        /// The number of this asking in all that is said of it: never that of an earlier one.
        id: u64,
        /// What it says of itself.
        identity: Identity,
        /// The lease that it had last, if that has not ended.
        earlier: Option<Box<Earlier>>,
    },
    /// The descriptors with this are a packet socket (`SOCK_DGRAM`) of the link, and one that keeps the kernel from
    /// answering that nobody listens.
    Wire {
        /// Of this link.
        id: u64,
        /// Its number in its network namespace.
        index: u32,
    },
    /// Ask others on the link whether somebody has one of these addresses. The descriptor with this is a packet socket of
    /// the link, as with [`Order::Wire`]. One report comes of it: [`Said::Free`], or that an address is taken.
    Detect {
        /// The number of this search: never that of an earlier one, or of a client.
        id: u64,
        /// The link's Ethernet address.
        mac: [u8; 6],
        /// What is to be used.
        addresses: Vec<Ipv4Addr>,
        /// The link's number in its network namespace.
        index: u32,
    },
    /// The address that was granted last cannot be used: tell the server, and ask for another one.
    Decline {
        /// For this link.
        id: u64,
    },
    /// Ask no more.
    End {
        /// For this link.
        id: u64,
    },
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The link's Ethernet address.
    pub mac: [u8; 6],
    /// Its client identifier (option 61): type and value.
    pub client_id: Vec<u8>,
    /// Its host name (option 12); empty for none.
    pub hostname: String,
    /// Answers must be broadcast: the link does not get what is sent to an address that it does not have yet.
    pub broadcast: bool,
}

/// What this program says, of the link `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The number that it was told of with.
    pub id: u64,
    /// What there is to say.
    pub said: Said,
}

/// What there is to say of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It has something to send, and needs sockets for that.
    WantsWire,
    /// This lease holds. Nobody else on the link answers for its address.
    Granted {
        /// It.
        lease: Lease,
        /// Seconds of it that are over.
        age: u64,
    },
    /// There is no lease any more.
    Lost(Trouble),
    /// There is none yet, for this reason; a client goes on asking.
    Trouble(Trouble),
    /// Nobody else on the link has the addresses that were to be looked for. All neighbours are told whose they are.
    Free,
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Nobody has answered so many times.
    NoAnswer {
        /// How often in a row.
        times: u32,
    },
    /// The server has refused.
    Refused {
        /// Who, if it says so.
        server: Option<Ipv4Addr>,
    },
    /// Somebody else has the address.
    Taken {
        /// What was granted, or is to be used.
        address: Ipv4Addr,
        /// Who has it.
        by: [u8; 6],
    },
    /// jailsupd cannot use what was granted.
    Unusable {
        /// What was granted.
        address: Ipv4Addr,
        /// By whom.
        server: Ipv4Addr,
    },
    /// It has ended, and nobody has renewed it.
    Ended,
}

/// A client for tests.
#[cfg(test)]
pub(crate) mod example {
    use super::Identity;

    pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    pub(crate) fn identity() -> Identity {
        Identity {
            mac: MAC,
            client_id: vec![1, 2, 0, 0, 0, 0, 1],
            hostname: "web".to_owned(),
            broadcast: false,
        }
    }
}
