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
        Prefix::around(self.address, self.length).is_some_and(|subnet| subnet.contains(other))
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

/// Addresses that begin alike: from one alone up to all of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    base: IpAddr,
    length: u8,
}

impl Prefix {
    /// One address alone.
    pub const fn of(address: IpAddr) -> Self {
        Self { base: address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Those that have their first `length` bits in common with `address`; none where it has less of them.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let most = Self::of(address).length;
        let base = match address {
            IpAddr::V4(ip) => {
                let others = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V4((u32::from(ip) & !others).into())
            }
            IpAddr::V6(ip) => {
                let others = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V6((u128::from(ip) & !others).into())
            }
        };
        (length <= most).then_some(Self { base, length })
    }

    /// Its lowest address.
    pub const fn base(self) -> IpAddr {
        self.base
    }

    /// How many bits of it count.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether `address` is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::around(address, self.length) == Some(self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

/// `ADDRESS/LENGTH`.
pub(super) fn halves(text: &str) -> Option<(IpAddr, u8)> {
    let (base, length) = text.split_once('/')?;
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    Some((base.parse().ok()?, length.parse().ok().filter(|_| is_number)?))
}

/// A subnet: `"10.89.1.0/24"`, `"fd12:3456:789a:1::/64"`. It has room for two hosts at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet(Prefix);

impl Subnet {
    /// The subnet of `length` bits that `address` is in; none where that has room for less than two hosts.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let most = Prefix::of(address).length() - 2;
        Prefix::around(address, length).filter(|_| (1..=most).contains(&length)).map(Self)
    }

    /// Its addresses.
    pub const fn prefix(self) -> Prefix {
        self.0
    }

    /// Whether it is of IPv4.
    pub const fn is_ipv4(self) -> bool {
        self.0.base.is_ipv4()
    }

    /// Its lowest address.
    pub const fn base(self) -> IpAddr {
        self.0.base
    }

    /// Bits of the prefix.
    pub const fn length(self) -> u8 {
        self.0.length
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Whether some address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base()) || other.contains(self.base())
    }

    /// The highest number that [`Self::host`] has an address for.
    pub fn hosts(self) -> u32 {
        let bits = if self.is_ipv4() { 32 } else { 128 } - u32::from(self.length());
        // Of IPv4, the last one is for broadcasts.
        let last = 1_u32.checked_shl(bits).map_or(u32::MAX, |all| all - 1);
        if self.is_ipv4() { last.saturating_sub(1) } else { last }
    }

    /// The address of this number, from 1, with the subnet's length.
    pub fn host(self, number: u32) -> Option<IpPrefix> {
        let address = match self.base() {
            IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(number)?.into()),
            IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(number.into())?.into()),
        };
        IpPrefix::of_host(address, self.length())
            .filter(|_| self.contains(address) && (1..=self.hosts()).contains(&number))
    }

    /// The number of an address in it.
    pub fn number(self, address: IpAddr) -> Option<u32> {
        match (self.base(), address) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => u32::from(ip).checked_sub(u32::from(base)),
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                u32::try_from(u128::from(ip).checked_sub(u128::from(base))?).ok()
            }
            _ => None,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for Subnet {
    const KIND: Kind = Kind::text("subnet/prefix", "^[0-9a-fA-F:.]+/[0-9]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |why: &str| Fault::new(format!("{} {why}", shown(text)));
        let example = "such as \"10.89.1.0/24\" or \"fd12:3456:789a:1::/64\"";
        let Some((address, length)) = halves(text) else {
            return Err(fault("is not a subnet").help(example));
        };
        let Some(subnet) = Self::around(address, length) else {
            let help = "a prefix has 1 to 30 bits with IPv4, 1 to 126 with IPv6";
            return Err(fault("has no room for two hosts").help(help));
        };
        if subnet.base() != address {
            let help = format!("write {}", shown(&subnet.to_string()));
            return Err(fault("is an address in a subnet, not the subnet").help(help));
        }
        let bad = [
            ("224.0.0.0", 4, "is for multicasts"),
            ("127.0.0.0", 8, "is the loopback link's"),
            ("0.0.0.0", 8, "is nobody's"),
            ("169.254.0.0", 16, "is for link-local addresses"),
            ("ff00::", 8, "is for multicasts"),
            ("fe80::", 10, "is for link-local addresses"),
            ("::", 96, "is nobody's"),
            ("::ffff:0:0", 96, "is IPv4 written as IPv6"),
        ];
        for (base, length, why) in bad {
            let reserved = base.parse().ok().and_then(|base| Self::around(base, length));
            if reserved.is_some_and(|reserved| reserved.overlaps(subnet)) {
                return Err(fault(why).help(example));
            }
        }
        Ok(subnet)
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
