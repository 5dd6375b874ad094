//! What goes over the wire: DHCP in UDP in IPv4, and ARP, without the Ethernet header (packet(7), `SOCK_DGRAM`).

use crate::lease::{DNS_MAX, DOMAINS_MAX, Lease, MTU_MIN, ROUTES_MAX};
use crate::wire::Identity;
use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr,
    EthernetAddress, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::Ipv4Addr;

/// `ETH_P_IP` and `ETH_P_ARP` of linux/if_ether.h.
const IP: u16 = 0x0800;
const ARP: u16 = 0x0806;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Everyone on the link.
pub const BROADCAST: [u8; 6] = [0xff; 6];
/// The largest packet that is sent or understood: that of an Ethernet without jumbo frames.
pub const PACKET_MAX: usize = 1500;
/// Bytes of the smallest BOOTP message (RFC 1542, section 2.1): relays drop shorter ones.
const MESSAGE_MIN: usize = 300;
/// What every host takes (RFC 1122), less the headers: what a server may send without being asked for more.
const MESSAGE_MAX: u16 = 1472;

/// Option numbers (RFC 2132, RFC 3397, RFC 3442).
mod option {
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const T1: u8 = 58;
    pub(super) const T2: u8 = 59;
    pub(super) const CLIENT_ID: u8 = 61;
    pub(super) const SEARCH: u8 = 119;
    pub(super) const ROUTES: u8 = 121;
}

/// What is asked for: first the routes without classes, as RFC 3442 demands.
const ASKED_FOR: [u8; 9] = [
    option::ROUTES,
    option::MASK,
    option::ROUTER,
    option::DNS,
    option::DOMAIN,
    option::SEARCH,
    option::MTU,
    option::T1,
    option::T2,
];

/// A packet, and whom on the link it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The protocol, as Ethernet numbers it.
    pub protocol: u16,
    /// The Ethernet address.
    pub to: [u8; 6],
    /// From the network header on.
    pub bytes: Vec<u8>,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who has an address for it (`DHCPDISCOVER`), this one if possible.
    Discover(Option<Ipv4Addr>),
    /// For what this server has offered (`DHCPREQUEST`, SELECTING).
    Take(Ipv4Addr, Ipv4Addr),
    /// Whether what it had still holds (`DHCPREQUEST`, INIT-REBOOT).
    Confirm(Ipv4Addr),
    /// To have it for longer, of this server at that Ethernet address (RENEWING), or of any (REBINDING).
    Extend(Ipv4Addr, Option<(Ipv4Addr, [u8; 6])>),
    /// It says that somebody else has what this server has granted (`DHCPDECLINE`).
    Decline(Ipv4Addr, Ipv4Addr),
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To the question with this number.
    pub xid: u32,
    /// What.
    pub kind: AnswerKind,
}

/// The kinds of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// It offers this.
    Offer(Lease),
    /// It grants this.
    Ack(Lease),
    /// It refuses.
    Nak(Option<Ipv4Addr>),
}

/// What somebody says by ARP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub by: [u8; 6],
    /// That it has this address; none when it asks who does, before it takes it.
    pub has: Option<Ipv4Addr>,
    /// What it asks for.
    pub wants: Ipv4Addr,
}

/// A packet that is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// From a server.
    Answer(Answer),
    /// By ARP.
    Claim(Claim),
}

/// The packet with a question. `seconds` is how long it has been asking.
#[must_use]
pub fn ask(identity: &Identity, question: Question, xid: u32, seconds: u16) -> Option<Frame> {
    let none = Ipv4Addr::UNSPECIFIED;
    let (kind, client, requested, server, to) = match question {
        Question::Discover(wanted) => (DhcpMessageType::Discover, none, wanted, None, None),
        Question::Take(address, server) => {
            (DhcpMessageType::Request, none, Some(address), Some(server), None)
        }
        Question::Confirm(address) => (DhcpMessageType::Request, none, Some(address), None, None),
        Question::Extend(address, server) => {
            (DhcpMessageType::Request, address, None, None, server)
        }
        Question::Decline(address, server) => {
            (DhcpMessageType::Decline, none, Some(address), Some(server), None)
        }
    };
    let is_decline = kind == DhcpMessageType::Decline;
    let mut options = vec![DhcpOption { kind: option::CLIENT_ID, data: &identity.client_id }];
    if !identity.hostname.is_empty() && !is_decline {
        options.push(DhcpOption { kind: option::HOST_NAME, data: identity.hostname.as_bytes() });
    }
    let message = DhcpRepr {
        message_type: kind,
        transaction_id: xid,
        secs: seconds,
        client_hardware_address: EthernetAddress(identity.mac),
        client_ip: client,
        your_ip: none,
        server_ip: none,
        router: None,
        subnet_mask: None,
        relay_agent_ip: none,
        broadcast: identity.broadcast && client == none,
        requested_ip: requested,
        client_identifier: None,
        server_identifier: server,
        parameter_request_list: (!is_decline).then_some(&ASKED_FOR[..]),
        dns_servers: None,
        max_size: (!is_decline).then_some(MESSAGE_MAX),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut DhcpPacket::new_unchecked(&mut payload[..])).ok()?;
    payload.resize(payload.len().max(MESSAGE_MIN), 0);
    let (address, mac) = to.unwrap_or((Ipv4Addr::BROADCAST, BROADCAST));
    Some(Frame { protocol: IP, to: mac, bytes: datagram(client, address, &payload) })
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: CLIENT_PORT, dst_port: SERVER_PORT };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + payload.len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + ip.payload_len];
    let sums = ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &sums);
    let mut inner = UdpPacket::new_unchecked(&mut bytes[ip.buffer_len()..]);
    let (from, to) = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
    udp.emit(&mut inner, &from, &to, payload.len(), |room| room.copy_from_slice(payload), &sums);
    bytes
}

/// The packet that asks who has an address before it is taken (RFC 5227, "ARP Probe").
#[must_use]
pub fn probe(mac: [u8; 6], address: Ipv4Addr) -> Frame {
    question(mac, Ipv4Addr::UNSPECIFIED, address)
}

/// The packet that tells all neighbours who has an address from now on (RFC 5227, "ARP Announcement").
#[must_use]
pub fn announce(mac: [u8; 6], address: Ipv4Addr) -> Frame {
    question(mac, address, address)
}

fn question(mac: [u8; 6], from: Ipv4Addr, address: Ipv4Addr) -> Frame {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: from,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut bytes = vec![0; arp.buffer_len()];
    arp.emit(&mut ArpPacket::new_unchecked(&mut bytes[..]));
    Frame { protocol: ARP, to: BROADCAST, bytes }
}

/// What a packet says, if it is for the link with this Ethernet address and of use. `from` is the Ethernet address that it
/// came from.
#[must_use]
pub fn understand(protocol: u16, from: [u8; 6], bytes: &[u8], mac: [u8; 6]) -> Option<Packet> {
    match protocol {
        IP => answer(from, bytes, mac).map(Packet::Answer),
        ARP => claim(bytes).filter(|claim| claim.by != mac).map(Packet::Claim),
        _ => None,
    }
}

fn claim(bytes: &[u8]) -> Option<Claim> {
    let packet = ArpPacket::new_checked(bytes).ok()?;
    let ArpRepr::EthernetIpv4 {
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let has = Some(source_protocol_addr).filter(|address| !address.is_unspecified());
    Some(Claim { by: source_hardware_addr.0, has, wants: target_protocol_addr })
}

fn answer(from: [u8; 6], bytes: &[u8], mac: [u8; 6]) -> Option<Answer> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    // A packet that never leaves the host has no checksum of its own yet when a packet socket sees it: that of UDP is not
    // looked at. What came over a wire has Ethernet's.
    let mut sums = ChecksumCapabilities::ignored();
    sums.ipv4 = Checksum::Both;
    let ip = Ipv4Repr::parse(&packet, &sums).ok()?;
    if packet.more_frags() || packet.frag_offset() != 0 || ip.next_header != IpProtocol::Udp {
        return None;
    }
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    if datagram.dst_port() != CLIENT_PORT || datagram.src_port() != SERVER_PORT {
        return None;
    }
    let message = DhcpPacket::new_checked(datagram.payload()).ok()?;
    let is_mine = message.client_hardware_address().0 == mac && message.hardware_len() == 6;
    if message.opcode() != smoltcp::wire::DhcpOpCode::Reply || !is_mine {
        return None;
    }
    let options: Vec<DhcpOption<'_>> = message.options().collect();
    let kind = match *whole(&options, option::MESSAGE_TYPE).first()? {
        2 => AnswerKind::Offer(lease(&message.your_ip(), from, &options)?),
        5 => AnswerKind::Ack(lease(&message.your_ip(), from, &options)?),
        6 => AnswerKind::Nak(address(&options, option::SERVER)),
        _ => return None,
    };
    Some(Answer { xid: message.transaction_id(), kind })
}

/// The value of an option, which may come in several parts (RFC 3396). Empty when it is not there.
fn whole(options: &[DhcpOption<'_>], kind: u8) -> Vec<u8> {
    options
        .iter()
        .filter(|option| option.kind == kind)
        .flat_map(|option| option.data)
        .copied()
        .collect()
}

fn number(options: &[DhcpOption<'_>], kind: u8) -> Option<u32> {
    Some(u32::from_be_bytes(whole(options, kind).try_into().ok()?))
}

fn addresses(options: &[DhcpOption<'_>], kind: u8, most: usize) -> Vec<Ipv4Addr> {
    let value = whole(options, kind);
    let all = value.chunks_exact(4).map(|four| Ipv4Addr::new(four[0], four[1], four[2], four[3]));
    all.filter(|address| is_of_a_host(*address)).take(most).collect()
}

fn address(options: &[DhcpOption<'_>], kind: u8) -> Option<Ipv4Addr> {
    addresses(options, kind, 1).first().copied()
}

fn is_of_a_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback())
}

/// Seconds; a shorter lease is not taken: it would be over before it is renewed.
const SHORTEST: u32 = 10;

fn lease(yours: &Ipv4Addr, from: [u8; 6], options: &[DhcpOption<'_>]) -> Option<Lease> {
    let seconds = number(options, option::LEASE_TIME).filter(|seconds| *seconds >= SHORTEST)?;
    let routes = routes(&whole(options, option::ROUTES));
    let router = match routes.iter().find(|(_, length, _)| *length == 0) {
        Some((_, _, hop)) => Some(*hop).filter(|hop| is_of_a_host(*hop)),
        None if routes.is_empty() => address(options, option::ROUTER),
        None => None,
    };
    let (t1, t2) = times(seconds, number(options, option::T1), number(options, option::T2));
    let mut search = domains(&whole(options, option::SEARCH));
    if search.is_empty() {
        search.extend(domain(&whole(options, option::DOMAIN)));
    }
    let mtu: Option<[u8; 2]> = whole(options, option::MTU).try_into().ok();
    Some(Lease {
        address: Some(*yours).filter(|address| is_of_a_host(*address))?,
        length: length(*yours, number(options, option::MASK))?,
        router,
        routes: routes.into_iter().filter(|(_, length, _)| *length != 0).collect(),
        dns: addresses(options, option::DNS, DNS_MAX),
        search,
        mtu: mtu.map(u16::from_be_bytes).filter(|mtu| *mtu >= MTU_MIN),
        server: address(options, option::SERVER)?,
        server_mac: from,
        seconds,
        t1,
        t2,
    })
}

/// Bits of the prefix that a mask means; without one, those of the address's class.
fn length(address: Ipv4Addr, mask: Option<u32>) -> Option<u8> {
    let Some(mask) = mask else {
        return Some(match address.octets()[0] {
            ..128 => 8,
            128..192 => 16,
            _ => 24,
        });
    };
    let ones = mask.leading_ones();
    let is_whole = ones == mask.count_ones() && ones > 0;
    is_whole.then(|| u8::try_from(ones).ok()).flatten()
}

/// T1 and T2, or what RFC 2131 (section 4.4.5) has in place of what is not there or makes no sense.
fn times(seconds: u32, t1: Option<u32>, t2: Option<u32>) -> (u32, u32) {
    if seconds == Lease::FOR_EVER {
        return (seconds, seconds);
    }
    let by_rule = || (seconds / 2, seconds - seconds / 8);
    match (t1, t2) {
        (Some(t1), Some(t2)) if 0 < t1 && t1 < t2 && t2 < seconds => (t1, t2),
        (Some(t1), None) if 0 < t1 && t1 < by_rule().1 => (t1, by_rule().1),
        _ => by_rule(),
    }
}

/// RFC 3442: for each a length in bits, as many octets of the prefix as that needs, and the next hop. Nothing of it holds
/// when anything of it is wrong.
fn routes(mut value: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((length, rest)) = value.split_first() {
        let octets = usize::from(length.div_ceil(8));
        if *length > 32 || rest.len() < octets + 4 || routes.len() == ROUTES_MAX {
            return Vec::new();
        }
        let mut prefix = [0; 4];
        prefix[..octets].copy_from_slice(&rest[..octets]);
        let hop = &rest[octets..octets + 4];
        let kept = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
        let prefix = Ipv4Addr::from(u32::from_be_bytes(prefix) & kept);
        routes.push((prefix, *length, Ipv4Addr::new(hop[0], hop[1], hop[2], hop[3])));
        value = &rest[octets + 4..];
    }
    routes
}

/// One domain in plain text (option 15).
fn domain(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches(['\0', '.']);
    is_domain(text).then(|| text.to_owned())
}

fn is_domain(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(is_fine);
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Domains as DNS writes names, with pointers to earlier ones (RFC 3397). Each pointer leads further back than the one
/// before, so that there is an end.
fn domains(value: &[u8]) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < value.len() && found.len() < DOMAINS_MAX {
        let Some((name, next)) = domain_at(value, at) else { break };
        if is_domain(&name) {
            found.push(name);
        }
        at = next;
    }
    found
}

/// The domain that begins there, and where the next one does.
fn domain_at(value: &[u8], begin: usize) -> Option<(String, usize)> {
    let (mut labels, mut next) = (Vec::new(), None);
    let (mut at, mut bound) = (begin, begin);
    loop {
        let length = *value.get(at)?;
        match length {
            0 => break,
            1..64 => {
                let label = value.get(at + 1..at + 1 + usize::from(length))?;
                labels.push(std::str::from_utf8(label).ok()?);
                at += 1 + usize::from(length);
            }
            192.. => {
                let pointer = usize::from(length & 0x3f) << 8 | usize::from(*value.get(at + 1)?);
                next.get_or_insert(at + 2);
                if pointer >= bound || labels.len() > 127 {
                    return None;
                }
                (at, bound) = (pointer, pointer);
            }
            _ => return None,
        }
    }
    Some((labels.join("."), next.unwrap_or(at + 1)))
}

#[cfg(test)]
mod tests;
