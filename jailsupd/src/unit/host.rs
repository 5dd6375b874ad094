//! `host.toml`: what the host itself is. Read with the same means as units.

use std::fmt;
use std::net::IpAddr;

use super::address::IpPrefix;
use super::amount::Bytes;
use super::document::{Effect, Grammar, Key, Presence, Section};
use super::keys::{Version, key};
use super::layer::Layer;
use super::name::HostName;
use super::value::{Fault, FromText, FromToml, Kind, Whole, shown};
use super::{Origin, Problem, check};

/// The host's configuration, all layers merged.
#[derive(Clone, Debug)]
pub struct Host {
    /// The host's name; none leaves the one that init has set.
    pub hostname: Option<HostName>,
    /// The link that the alias `uplink` names.
    pub uplink: Uplink,
    /// How all jails together are treated.
    pub jails: Jails,
    /// What is kept for the host itself.
    pub reserve: Reserve,
    /// Where each key stands, in the layer that decides it.
    pub origin: Origin,
}

/// How many jails may be on their way up at once.
pub type StartsMax = Whole<1, 10_000>;

/// `[jails]`: how all jails together are treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jails {
    /// How many may be on their way up at once; none means [`Jails::starts_by`] the processors.
    pub starts_max: Option<StartsMax>,
}

impl Jails {
    /// How many may be on their way up at once on a host with so many processors. More than that would not be up
    /// sooner: beyond a few for each, they only take turns.
    #[must_use]
    pub fn starts_by(&self, processors: usize) -> usize {
        let said = self.starts_max.map(|most| usize::try_from(most.get()).unwrap_or(usize::MAX));
        said.unwrap_or_else(|| processors.max(1).saturating_mul(8))
    }
}

/// `[uplink]`: which physical link it is, and the host's own addresses on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Names to look for, in order.
    pub patterns: Vec<Pattern>,
    /// The host's addresses; none is allowed.
    pub address: Vec<IpPrefix>,
    /// Next hops of the host's default routes; at most one of each family.
    pub gateway: Vec<IpAddr>,
}

/// Percent of the memory that jails have together.
pub type Overcommitted = Whole<1, 100_000>;
/// How many processes and threads.
pub type Processes = Whole<0, 4_194_304>;

/// `[reserve]`: what jails cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Memory.
    pub memory: Bytes,
    /// Processes and threads.
    pub pids: Processes,
    /// How far the limits of the jails that run may add up, of the memory that is left for jails.
    pub memory_overcommit: Option<Overcommitted>,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            memory: Bytes::new(128 << 20),
            pids: Processes::clamped(1024),
            memory_overcommit: None,
        }
    }
}

impl Default for Uplink {
    fn default() -> Self {
        let patterns = ["en*", "eth*"].map(|p| Pattern(p.to_owned())).to_vec();
        Self { patterns, address: Vec::new(), gateway: Vec::new() }
    }
}

impl Uplink {
    /// The link that is the uplink: the first pattern that matches any link decides; of several links
    /// the one that sorts first (`eth2` before `eth10`).
    pub fn choose<'a>(&self, links: &[&'a str]) -> Option<&'a str> {
        let first = |pattern: &Pattern| {
            links.iter().copied().filter(|l| pattern.matches(l)).min_by_key(|l| (l.len(), *l))
        };
        self.patterns.iter().find_map(first)
    }
}

/// A pattern for link names: `*` is any run of characters, `?` any one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether the whole `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }
}

/// Greedy with one point to come back to: linear in practice, quadratic at worst.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for Pattern {
    const KIND: Kind = Kind::text("pattern of link names", "^[^/:\\s]{1,15}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 15 || text.contains(bad) {
            return Err(Fault::new(format!("{} matches no link", shown(text)))
                .help("a link's name has 1 to 15 bytes without `/`, `:` and blanks; `*` stands for any characters, `?` for one"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[derive(Default)]
pub(crate) struct Draft {
    version: Option<Version>,
    hostname: Option<HostName>,
    uplink: Uplink,
    jails: Jails,
    reserve: Reserve,
}

use Presence::{Default as Otherwise, Required, Unset};

/// What `host.toml` may say.
pub(crate) static HOST: Grammar<Draft> = Grammar {
    what: "host.toml",
    sections: &[
        Section {
            name: "uplink",
            doc: "The host's own link to the network, which jails on `parent = \"uplink\"` share.",
        },
        Section { name: "jails", doc: "How all jails together are treated." },
        Section {
            name: "reserve",
            doc: "What is kept for the host itself, and how much its jails may be promised together.",
        },
    ],
    keys: KEYS,
    not_yet: &[],
    never: &[],
};

static KEYS: &[Key<Draft>] = &[
    key!("" "version": Option<Version> = version; Effect::Restart; Required; "1";
        "Version of the file's format. Always 1 today."),
    key!("" "hostname": Option<HostName> = hostname; Effect::Restart; Unset("the one from the kernel command line, else `warder`"); "\"rack4-12\"";
        "The host's name."),
    key!("uplink" "match": Vec<Pattern> = uplink.patterns; Effect::Restart; Otherwise("[\"en*\", \"eth*\"]"); "[\"enp1s0\"]";
        "Patterns for the name of the physical link; `*` stands for any characters, `?` for one. The first pattern that matches a link decides; of several links, the first by number."),
    key!("uplink" "address": Vec<IpPrefix> = uplink.address; Effect::Restart; Otherwise("[]"); "[\"192.0.2.2/24\"]";
        "The host's own addresses. A host needs none for its jails to be reachable."),
    key!("uplink" "gateway": Vec<IpAddr> = uplink.gateway; Effect::Restart; Otherwise("[]"); "[\"192.0.2.1\"]";
        "Routers for the host's own traffic: at most one for IPv4 and one for IPv6."),
    key!("jails" "starts_max": Option<StartsMax> = jails.starts_max; Effect::Restart; Unset("8 for each processor"); "16";
        "How many jails may be on their way up at once. The others have their turns in the order in which they were wanted. A start that takes longer than 10 seconds holds nobody up any more: it is not counted from then on."),
    key!("reserve" "memory": Bytes = reserve.memory; Effect::Restart; Otherwise("\"128M\""); "\"256M\"";
        "Memory that the jails together cannot have, whatever their limits are; at most a quarter of the host's. When they reach the rest, the kernel kills among them and leaves the host alone."),
    key!("reserve" "pids": Processes = reserve.pids; Effect::Restart; Otherwise("1024"); "4096";
        "Processes and threads that the jails together cannot have; at most a quarter of what the kernel allows (`kernel.threads-max`)."),
    key!("reserve" "memory_overcommit": Option<Overcommitted> = reserve.memory_overcommit; Effect::Restart; Unset("limits may add up to any sum"); "150";
        "How far the limits (`resources.memory_max`) of the jails that run may add up, in percent of the memory that they can have together. A jail beyond it is not started, and is tried again as after any failed start. Guarantees (`resources.memory_min`) may add up to that memory at most. Both are looked at when a jail starts, not when the unit of a running one is edited; a jail without `memory_max` counts for nothing here."),
];

/// Reads the layers, lowest first; a key in a later one replaces the same key of an earlier one.
///
/// # Errors
/// Every problem of every layer. The caller may go on with [`Host::default`] then.
pub fn parse(layers: &[Layer<'_>]) -> Result<Host, Vec<Problem>> {
    let mut draft = Draft::default();
    let origin = HOST.read_layers(layers, &mut draft, |walk, draft| {
        check::network::addresses(walk, "uplink", &draft.uplink.address, &draft.uplink.gateway);
    })?;
    let Draft { hostname, uplink, jails, reserve, .. } = draft;
    Ok(Host { hostname, uplink, jails, reserve, origin })
}

impl Default for Host {
    /// What holds without any file.
    fn default() -> Self {
        let (jails, reserve) = (Jails::default(), Reserve::default());
        Self { hostname: None, uplink: Uplink::default(), jails, reserve, origin: Origin::none() }
    }
}
