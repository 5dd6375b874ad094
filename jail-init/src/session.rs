//! A session: the socket (SEQPACKET) between the helper in a jail and the client whose program it runs.
//! jailsupd makes it, gives each its end, and has no part in it: a session outlives jailsupd.
//!
//! ```text
//!   client ◄── Terminal (with the descriptor), Failed | Ended ── helper ──► program
//!          ─── Signal; end of file: hung up ───────────────────►
//! ```
//!
//! One fixed-size record a packet, integers in the machine's byte order. What comes out of a jail is read
//! as what anybody could have sent.

use super::{ExitReport, StartError};

/// Where the helper of `exec` finds its end.
pub const EXEC_FD: i32 = 3;
/// `argv[0]` of the helper that executes one more program in a running jail.
pub const EXEC: &str = "jail-exec";

/// Where a jail's PID 1 finds its end, when its program has a client (`jailctl run`).
pub const RUN_FD: i32 = 5;
/// `argv[0]` of such a PID 1.
pub const RUN: &str = "jail-run";

/// How long a program may take to end after its client has hung up, in milliseconds.
pub const GRACE_MS: u64 = 2000;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// To the client: the program was not executed. Nothing follows.
    Failed(StartError),
    /// To the client: the program has ended. Nothing follows.
    Ended(ExitReport),
    /// To the client, with the descriptor of the terminal's master.
    Terminal,
    /// To the helper: send the program's process group this signal.
    Signal(i32),
}

impl Message {
    /// Bytes of a record: its kind, then its body.
    pub const LEN: usize = 8 + ExitReport::LEN;

    /// The record's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let kind: u32 = match self {
            Self::Failed(error) => {
                bytes[8..8 + StartError::LEN].copy_from_slice(&error.encode());
                1
            }
            Self::Ended(report) => {
                bytes[8..].copy_from_slice(&report.encode());
                2
            }
            Self::Terminal => 3,
            Self::Signal(number) => {
                bytes[8..12].copy_from_slice(&number.to_ne_bytes());
                4
            }
        };
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes
    }

    /// The record in `bytes`; `None` when it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (head, body) = bytes.split_at(8);
        Some(match u32::from_ne_bytes(head[..4].try_into().ok()?) {
            1 => Self::Failed(StartError::decode(&body[..StartError::LEN])?),
            2 => Self::Ended(ExitReport::decode(body)?),
            3 => Self::Terminal,
            4 => Self::Signal(i32::from_ne_bytes(body[..4].try_into().ok()?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;

    #[test]
    fn records_survive_the_socket() {
        let report =
            ExitReport { code: 2, status: 9, user_us: 1, system_us: 2, max_rss_kib: u64::MAX };
        for message in [
            Message::Failed(StartError { stage: Stage::Terminal, errno: 13 }),
            Message::Ended(report),
            Message::Terminal,
            Message::Signal(-1),
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        let mut bytes = Message::Signal(2).encode();
        assert_eq!(Message::decode(&bytes[..39]), None);
        assert_eq!(Message::decode(&[]), None);
        bytes[0] = 77;
        assert_eq!(Message::decode(&bytes), None);
        bytes[0] = 1;
        bytes[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Message::decode(&bytes), None);
    }
}
