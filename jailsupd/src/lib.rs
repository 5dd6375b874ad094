//! jailsupd, the disposable brain: reads units, starts, watches and stops jails.
//!
//! ```text
//!   unit ─────► plan ─────────► exec ─────► sys ─────► kernel
//!   (typed,     (steps,         (performs)
//!   valid)      pure)             ▲
//!                                 │ Action
//!   control ─► Event ─► machine (pure) ◄── Event ── supervisor: the one loop
//! ```
//!
//! `unit`, `plan` and `machine` are pure; `exec` and `control` touch the world; `supervisor` uses all
//! and nothing uses it. What must outlive this program is in the keeper's vault.

pub mod control;
pub mod exec;
pub mod machine;
pub mod plan;
pub mod supervisor;
pub mod unit;
