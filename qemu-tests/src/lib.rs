//! Boots the real image in QEMU and watches it: the harness of the VM tests, of `make run` and of
//! `make bench`.
//!
//! ```text
//!  Machine ──start──► Vm ──┬── console   serial lines, each with the time it arrived
//!  (what to boot)          ├── qmp       power button, SHUTDOWN event
//!                          ├── agent     commands inside the debug image, over virtio-serial
//!                          └── http      the jails' pages through forwarded ports
//! ```
//!
//! A built image is never written to: each machine gets a copy. A guest ends with the process that
//! started it, whatever ends that process.

#![forbid(unsafe_code)]

mod accel;
pub mod agent;
pub mod attack;
pub mod client;
pub mod console;
pub mod disk;
mod error;
pub mod http;
pub mod image;
mod jailctl;
mod jails;
mod machine;
pub mod peers;
mod person;
pub mod probe;
mod processes;
pub mod proto;
pub mod qmp;
pub mod random;
pub mod segment;
mod shared;
pub mod starts_job;
mod supervisor;
pub mod time;
mod vm;
mod weak;

/// How guests run here: `kvm` or `tcg`.
///
/// # Errors
/// `ACCEL` has another value, or the probe cannot be made.
pub fn accel() -> Result<&'static str> {
    accel::choose().map(accel::Accel::name)
}

pub use error::{Error, Result};
pub use image::Image;
pub use jails::Jails;
pub use machine::{Boot, Machine};
pub use person::unit_of;
pub use processes::Process;
pub use shared::{Guest, Shared};
pub use vm::{End, Vm};
