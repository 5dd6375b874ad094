//! Messages out of a stream of bytes, and into it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message either side takes, in bytes without the final NUL.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Why the stream cannot be gone on with; the connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More than [`MAX_MESSAGE`] bytes without an end.
    #[error("a message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// Not JSON, or not of the shape asked for.
    #[error("a message is not what was expected")]
    Shape(#[source] serde_json::Error),
}

/// Cuts a stream into messages: bytes are pushed as they arrive, messages popped as they are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// The message being read starts here; before it is what was popped.
    start: usize,
    /// No NUL byte from `start` to here.
    scanned: usize,
}

impl Decoder {
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
            let long = self.scanned - self.start > MAX_MESSAGE;
            return if long { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let end = self.scanned + found;
        let message = &self.buffer[self.start..end];
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong);
        }
        let value = serde_json::from_slice(message).map_err(FrameError::Shape);
        self.start = end + 1;
        self.scanned = self.start;
        value.map(Some)
    }

    /// Whether a message has begun that is not complete: an end of the stream now is an error.
    pub fn is_amid(&self) -> bool {
        self.start < self.buffer.len()
    }
}

/// One message with its final NUL.
///
/// # Errors
/// It is longer than [`MAX_MESSAGE`], or holds a map that JSON cannot write.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = serde_json::to_vec(message).map_err(FrameError::Shape)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(FrameError::TooLong);
    }
    bytes.push(0);
    Ok(bytes)
}
