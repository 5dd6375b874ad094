//! Network addresses of a jail or of the host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::{Fault, FromText, Kind, plain, shown};

/// An address with the length of its subnet's prefix: `"192.0.2.10/24"`, `"2001:db8::10/64"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPrefix {
    address: IpAddr,
    length: u8,
}

impl IpPrefix {
    /// An address that a host can have, in a subnet of that many bits; none where no host can.
    pub fn of_host(address: IpAddr, length: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = Self { address, length };
        ((1..=most).contains(&length) && prefix.usable().is_ok()).then_some(prefix)
    }

    /// The host's own address, not the subnet's.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits of the prefix: 1 to 32 or 1 to 128.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether `other` is in the subnet.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.length);
                u32::from(a) >> shift == u32::from(b) >> shift
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.length);
                u128::from(a) >> shift == u128::from(b) >> shift
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromText for IpPrefix {
    const KIND: Kind = Kind::text("address/prefix", "^[0-9a-fA-F:.]+/[0-9]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let shown = shown(text);
        if text == "dhcp" {
            return Err(Fault::new(format!("{shown} is not possible here"))
                .help("give fixed addresses, such as \"192.0.2.10/24\""));
        }
        if text == "slaac" {
            return Err(Fault::new(format!("{shown} is not supported yet"))
                .help("give fixed addresses, such as \"2001:db8::10/64\""));
        }
        let Some((address, length)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(ip) => {
                    Fault::new(format!("the address {shown} has no prefix length")).help(format!(
                        "write \"{ip}/{}\", with your subnet's length",
                        if ip.is_ipv4() { 24 } else { 64 }
                    ))
                }
                Err(_) => not_an_address(text),
            });
        };
        let Ok(address) = address.parse::<IpAddr>() else { return Err(not_an_address(text)) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length.parse::<u8>() {
            Ok(n) if (1..=most).contains(&n) && !length.starts_with('+') => n,
            _ => {
                return Err(Fault::new(format!("`/{}` is not a prefix length", plain(length)))
                    .help(format!("a whole number from 1 to {most}")));
            }
        };
        let prefix = Self { address, length };
        prefix.usable()?;
        Ok(prefix)
    }
}

impl IpPrefix {
    /// Refuses what no host can have as its own address.
    fn usable(&self) -> Result<(), Fault> {
        let what = match self.address {
            a if a.is_multicast() => "a multicast address",
            a if a.is_loopback() => "a loopback address, which every jail has anyway",
            a if a.is_unspecified() => "the unspecified address",
            IpAddr::V4(a) if self.length < 31 && host_bits(a, self.length) == 0 => {
                "the subnet itself, not an address in it"
            }
            IpAddr::V4(a)
                if self.length < 31 && host_bits(a, self.length) == u32::MAX >> self.length =>
            {
                "the subnet's broadcast address"
            }
            IpAddr::V4(a) if a.is_broadcast() => "the broadcast address",
            IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => "an IPv4 address written as IPv6",
            _ => return Ok(()),
        };
        Err(Fault::new(format!("{self} is {what}"))
            .help("give one host's own address, such as \"192.0.2.10/24\""))
    }
}

/// Where a jail has an address from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The network's DHCPv4 server.
    Dhcp,
    /// The unit.
    Fixed(IpPrefix),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Fixed(address) => address.fmt(f),
        }
    }
}

impl FromText for Address {
    const KIND: Kind = Kind::text("address/prefix, or `dhcp`", "^(dhcp|[0-9a-fA-F:.]+/[0-9]+)$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            text => IpPrefix::from_text(text).map(Self::Fixed),
        }
    }
}

fn host_bits(address: Ipv4Addr, length: u8) -> u32 {
    u32::from(address) & (u32::MAX >> length)
}

fn not_an_address(text: &str) -> Fault {
    Fault::new(format!("{} is not an IP address", shown(text)))
        .help("such as \"192.0.2.10/24\" or \"2001:db8::10/64\"")
}

/// A next hop.
impl FromText for IpAddr {
    const KIND: Kind = Kind::text("IP address", "^[0-9a-fA-F:.]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<Self>() {
            Ok(ip) if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() => {
                Err(Fault::new(format!("{ip} cannot be a gateway"))
                    .help("give the address of the router on the jail's subnet"))
            }
            Ok(ip) => Ok(ip),
            Err(_) if text.contains('/') => {
                Err(Fault::new(format!("the gateway {} has a prefix length", shown(text)))
                    .help("write the address alone, such as \"192.0.2.1\""))
            }
            Err(_) => Err(Fault::new(format!("{} is not an IP address", shown(text)))
                .help("such as \"192.0.2.1\" or \"2001:db8::1\"")),
        }
    }
}

/// Whether the kernel takes `gateway` as next hop without a subnet around it.
pub(crate) fn is_link_local(gateway: IpAddr) -> bool {
    matches!(gateway, IpAddr::V6(ip) if is_fe80(ip))
}

fn is_fe80(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// An Ethernet address of one host (not multicast, not zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The octets in the order of the wire.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromText for MacAddress {
    const KIND: Kind = Kind::text("Ethernet address", "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "six pairs of hexadecimal digits, such as \"02:00:00:00:00:0a\"; leave the key out and the jail gets one derived from its name";
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        let Some(octets) = octets.and_then(|o| <[u8; 6]>::try_from(o).ok()) else {
            return Err(
                Fault::new(format!("{} is not an Ethernet address", shown(text))).help(help)
            );
        };
        if octets[0] & 1 == 1 || octets == [0; 6] {
            return Err(Fault::new(format!("{} is not the address of one host", Self(octets)))
                .help("the first pair must be even (multicast is odd), and not all pairs zero; own choices start with `02:`"));
        }
        Ok(Self(octets))
    }
}

fn octet(pair: &str) -> Option<u8> {
    (pair.len() == 2 && pair.chars().all(|c| c.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(pair, 16).ok())
        .flatten()
}
