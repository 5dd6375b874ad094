//! rtnetlink(7), request by request.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::fd::{AsRawFd as _, OwnedFd};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Room for one datagram of a dump (the kernel sends at most 32 KiB at once).
const BUFFER: usize = 1 << 16;

/// A routing socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink(Socket);

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it is of a kind that jailsupd makes for jails, and not one that the kernel puts into
    /// each new network namespace.
    pub is_ours: bool,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of socket(2) or bind(2).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// All links.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn links(&self) -> io::Result<Vec<Interface>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = Vec::new();
        for answer in self.ask(request, NLM_F_DUMP)? {
            let RouteNetlinkMessage::NewLink(link) = answer else { continue };
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            let loopback = link.header.link_layer_type == LinkLayerType::Loopback;
            let is_ours = is_macvlan(&link);
            let index = link.header.index;
            links.extend(name.map(|name| Interface { index, name, loopback, is_ours }));
        }
        Ok(links)
    }

    /// Makes a macvlan link in bridge mode on `parent`, born in `namespace`.
    ///
    /// # Errors
    /// `EADDRINUSE` while another link on this parent has the Ethernet address.
    pub fn create_macvlan(
        &self,
        name: &str,
        parent: u32,
        mac: [u8; 6],
        namespace: &OwnedFd,
    ) -> io::Result<()> {
        let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
        ];
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Renames a link, which must be down.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rename(&self, index: u32, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Deletes a link; it is gone when this returns.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn delete(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(link), 0)
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Adds an address with its subnet.
    ///
    /// # Errors
    /// `EEXIST` when the link has it already.
    pub fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes =
            vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
        if let IpAddr::V4(v4) = address {
            message.attributes.extend(broadcast(v4, prefix).map(AddressAttribute::Broadcast));
        }
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a default route over this link.
    ///
    /// # Errors
    /// `EEXIST` when there is one; `ENETUNREACH` when no address of the link reaches the gateway.
    pub fn add_default_route(&self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(gateway);
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        let address = match gateway {
            IpAddr::V4(v4) => RouteAddress::Inet(v4),
            IpAddr::V6(v6) => RouteAddress::Inet6(v6),
        };
        route.attributes = vec![RouteAttribute::Gateway(address), RouteAttribute::Oif(index)];
        self.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, flags).map(drop)
    }

    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let mut buffer = Vec::with_capacity(BUFFER);
            self.0.recv(&mut buffer, 0)?;
            if take(&buffer, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Takes all messages of one datagram; true when the answer is complete.
fn take<M: NetlinkDeserializable + Clone>(
    mut bytes: &[u8],
    answers: &mut Vec<M>,
) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(bytes).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::Error(error) => {
                return if error.code.is_some() { Err(error.to_io()) } else { Ok(true) };
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            _ => {}
        }
        // Messages are aligned to 4 bytes (netlink(7)); a length of 0 would never end.
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).max(16);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

fn is_macvlan(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::MacVlan)),
        _ => false,
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The subnet's broadcast address; a /31 or /32 has none (RFC 3021).
fn broadcast(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    (prefix < 31).then(|| Ipv4Addr::from(u32::from(address) | host_bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_its_broadcast_address_and_a_point_to_point_link_none() {
        let address = Ipv4Addr::new(192, 0, 2, 10);
        assert_eq!(broadcast(address, 24), Some(Ipv4Addr::new(192, 0, 2, 255)));
        assert_eq!(broadcast(address, 30), Some(Ipv4Addr::new(192, 0, 2, 11)));
        assert_eq!(broadcast(address, 31), None);
        assert_eq!(broadcast(address, 32), None);
    }
}
