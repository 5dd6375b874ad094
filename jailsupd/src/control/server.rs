//! The listening end of the control socket: connections, framing and who may ask for what. What the
//! answers are is the supervisor's business.

use super::wire::{Decoder, MAX_MESSAGE, Reply, Request, WireError, encode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, listen, send, sendmsg, socket_with,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::path::Path;

/// Replies that a client has not read yet, in bytes; one that lets more pile up is cut off. One reply alone may be
/// larger: a list of many thousand jails.
const PENDING_MAX: usize = 4 << 20;
/// Calls that a client has sent and that wait for their turn, in bytes; one that sends more is cut off.
const AHEAD_MAX: usize = 2 * MAX_MESSAGE;
/// Members of this group may connect, and look.
const GROUP: &str = "jails";
/// Connections at once, beyond which new ones are closed again.
const CLIENTS_MAX: usize = 256;

/// Of these, so many that only root gets: others cannot lock it out.
const FOR_ROOT: usize = 32;

/// Descriptors that one reply may bring.
const FDS_MAX: usize = 4;

/// Names a connection; never used twice.
pub type ClientId = u32;

/// The control socket and its connections.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    clients: BTreeMap<ClientId, Client>,
    next: ClientId,
    /// Who had a call taken, and may have sent more.
    asking: BTreeSet<ClientId>,
    /// Given up for a moment when there are no descriptors left: a connection that is never taken would wake us for
    /// ever.
    spare: Option<OwnedFd>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    decoder: Decoder,
    pending: Vec<u8>,
    /// Descriptors that go with the byte of `pending` at this place.
    pending_fds: VecDeque<(usize, Vec<OwnedFd>)>,
    /// Root may change things; others, whom the socket's group lets in, may look.
    is_root: bool,
}

/// What a client wants, or that it is refused.
#[derive(Debug)]
pub enum Incoming {
    /// A call that this client may make.
    Request(Request),
    /// A call that is answered with a refusal.
    Refused(WireError),
    /// Any call whose sender wants no answer was dropped already; this one hung up.
    Gone,
}

fn spare() -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/", flags, rustix::fs::Mode::empty())?)
}

impl Server {
    /// Listens at `path`, in place of whatever was there.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&listener, &SocketAddrUnix::new(path)?)?;
        if let Some(group) = group_id(GROUP) {
            rustix::fs::chown(path, None, Some(rustix::fs::Gid::from_raw(group)))?;
        }
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o660))?;
        listen(&listener, 64)?;
        let (clients, asking) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { listener, clients, next: 0, asking, spare: Some(spare()?) })
    }

    /// Takes a waiting connection. None when it is closed again: there are too many, or no descriptors left.
    pub fn accept(&mut self) -> Option<ClientId> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(Errno::MFILE | Errno::NFILE) => {
                self.spare = None;
                drop(accept_with(&self.listener, flags));
                self.spare = spare().ok();
                log::warn!("control: a client was sent away: there are no descriptors left");
                return None;
            }
            Err(_) => return None,
        };
        let is_root = rustix::net::sockopt::socket_peercred(&socket).ok()?.uid.is_root();
        let limit = if is_root { CLIENTS_MAX } else { CLIENTS_MAX - FOR_ROOT };
        if self.clients.len() >= limit {
            return None;
        }
        let decoder = Decoder::default();
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let (pending, pending_fds) = (Vec::new(), VecDeque::new());
        self.clients.insert(id, Client { socket, decoder, pending, pending_fds, is_root });
        Some(id)
    }

    /// The listening socket.
    #[must_use]
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// A client's socket.
    #[must_use]
    pub fn socket(&self, id: ClientId) -> Option<BorrowedFd<'_>> {
        self.clients.get(&id).map(|client| client.socket.as_fd())
    }

    /// Takes what a client has sent; [`Server::next_call`] then gives its calls. False when it hung up, or
    /// sends so much ahead of its answers that it is to be closed.
    pub fn receive(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&client.socket, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                client.decoder.push(&buffer[..length]);
                let takes = client.decoder.held() <= AHEAD_MAX;
                if !takes {
                    log::warn!("control: a client was cut off: it sends more than it waits for");
                }
                takes
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// The next call of a client, if a whole one is there; then the client is asking.
    pub fn next_call(&mut self, id: ClientId) -> Option<Incoming> {
        let client = self.clients.get_mut(&id)?;
        match client.decoder.pop() {
            Ok(None) => None,
            Ok(Some(call)) => {
                self.asking.insert(id);
                Some(admit(&call, client.is_root))
            }
            Err(error) => {
                log::warn!("control: a client was cut off: {error}");
                Some(Incoming::Gone)
            }
        }
    }

    /// Sends a reply. False when the client is gone or does not read, and is to be closed.
    pub fn reply(&mut self, id: ClientId, reply: &Reply) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        let reads = client.pending.len() <= PENDING_MAX;
        client.pending.extend(encode(reply));
        reads && self.flush(id)
    }

    /// Sends replies, one after the other. False as for [`Server::reply`].
    pub fn reply_all(&mut self, id: ClientId, replies: &[Reply]) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        let reads = client.pending.len() <= PENDING_MAX;
        replies.iter().for_each(|reply| client.pending.extend(encode(reply)));
        reads && self.flush(id)
    }

    /// Sends a reply and descriptors with its first byte. False as for [`Server::reply`].
    pub fn reply_with(&mut self, id: ClientId, reply: &Reply, fds: Vec<OwnedFd>) -> bool {
        if let Some(client) = self.clients.get_mut(&id) {
            client.pending_fds.push_back((client.pending.len(), fds));
        }
        self.reply(id, reply)
    }

    /// Sends what is pending. False as for [`Server::reply`].
    pub fn flush(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        while !client.pending.is_empty() {
            match client.send_some() {
                Ok(()) => {}
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether a client has not read all its replies.
    #[must_use]
    pub fn is_behind(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| !client.pending.is_empty())
    }

    /// Whether a client had a call taken since [`Server::take_asking`]: more of its calls may be there.
    #[must_use]
    pub fn is_asking(&self, id: ClientId) -> bool {
        self.asking.contains(&id)
    }

    /// Whether any client is.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Who is asking; nobody is any more, until the next call of theirs is taken.
    pub fn take_asking(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.asking)
    }

    /// Forgets a client.
    pub fn close(&mut self, id: ClientId) {
        self.asking.remove(&id);
        self.clients.remove(&id);
    }
}

impl Client {
    /// Sends what fits, up to the next byte that descriptors go with.
    fn send_some(&mut self) -> rustix::io::Result<()> {
        let (first, next) = match self.pending_fds.front() {
            Some((0, fds)) => (fds.as_slice(), self.pending_fds.get(1)),
            other => ([].as_slice(), other),
        };
        let end = next.map_or(self.pending.len(), |(at, _)| *at);
        let bytes = &self.pending[..end];
        let length = if first.is_empty() {
            send(&self.socket, bytes, SendFlags::NOSIGNAL)?
        } else {
            send_with(&self.socket, bytes, first)?
        };
        if self.pending_fds.front().is_some_and(|(at, _)| *at == 0) {
            self.pending_fds.pop_front();
        }
        self.pending.drain(..length);
        for (at, _) in &mut self.pending_fds {
            *at -= length;
        }
        Ok(())
    }
}

/// sendmsg(2) with `SCM_RIGHTS`: the descriptors go with the first byte.
fn send_with(socket: &OwnedFd, bytes: &[u8], fds: &[OwnedFd]) -> rustix::io::Result<usize> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
}

/// The number of a group of the host (group(5)).
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        fields.nth(1).filter(|_| found)?.parse().ok()
    })
}

fn admit(call: &super::wire::Call, is_root: bool) -> Incoming {
    match Request::from_call(call) {
        Ok(request) if is_root || request.is_read_only() => Incoming::Request(request),
        Ok(_) => Incoming::Refused(WireError::PermissionDenied),
        Err(error) => Incoming::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    fn connected() -> (tempfile::TempDir, Server, ClientId, UnixStream) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut server = Server::listen(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let id = server.accept().unwrap();
        (directory, server, id, client)
    }

    fn call() -> Vec<u8> {
        encode(&Request::List {}.to_call())
    }

    #[test]
    fn a_client_that_sends_more_and_more_ahead_is_cut_off() {
        let (_directory, mut server, id, mut client) = connected();
        let mut sent = 0;
        // Each fits into the socket at once, and is taken whole.
        let block = call().repeat(100);
        let mut takes = true;
        while takes && sent <= 2 * AHEAD_MAX {
            client.write_all(&block).unwrap();
            sent += block.len();
            takes = server.receive(id);
        }

        assert!(!takes, "{sent} bytes were taken");
        assert!(sent > MAX_MESSAGE, "{sent} bytes are not much");
    }

    #[test]
    fn a_client_that_is_answered_may_send_as_much_as_it_likes() {
        let (_directory, mut server, id, mut client) = connected();
        let block = call().repeat(100);
        for _ in 0..2 * AHEAD_MAX / block.len() {
            client.write_all(&block).unwrap();
            assert!(server.receive(id));
            while let Some(call) = server.next_call(id) {
                assert!(matches!(call, Incoming::Request(Request::List {})), "{call:?}");
            }
        }
    }

    #[test]
    fn one_large_reply_arrives_and_a_pile_of_them_is_an_end() {
        let (_directory, mut server, id, mut client) = connected();
        let large = Reply::with(&serde_json::json!({ "text": "x".repeat(2 * PENDING_MAX) }));
        assert!(server.reply(id, &large), "the first");
        let mut taken = vec![0; 64 << 10];
        while server.is_behind(id) {
            assert_ne!(client.read(&mut taken).unwrap(), 0);
            assert!(server.flush(id));
        }

        assert!(server.reply(id, &large), "the next after it was read");
        assert!(!server.reply(id, &large), "one more, unread");
    }
}
