//! The packet filter, as a table of our own (nft(8); linux/netfilter/nf_tables.h), replaced in one step.
//!
//! The kernel takes a batch of messages as one transaction (nfnetlink): all of it counts from one packet to the next, or
//! nothing of it.

use super::interface::OURS;
use super::netlink::{BUFFER, take};
use crate::plan::firewall::{Action, Chain, Match, Rule};
use crate::unit::Prefix;
use crate::unit::firewall::Rate;
use crate::unit::publish::{Port, PortRange, Protocol};
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
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use std::io;
use std::net::IpAddr;

/// The table.
const TABLE: &str = "warder";
/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h.
const NFTABLES: u16 = 10;
/// Bytes that a link's name is compared with: `IFNAMSIZ` of linux/if.h.
const LINK_NAME: usize = 16;
/// `NFTA_CT_DREG` and `NFTA_CT_KEY`; of that `NFT_CT_STATE`, `NFT_CT_DIRECTION` and `NFT_CT_STATUS`.
const CT: (u16, u16) = (1, 2);
const CT_STATE: u32 = 0;
/// Bits of that: `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and `(IP_CT_RELATED)`.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
/// `IP_CT_DIR_REPLY` of linux/netfilter/nf_conntrack_tuple_common.h.
const REPLY: u8 = 1;
/// A bit of the status: `IPS_DST_NAT`.
const REDIRECTED: u32 = 1 << 5;
/// `NFTA_FIB_DREG`, `NFTA_FIB_RESULT` and `NFTA_FIB_FLAGS`; `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`, and for an
/// address of the host `RTN_LOCAL` of linux/rtnetlink.h.
const FIB: (u16, u16, u16) = (1, 2, 3);
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_OF_DESTINATION: u32 = 1 << 1;
const LOCAL: u32 = 2;
/// `NFTA_NAT_TYPE`, `NFTA_NAT_FAMILY`, `NFTA_NAT_REG_ADDR_MIN` and `NFTA_NAT_REG_PROTO_MIN`; `NFT_NAT_DNAT`.
const NAT: (u16, u16, u16, u16) = (1, 2, 3, 5);
const NAT_OF_DESTINATION: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Protocol numbers (RFC 4443, 9293 and 768).
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// `NFTA_LIMIT_RATE`, `NFTA_LIMIT_UNIT` and `NFTA_LIMIT_BURST`.
const LIMIT: (u16, u16, u16) = (1, 2, 3);
/// The priorities of filters, and of what changes sources and destinations (`NF_IP_PRI_FILTER`, `NF_IP_PRI_NAT_SRC`,
/// `NF_IP_PRI_NAT_DST`).
const FILTER: i32 = 0;
const SOURCES: i32 = 100;
const DESTINATIONS: i32 = -100;

/// Puts the table in the place of the former one.
///
/// # Errors
/// The kernel's refusal; then the former one is still in force.
pub(super) fn replace(rules: &[Rule]) -> io::Result<()> {
    send(&batch(rules))
}

/// Whether there is a table.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn is_there() -> io::Result<bool> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    let mut bytes = Vec::new();
    put(&mut bytes, NLM_F_ACK, NetfilterMessage::new(header, NfTablesMessage::GetTable(table())));
    match ask(&bytes) {
        Ok(()) => Ok(true),
        // There is none, or no packet filter.
        Err(error)
            if [libc::ENOENT, libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL]
                .map(Some)
                .contains(&error.raw_os_error()) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes the table away.
///
/// # Errors
/// `ENOENT` when there is none.
pub(super) fn remove() -> io::Result<()> {
    send(&[(0, NfTablesMessage::DeleteTable(table()))])
}

fn table() -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(TABLE.to_owned())] }
}

fn batch(rules: &[Rule]) -> Vec<(u16, NfTablesMessage)> {
    // It is made so that it can be deleted.
    let mut batch = vec![
        (NLM_F_CREATE, NfTablesMessage::NewTable(table())),
        (0, NfTablesMessage::DeleteTable(table())),
        (NLM_F_CREATE, NfTablesMessage::NewTable(table())),
    ];
    // A chain without rules is left out: what changes addresses makes the kernel remember each connection.
    let mut chains: Vec<Chain> = Vec::new();
    for rule in rules {
        if !chains.contains(&rule.chain) {
            chains.push(rule.chain);
        }
    }
    let chains = chains.into_iter().map(|chain| NfTablesMessage::NewChain(new_chain(chain)));
    batch.extend(chains.map(|chain| (NLM_F_CREATE, chain)));
    let rules = rules.iter().map(|rule| NfTablesMessage::NewRule(new_rule(rule)));
    batch.extend(rules.map(|rule| (NLM_F_CREATE | NLM_F_APPEND, rule)));
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
    ask(&bytes)
}

/// Sends this, and waits until it is done.
fn ask(bytes: &[u8]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, bytes.len())?;
    socket.send(bytes, 0)?;
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
        Chain::PreRouting => "prerouting",
        Chain::Input => "input",
        Chain::Forward => "forward",
        Chain::PostRouting => "postrouting",
        Chain::Output => "output",
        Chain::Limited { is_input: true, at } => return format!("input-{at}"),
        Chain::Limited { is_input: false, at } => return format!("output-{at}"),
    };
    name.to_owned()
}

fn new_chain(chain: Chain) -> ChainMessage {
    let (hook, priority, kind) = match chain {
        Chain::PreRouting => (InetHookNumber::PreRouting, DESTINATIONS, "nat"),
        Chain::Input => (InetHookNumber::LocalIn, FILTER, "filter"),
        Chain::Forward => (InetHookNumber::Forward, FILTER, "filter"),
        Chain::PostRouting => (InetHookNumber::PostRouting, SOURCES, "nat"),
        Chain::Output => (InetHookNumber::LocalOut, FILTER, "filter"),
        // Nothing comes there by itself.
        Chain::Limited { .. } => {
            let (table, name) = (TABLE.to_owned(), name(chain));
            let attributes = vec![ChainAttribute::Table(table), ChainAttribute::Name(name)];
            return ChainMessage { attributes };
        }
    };
    let policy = if chain == Chain::Forward { libc::NF_DROP } else { libc::NF_ACCEPT };
    let attributes = vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(name(chain)),
        ChainAttribute::Hook(vec![
            Hook::Number(hook.into()),
            Hook::Priority(u32::from_ne_bytes(priority.to_ne_bytes())),
        ]),
        ChainAttribute::Policy(policy.unsigned_abs()),
        ChainAttribute::Type(kind.to_owned()),
    ];
    ChainMessage { attributes }
}

fn new_rule(rule: &Rule) -> RuleMessage {
    let mut expressions: Vec<Expressions> = rule.matches.iter().flat_map(matching).collect();
    expressions.extend(match rule.action {
        Action::Accept => vec![verdict(libc::NF_ACCEPT)],
        Action::Drop => vec![verdict(libc::NF_DROP)],
        Action::Masquerade => vec![other("masq", &[])],
        Action::Redirect(to, port) => redirect(to, port),
        Action::Go(chain) => vec![go(name(chain))],
    });
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(name(rule.chain)),
        RuleAttribute::Expressions(expressions.into_iter().map(Into::into).collect()),
    ];
    RuleMessage { attributes }
}

fn matching(one: &Match) -> Vec<Expressions> {
    use Operator::{Equal, NotEqual};
    let group = |key, operator| vec![meta(key), compare(operator, OURS.to_ne_bytes().to_vec())];
    let link = |key, name: &str| vec![meta(key), compare(Equal, padded(name))];
    match one {
        Match::Answer => {
            let mut all = connection(CT_STATE, ESTABLISHED_OR_RELATED);
            let asked = [(CT.0, Register::Reg1.into()), (CT.1, CT_DIRECTION)];
            all.extend([other("ct", &asked), compare(Equal, vec![REPLY])]);
            all
        }
        Match::Redirected => connection(CT_STATUS, REDIRECTED),
        Match::FromJails => group(MetaKey::Iifgroup, Equal),
        Match::FromOutside => group(MetaKey::Iifgroup, NotEqual),
        Match::ToOutside => group(MetaKey::Oifgroup, NotEqual),
        Match::From(name) => link(MetaKey::Iifname, name),
        Match::To(name) => link(MetaKey::Oifname, name),
        Match::Source(prefix) => within(*prefix, true),
        Match::Destination(prefix) => within(*prefix, false),
        Match::Known => connection(CT_STATE, ESTABLISHED_OR_RELATED),
        Match::Icmpv6 { first, last } => icmpv6(*first, *last),
        Match::Within(rate) => vec![limit(*rate)],
        Match::Ports(protocol, range) => ports_of(*protocol, *range),
        Match::ToHost { is_ipv4 } => {
            let mut all = of_family(match is_ipv4 {
                true => NetfilterProtoFamily::IPv4,
                false => NetfilterProtoFamily::IPv6,
            });
            let (register, result, flags) = FIB;
            let asked = [
                (register, Register::Reg1.into()),
                (result, FIB_ADDRESS_TYPE),
                (flags, FIB_OF_DESTINATION),
            ];
            all.extend([other("fib", &asked), compare(Equal, LOCAL.to_ne_bytes().to_vec())]);
            all
        }
    }
}

fn ports_of(protocol: Protocol, range: PortRange) -> Vec<Expressions> {
    use Operator::{Equal, GreatherThanEqual, LessThanEqual};
    let protocol = match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    };
    let bytes = |port: Port| port.get().to_be_bytes().to_vec();
    vec![
        meta(MetaKey::L4Proto),
        compare(Equal, vec![protocol]),
        // The destination is the second of two.
        payload(TRANSPORT_HEADER, 2, 2),
        compare(GreatherThanEqual, bytes(range.first())),
        compare(LessThanEqual, bytes(range.last())),
    ]
}

/// `NFTA_LIMIT_*`: packets in a time, as many of them at once. The first two are of 64 bits.
fn limit(rate: Rate) -> Expressions {
    let (count, unit, burst) = LIMIT;
    let wide = |kind, value: u32| DefaultNla::new(kind, u64::from(value).to_be_bytes().to_vec());
    let attributes = vec![
        wide(count, rate.count),
        wide(unit, rate.seconds),
        DefaultNla::new(burst, rate.count.to_be_bytes().to_vec()),
    ];
    Expressions::Other { expression_type: "limit".to_owned(), attributes }
}

fn icmpv6(first: u8, last: u8) -> Vec<Expressions> {
    use Operator::{Equal, GreatherThanEqual, LessThanEqual};
    vec![
        meta(MetaKey::Nfproto),
        compare(Equal, vec![NetfilterProtoFamily::IPv6.into()]),
        meta(MetaKey::L4Proto),
        compare(Equal, vec![ICMPV6]),
        payload(TRANSPORT_HEADER, 0, 1),
        compare(GreatherThanEqual, vec![first]),
        compare(LessThanEqual, vec![last]),
    ]
}

fn within(prefix: Prefix, is_source: bool) -> Vec<Expressions> {
    // RFC 791 and RFC 8200 say where the source stands; the destination is next to it.
    let (family, source, base) = match prefix.base() {
        IpAddr::V4(base) => (NetfilterProtoFamily::IPv4, 12, base.octets().to_vec()),
        IpAddr::V6(base) => (NetfilterProtoFamily::IPv6, 8, base.octets().to_vec()),
    };
    let offset = if is_source { source } else { source + width(&base) };
    let bits = usize::from(prefix.length());
    let byte = |at: usize| match bits.saturating_sub(at * 8) {
        0 => 0,
        left => u8::MAX << (8 - left.min(8)),
    };
    let mut all = of_family(family);
    all.extend([
        payload(NETWORK_HEADER, offset, width(&base)),
        mask((0..base.len()).map(byte).collect()),
        compare(Operator::Equal, base),
    ]);
    all
}

/// `NFTA_NAT_*`: the address is in the first register, the port, where it is to be another one, in the second.
fn redirect(to: IpAddr, port: Option<Port>) -> Vec<Expressions> {
    let (family, address) = match to {
        IpAddr::V4(ip) => (NetfilterProtoFamily::IPv4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (NetfilterProtoFamily::IPv6, ip.octets().to_vec()),
    };
    let (kind, of, first_address, first_port) = NAT;
    let mut asked = vec![
        (kind, NAT_OF_DESTINATION),
        (of, u8::from(family).into()),
        (first_address, Register::Reg1.into()),
    ];
    asked.extend(port.map(|_| (first_port, Register::Reg2.into())));
    let mut all = vec![load(Register::Reg1, DataAttribute::Value(address))];
    all.extend(port.map(|port| {
        let port = port.get().to_be_bytes().to_vec();
        load(Register::Reg2, DataAttribute::Value(port))
    }));
    all.push(other("nat", &asked));
    all
}

fn of_family(family: NetfilterProtoFamily) -> Vec<Expressions> {
    vec![meta(MetaKey::Nfproto), compare(Operator::Equal, vec![family.into()])]
}

/// Some of these bits are set in what is known of the connection.
fn connection(key: u32, bits: u32) -> Vec<Expressions> {
    let asked = [(CT.0, Register::Reg1.into()), (CT.1, key)];
    vec![
        other("ct", &asked),
        mask(bits.to_ne_bytes().to_vec()),
        compare(Operator::NotEqual, vec![0; 4]),
    ]
}

/// Of the length of an address or of a mask.
fn width(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
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

/// One that the library has no type for, with its numbers.
fn other(name: &str, numbers: &[(u16, u32)]) -> Expressions {
    let number = |(kind, value): &(u16, u32)| DefaultNla::new(*kind, value.to_be_bytes().to_vec());
    let attributes = numbers.iter().map(number).collect();
    Expressions::Other { expression_type: name.to_owned(), attributes }
}

fn mask(mask: Vec<u8>) -> Expressions {
    let (length, nothing) = (width(&mask), vec![0; mask.len()]);
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(length),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(nothing)),
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
    load(Register::Verdict, DataAttribute::Verdict(vec![code]))
}

/// `NFT_GOTO`: what that chain does not decide, the policy does.
fn go(chain: String) -> Expressions {
    let verdict = vec![VerdictAttribute::Code(Verdict::Goto), VerdictAttribute::Chain(chain)];
    load(Register::Verdict, DataAttribute::Verdict(verdict))
}

fn load(register: Register, data: DataAttribute) -> Expressions {
    Expressions::Immediate(vec![Immediate::DestinationRegister(register), Immediate::Data(data)])
}
