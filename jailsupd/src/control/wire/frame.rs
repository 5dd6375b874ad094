//! Messages out of a stream of bytes, and into it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Reply};

/// The longest call that jailsupd takes, in bytes without the final NUL.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The longest reply that a client takes: a list of many thousand jails.
pub const MAX_REPLY: usize = 16 << 20;

/// Why the stream cannot be gone on with; the connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More bytes than that without an end.
    #[error("a message is longer than {0} bytes")]
    TooLong(usize),
    /// Not JSON, or not of the shape asked for.
    #[error("a message is not what was expected")]
    Shape(#[source] serde_json::Error),
}

/// Cuts a stream into messages: bytes are pushed as they arrive, messages popped as they are complete.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    limit: usize,
    /// The message being read starts here; before it is what was popped.
    start: usize,
    /// No NUL byte from `start` to here.
    scanned: usize,
}

/// The server's: messages of at most [`MAX_MESSAGE`] bytes.
impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: Vec::new(), limit: MAX_MESSAGE, start: 0, scanned: 0 }
    }
}

impl Decoder {
    /// A client's: messages of at most [`MAX_REPLY`] bytes.
    pub fn of_replies() -> Self {
        Self { limit: MAX_REPLY, ..Self::default() }
    }

    /// Takes bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message; none when more bytes are needed.
    ///
    /// # Errors
    /// The stream is no such stream of messages. The caller stops reading.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(found) = self.buffer[self.scanned..].iter().position(|byte| *byte == 0) else {
            self.scanned = self.buffer.len();
            let long = self.scanned - self.start > self.limit;
            return if long { Err(FrameError::TooLong(self.limit)) } else { Ok(None) };
        };
        let end = self.scanned + found;
        let message = &self.buffer[self.start..end];
        if message.len() > self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        let value = serde_json::from_slice(message).map_err(FrameError::Shape);
        self.start = end + 1;
        self.scanned = self.start;
        value.map(Some)
    }

    /// Bytes that were pushed and not popped yet.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether a message has begun that is not complete: an end of the stream now is an error.
    pub fn is_amid(&self) -> bool {
        self.held() > 0
    }
}

/// One message with its final NUL. Calls and replies hold JSON values only, which can always be written.
pub fn encode(message: &impl Message) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(0);
    bytes
}

/// What goes over the wire as a whole: [`Call`] and [`Reply`].
pub trait Message: Serialize {}
impl Message for Call {}
impl Message for Reply {}
