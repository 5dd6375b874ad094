//! The control socket. `wire` is what is said over it, and all that clients see of this crate.

pub mod server;
pub mod wire;
