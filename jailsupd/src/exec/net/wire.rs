//! The packet sockets of a jail's link that the DHCP worker gets: opened here, read there.

use super::{Interface, Netlink};
use crate::plan::link::NAME;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use sys::lockdown::Instruction;

/// What the worker needs to ask for an address.
#[derive(Debug)]
pub struct Wire {
    /// Gets ARP, and what is sent to DHCP clients.
    pub packets: OwnedFd,
    /// Keeps the kernel from answering a server that nobody listens; none where something in the jail does, and where no
    /// server is asked.
    pub shield: Option<OwnedFd>,
    /// The link's number in the jail.
    pub index: u32,
}

/// The port of DHCP clients.
const CLIENT_PORT: u16 = 68;

/// Opens them in the namespace that the thread is in.
pub(super) fn open(jail: &Netlink) -> io::Result<Wire> {
    let index = link(jail)?.index;
    let packets = sys::packet::open(index, &filter())?;
    Ok(Wire { packets, shield: shield().ok(), index })
}

/// Opens what hears ARP, and nothing else, in the namespace that the thread is in.
pub(super) fn open_ear(jail: &Netlink) -> io::Result<Wire> {
    let index = link(jail)?.index;
    let packets = sys::packet::open(index, &arp_filter())?;
    Ok(Wire { packets, shield: None, index })
}

/// The jail's link.
pub(super) fn link(jail: &Netlink) -> io::Result<Interface> {
    let found = jail.links()?.into_iter().find(|link| link.name == NAME);
    found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn shield() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    // Nobody reads it: as little as possible is to wait in it.
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    Ok(socket)
}

// linux/filter.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEYOND: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF` with `SKF_AD_PROTOCOL` and `SKF_AD_VLAN_TAG`.
const PROTOCOL: u32 = 0xffff_f000;
const VLAN_TAG: u32 = 0xffff_f02c;
const ALL: u32 = 0xffff;

const fn line(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// ARP alone.
fn arp_filter() -> Vec<Instruction> {
    vec![
        // What belongs to a VLAN is on another link; a tag with the number 0 says a priority only.
        line(LOAD_WORD, VLAN_TAG, 0, 0),
        line(JUMP_IF_ANY_SET, 0x0fff, 2, 0),
        line(LOAD_WORD, PROTOCOL, 0, 0),
        line(JUMP_IF_EQUAL, 0x0806, 1, 0),
        line(RETURN, 0, 0, 0),
        line(RETURN, ALL, 0, 0),
    ]
}

/// ARP, and whole UDP datagrams of IPv4 to the port of DHCP clients: the worker gets nothing of what else the jail hears.
fn filter() -> Vec<Instruction> {
    vec![
        // What belongs to a VLAN is on another link; a tag with the number 0 says a priority only.
        line(LOAD_WORD, VLAN_TAG, 0, 0),
        line(JUMP_IF_ANY_SET, 0x0fff, 10, 0),
        line(LOAD_WORD, PROTOCOL, 0, 0),
        line(JUMP_IF_EQUAL, 0x0806, 9, 0),
        line(JUMP_IF_EQUAL, 0x0800, 0, 7),
        line(LOAD_BYTE, 9, 0, 0),
        line(JUMP_IF_EQUAL, 17, 0, 5),
        line(LOAD_HALF, 6, 0, 0),
        line(JUMP_IF_ANY_SET, 0x3fff, 3, 0),
        line(LOAD_HEADER_LENGTH, 0, 0, 0),
        line(LOAD_HALF_BEYOND, 2, 0, 0),
        line(JUMP_IF_EQUAL, CLIENT_PORT.into(), 1, 0),
        line(RETURN, 0, 0, 0),
        line(RETURN, ALL, 0, 0),
    ]
}
