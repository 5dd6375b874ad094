//! Packets of a link below the kernel's own IP (packet(7)): rustix has no `sockaddr_ll`, and nix's cannot be made.

use crate::lockdown::Instruction;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// `PACKET_IGNORE_OUTGOING` of linux/if_packet.h (Linux 4.20).
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// What a packet is on the link, besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The protocol, as Ethernet numbers it.
    pub protocol: u16,
    /// The Ethernet address that it is from, or goes to.
    pub peer: [u8; 6],
}

/// A socket for what comes over the link `index` and passes `filter` (linux/filter.h), from the network header on; not
/// for what the host sends itself. The filter cannot be changed any more. Nothing waits: `EAGAIN` in its place.
///
/// # Errors
/// The errno of socket(2), setsockopt(2) or bind(2): `ENODEV` without such a link, `EPERM` without `CAP_NET_RAW`.
pub fn open(index: u32, filter: &[Instruction]) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol, so that nothing comes in before all is set.
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1)?;
    set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
    let address = address(index, Head { protocol: ALL, peer: [0; 6] })?;
    // SAFETY: `address` is a `sockaddr_ll` of the given size; the kernel only reads it.
    let result =
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_SIZE) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// `ETH_P_ALL` of linux/if_ether.h.
const ALL: u16 = 3;
#[allow(clippy::cast_possible_truncation, reason = "20 bytes")]
const ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: `value` is `size` bytes of the type that the option takes, which the kernel only reads; what a filter points
    // to lives as long as the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn address(index: u32, head: Head) -> io::Result<libc::sockaddr_ll> {
    let mut peer = [0; 8];
    peer[..6].copy_from_slice(&head.peer);
    Ok(libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or(0),
        sll_protocol: head.protocol.to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: peer,
    })
}

/// Sends a packet over the link `index`.
///
/// # Errors
/// The errno of sendto(2): `ENETDOWN` when the link is down, `ENXIO` when it is gone, `EMSGSIZE`.
pub fn send(socket: impl AsFd, index: u32, head: Head, bytes: &[u8]) -> io::Result<()> {
    let address = address(index, head)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `bytes` and `address`, each of the given size.
    let result = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const address).cast(),
            ADDRESS_SIZE,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the next packet, and says how many bytes of `room` it has; of a longer one the rest is lost.
///
/// # Errors
/// The errno of recvfrom(2): `EAGAIN` when there is none, `ENETDOWN` once when the link has gone down.
pub fn receive(socket: impl AsFd, room: &mut [u8]) -> Result<(Head, usize), Errno> {
    // SAFETY: a plain structure of integers, for which all zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut size = ADDRESS_SIZE;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `room.len()` and `size` bytes.
    let result = unsafe {
        libc::recvfrom(
            fd,
            room.as_mut_ptr().cast(),
            room.len(),
            0,
            (&raw mut address).cast(),
            &raw mut size,
        )
    };
    let Ok(length) = usize::try_from(result) else {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    };
    let mut peer = [0; 6];
    peer.copy_from_slice(&address.sll_addr[..6]);
    Ok((Head { protocol: u16::from_be(address.sll_protocol), peer }, length.min(room.len())))
}
