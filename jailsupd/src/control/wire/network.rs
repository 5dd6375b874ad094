//! What `org.warder.Network` tells of links, addresses and routes, and of jails that are not reached.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::jail::words;

words! {
    /// Whether packets can go over a link.
    LinkState {
        /// It is switched on, and what it sits on carries.
        Up = "up",
        /// It is switched on, and nothing carries: no cable, or the link below it is down.
        NoCarrier = "no_carrier",
        /// It is switched off.
        Down = "down",
    }
}

words! {
    /// Who has set an address or a route.
    SetBy {
        /// The jail's unit.
        Unit = "unit",
        /// A DHCP server.
        Lease = "lease",
        /// A network of the host's own.
        Network = "network",
        /// The host's `host.toml`.
        Host = "host",
        /// The kernel, by itself.
        Kernel = "kernel",
        /// A router that announces itself (IPv6).
        Router = "router",
        /// Somebody that Warder does not know: on the host another program, in a jail the jail itself.
        Other = "other",
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetAddress {
    /// With the length of its prefix.
    pub address: String,
    /// Who has set it.
    pub set_by: SetBy,
    /// Where that says so: `FILE:LINE`, the DHCP server's address, or the network's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it ends, in milliseconds since 1970, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// Why it is of no use (now).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A link of the host or of a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetLink {
    /// Its name.
    pub name: String,
    /// As the kernel calls it: `macvlan`, `vlan`, `bridge` and so on; `device` is a network card.
    pub kind: String,
    /// Whether packets can go over it.
    pub state: LinkState,
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// Its Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The host's link that it sits on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The VLAN that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The network of the host's own that it is the bridge of, or is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Warder has made it.
    pub warder: bool,
    /// Its addresses.
    pub addresses: Vec<NetAddress>,
    /// Packets that have come by it.
    pub received: u64,
    /// Packets that have left by it.
    pub sent: u64,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRoute {
    /// `default`, or the addresses with the length of their prefix.
    pub to: String,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The link that it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The lower goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Who has set it.
    pub set_by: SetBy,
    /// As of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What a jail has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailNetwork {
    /// The jail.
    pub jail: String,
    /// Its program runs.
    pub running: bool,
    /// Its links but the loopback.
    pub links: Vec<NetLink>,
    /// Its routes.
    pub routes: Vec<NetRoute>,
    /// What it waits for, or why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// It has more than is told here.
    pub cut: bool,
}

/// Results of `Show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkShown {
    /// The host's links but the loopback and the ports of bridges that lead to jails.
    pub links: Vec<NetLink>,
    /// The host's routes.
    pub routes: Vec<NetRoute>,
    /// By name.
    pub jails: Vec<JailNetwork>,
}

words! {
    /// What a finding is worth.
    Weight {
        /// A reason why the jail is not reached.
        Wrong = "wrong",
        /// May be one.
        Suspected = "suspected",
        /// Is none, but something to know.
        Note = "note",
    }
}

/// What was found about a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is worth.
    pub weight: Weight,
    /// In one sentence.
    pub what: String,
    /// What has shown it.
    pub evidence: String,
    /// What helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Results of `Doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The jail.
    pub jail: String,
    /// What was found, along the way from the jail's program to the wire.
    pub findings: Vec<Finding>,
    /// What was looked at and is as it should be.
    pub right: Vec<String>,
}
