//! Sockets that a jail must not open, and things of the host that are reached by a name.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process::ExitCode,
};

use crate::{Attack, Outcome, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    ("af-alg", af_alg),
    ("af-vsock", af_vsock),
    ("af-packet", af_packet),
    ("raw-icmp", raw_icmp),
    ("netlink-audit", netlink_audit),
    ("other-families", other_families),
    ("host-abstract-socket", host_abstract_socket),
    ("host-shared-memory", host_shared_memory),
];

/// A name and a key of the host's own, made by [`be_the_host`].
const ABSTRACT_NAME: &[u8] = b"warder-host";
const SHARED_MEMORY_KEY: usize = 0x5741_4c4c;

fn socket(family: i32, kind: i32, protocol: i32) -> Result<i32, String> {
    let arguments = [family, kind, protocol].map(raw::word);
    let opened = raw::call(libc::SYS_socket, &arguments);
    opened.map(|fd| i32::try_from(fd).unwrap_or(-1)).map_err(|errno| format!("socket: {errno}"))
}

/// The kernel's crypto by socket: the way to page caches of CVE-2026-class bugs, and to much code.
fn af_alg() -> Outcome {
    let fd = socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)?;
    Ok(format!("an AF_ALG socket opens: {fd}"))
}

/// The hypervisor and its other guests.
fn af_vsock() -> Outcome {
    let fd = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)?;
    Ok(format!("an AF_VSOCK socket opens: {fd}"))
}

fn af_packet() -> Outcome {
    let every_protocol = i32::from(3u16.to_be());
    let fd = socket(libc::AF_PACKET, libc::SOCK_RAW, every_protocol)?;
    Ok(format!("a packet socket opens: {fd}"))
}

fn raw_icmp() -> Outcome {
    let fd = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)?;
    Ok(format!("a raw socket opens: {fd}"))
}

fn netlink_audit() -> Outcome {
    let fd = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)?;
    Ok(format!("an audit socket opens: {fd}"))
}

/// Every family but local, IPv4, IPv6 and netlink, and packets, which are an attack of their own; by each type.
fn other_families() -> Outcome {
    let allowed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];
    let mut opened = Vec::new();
    for family in (0..64).filter(|family| !allowed.contains(family)) {
        for kind in 1..=6 {
            if socket(family, kind, 0).is_ok() {
                opened.push(format!("{family}/{kind}"));
            }
        }
    }
    if opened.is_empty() { Err("none of 59 families opens".into()) } else { Ok(opened.join(" ")) }
}

/// Abstract names belong to the network namespace; on the host's, all of its daemons would answer.
fn host_abstract_socket() -> Outcome {
    let address =
        SocketAddr::from_abstract_name(ABSTRACT_NAME).map_err(|error| error.to_string())?;
    UnixStream::connect_addr(&address).map_err(|error| format!("connect: {error}"))?;
    Ok("a socket of the host answers".into())
}

fn host_shared_memory() -> Outcome {
    let id = raw::call(libc::SYS_shmget, &[SHARED_MEMORY_KEY, 0, 0]);
    let id = id.map_err(|errno| format!("shmget: {errno}"))?;
    Ok(format!("shared memory of the host: {id}"))
}

/// On the host: listens at an abstract name, and has shared memory that anybody may use. Until it is
/// killed.
pub(crate) fn be_the_host() -> io::Result<ExitCode> {
    let address = SocketAddr::from_abstract_name(ABSTRACT_NAME)?;
    let listener = UnixListener::bind_addr(&address)?;
    let flags = raw::word(libc::IPC_CREAT | 0o666);
    raw::call(libc::SYS_shmget, &[SHARED_MEMORY_KEY, 4096, flags])
        .map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    loop {
        listener.accept()?;
    }
}
