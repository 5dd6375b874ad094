//! What there is in a network namespace, as the kernel says it when somebody asks: more than jailsupd itself goes by.
//!
//! A jail that may configure its network can fill its namespace with what it likes: only so much of it is read.

use super::Network;
use super::interface::{OUR_VLANS, OURS};
use super::netlink::{Netlink, family};
use super::wire::link;
use crate::control::wire::LinkState;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rustix::fd::OwnedFd;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// What is read of a namespace at most: datagrams of each kind of answer, and what is kept of each.
#[derive(Clone, Copy)]
struct Most {
    datagrams: usize,
    kept: usize,
}

/// Of the host's own; a thousand jails in networks are a thousand links.
const OF_HOST: Most = Most { datagrams: 1024, kept: 8192 };
/// Of a jail's.
const OF_JAIL: Most = Most { datagrams: 8, kept: 64 };

/// What there is in a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its links but the loopback, and but the ports of bridges that jailsupd has made.
    pub links: Vec<SeenLink>,
    /// The addresses of all links.
    pub addresses: Vec<SeenAddress>,
    /// The routes of the main table.
    pub routes: Vec<SeenRoute>,
    /// There is more.
    pub is_cut: bool,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLink {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// As the kernel calls it; none of a network card.
    pub kind: Option<String>,
    /// Whether packets can go over it.
    pub state: LinkState,
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// Its Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// The number of the link of the same namespace that it sits on.
    pub lower: Option<u32>,
    /// The VLAN that it is.
    pub vlan: Option<u16>,
    /// Whether jailsupd has made it on the host.
    pub is_ours: bool,
    /// Packets that have come by it.
    pub received: u64,
    /// Packets that have left by it.
    pub sent: u64,
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAddress {
    /// The link's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits of its subnet's prefix.
    pub length: u8,
    /// Whom the kernel has it from.
    pub made_by: MadeBy,
    /// The kernel does not know yet whether somebody else has it.
    pub is_tentative: bool,
    /// Somebody else has it.
    pub is_duplicate: bool,
}

/// Whom the kernel has an address or a route from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// From itself.
    Kernel,
    /// From a router that announces itself.
    Router,
    /// From a program.
    Program,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRoute {
    /// The addresses that it leads to, and bits of their prefix; none for all of its family.
    pub to: Option<(IpAddr, u8)>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The number of the link that it goes by.
    pub index: Option<u32>,
    /// The lower goes first.
    pub metric: Option<u32>,
    /// Whom it is from.
    pub made_by: MadeBy,
    /// It is of IPv4.
    pub is_ipv4: bool,
}

/// What is known of somebody's Ethernet address (`NUD_*` of linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It has answered.
    Answers,
    /// It has answered at some time.
    HasAnswered,
    /// It is being asked, and has not answered.
    Asked,
    /// It was asked and did not answer.
    Silent,
    /// Nobody has asked, or has to.
    Unknown,
}

impl Seen {
    /// The link of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&SeenLink> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link of this number.
    #[must_use]
    pub fn numbered(&self, index: u32) -> Option<&SeenLink> {
        self.links.iter().find(|link| link.index == index)
    }
}

impl Network {
    /// What the host has.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn see(&self) -> io::Result<Seen> {
        read(OF_HOST)
    }

    /// What a jail has.
    ///
    /// # Errors
    /// The kernel's refusal; or something there has a name that is no text.
    pub fn see_inside(&self, namespace: &OwnedFd) -> io::Result<Seen> {
        self.enter(namespace, |_| read(OF_JAIL))?
    }

    /// What the host knows of a neighbour on its link of this number.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neighbour(&self, index: u32, address: IpAddr) -> io::Result<Neighbour> {
        neighbour(&self.host, index, address)
    }

    /// What a jail knows of a neighbour on its link.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn neighbour_inside(&self, namespace: &OwnedFd, address: IpAddr) -> io::Result<Neighbour> {
        self.enter(namespace, |jail| neighbour(jail, link(jail)?.index, address))?
    }

    /// Has a jail ask a neighbour on its link for its Ethernet address, unless that is known.
    ///
    /// # Errors
    /// The jail has no link, or the kernel refuses.
    pub fn ask_inside(&self, namespace: &OwnedFd, address: IpAddr) -> io::Result<()> {
        self.enter(namespace, |jail| {
            let mut message = about(link(jail)?.index, address);
            message.header.flags = NeighbourFlags::Use;
            jail.ask(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE).map(drop)
        })?
    }
}

/// Whether a link of the host is a wireless one.
#[must_use]
pub fn is_wireless(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("phy80211").exists()
}

/// Of the namespace that the thread is in.
fn read(most: Most) -> io::Result<Seen> {
    let mut seen = Seen::default();
    // What is not read of an answer stays in its socket.
    let mut dump = |request| -> io::Result<Vec<RouteNetlinkMessage>> {
        let (answers, is_cut) = Netlink::open()?.dump_some(request, most.datagrams)?;
        seen.is_cut |= is_cut;
        Ok(answers)
    };
    let links = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let addresses = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let routes = dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    seen.links = links.iter().filter_map(read_link).collect();
    seen.addresses = addresses.iter().filter_map(read_address).collect();
    seen.routes = routes.iter().filter_map(read_route).collect();
    let counts = [seen.links.len(), seen.addresses.len(), seen.routes.len()];
    seen.is_cut |= counts.iter().any(|count| *count > most.kept);
    seen.links.truncate(most.kept);
    seen.addresses.truncate(most.kept);
    seen.routes.truncate(most.kept);
    Ok(seen)
}

fn read_link(answer: &RouteNetlinkMessage) -> Option<SeenLink> {
    let RouteNetlinkMessage::NewLink(message) = answer else { return None };
    if message.header.link_layer_type == LinkLayerType::Loopback {
        return None;
    }
    let (mut name, mut kind, mut group, mut lower_elsewhere) = (None, None, 0, false);
    let mut link = SeenLink {
        index: message.header.index,
        name: String::new(),
        kind: None,
        state: state(message.header.flags),
        mtu: 0,
        mac: None,
        lower: None,
        vlan: None,
        is_ours: false,
        received: 0,
        sent: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Mtu(bytes) => link.mtu = *bytes,
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok(),
            LinkAttribute::Link(index) => link.lower = Some(*index).filter(|index| *index > 0),
            LinkAttribute::LinkNetNsId(_) => lower_elsewhere = true,
            LinkAttribute::Group(number) => group = *number,
            LinkAttribute::Stats64(counted) => {
                (link.received, link.sent) = (counted.rx_packets, counted.tx_packets);
            }
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.iter().find_map(kind_of);
                link.vlan = infos.iter().find_map(vlan_of);
            }
            _ => {}
        }
    }
    if kind == Some(InfoKind::Veth) && group == OURS {
        return None;
    }
    link.is_ours = [OURS, OUR_VLANS].contains(&group);
    link.lower = link.lower.filter(|index| !lower_elsewhere && *index != link.index);
    Some(SeenLink { name: name?, kind: kind.map(|kind| kind.to_string()), ..link })
}

fn kind_of(info: &LinkInfo) -> Option<InfoKind> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.clone()),
        _ => None,
    }
}

fn vlan_of(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(data)) = info else { return None };
    data.iter().find_map(|one| match one {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

fn state(flags: LinkFlags) -> LinkState {
    match (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::LowerUp)) {
        (false, _) => LinkState::Down,
        (true, false) => LinkState::NoCarrier,
        (true, true) => LinkState::Up,
    }
}

fn read_address(answer: &RouteNetlinkMessage) -> Option<SeenAddress> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    let (mut address, mut local, mut protocol) = (None, None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(one) => address = Some(*one),
            // Of a link with two ends, this is the own one.
            AddressAttribute::Local(one) => local = Some(*one),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(one) => protocol = Some(*one),
            _ => {}
        }
    }
    let made_by = match protocol {
        Some(AddressProtocol::LinkLocal | AddressProtocol::Loopback) => MadeBy::Kernel,
        Some(AddressProtocol::RouterAnnouncement) => MadeBy::Router,
        _ => MadeBy::Program,
    };
    Some(SeenAddress {
        index: message.header.index,
        address: local.or(address)?,
        length: message.header.prefix_len,
        made_by,
        is_tentative: flags.contains(AddressFlags::Tentative),
        is_duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

fn read_route(answer: &RouteNetlinkMessage) -> Option<SeenRoute> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let header = &message.header;
    let leads = [RouteType::Unicast, RouteType::BlackHole, RouteType::Unreachable];
    if header.table != RouteHeader::RT_TABLE_MAIN || !leads.contains(&header.kind) {
        return None;
    }
    let (mut to, mut via, mut index, mut metric) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(number) => metric = Some(*number),
            _ => {}
        }
    }
    let made_by = match header.protocol {
        RouteProtocol::Kernel => MadeBy::Kernel,
        RouteProtocol::Ra => MadeBy::Router,
        _ => MadeBy::Program,
    };
    let is_ipv4 = header.address_family == netlink_packet_route::AddressFamily::Inet;
    let to = to.map(|to| (to, header.destination_prefix_length));
    Some(SeenRoute { to, via, index, metric, made_by, is_ipv4 })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// A message about a neighbour on the link of this number.
fn about(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    let address = match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    };
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn neighbour(netlink: &Netlink, index: u32, address: IpAddr) -> io::Result<Neighbour> {
    let request = RouteNetlinkMessage::GetNeighbour(about(index, address));
    let answers = match netlink.ask(request, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Neighbour::Unknown),
        answers => answers?,
    };
    let found = answers.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(message) => Some(message.header.state),
        _ => None,
    });
    Ok(match found {
        Some(NeighbourState::Reachable) => Neighbour::Answers,
        Some(NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe) => {
            Neighbour::HasAnswered
        }
        Some(NeighbourState::Incomplete) => Neighbour::Asked,
        Some(NeighbourState::Failed) => Neighbour::Silent,
        // Where nobody has to be asked, or somebody has said it, nothing is known of answers.
        _ => Neighbour::Unknown,
    })
}
