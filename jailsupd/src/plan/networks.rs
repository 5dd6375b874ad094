//! What the host's own networks are and who is in them: subnets and numbers, kept once given.
//!
//! A jail has one number in its network, and with it its address in each of the network's subnets.

use crate::unit::named_network::NamedNetwork;
use crate::unit::section::Forward;
use crate::unit::value::FromText as _;
use crate::unit::{Joined, Problem, Subnet};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first number that a jail gets: the one before it is kept for a router.
const FIRST: u32 = 2;
/// The last number: more jails no host has, and more ports no bridge (`BR_MAX_PORTS` of the kernel's `br_private.h` is 1024).
const LAST: u32 = 65_535;

/// The table of all networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: BTreeMap<String, Network>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    joined: Joined,
    /// Jails, with their numbers.
    members: BTreeMap<String, u32>,
}

impl Network {
    /// The highest number that all its subnets have an address for.
    fn last(&self) -> u32 {
        let hosts = self.joined.subnets.iter().map(|subnet| subnet.hosts());
        hosts.min().unwrap_or_default().min(LAST)
    }
}

/// A line of the stored table that means nothing, or contradicts one before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is not `network NAME SUBNETS MTU [FORWARD]`, or `jail NETWORK NAME NUMBER` with a number of its own: {text:?}"
)]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Networks {
    /// Reads what [`Networks::to_text`] wrote.
    ///
    /// # Errors
    /// For the first line that is wrong. Guessing would give one jail another's address.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut table = Self::default();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            let read = match words[..] {
                ["network", name, subnets, mtu] => table.read_network(name, subnets, mtu, "none"),
                ["network", name, subnets, mtu, forward] => {
                    table.read_network(name, subnets, mtu, forward)
                }
                ["jail", network, jail, number] => table.read_jail(network, jail, number),
                _ => None,
            };
            read.ok_or_else(|| Malformed { line: index + 1, text: line.to_owned() })?;
        }
        Ok(table)
    }

    fn read_network(&mut self, name: &str, subnets: &str, mtu: &str, forward: &str) -> Option<()> {
        let forward = Forward::from_text(forward).ok()?;
        let subnets = subnets.split(',').map(|text| Subnet::from_text(text).ok());
        let subnets = subnets.collect::<Option<Vec<Subnet>>>()?;
        let mtu = if mtu == "-" { None } else { Some(mtu.parse().ok()?) };
        let network =
            Network { joined: Joined { subnets, mtu, forward }, members: BTreeMap::new() };
        self.networks.insert(name.to_owned(), network).is_none().then_some(())
    }

    fn read_jail(&mut self, network: &str, jail: &str, number: &str) -> Option<()> {
        let number = number.parse().ok().filter(|number| (FIRST..=LAST).contains(number))?;
        let members = &mut self.networks.get_mut(network)?.members;
        let is_free = members.values().all(|other| *other != number);
        (is_free && members.insert(jail.to_owned(), number).is_none()).then_some(())
    }

    /// One line for each network, each followed by one for each jail in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, network) in &self.networks {
            let subnets: Vec<String> =
                network.joined.subnets.iter().map(Subnet::to_string).collect();
            let Joined { mtu, forward, .. } = network.joined;
            let mtu = mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
            let _ = write!(text, "network {name} {} {mtu}", subnets.join(","));
            // A jailsupd that knows no other reads it, too.
            let _ = match forward {
                Forward::None => writeln!(text),
                forward => writeln!(text, " {forward}"),
            };
            for (jail, number) in &network.members {
                let _ = writeln!(text, "jail {name} {jail} {number}");
            }
        }
        text
    }

    /// All networks by name, each as it was taken last.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Joined)> {
        self.networks.iter().map(|(name, network)| (name.as_str(), &network.joined))
    }

    /// What the network is, as it was taken last.
    #[must_use]
    pub fn get(&self, network: &str) -> Option<&Joined> {
        self.networks.get(network).map(|network| &network.joined)
    }

    /// The number of a jail in its network; none either where there is no such address any more.
    #[must_use]
    pub fn number(&self, network: &str, jail: &str) -> Option<u32> {
        let network = self.networks.get(network)?;
        network.members.get(jail).copied().filter(|number| *number <= network.last())
    }

    /// The jail that has a number.
    #[must_use]
    pub fn holder(&self, network: &str, number: u32) -> Option<&str> {
        let members = &self.networks.get(network)?.members;
        members.iter().find(|(_, other)| **other == number).map(|(jail, _)| jail.as_str())
    }

    /// What each of these networks is to be. One that is in the table keeps what it has, as far as its file leaves it the
    /// choice; a file that wants what another network or the `host` itself has is told so.
    #[must_use]
    pub fn settle(
        &self,
        files: &[NamedNetwork],
        host: &[Subnet],
        machine_id: &str,
    ) -> BTreeMap<String, Result<Joined, Problem>> {
        let mut taken = Taken { host, by: Vec::new() };
        let is_there = |name: &String| files.iter().any(|file| file.name.as_str() == name);
        // One whose file is gone stays as it is for those that are in it.
        for (name, network) in self.networks.iter().filter(|(name, _)| !is_there(name)) {
            taken.add(name, &network.joined.subnets);
        }
        let mut wanted: Vec<Wanted<'_>> =
            files.iter().map(|file| Wanted::new(file, self.get(file.name.as_str()))).collect();
        wanted.sort_by_key(|wanted| wanted.turn);
        let settled = wanted.into_iter().map(|wanted| {
            let file = wanted.file;
            let mtu = file.mtu.and_then(|mtu| u32::try_from(mtu.get()).ok());
            let subnets = taken.settle(&wanted, machine_id);
            if let Ok(subnets) = &subnets {
                taken.add(file.name.as_str(), subnets);
            }
            let joined = |subnets| Joined { subnets, mtu, forward: file.forward };
            (file.name.to_string(), subnets.map(joined))
        });
        settled.collect()
    }

    /// Takes what a network is to be.
    pub fn take(&mut self, network: &str, joined: &Joined) {
        let new = || Network { joined: joined.clone(), members: BTreeMap::new() };
        let network = self.networks.entry(network.to_owned()).or_insert_with(new);
        network.joined.clone_from(joined);
    }

    /// Takes whether there is a way out of a network, whatever else is to be of it.
    pub fn forward(&mut self, network: &str, forward: Forward) {
        if let Some(network) = self.networks.get_mut(network) {
            network.joined.forward = forward;
        }
    }

    /// Gives a jail a number in its network, the lowest that nobody has and that is not `taken`, unless it has one. None
    /// when all are given.
    pub fn allot(&mut self, network: &str, jail: &str, taken: &BTreeSet<u32>) -> Option<u32> {
        if let Some(number) = self.number(network, jail) {
            return Some(number);
        }
        let network = self.networks.get_mut(network)?;
        let last = network.last();
        let given: BTreeSet<u32> = network.members.values().copied().collect();
        let is_free = |number: &u32| !given.contains(number) && !taken.contains(number);
        let number = (FIRST..=last).find(is_free)?;
        network.members.insert(jail.to_owned(), number);
        Some(number)
    }

    /// Takes the numbers back of all jails that are not `kept` (network, jail), and forgets networks that nobody is in and
    /// that are not `named`.
    pub fn release(&mut self, named: impl Fn(&str) -> bool, kept: impl Fn(&str, &str) -> bool) {
        for (name, network) in &mut self.networks {
            network.members.retain(|jail, _| kept(name, jail));
        }
        self.networks.retain(|name, network| named(name) || !network.members.is_empty());
    }
}

/// What the file of a network asks for.
struct Wanted<'a> {
    file: &'a NamedNetwork,
    /// What it has, as far as it may keep it.
    has: Vec<Subnet>,
    /// What runs goes first, then what files say, then what is free.
    turn: u8,
}

impl<'a> Wanted<'a> {
    fn new(file: &'a NamedNetwork, former: Option<&Joined>) -> Self {
        let former = former.map_or(&[][..], |joined| &joined.subnets);
        if file.subnet.is_empty() {
            let has: Vec<Subnet> =
                former.iter().copied().filter(|own| own.is_ipv4() || file.ipv6).collect();
            let turn = if has.is_empty() { 2 } else { 0 };
            return Self { file, has, turn };
        }
        let turn = if former == file.subnet { 0 } else { 1 };
        Self { file, has: file.subnet.clone(), turn }
    }
}

/// Subnets that are somebody's.
struct Taken<'a> {
    host: &'a [Subnet],
    by: Vec<(Subnet, String)>,
}

impl Taken<'_> {
    fn add(&mut self, network: &str, subnets: &[Subnet]) {
        self.by.extend(subnets.iter().map(|subnet| (*subnet, network.to_owned())));
    }

    fn owner(&self, subnet: Subnet) -> Option<String> {
        let host = self.host.iter().find(|own| own.overlaps(subnet));
        let host = host.map(|own| format!("{own} of the host itself"));
        let other = self.by.iter().find(|(other, _)| other.overlaps(subnet));
        host.or_else(|| other.map(|(other, name)| format!("{other} of the network `{name}`")))
    }

    fn settle(&self, wanted: &Wanted<'_>, machine_id: &str) -> Result<Vec<Subnet>, Problem> {
        let file = wanted.file;
        if !file.subnet.is_empty() {
            for subnet in &wanted.has {
                if let Some(owner) = self.owner(*subnet) {
                    let message = format!("{subnet} overlaps {owner}");
                    let help = "give each its own, or leave `subnet` away: the host then chooses";
                    return Err(file.problem("subnet", message, help));
                }
            }
            return Ok(wanted.has.clone());
        }
        let mut subnets = Vec::new();
        for is_ipv4 in [true, false] {
            if !is_ipv4 && !file.ipv6 {
                continue;
            }
            let mut has = wanted.has.iter().filter(|own| own.is_ipv4() == is_ipv4);
            let kept = has.find(|own| self.owner(**own).is_none()).copied();
            let chosen = kept.or_else(|| match is_ipv4 {
                true => self.free(pool()),
                false => self.free(unique_local(machine_id, file.name.as_str())),
            });
            let none = || {
                let message = "no subnet is left that the host could choose".to_owned();
                file.problem("subnet", message, "write one that is free on your site")
            };
            subnets.push(chosen.ok_or_else(none)?);
        }
        Ok(subnets)
    }

    fn free(&self, mut of: impl Iterator<Item = Subnet>) -> Option<Subnet> {
        of.find(|subnet| self.owner(*subnet).is_none())
    }
}

/// Those that the host chooses from, of IPv4: podman's, too.
fn pool() -> impl Iterator<Item = Subnet> {
    (0..=255).filter_map(|third| Subnet::around(Ipv4Addr::new(10, 89, third, 0).into(), 24))
}

/// The same of IPv6: 40 bits are the host's, as RFC 4193 asks for, and 16 the network's.
fn unique_local(machine_id: &str, network: &str) -> impl Iterator<Item = Subnet> {
    let host = Sha256::new().chain_update("networks of ").chain_update(machine_id.trim());
    let host = host.finalize();
    let own = Sha256::digest(network);
    let first = u16::from_be_bytes([own[0], own[1]]);
    let word = move |at: usize| u16::from_be_bytes([host[at], host[at + 1]]);
    (0..=u16::MAX).filter_map(move |more| {
        let head = 0xfd00 | u16::from(host[0]);
        let id = first.wrapping_add(more);
        let address = Ipv6Addr::new(head, word(1), word(3), id, 0, 0, 0, 0);
        Subnet::around(IpAddr::V6(address), 64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::named_network;
    use proptest::prelude::*;

    fn file(name: &str, text: &str) -> NamedNetwork {
        named_network::parse(name, &format!("{name}.toml"), &format!("version = 1\n{text}"))
            .unwrap()
    }

    fn settle(table: &Networks, files: &[NamedNetwork]) -> BTreeMap<String, String> {
        let host = [Subnet::from_text("10.89.1.0/24").unwrap()];
        let settled = table.settle(files, &host, "0123");
        let show = |result: Result<Joined, Problem>| match result {
            Ok(joined) => joined.to_string(),
            Err(problem) => problem.to_string(),
        };
        settled.into_iter().map(|(name, result)| (name, show(result))).collect()
    }

    fn take_all(table: &mut Networks, files: &[NamedNetwork]) {
        for (name, joined) in table.settle(files, &[], "0123") {
            if let Ok(joined) = joined {
                table.take(&name, &joined);
            }
        }
    }

    #[test]
    fn each_network_gets_subnets_that_nobody_has() {
        let files = [
            file("a", "ipv6 = false"),
            file("b", ""),
            file("c", "ipv6 = false\nmtu = 9000"),
            file("d", "subnet = [\"10.89.0.0/24\"]"),
            file("e", "subnet = [\"10.0.0.0/8\"]"),
        ];
        let found = settle(&Networks::default(), &files);
        assert_eq!(found["d"], "10.89.0.0/24", "what a file says goes first");
        assert_eq!(found["a"], "10.89.2.0/24", "10.89.1.0/24 is the host's");
        assert!(found["b"].starts_with("10.89.3.0/24 fd"), "{}", found["b"]);
        assert_eq!(found["c"], "10.89.4.0/24 mtu 9000");
        let overlap = "10.0.0.0/8 overlaps 10.89.1.0/24 of the host itself";
        assert!(found["e"].contains(overlap), "{}", found["e"]);
    }

    #[test]
    fn what_a_network_has_it_keeps() {
        let mut table = Networks::default();
        take_all(&mut table, &[file("b", "")]);
        let before = table.get("b").unwrap().clone();
        assert_eq!(before.subnets[0].to_string(), "10.89.0.0/24");
        // One that comes before it by name, and one that wants what it has.
        let files = [file("a", ""), file("b", ""), file("c", "subnet = [\"10.89.0.0/16\"]")];
        let found = settle(&table, &files);
        assert_eq!(found["b"], before.to_string());
        assert!(found["a"].starts_with("10.89.2.0/24"), "{}", found["a"]);
        assert!(found["c"].contains("overlaps 10.89."), "{}", found["c"]);
        // Its file is gone, and it is still used; then it is not.
        table.allot("b", "web", &BTreeSet::new());
        let others = [file("c", "subnet = [\"10.89.0.0/24\"]")];
        assert!(settle(&table, &others)["c"].contains("of the network `b`"));
        table.release(|_| false, |_, _| false);
        assert_eq!(settle(&table, &others)["c"], "10.89.0.0/24");
    }

    #[test]
    fn a_small_network_is_full_when_all_its_addresses_are_given() {
        let mut table = Networks::default();
        take_all(&mut table, &[file("a", "subnet = [\"10.1.0.0/29\"]")]);
        let fixed = BTreeSet::from([3]);
        let given: Vec<Option<u32>> =
            ["a", "b", "c", "d", "e"].iter().map(|jail| table.allot("a", jail, &fixed)).collect();
        assert_eq!(given, [Some(2), Some(4), Some(5), Some(6), None]);
        assert_eq!(table.holder("a", 5), Some("c"));
        table.release(|_| true, |_, jail| jail != "b");
        assert_eq!(table.allot("a", "e", &fixed), Some(4));
        assert_eq!(table.number("a", "c"), Some(5), "nobody else has moved");
        // Smaller, without what was given: those that are left out get another one.
        take_all(&mut table, &[file("a", "subnet = [\"10.1.0.0/30\"]")]);
        assert_eq!(table.number("a", "a"), Some(2));
        assert_eq!(table.number("a", "c"), None);
        assert_eq!(table.allot("a", "c", &BTreeSet::new()), None, "2 is all there is");
    }

    #[test]
    fn a_broken_table_is_refused_with_its_line() {
        let good = "network a 10.1.0.0/24,fd00::/64 - nat\njail a web 2\n";
        assert_eq!(Networks::parse(good).unwrap().to_text(), good);
        let closed = "network a 10.1.0.0/24 1400\n";
        assert_eq!(Networks::parse(closed).unwrap().to_text(), closed);
        for (line, text) in [
            (1, "jail a web 2\n"),
            (2, "network a 10.1.0.0/24 -\njail a web 1\n"),
            (3, "network a 10.1.0.0/24 -\njail a web 2\njail a db 2\n"),
            (2, "network a 10.1.0.0/24 -\nnetwork a 10.2.0.0/24 -\n"),
            (1, "network a 10.1.0.5/24 -\n"),
            (1, "network a 10.1.0.0/24 - out\n"),
            (1, "\n"),
        ] {
            assert_eq!(Networks::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest! {
        /// Jails come and go in any order, and the table goes through its file each time.
        #[test]
        fn numbers_are_never_shared_and_stay_with_their_jails(
            steps in prop::collection::vec((any::<bool>(), 0u8..3, 0u8..20), 1..60)
        ) {
            let files = [file("n0", ""), file("n1", ""), file("n2", "subnet = [\"10.1.0.0/24\"]")];
            let mut table = Networks::default();
            take_all(&mut table, &files);
            for (comes, network, jail) in steps {
                let (network, jail) = (format!("n{network}"), format!("j{jail}"));
                let before = table.clone();
                if comes {
                    prop_assert!(table.allot(&network, &jail, &BTreeSet::new()).is_some());
                } else {
                    table.release(|_| true, |of, other| of != network || other != jail);
                }
                table = Networks::parse(&table.to_text()).unwrap();
                prop_assert_eq!(table.number(&network, &jail).is_some(), comes);
                for (name, of) in &table.networks {
                    let numbers: BTreeSet<u32> = of.members.values().copied().collect();
                    prop_assert_eq!(numbers.len(), of.members.len());
                    for (other, number) in &of.members {
                        let former = before.number(name, other);
                        prop_assert!(former.is_none_or(|former| former == *number));
                    }
                }
            }
        }
    }
}
