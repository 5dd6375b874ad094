//! A blocking Varlink client over a unix socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use jailsupd::control::wire::{Decoder, MAX_MESSAGE, Reply, Request, encode};

use crate::error::Error;

/// jailsupd has one loop that never blocks: no answer for that long means that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, for one call.
pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    /// Connects and sends the call.
    pub(crate) fn send(socket: &Path, request: &Request) -> Result<Self, Error> {
        let mut stream = UnixStream::connect(socket)
            .map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
        let patience = if is_slow(request) { None } else { Some(PATIENCE) };
        stream.set_read_timeout(patience).map_err(Error::Connection)?;
        let call = encode(&request.to_call());
        if call.len() > MAX_MESSAGE {
            return Err(Error::TooLong);
        }
        stream.write_all(&call).map_err(Error::Connection)?;
        Ok(Self { stream, decoder: Decoder::of_replies() })
    }

    /// Waits for the next reply.
    pub(crate) fn receive(&mut self) -> Result<Reply, Error> {
        let mut bytes = [0; 16 << 10];
        loop {
            if let Some(reply) = self.decoder.pop().map_err(Error::Frame)? {
                return Ok(reply);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Error::HungUp),
                Ok(count) => self.decoder.push(bytes.split_at(count).0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Connection(error)),
            }
        }
    }
}

/// The answer comes when something happens: a new line, a state that is reached.
const fn is_slow(request: &Request) -> bool {
    match request {
        Request::Logs { follow, .. } | Request::Events { follow, .. } => *follow,
        Request::Start { wait, .. }
        | Request::Stop { wait, .. }
        | Request::Restart { wait, .. }
        | Request::Kill { wait, .. }
        | Request::Freeze { wait, .. }
        | Request::Thaw { wait, .. }
        | Request::Apply { wait } => *wait,
        Request::Wait { .. } | Request::ImportImage { .. } => true,
        _ => false,
    }
}

/// Calls a method that has one reply.
pub(crate) fn call(socket: &Path, request: &Request) -> Result<Reply, Error> {
    Client::send(socket, request)?.receive()
}
