//! Asks DHCPv4 servers for addresses, for links that it does not have: of each it is handed a packet socket, and what
//! comes of it, it tells jailsupd.
//!
//! What a network sends is parsed here and nowhere else. The program runs as nobody, in namespaces of its own with an empty
//! root, and with a dozen system calls; whoever takes it over has what anybody on those networks has.
//!
//! It also asks on links whether somebody has the addresses that a unit gives to a jail, before those are used.
//!
//! [`client`] and [`detector`] are the state machines, [`packet`] the form of what is sent and received, [`wire`] what is said to jailsupd and
//! heard from it; the program itself is one loop around them.

#![forbid(unsafe_code)]

pub mod client;
pub mod detector;
pub mod lease;
pub mod packet;
pub mod wire;

/// A time since the host's boot (`CLOCK_BOOTTIME`).
pub type Moment = std::time::Duration;
