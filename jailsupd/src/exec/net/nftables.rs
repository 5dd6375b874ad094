//! The packet filter, as a table of our own (nft(8); linux/netfilter/nf_tables.h), replaced in one step.
//!
//! The kernel takes a batch of messages as one transaction (nfnetlink): all of it counts from one packet to the next, or
//! nothing of it.

use super::interface::OURS;
use super::netlink::{BUFFER, take};
use crate::plan::firewall::{Action, Chain, Firewall, Match, Rule};
use crate::unit::Subnet;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, Immediate,
    InetHookNumber, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::io;
use std::net::IpAddr;

/// The table.
const TABLE: &str = "warder";
/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h.
const NFTABLES: u16 = 10;
/// `NFT_NAME_MAXLEN`'s smaller kin for links: `IFNAMSIZ` of linux/if.h.
const LINK_NAME: usize = 16;
/// `NFTA_CT_DREG` and `NFTA_CT_KEY`, and of that `NFT_CT_STATE`.
const CT: (u16, u16, u32) = (1, 2, 0);
/// Bits of that: `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and `(IP_CT_RELATED)`.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Its protocol number (RFC 4443).
const ICMPV6: u8 = 58;
/// Of ICMPv6 (RFC 4861): from router solicitation to redirect.
const DISCOVERY: (u8, u8) = (133, 137);
/// The priorities of filters and of what changes sources (`NF_IP_PRI_FILTER`, `NF_IP_PRI_NAT_SRC`).
const FILTER: u32 = 0;
const SOURCES: u32 = 100;

/// Puts the table in the place of the former one; an empty one needs no table.
///
/// # Errors
/// The kernel's refusal; then the former one is still in force.
pub(super) fn replace(firewall: &Firewall) -> io::Result<()> {
    match send(&batch(firewall)) {
        // A kernel without packet filter has no table.
        Err(error)
            if firewall.is_empty()
                && matches!(
                    error.raw_os_error(),
                    Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP)
                ) =>
        {
            Ok(())
        }
        sent => sent,
    }
}

fn batch(firewall: &Firewall) -> Vec<(u16, NfTablesMessage)> {
    let table = || TableMessage { attributes: vec![TableAttribute::Name(TABLE.to_owned())] };
    // It is made so that it can be deleted.
    let mut batch = vec![
        (NLM_F_CREATE, NfTablesMessage::NewTable(table())),
        (0, NfTablesMessage::DeleteTable(table())),
    ];
    if !firewall.is_empty() {
        batch.push((NLM_F_CREATE, NfTablesMessage::NewTable(table())));
        for chain in [Chain::Input, Chain::Forward, Chain::PostRouting] {
            batch.push((NLM_F_CREATE, NfTablesMessage::NewChain(new_chain(chain))));
        }
        let rules = firewall.rules();
        let rules = rules.iter().map(|rule| NfTablesMessage::NewRule(new_rule(rule)));
        batch.extend(rules.map(|rule| (NLM_F_CREATE | NLM_F_APPEND, rule)));
    }
    batch
}

fn send(batch: &[(u16, NfTablesMessage)]) -> io::Result<()> {
    let mut bytes = Vec::new();
    let batch_header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
    let control = |message| NetfilterMessage::new(batch_header.clone(), message);
    put(&mut bytes, 0, control(ControlMessage::BatchBegin));
    for (at, (flags, message)) in batch.iter().enumerate() {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
        // What is wrong is told anyway; that nothing is, once.
        let ack = if at + 1 == batch.len() { NLM_F_ACK } else { 0 };
        put(&mut bytes, flags | ack, NetfilterMessage::new(header, message.clone()));
    }
    put(&mut bytes, 0, control(ControlMessage::BatchEnd));
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, bytes.len())?;
    socket.send(&bytes, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    socket.recv(&mut buffer, 0)?;
    take::<NetfilterMessage>(&buffer, &mut Vec::new()).map(drop)
}

fn put(bytes: &mut Vec<u8>, flags: u16, message: NetfilterMessage) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let from = bytes.len();
    // The next one is aligned (netlink(7)).
    bytes.resize(from + packet.buffer_len().next_multiple_of(4), 0);
    packet.serialize(&mut bytes[from..]);
}

fn name(chain: Chain) -> String {
    let name = match chain {
        Chain::Input => "input",
        Chain::Forward => "forward",
        Chain::PostRouting => "postrouting",
    };
    name.to_owned()
}

fn new_chain(chain: Chain) -> ChainMessage {
    let (hook, priority, kind) = match chain {
        Chain::Input => (InetHookNumber::LocalIn, FILTER, "filter"),
        Chain::Forward => (InetHookNumber::Forward, FILTER, "filter"),
        Chain::PostRouting => (InetHookNumber::PostRouting, SOURCES, "nat"),
    };
    let policy = if chain == Chain::Forward { libc::NF_DROP } else { libc::NF_ACCEPT };
    let attributes = vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(name(chain)),
        ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(priority)]),
        ChainAttribute::Policy(policy.unsigned_abs()),
        ChainAttribute::Type(kind.to_owned()),
    ];
    ChainMessage { attributes }
}

fn new_rule(rule: &Rule) -> RuleMessage {
    let mut expressions: Vec<Expressions> = rule.matches.iter().flat_map(matching).collect();
    expressions.push(match rule.action {
        Action::Accept => verdict(libc::NF_ACCEPT),
        Action::Drop => verdict(libc::NF_DROP),
        Action::Masquerade => {
            Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() }
        }
    });
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(name(rule.chain)),
        RuleAttribute::Expressions(expressions.into_iter().map(Into::into).collect()),
    ];
    RuleMessage { attributes }
}

fn matching(one: &Match) -> Vec<Expressions> {
    use Operator::{Equal, GreatherThanEqual, LessThanEqual, NotEqual};
    let group = |key, operator| vec![meta(key), compare(operator, OURS.to_ne_bytes().to_vec())];
    let link = |key, name: &str| vec![meta(key), compare(Equal, padded(name))];
    match one {
        Match::Established => vec![
            connection_state(),
            mask(ESTABLISHED_OR_RELATED.to_ne_bytes().to_vec()),
            compare(NotEqual, vec![0; 4]),
        ],
        Match::FromJails => group(MetaKey::Iifgroup, Equal),
        Match::FromOutside => group(MetaKey::Iifgroup, NotEqual),
        Match::ToOutside => group(MetaKey::Oifgroup, NotEqual),
        Match::From(name) => link(MetaKey::Iifname, name),
        Match::To(name) => link(MetaKey::Oifname, name),
        Match::Source(subnet) => source(*subnet),
        Match::NeighbourDiscovery => vec![
            meta(MetaKey::Nfproto),
            compare(Equal, vec![NetfilterProtoFamily::IPv6.into()]),
            meta(MetaKey::L4Proto),
            compare(Equal, vec![ICMPV6]),
            payload(TRANSPORT_HEADER, 0, 1),
            compare(GreatherThanEqual, vec![DISCOVERY.0]),
            compare(LessThanEqual, vec![DISCOVERY.1]),
        ],
    }
}

fn source(subnet: Subnet) -> Vec<Expressions> {
    // RFC 791 and RFC 8200 say where the source stands.
    let (family, offset, base) = match subnet.base() {
        IpAddr::V4(base) => (NetfilterProtoFamily::IPv4, 12, base.octets().to_vec()),
        IpAddr::V6(base) => (NetfilterProtoFamily::IPv6, 8, base.octets().to_vec()),
    };
    let bits = usize::from(subnet.length());
    let byte = |at: usize| match bits.saturating_sub(at * 8) {
        0 => 0,
        left => u8::MAX << (8 - left.min(8)),
    };
    let width = base.len();
    vec![
        meta(MetaKey::Nfproto),
        compare(Operator::Equal, vec![family.into()]),
        payload(NETWORK_HEADER, offset, u32::try_from(width).unwrap_or(0)),
        mask((0..width).map(byte).collect()),
        compare(Operator::Equal, base),
    ]
}

fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(LINK_NAME, 0);
    bytes
}

// Each loads the first register, or compares what is in it.

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn payload(base: u32, offset: u32, length: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

fn connection_state() -> Expressions {
    let (register, key, state) = CT;
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let attributes = vec![number(register, Register::Reg1.into()), number(key, state)];
    Expressions::Other { expression_type: "ct".to_owned(), attributes }
}

fn mask(mask: Vec<u8>) -> Expressions {
    let width = mask.len();
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(u32::try_from(width).unwrap_or(0)),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(vec![0; width])),
    ])
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

fn verdict(code: i32) -> Expressions {
    let code = VerdictAttribute::Code(Verdict::Other(code.unsigned_abs()));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![code])),
    ])
}
