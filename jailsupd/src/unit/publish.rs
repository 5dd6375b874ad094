//! Ports of the host that lead to jails.

use std::fmt;
use std::net::IpAddr;

use super::value::{Fault, FromText, Kind, plain, shown};

/// A port of the host that leads to one of a jail, or as many that lead to as many: `"8080:80"`, `"192.0.2.1:53:53/udp"`,
/// `"[2001:db8::1]:8080:80"`, `"5000-5100:5000-5100/udp"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publish {
    /// The address of the host; none is each of them.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host: PortRange,
    /// The jail's, each for the host's in the same place.
    pub jail: PortRange,
    /// Of which of the protocols the ports are.
    pub protocol: Protocol,
}

/// The number of a port, from 1.
pub type Port = std::num::NonZeroU16;

/// What has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Protocol {
    /// What is before `/tcp` or `/udp`, and which of them it is: TCP when neither is written.
    pub(super) fn at_end(text: &str) -> Result<(&str, Self), Fault> {
        match text.rsplit_once('/') {
            None => Ok((text, Self::Tcp)),
            Some((ports, "tcp")) => Ok((ports, Self::Tcp)),
            Some((ports, "udp")) => Ok((ports, Self::Udp)),
            Some((_, other)) => {
                let message = format!("{} is neither tcp nor udp", plain(other));
                Err(Fault::new(message).help("write `/tcp` or `/udp`"))
            }
        }
    }
}

impl Publish {
    /// Whether some packet would be for both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_same = self.protocol == other.protocol && self.host.overlaps(other.host);
        let (own, others) = (self.address, other.address);
        is_same && (own == others || own.is_none() || others.is_none())
    }

    /// The host's end.
    #[must_use]
    pub fn shown_host(&self) -> String {
        let Self { host, protocol, .. } = self;
        match self.address {
            None => format!("{host}/{protocol}"),
            Some(IpAddr::V4(ip)) => format!("{ip}:{host}/{protocol}"),
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{host}/{protocol}"),
        }
    }

    /// Each port of the host with that of the jail, where they are not the same: then none.
    #[must_use]
    pub fn moved(&self) -> Vec<(Port, Port)> {
        match self.host == self.jail {
            true => Vec::new(),
            false => self.host.ports().zip(self.jail.ports()).collect(),
        }
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => {}
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        write!(f, "{}:{}/{}", self.host, self.jail, self.protocol)
    }
}

/// Ports of a unit that lead to other ones, at most: the packet filter has a rule for each.
pub const MOVED_MAX: usize = 1024;
const EXAMPLE: &str = "such as \"8080:80\", the host's port first, or \"192.0.2.1:53:53/udp\"";

impl FromText for Publish {
    const KIND: Kind = Kind::text(
        "[address:]port[-port]:port[-port][/protocol]",
        "^((([0-9.]+|\\[[0-9a-fA-F:.]+\\]):)?[0-9]+(-[0-9]+)?:[0-9]+(-[0-9]+)?(/(tcp|udp))?|.*%[in%].*)$",
    );

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |why: &str| Fault::new(format!("{} {why}", shown(text))).help(EXAMPLE);
        let (ports, protocol) = Protocol::at_end(text)?;
        let Some((before, jail)) = ports.rsplit_once(':') else {
            return Err(fault("does not say which port of the host"));
        };
        let (address, host) = match before.rsplit_once(':') {
            None => (None, before),
            Some((address, host)) => (Some(address), host),
        };
        let address = match address {
            None => None,
            Some(address) => {
                let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let parsed = match inner {
                    Some(inner) => inner.parse().ok().map(IpAddr::V6),
                    None => address.parse().ok().map(IpAddr::V4),
                };
                let parsed = parsed.ok_or_else(|| {
                    let help = "an address of the host, those of IPv6 in brackets: \"[2001:db8::1]:8080:80\"";
                    Fault::new(format!("{} is not an address", plain(address))).help(help)
                })?;
                Some(usable(parsed)?)
            }
        };
        let ports = |text: &str| {
            PortRange::from_text(text).map_err(|_| {
                let message = format!("`{}` is not a port", plain(text));
                Fault::new(message)
                    .help("a number from 1 to 65535, or two for a range: \"5000-5100\"")
            })
        };
        let read = Self { address, host: ports(host)?, jail: ports(jail)?, protocol };
        let (own, of_jail) = (read.host.ports().count(), read.jail.ports().count());
        if own != of_jail {
            let message = format!("leads {own} ports of the host to {of_jail} of the jail");
            return Err(fault(&message));
        }
        Ok(read)
    }
}

/// An address that somebody outside can send to.
fn usable(address: IpAddr) -> Result<IpAddr, Fault> {
    let is_mapped = matches!(address, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    let why = match address {
        ip if ip.is_unspecified() => "is no address: without any, it is all of the host",
        ip if ip.is_loopback() => {
            "is the host's own talk with itself, which published ports are not for"
        }
        ip if ip.is_multicast() => "is a multicast address",
        _ if is_mapped => "is an IPv4 address written as IPv6",
        _ => return Ok(address),
    };
    Err(Fault::new(format!("{address} {why}")).help(EXAMPLE))
}

/// A range of ports, such as those of the host that units may publish: `"443"`, `"1024-65535"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// All there are.
    pub const ALL: Self = Self { first: Port::MIN, last: Port::MAX };

    /// One alone.
    #[must_use]
    pub const fn of(port: Port) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest.
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// Whether a port is among them.
    #[must_use]
    pub fn contains(self, port: Port) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether some port is of both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Each of them.
    pub fn ports(self) -> impl Iterator<Item = Port> {
        (self.first.get()..=self.last.get()).filter_map(Port::new)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromText for PortRange {
    const KIND: Kind = Kind::text("port or port-port", "^[0-9]+(-[0-9]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        // A number, and not "+80", which Rust reads as one.
        let port = |text: &str| text.parse::<Port>().ok().filter(|_| !text.starts_with('+'));
        match port(first).zip(port(last)) {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Fault::new(format!("{} are no ports", shown(text)))
                .help("such as \"443\" or \"1024-65535\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("8080:80", "8080:80/tcp"),
            ("53:5353/udp", "53:5353/udp"),
            ("192.0.2.1:8080:80/tcp", "192.0.2.1:8080:80/tcp"),
            ("[2001:db8::1]:1:65535", "[2001:db8::1]:1:65535/tcp"),
            ("5000-6000:5000-6000/udp", "5000-6000:5000-6000/udp"),
            ("192.0.2.1:21-22:2021-2022", "192.0.2.1:21-22:2021-2022/tcp"),
            ("1-65535:1-65535", "1-65535:1-65535/tcp"),
        ] {
            let read = Publish::from_text(text).unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(Publish::from_text(shown).unwrap(), read);
        }
        for (text, expected) in [
            ("80", "does not say which port of the host"),
            ("8080:80/sctp", "sctp is neither tcp nor udp"),
            ("8080:0", "`0` is not a port"),
            ("8080:+80", "`+80` is not a port"),
            ("8080-8090:80", "leads 11 ports of the host to 1 of the jail"),
            ("8090-8080:80", "`8090-8080` is not a port"),
            ("65536:80", "`65536` is not a port"),
            ("2001:db8::1:8080:80", "is not an address"),
            ("web:8080:80", "web is not an address"),
            (":80", "`` is not a port"),
            ("0.0.0.0:8080:80", "is no address"),
            ("[::]:8080:80", "is no address"),
            ("127.0.0.1:8080:80", "talk with itself"),
            ("[::ffff:192.0.2.1]:8080:80", "written as IPv6"),
        ] {
            let fault = Publish::from_text(text).unwrap_err();
            assert!(format!("{fault:?}").contains(expected), "{text}: {fault:?}");
        }
    }

    #[test]
    fn one_port_leads_to_one_jail() {
        let read = |text| Publish::from_text(text).unwrap();
        let all = read("8080:80");
        assert!(all.overlaps(&read("192.0.2.1:8080:8080")));
        assert!(read("[2001:db8::1]:8080:80").overlaps(&all));
        assert!(!all.overlaps(&read("8080:80/udp")) && !all.overlaps(&read("8081:80")));
        assert!(!read("192.0.2.1:8080:80").overlaps(&read("192.0.2.2:8080:80")));
        let range = read("8080-8090:80-90");
        assert!(range.overlaps(&all) && all.overlaps(&range));
        assert!(range.overlaps(&read("8090:1")) && !range.overlaps(&read("8091-9000:8091-9000")));
        let moved = range.moved();
        let ends = [moved[0], moved[10]].map(|(host, jail)| (host.get(), jail.get()));
        assert_eq!(ends, [(8080, 80), (8090, 90)]);
        assert_eq!(read("8080-8090:8080-8090").moved(), []);
    }

    #[test]
    fn a_range_holds_its_ends() {
        let range = PortRange::from_text("1024-2000").unwrap();
        let holds = |port| range.contains(Port::new(port).unwrap());
        assert!(holds(1024) && holds(2000) && !holds(1023) && !holds(2001));
        assert_eq!(PortRange::from_text("443").unwrap().to_string(), "443");
        for wrong in ["", "0-5", "2-1", "a", "+1", "1-", "-5"] {
            assert!(PortRange::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
