//! `networks/NAME.toml`: a network of the host's own, which jails join by its name. Read with the same means as units.

use std::fmt;

use super::address::{IpPrefix, Subnet};
use super::check::network::IPV6_MTU_MIN;
use super::document::{Effect, Grammar, Key, Presence, Walk};
use super::keys::{Version, key};
use super::layer::Layer;
use super::name::NetworkName;
use super::section::{Forward, Mtu};
use super::value::{FromText as _, FromToml};
use super::{Origin, Place, Problem};

/// What the directory beside the unit files is called.
pub const DIRECTORY: &str = "networks";

/// The number, in each subnet, that is kept for a router.
pub const ROUTER: u32 = 1;

/// One network as its file asks for it.
#[derive(Clone, Debug)]
pub struct NamedNetwork {
    /// The file's stem.
    pub name: NetworkName,
    /// Its subnets, at most one of each family; none leaves them to the host.
    pub subnet: Vec<Subnet>,
    /// Whether the host is to choose a subnet of IPv6, too.
    pub ipv6: bool,
    /// Bytes of its largest packet.
    pub mtu: Option<Mtu>,
    /// Whether there is a way out of it.
    pub forward: Forward,
    /// Where each key stands.
    pub origin: Origin,
}

/// What a jail that is in a network has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its subnets: one of IPv4, one of IPv6, or both in this order.
    pub subnets: Vec<Subnet>,
    /// Bytes of its largest packet; none is an Ethernet's 1500.
    pub mtu: Option<u32>,
    /// Whether there is a way out of it.
    pub forward: Forward,
}

impl Joined {
    /// The host's own addresses in it: one in each subnet, where there is a way out.
    pub fn routers(&self) -> impl Iterator<Item = IpPrefix> + '_ {
        let subnets = self.subnets.iter().filter(|_| self.forward != Forward::None);
        subnets.filter_map(|subnet| subnet.host(ROUTER))
    }
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subnets: Vec<String> = self.subnets.iter().map(Subnet::to_string).collect();
        f.write_str(&subnets.join(" "))?;
        if self.forward != Forward::None {
            write!(f, " forward {}", self.forward)?;
        }
        self.mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))
    }
}

pub(crate) struct Draft {
    version: Option<Version>,
    subnet: Vec<Subnet>,
    ipv6: bool,
    mtu: Option<Mtu>,
    forward: Forward,
}

impl Default for Draft {
    fn default() -> Self {
        Self { version: None, subnet: Vec::new(), ipv6: true, mtu: None, forward: Forward::None }
    }
}

use Presence::{Default as Otherwise, Required, Unset};

/// What the file of a network may say.
pub(crate) static NETWORK: Grammar<Draft> =
    Grammar { what: "the file of a network", sections: &[], keys: KEYS, not_yet: &[], never: &[] };

static KEYS: &[Key<Draft>] = &[
    key!("" "version": Option<Version> = version; Effect::Restart; Required; "1";
        "Version of the file's format. Always 1 today."),
    key!("" "subnet": Vec<Subnet> = subnet; Effect::Restart; Otherwise("[]"); "[\"10.89.1.0/24\", \"fd12:3456:789a:1::/64\"]";
        "The network's subnets: one of IPv4, one of IPv6, or both. The first address of each is kept for a router. Without any, the host chooses: of IPv4 the lowest free `/24` of `10.89.0.0/16`, of IPv6 a `/64` of its own unique local prefix (RFC 4193). What it has chosen stays, across reboots, too."),
    key!("" "ipv6": bool = ipv6; Effect::Restart; Otherwise("true"); "false";
        "Whether the host chooses a subnet of IPv6, too. Where `subnet` says which there are, this has no effect, and is refused."),
    key!("" "mtu": Option<Mtu> = mtu; Effect::Restart; Unset("1500"); "9000";
        "The largest packet, in bytes: for all jails in the network. At least 1280 with IPv6."),
    key!("" "forward": Forward = forward; Effect::Restart; Otherwise("\"none\""); "\"nat\"";
        "Whether there is a way out, over the host. `none`: there is not. `nat`: to whoever the host reaches, with the host's address for a source; nobody outside reaches the jails. `routed`: both ways, with the jails' own addresses; routers outside must know that the subnets are behind the host."),
];

/// Reads the file of the network `name`.
///
/// # Errors
/// Every problem of it.
pub fn parse(name: &str, file: &str, text: &str) -> Result<NamedNetwork, Vec<Problem>> {
    let name = NetworkName::from_text(name)
        .map_err(|fault| vec![Problem::from_fault(Place::whole(file), "", fault)])?;
    let mut draft = Draft::default();
    let origin = NETWORK.read_layers(&[Layer { file, text }], &mut draft, check)?;
    let Draft { mut subnet, ipv6, mtu, forward, .. } = draft;
    subnet.sort();
    Ok(NamedNetwork { name, subnet, ipv6, mtu, forward, origin })
}

fn check(walk: &mut Walk<'_>, draft: &Draft) {
    if !walk.sound("subnet") || !walk.sound("ipv6") || !walk.sound("mtu") {
        return;
    }
    let of_ipv4 = |is_ipv4: bool| draft.subnet.iter().filter(move |one| one.is_ipv4() == is_ipv4);
    for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        if of_ipv4(is_ipv4).count() > 1 {
            let help = "keep one of them; another network is another file";
            walk.refuse("subnet", format!("has two subnets of {family}"), help);
        }
    }
    if !draft.subnet.is_empty() && walk.has("ipv6") {
        let help = "take it out, and write the subnet of IPv6 into `subnet` or leave it away";
        walk.refuse("ipv6", "has no effect beside `subnet`", help);
    }
    let has_ipv6 = of_ipv4(false).count() > 0 || draft.subnet.is_empty() && draft.ipv6;
    if has_ipv6 && draft.mtu.is_some_and(|mtu| mtu.get() < IPV6_MTU_MIN) {
        let help = format!("at least {}, or `ipv6 = false`", IPV6_MTU_MIN);
        walk.refuse("mtu", "is too little for IPv6", help);
    }
}

impl NamedNetwork {
    /// A problem that shows only beside others, at `key`'s place.
    pub fn problem(&self, key: &str, message: String, help: &str) -> Problem {
        Problem::new(self.origin.at(key), key, message).help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn subnet(text: &str) -> Subnet {
        Subnet::from_text(text).unwrap()
    }

    fn problems(text: &str) -> String {
        let found = parse("back", "back.toml", &format!("version = 1\n{text}")).unwrap_err();
        found.iter().map(|problem| problem.one_line() + "\n").collect()
    }

    #[test]
    fn a_subnet_numbers_its_hosts() {
        let (small, large) = (subnet("10.89.1.0/30"), subnet("fd00:1::/64"));
        assert_eq!(small.hosts(), 2);
        assert_eq!(small.host(1).unwrap().to_string(), "10.89.1.1/30");
        assert_eq!(small.host(3), None, "that is its broadcast address");
        assert_eq!(small.host(0), None);
        assert_eq!(large.host(258).unwrap().to_string(), "fd00:1::102/64");
        assert_eq!(large.number("fd00:1::102".parse::<IpAddr>().unwrap()), Some(258));
        assert_eq!(large.number("fd00:1::1:0:0".parse::<IpAddr>().unwrap()), None);
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.89.1.0/24")));
        assert!(!subnet("10.89.0.0/24").overlaps(subnet("10.89.1.0/24")));
        assert!(!subnet("10.89.0.0/24").overlaps(large));
    }

    #[test]
    fn a_file_says_what_is_wrong_and_where() {
        let good =
            parse("back", "back.toml", "version = 1\nsubnet = [\"fd00:1::/64\", \"10.1.0.0/16\"]");
        let names: Vec<String> = good.unwrap().subnet.iter().map(Subnet::to_string).collect();
        assert_eq!(names, ["10.1.0.0/16", "fd00:1::/64"]);
        let cases = [
            ("subnet = [\"10.1.0.5/16\"]", "write \"10.1.0.0/16\""),
            ("subnet = [\"10.1.0.0/31\"]", "no room for two hosts"),
            ("subnet = [\"127.1.0.0/16\"]", "is the loopback link's"),
            ("subnet = [\"fe80::/64\"]", "is for link-local addresses"),
            ("subnet = [\"10.1.0.0\"]", "is not a subnet"),
            ("subnet = [\"10.1.0.0/16\", \"10.2.0.0/16\"]", "two subnets of IPv4"),
            ("subnet = [\"10.1.0.0/16\"]\nipv6 = false", "has no effect beside `subnet`"),
            ("mtu = 1000", "is too little for IPv6"),
            ("subnets = []", "subnet"),
        ];
        for (text, expected) in cases {
            let found = problems(text);
            assert!(found.contains(expected), "{text}: {found}");
            assert!(found.starts_with("back.toml:"), "{found}");
        }
        assert!(parse("back", "back.toml", "version = 1\nipv6 = false\nmtu = 1000").is_ok());
        let long = parse("a-long-name-of", "a-long-name-of.toml", "version = 1").unwrap_err();
        assert!(long[0].to_string().contains("at most 12"), "{}", long[0]);
    }
}
