//! What a check of a jail's health tells jailsupd: one packet over the session's socket ([`super::session`]), and the
//! end. A check that jailsupd does not want any more is killed, with all that it has started.

use super::StartError;
use super::session::Message;

/// `argv[0]` of the helper that makes one check: `jail-check MILLISECONDS KIND WORD...`.
pub const CHECK: &str = "jail-check";
/// The kind that executes a program: `exec PROGRAM ARGUMENT...`.
pub const EXEC: &str = "exec";
/// The kind that asks a web server: `http ADDRESS:PORT HOST PATH`.
pub const HTTP: &str = "http";
/// The kind that connects: `tcp ADDRESS:PORT`.
pub const TCP: &str = "tcp";

/// The most bytes of text that an answer has.
pub const TEXT_MAX: usize = 1024;
/// Bytes of the largest packet.
pub const PACKET_MAX: usize = 4 + TEXT_MAX;

/// Kinds of packets; those of [`Message`] are smaller.
const HEALTHY: u32 = 16;
const UNHEALTHY: u32 = 17;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was made.
    Made {
        /// Whether it succeeded.
        healthy: bool,
        /// What it found, for people: bytes out of the jail.
        text: Vec<u8>,
    },
    /// Its helper could not be started.
    NotStarted(StartError),
}

impl Answer {
    /// The packet's bytes. Of a text that is too long the end is kept, where programs say what is wrong.
    #[must_use]
    pub fn encode(healthy: bool, text: &[u8]) -> Vec<u8> {
        let kind = if healthy { HEALTHY } else { UNHEALTHY };
        let text = &text[text.len().saturating_sub(TEXT_MAX)..];
        [&kind.to_ne_bytes(), text].concat()
    }

    /// The answer in `bytes`; `None` when it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(Message::Failed(error)) = Message::decode(bytes) {
            return Some(Self::NotStarted(error));
        }
        let (kind, text) = bytes.split_first_chunk()?;
        let healthy = match u32::from_ne_bytes(*kind) {
            HEALTHY => true,
            UNHEALTHY => false,
            _ => return None,
        };
        Some(Self::Made { healthy, text: text.get(..TEXT_MAX).unwrap_or(text).to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;

    #[test]
    fn answers_survive_the_socket() {
        for healthy in [true, false] {
            // As long as a message of a session is.
            for length in [0, 1, Message::LEN - 4, TEXT_MAX] {
                let text = vec![1; length];
                let made = Answer::decode(&Answer::encode(healthy, &text));
                assert_eq!(made, Some(Answer::Made { healthy, text }));
            }
        }
        let error = StartError { stage: Stage::JoinJail, errno: 3 };
        let failed = Message::Failed(error).encode();
        assert_eq!(Answer::decode(&failed), Some(Answer::NotStarted(error)));
    }

    #[test]
    fn what_is_no_answer_is_none_and_long_ones_lose_their_beginning() {
        for bytes in [&b""[..], &[16, 0, 0], &[0; 4], &[0xff; 2000], &Message::Terminal.encode()] {
            assert_eq!(Answer::decode(bytes), None);
        }
        let text = [vec![b'a'; TEXT_MAX], b"end".to_vec()].concat();
        let Some(Answer::Made { text, .. }) = Answer::decode(&Answer::encode(true, &text)) else {
            panic!("no answer");
        };
        assert!(text.len() == TEXT_MAX && text.ends_with(b"aend"));
    }
}
