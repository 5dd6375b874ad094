//! A blocking Varlink client over a unix socket.

use std::io::{self, ErrorKind, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use jailsupd::control::wire::{Decoder, MAX_MESSAGE, Reply, Request, encode};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::error::Error;

/// jailsupd has one loop that never blocks: no answer for that long means that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Descriptors that one message may bring.
const FDS_MAX: usize = 4;

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

    /// Waits for the next reply, and takes the descriptors that come with it.
    pub(crate) fn receive_with_fds(&mut self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let (mut bytes, mut fds) = ([0; 16 << 10], Vec::new());
        loop {
            if let Some(reply) = self.decoder.pop().map_err(Error::Frame)? {
                return Ok((reply, fds));
            }
            match receive_fds(&self.stream, &mut bytes, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Error::HungUp),
                Ok((count, some)) => {
                    self.decoder.push(bytes.split_at(count).0);
                    fds.extend(some);
                }
                Err(error) => return Err(Error::Connection(error)),
            }
        }
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

/// One recvmsg(2): how many bytes, and the descriptors that came with them (close-on-exec).
pub(crate) fn receive_fds(
    socket: impl AsFd,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let mut buffers = [IoSliceMut::new(bytes)];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut buffers, &mut ancillary, flags)
    })?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    Ok((received.bytes, fds))
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
        Request::Wait { .. }
        | Request::ImportImage { .. }
        | Request::Run { .. }
        | Request::Console { .. } => true,
        _ => false,
    }
}

/// Calls a method that has one reply.
pub(crate) fn call(socket: &Path, request: &Request) -> Result<Reply, Error> {
    Client::send(socket, request)?.receive()
}
