//! rtnetlink(7), request by request.

use super::interface::{Interface, OUR_VLANS, OURS};
use super::lent::LentRoute;
use crate::unit::{IpvlanMode, MacvlanMode};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, IpVlanMode, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Room for one datagram of a dump (the kernel sends at most 32 KiB at once).
pub(super) const BUFFER: usize = 1 << 16;

/// `RTNLGRP_LINK` of linux/rtnetlink.h.
const LINKS: u32 = 1;

/// A routing socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink(Socket);

/// How an address stands with its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The link has it.
    Used,
    /// The kernel asks whether somebody else has it (IPv6).
    Tentative,
    /// Somebody else has it.
    Taken,
}

/// What tells that links of the host have come, gone or changed.
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Begins with the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of socket(2), bind(2) or setsockopt(2).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        socket.add_membership(LINKS)?;
        Ok(Self(socket))
    }

    /// Takes what it has told. What that was is of no use: some of it may be lost, and by now all may be different.
    pub fn drain(&self) {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                // The kernel had more to say than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A link that is to be born in a jail's network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Newborn<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Ethernet address; none where it is its parent's.
    pub mac: Option<[u8; 6]>,
    /// Bytes of its largest packet, where that is not its parent's.
    pub mtu: Option<u32>,
    /// The namespace.
    pub namespace: BorrowedFd<'a>,
}

impl Newborn<'_> {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let mut attributes = vec![
            LinkAttribute::IfName(self.name.to_owned()),
            LinkAttribute::NetNsFd(self.namespace.as_raw_fd()),
        ];
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes
    }
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
            links.extend(Interface::read(&link));
        }
        Ok(links)
    }

    /// The link of this name; none when there is none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn named(&self, name: &str) -> io::Result<Option<Interface>> {
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::GetLink(wanted), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
            Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Interface::read(link),
                _ => None,
            })),
        }
    }

    /// Makes a jail's macvlan link on the link `lower`.
    ///
    /// # Errors
    /// `EBUSY` when the parent has links of another kind. That another link on this parent has the Ethernet address shows
    /// when it is brought up ([`Self::set_up`]).
    pub fn create_macvlan(
        &self,
        link: &Newborn<'_>,
        lower: u32,
        mode: MacvlanMode,
    ) -> io::Result<()> {
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(macvlan_mode(mode))]);
        self.create_on(link, lower, InfoKind::MacVlan, data)
    }

    /// Makes a jail's ipvlan link on the link `lower`.
    ///
    /// # Errors
    /// `EBUSY` when the parent has links of another kind.
    pub fn create_ipvlan(
        &self,
        link: &Newborn<'_>,
        lower: u32,
        mode: IpvlanMode,
    ) -> io::Result<()> {
        let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(ipvlan_mode(mode))]);
        self.create_on(link, lower, InfoKind::IpVlan, data)
    }

    fn create_on(
        &self,
        link: &Newborn<'_>,
        lower: u32,
        kind: InfoKind,
        data: InfoData,
    ) -> io::Result<()> {
        let mut attributes = link.attributes();
        attributes.push(LinkAttribute::Link(lower));
        attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        self.add_link(attributes)
    }

    /// Makes a VLAN of the link `parent`, for jails.
    ///
    /// # Errors
    /// `EEXIST` when there is such a VLAN, or another link of this name.
    pub fn create_vlan(&self, name: &str, parent: u32, vlan: u16) -> io::Result<()> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(vlan)]);
        self.add_link(vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::Group(OUR_VLANS),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]),
        ])
    }

    /// Makes a bridge with this Ethernet address, for jails.
    ///
    /// # Errors
    /// `EEXIST` when there is a link of this name.
    pub fn create_bridge(&self, name: &str, mac: [u8; 6]) -> io::Result<()> {
        self.add_link(vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::Group(OURS),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ])
    }

    /// Makes a pair of links at once: a jail's, and its port `name` of the link `bridge`.
    ///
    /// # Errors
    /// `EEXIST` when there is a link of one of the names.
    pub fn create_pair(&self, link: &Newborn<'_>, name: &str, bridge: u32) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = link.attributes();
        let mut attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Controller(bridge),
            LinkAttribute::Group(OURS),
        ];
        attributes.extend(link.mtu.map(LinkAttribute::Mtu));
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)];
        attributes.push(LinkAttribute::LinkInfo(info));
        self.add_link(attributes)
    }

    fn add_link(&self, attributes: Vec<LinkAttribute>) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = attributes;
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
    /// `EADDRINUSE` while another macvlan link on its parent has the Ethernet address.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.bring_up(link)
    }

    /// Brings the link of this name up.
    ///
    /// # Errors
    /// `ENODEV` when there is none.
    pub fn set_up_named(&self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.bring_up(link)
    }

    fn bring_up(&self, mut link: LinkMessage) -> io::Result<()> {
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// All addresses, each with the number of its link and the length of its prefix.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn addresses(&self) -> io::Result<Vec<(u32, IpAddr, u8)>> {
        let found = self.address_messages()?.into_iter().filter_map(|message| {
            let header = &message.header;
            Some((header.index, address_of(&message)?, header.prefix_len))
        });
        Ok(found.collect())
    }

    /// The addresses of a link, and how each stands with it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn standings(&self, index: u32) -> io::Result<Vec<(IpAddr, Standing)>> {
        let all = self.address_messages()?;
        let of_link = all.iter().filter(|message| message.header.index == index);
        Ok(of_link.filter_map(|message| Some((address_of(message)?, standing(message)))).collect())
    }

    fn address_messages(&self) -> io::Result<Vec<AddressMessage>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let mut found = Vec::new();
        for answer in self.ask(request, NLM_F_DUMP)? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            found.push(message);
        }
        Ok(found)
    }

    /// Whether somebody could hear what is sent over a link, which is up.
    ///
    /// # Errors
    /// `ENODEV` when there is no such link.
    pub(super) fn has_carrier(&self, index: u32) -> io::Result<bool> {
        let mut wanted = LinkMessage::default();
        wanted.header.index = index;
        let answers = self.ask(RouteNetlinkMessage::GetLink(wanted), 0)?;
        Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => link.header.flags.contains(LinkFlags::LowerUp),
            _ => false,
        }))
    }

    /// Adds an address with its subnet.
    ///
    /// # Errors
    /// `EEXIST` when the link has it already.
    pub fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = address_message(index, address, prefix);
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds an address for so many seconds from now, or gives one that the link has another time. `u32::MAX` has no end;
    /// others the kernel takes away by itself.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn lend_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
        seconds: u32,
    ) -> io::Result<()> {
        let mut message = address_message(index, address.into(), prefix);
        let mut times = CacheInfo::default();
        (times.ifa_valid, times.ifa_preferred) = (seconds, seconds);
        message.attributes.push(AddressAttribute::CacheInfo(times));
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes an address away, and with it the routes that need it.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when the link does not have it.
    pub fn delete_address(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = address_message(index, address, prefix);
        self.request(RouteNetlinkMessage::DelAddress(message), 0)
    }

    /// Adds a route of a lease, or replaces that to the same subnet.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_route(&self, index: u32, route: &LentRoute) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(route.message(index));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes a route of a lease away.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn delete_route(&self, index: u32, route: &LentRoute) -> io::Result<()> {
        self.request(RouteNetlinkMessage::DelRoute(route.message(index)), 0)
    }

    /// Sets the largest packet of a link, bytes.
    ///
    /// # Errors
    /// `EINVAL` when it is more than the parent takes.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
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

    pub(super) fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, flags)?;
        self.receive(usize::MAX).map(|(answers, _)| answers)
    }

    /// What the first so many datagrams say of all that there is of a kind; and whether there are more of them.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn dump_some(
        self,
        message: RouteNetlinkMessage,
        most: usize,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        self.send(message, NLM_F_DUMP)?;
        self.receive(most)
    }

    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.0.send(&bytes, 0).map(drop)
    }

    /// What at most so many datagrams say; and whether more come.
    fn receive(&self, most: usize) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let mut answers = Vec::new();
        for _ in 0..most {
            let mut buffer = Vec::with_capacity(BUFFER);
            self.0.recv(&mut buffer, 0)?;
            if take(&buffer, &mut answers)? {
                return Ok((answers, false));
            }
        }
        Ok((answers, true))
    }
}

/// Takes all messages of one datagram; true when the answer is complete.
pub(super) fn take<M: NetlinkDeserializable + Clone>(
    mut bytes: &[u8],
    answers: &mut Vec<M>,
) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(bytes).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::Error(error) => {
                return if error.code.is_some() { Err(error.to_io()) } else { Ok(true) };
            }
            // An answer that broke off is none: what it lacks would count as gone.
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(io::Error::from_raw_os_error(done.code.abs()));
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

fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

fn standing(message: &AddressMessage) -> Standing {
    let flags = message.header.flags;
    // One that has failed stays tentative.
    match flags.contains(AddressHeaderFlags::Dadfailed) {
        true => Standing::Taken,
        false if flags.contains(AddressHeaderFlags::Tentative) => Standing::Tentative,
        false => Standing::Used,
    }
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    if let IpAddr::V4(v4) = address {
        message.attributes.extend(broadcast(v4, prefix).map(AddressAttribute::Broadcast));
    }
    message
}

const fn macvlan_mode(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
    }
}

const fn ipvlan_mode(mode: IpvlanMode) -> IpVlanMode {
    match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
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
