//! `[firewall]`: with whom a jail's connections may be.

use std::fmt;
use std::net::IpAddr;

use super::address::{Prefix, halves};
use super::name::JailName;
use super::publish::{PortRange, Protocol};
use super::tables::Tables;
use super::value::{Fault, Field, FieldPresence, FromText, FromToml, Kind, Value, shown};

/// Of one list; far beyond any use.
const MOST: usize = 64;

/// What may come and go; none is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Connections that others make to the jail.
    pub ingress: Option<Ingress>,
    /// Connections that it makes to others.
    pub egress: Option<Egress>,
}

impl Firewall {
    /// Whether everything may come and go.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// What may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress(pub Vec<Access>);

/// What may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress(pub Vec<Access>);

/// One table of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The other ends; none is anybody.
    pub peers: Option<Vec<Peer>>,
    /// The ports of the end that is connected to; none is every port and protocol.
    pub ports: Option<Vec<PortsOf>>,
    /// How many connections may be made.
    pub rate_limit: Option<Rate>,
}

/// Whom a connection is with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Everybody whose address begins like that.
    Prefix(Prefix),
    /// A jail, at whatever addresses it has.
    Jail(JailName),
}

/// Ports of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortsOf {
    /// The ports.
    pub range: PortRange,
    /// Whose.
    pub protocol: Protocol,
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how many seconds: 1, 60 or 3600.
    pub seconds: u32,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Jail(name) => write!(f, "jail:{name}"),
        }
    }
}

impl FromText for Peer {
    const KIND: Kind =
        Kind::text("prefix, or jail:name", "^(jail:[a-z0-9-]+|[0-9a-fA-F:.]+/[0-9]+)$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some(name) = text.strip_prefix("jail:") {
            return JailName::from_text(name).map(Self::Jail);
        }
        let example = "such as \"192.0.2.0/24\", \"2001:db8::1/128\" or \"jail:web\"";
        if let Ok(address) = text.parse() {
            let help = format!("write {}", shown(&Prefix::of(address).to_string()));
            return Err(Fault::new(format!("{} has no prefix length", shown(text))).help(help));
        }
        let Some((address, length)) = halves(text) else {
            let message = format!("{} is neither a prefix nor a jail", shown(text));
            return Err(Fault::new(message).help(example));
        };
        let Some(prefix) = Prefix::around(address, length) else {
            let message = format!("{} has more bits than its address", shown(text));
            let most = Prefix::of(address).length();
            return Err(Fault::new(message).help(format!("at most /{most}")));
        };
        if prefix.base() != address {
            let help = format!("write {}", shown(&prefix.to_string()));
            let message = format!("{} is an address in a prefix, not the prefix", shown(text));
            return Err(Fault::new(message).help(help));
        }
        if matches!(address, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
            let message = format!("{} is IPv4 written as IPv6", shown(text));
            return Err(Fault::new(message).help(example));
        }
        Ok(Self::Prefix(prefix))
    }
}

impl fmt::Display for PortsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.range, self.protocol)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers.as_deref().map(listed);
        let ports = self.ports.as_deref().map(listed);
        let (peers, ports) =
            (peers.as_deref().unwrap_or("anybody"), ports.as_deref().unwrap_or("every port"));
        write!(f, "{peers}: {ports}")?;
        match self.rate_limit {
            Some(rate) => write!(f, ", {rate}"),
            None => Ok(()),
        }
    }
}

fn listed(all: &[impl fmt::Display]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl FromText for PortsOf {
    const KIND: Kind = Kind::text("port[-port][/protocol]", "^[0-9]+(-[0-9]+)?(/(tcp|udp))?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let (range, protocol) = Protocol::at_end(text)?;
        Ok(Self { range: PortRange::from_text(range)?, protocol })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.seconds {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromText for Rate {
    const KIND: Kind = Kind::text("number/s, /m or /h", "^[0-9]+/[smh]$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{} is not a rate", shown(text)))
                .help("a number from 1 to 1000000 in a second, a minute or an hour, such as \"100/s\", \"20/m\" or \"5/h\"")
        };
        let (count, unit) = text.split_once('/').ok_or_else(fault)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(fault()),
        };
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_number && (1..=1_000_000).contains(count));
        Ok(Self { count: count.ok_or_else(fault)?, seconds })
    }
}

const PORT: Field = Field {
    name: "port",
    kind: &<Vec<PortsOf> as FromToml>::KIND,
    presence: FieldPresence::Unset("every protocol and port"),
    example: "[\"443\", \"8000-8010/udp\"]",
    doc: "The ports that are connected to, of TCP unless `/udp` is written.",
};
const RATE_LIMIT: Field = Field {
    name: "rate_limit",
    kind: &<Rate as FromToml>::KIND,
    presence: FieldPresence::Unset("no limit"),
    example: "\"100/s\"",
    doc: "How many connections may be made by this table in a second, a minute or an hour (`/s`, `/m`, `/h`). So many may come at once, and then as fast as that; others are dropped, whatever later tables say.",
};

static OF_INGRESS: &[Field] = &[
    Field {
        name: "from",
        kind: &<Vec<Peer> as FromToml>::KIND,
        presence: FieldPresence::Unset("anybody"),
        example: "[\"192.0.2.0/24\", \"jail:proxy\"]",
        doc: "Who may connect: addresses by their prefix, or a jail of this host by its name, at the addresses that it has at the time. A jail that there is not has none.",
    },
    PORT,
    RATE_LIMIT,
];

static OF_EGRESS: &[Field] = &[
    Field {
        name: "to",
        kind: &<Vec<Peer> as FromToml>::KIND,
        presence: FieldPresence::Unset("anybody"),
        example: "[\"10.0.0.5/32\", \"jail:db\"]",
        doc: "Whom the jail may connect to: addresses by their prefix, or a jail of this host by its name, at the addresses that it has at the time. A jail that there is not has none.",
    },
    PORT,
    RATE_LIMIT,
];

static INGRESS: Tables = Tables { header: "firewall.ingress", fields: OF_INGRESS };
static EGRESS: Tables = Tables { header: "firewall.egress", fields: OF_EGRESS };

impl FromToml for Ingress {
    const KIND: Kind = Kind::Tables(OF_INGRESS);

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        read(&INGRESS, value).map(Self)
    }

    fn show(&self) -> Option<String> {
        Some(show(&self.0, "from"))
    }
}

impl FromToml for Egress {
    const KIND: Kind = Kind::Tables(OF_EGRESS);

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        read(&EGRESS, value).map(Self)
    }

    fn show(&self) -> Option<String> {
        Some(show(&self.0, "to"))
    }
}

fn show(list: &[Access], peers: &str) -> String {
    let table = |one: &Access| {
        let keys = [
            one.peers.show().map(|value| format!("{peers} = {value}")),
            one.ports.show().map(|value| format!("port = {value}")),
            one.rate_limit.show().map(|value| format!("rate_limit = {value}")),
        ];
        let keys: Vec<String> = keys.into_iter().flatten().collect();
        if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) }
    };
    format!("[{}]", list.iter().map(table).collect::<Vec<_>>().join(", "))
}

fn read(tables: &Tables, value: &Value<'_>) -> Result<Vec<Access>, Vec<Fault>> {
    tables.read(value, |table| {
        let mut access = Access { peers: None, ports: None, rate_limit: None };
        tables.keys(table, |word, value| match word {
            "port" => some(value).map(|ports| access.ports = Some(ports)),
            "rate_limit" => Rate::from_toml(value).map(|rate| access.rate_limit = Some(rate)),
            // `from` or `to`.
            _ => some(value).map(|peers| access.peers = Some(peers)),
        })?;
        Ok(access)
    })
}

/// An empty list would be easy to take for everybody.
fn some<T: FromToml>(value: &Value<'_>) -> Result<Vec<T>, Vec<Fault>> {
    let list = Vec::<T>::from_toml(value)?;
    match list.len() {
        0 => Err(Fault::new("is empty")
            .help("take the key out for all, or the table for none")
            .alone()),
        1..=MOST => Ok(list),
        _ => Err(Fault::new("is too long").help(format!("at most {MOST} are possible")).alone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_ports_and_rates_are_read_as_they_are_shown() {
        for text in
            ["192.0.2.0/24", "10.0.0.5/32", "0.0.0.0/0", "::/0", "2001:db8::1/128", "jail:db"]
        {
            assert_eq!(Peer::from_text(text).unwrap().to_string(), text);
        }
        for (text, shown) in [("443", "443/tcp"), ("1-9/udp", "1-9/udp")] {
            assert_eq!(PortsOf::from_text(text).unwrap().to_string(), shown);
        }
        for text in ["100/s", "20/m", "5/h"] {
            assert_eq!(Rate::from_text(text).unwrap().to_string(), text);
        }
        for wrong in [
            "192.0.2.1",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "db",
            "jail:",
            "jail:Db",
            "::/129",
            "10.0.0.0/+8",
        ] {
            assert!(Peer::from_text(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "80/sctp", "9-1", "http"] {
            assert!(PortsOf::from_text(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "100", "0/s", "5/d", "+5/s", "1000001/s", "/s"] {
            assert!(Rate::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
