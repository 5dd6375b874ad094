//! Files of a jail's /etc that tell it who it is and where others are: hosts(5), resolv.conf(5), machine-id(5).

use super::path_steps;
use super::steps::JailStep;
use crate::unit::{HostName, Network, RootMode, Unit};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::IpAddr;

/// A file that the host gives to a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Its name in /etc.
    pub name: &'static str,
    /// What is in it. Empty: what the image's own has, if there is one.
    pub text: String,
    /// It is made where the image has none; else only what the image has is replaced.
    pub is_asked_for: bool,
}

/// What a jail's network has told, beyond what its unit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Its addresses.
    pub address: Vec<IpAddr>,
    /// Servers that names are asked of.
    pub dns: Vec<IpAddr>,
    /// Domains in which names without dots are looked for.
    pub search: Vec<HostName>,
    /// Other jails in a network of the host's own, by name.
    pub others: Vec<(IpAddr, String)>,
}

/// All of them, in the order in which they are mounted.
#[must_use]
pub fn files(unit: &Unit, machine_id: &str, learned: &Learned) -> Vec<GivenFile> {
    let network = &unit.network;
    let mut files = vec![
        GivenFile {
            name: "machine-id",
            text: own_machine_id(machine_id, unit.name.as_str()),
            is_asked_for: false,
        },
        GivenFile {
            name: "hosts",
            text: hosts(unit, super::host_name(unit), learned),
            is_asked_for: !network.add_host.is_empty()
                || network.network.is_some() && unit.root.mode != RootMode::ReadOnly,
        },
    ];
    let is_asked_for = !network.dns.is_empty() || !network.dns_search.is_empty();
    // What may come of a lease is worth a file wherever one can be made.
    let may_come = network.asks_dhcp();
    if is_asked_for || may_come {
        files.push(GivenFile {
            name: "resolv.conf",
            text: resolv_conf(unit, learned),
            is_asked_for: is_asked_for || unit.root.mode != RootMode::ReadOnly,
        });
    }
    files
}

/// Their mounts. A unit's own volumes come after them, and may cover them.
pub(super) fn jail_steps(unit: &Unit) -> impl Iterator<Item = JailStep> {
    // Of the texts nothing is needed.
    let files = files(unit, "", &Learned::default()).into_iter().enumerate();
    files.map(|(number, file)| JailStep::MountGiven {
        target: path_steps(&format!("/etc/{}", file.name)),
        number,
        is_asked_for: file.is_asked_for,
    })
}

fn hosts(unit: &Unit, host_name: &str, learned: &Learned) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let own = unit.network.fixed().map(|address| address.address());
    let own: Vec<IpAddr> = own.chain(learned.address.iter().copied()).collect();
    let is_nowhere = own.is_empty();
    let own = own.into_iter().map(|address| (address, host_name));
    let others = unit.network.add_host.iter().map(|host| (host.address, host.name.as_str()));
    let told = learned.others.iter().map(|(address, name)| (*address, name.as_str()));
    for (address, name) in own.chain(others).chain(told) {
        let _ = writeln!(text, "{address} {name}");
    }
    if is_nowhere {
        // As Debian's installer has it: the name is to lead somewhere.
        let _ = writeln!(text, "127.0.1.1 {host_name}");
    }
    text
}

/// What the unit says goes before what the network tells.
fn resolv_conf(unit: &Unit, learned: &Learned) -> String {
    let mut text = String::new();
    let Network { dns, dns_search, .. } = &unit.network;
    for server in if dns.is_empty() { &learned.dns } else { dns } {
        let _ = writeln!(text, "nameserver {server}");
    }
    let domains = if dns_search.is_empty() { &learned.search } else { dns_search };
    let domains: Vec<&str> = domains.iter().map(HostName::as_str).collect();
    if !domains.is_empty() {
        let _ = writeln!(text, "search {}", domains.join(" "));
    }
    text
}

/// Always the same for a jail on a host, and nobody learns the host's from it (machine-id(5) asks for that). Of the form
/// of a random UUID, as `sd_id128_get_machine_app_specific(3)` makes it.
fn own_machine_id(host: &str, jail: &str) -> String {
    let mut text: String = own_uuid(host, jail).iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    text
}

/// The same in 16 bytes.
pub(super) fn own_uuid(host: &str, jail: &str) -> [u8; 16] {
    let hash = Sha256::new().chain_update("machine-id of jail ").chain_update(jail);
    let hash = hash.chain_update([0]).chain_update(host.trim()).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_the_jails_own_and_stays() {
        let id = own_machine_id("0123", "web");
        assert_eq!(id, own_machine_id("0123\n", "web"));
        assert_eq!(id.trim().len(), 32);
        assert_eq!(id.as_bytes()[12], b'4');
        assert_ne!(id, own_machine_id("0123", "db"));
        assert_ne!(id, own_machine_id("0124", "web"));
    }
}
