//! The keeper: parent of every jail, vault of their descriptors, reaper of every orphan.
//!
//! PID 1 is the keeper on a Warder host; on a plain Debian host the `keeper` program is. It starts
//! the brain (`jailsupd`), starts it again when it dies, and holds for it all that must outlive it:
//! each jail's pidfd, pipes and namespaces ([`vault`]) and the record of how the jail ended. The two
//! speak a small request / acknowledge protocol ([`wire`]) on a SEQPACKET socket.
//!
//! It parses no unit, opens no image and no network socket, and never exits by itself: what goes
//! wrong is logged and left behind.
//!
//! ```text
//!   kernel ── SIGCHLD ──► reap ──► vault: exit record
//!   jailsupd ◄── wire ──► keeper::run ──► spawn jailsupd, further services
//!   signals, power button ──► shutdown: notice to jailsupd, then cgroup.kill, then return
//!   re-exec asked for ──► the program's self-test ──► execve of it, with everything ──► resume
//! ```

pub mod client;
mod flaw;
mod handover;
pub mod kmsg;
mod reap;
mod reexec;
mod restore;
mod run;
mod service;
mod socket;
mod trigger;
pub mod vault;
pub mod wire;

pub use client::Client;
pub use restore::{Handed, self_test};
pub use run::{Config, resume, run};
pub use service::Service;
pub use trigger::Trigger;
pub use wire::{ExitRecord, Shutdown, Slot};

/// The descriptor on which the brain finds its end of the wire.
pub const WIRE_FD: i32 = 3;
