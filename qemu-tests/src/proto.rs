//! What the harness and the agent in the debug image say to each other: one JSON object a line.

use serde::{Deserialize, Serialize};

/// The virtio-serial port's name, on both sides.
pub const PORT: &str = "org.warder.test";

/// Something to do in the guest.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// Echoed in the answer: an answer to a call that timed out is dropped by it.
    pub id: u64,
    /// What to do.
    pub request: Request,
}

/// The answer to the call of the same `id`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The call's.
    pub id: u64,
    /// What came of it.
    pub reply: Reply,
}

/// What the agent can do, as root on the host (never in a jail).
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Prove that the guest still works: say the same number.
    Ping(u64),
    /// Run a program.
    Exec {
        /// Absolute path and arguments.
        argv: Vec<String>,
        /// User and group id to run as.
        ids: (u32, u32),
        /// Given as standard input, then closed.
        stdin: String,
        /// When it runs longer than this, it is killed.
        timeout_ms: u64,
    },
    /// Read a whole file.
    Read(String),
    /// Make or replace a file.
    Write {
        /// Absolute path.
        path: String,
        /// All of it.
        content: String,
    },
}

/// Text is lossy UTF-8.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The number of the ping.
    Pong(u64),
    /// The program has ended.
    Output(Output),
    /// The file.
    Content(String),
    /// Written.
    Done,
    /// It could not be done.
    Refused(String),
}

/// How a program ended and what it said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// By exit, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Killed by the agent after `timeout_ms`.
    TimedOut,
}
