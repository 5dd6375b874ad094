//! Setting a network link up by name (netdevice(7), `SIOCSIFFLAGS`): what PID 1 needs for `lo`, without netlink.
//!
//! rustix has the ioctls for names and indexes only; nix has none.

use std::io;

use rustix::ioctl::{Opcode, Setter, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `struct ifreq` of `linux/if.h`: the name, then a union of 24 bytes of which the flags use two.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const SIOCGIFFLAGS: Opcode = 0x8913;
const SIOCSIFFLAGS: Opcode = 0x8914;
const IFF_UP: u16 = 1;

/// Sets the link called `name` up.
///
/// # Errors
/// `ENODEV` when there is no such link, `EINVAL` when the name is longer than 15 bytes, `EPERM`.
pub fn set_up(name: &str) -> io::Result<()> {
    let mut request = IfReq { name: [0; 16], flags: 0, rest: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: SIOCGIFFLAGS takes a pointer to `struct ifreq`, which `IfReq` mirrors in size and layout.
    let get = unsafe { Updater::<SIOCGIFFLAGS, IfReq>::new(&mut request) };
    // SAFETY: the kernel reads the name, which ends with a zero byte, and writes the flags.
    unsafe { ioctl(&socket, get) }?;
    request.flags |= IFF_UP;
    // SAFETY: SIOCSIFFLAGS takes a pointer to `struct ifreq`, as above.
    let set = unsafe { Setter::<SIOCSIFFLAGS, IfReq>::new(request) };
    // SAFETY: the kernel only reads the structure.
    unsafe { ioctl(&socket, set) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn structure_has_the_kernels_size() {
        assert_eq!(size_of::<super::IfReq>(), 40);
    }

    #[test]
    fn an_unknown_link_is_an_error() {
        assert!(super::set_up("no-such-link").is_err());
        assert!(super::set_up("a-name-longer-than-15").is_err());
    }
}
