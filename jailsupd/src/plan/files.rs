//! Files of a jail's /etc that tell it who it is and where others are: hosts(5), resolv.conf(5), machine-id(5).

use super::path_steps;
use super::steps::JailStep;
use crate::unit::{HostName, Unit};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A file that the host gives to a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Its name in /etc.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
    /// It is made where the image has none; else only what the image has is replaced.
    pub is_asked_for: bool,
}

/// All of them, in the order in which they are mounted.
pub(super) fn files(unit: &Unit, host_name: &str, machine_id: &str) -> Vec<GivenFile> {
    let network = &unit.network;
    let mut files = vec![
        GivenFile {
            name: "machine-id",
            text: own_machine_id(machine_id, unit.name.as_str()),
            is_asked_for: false,
        },
        GivenFile {
            name: "hosts",
            text: hosts(unit, host_name),
            is_asked_for: !network.add_host.is_empty(),
        },
    ];
    if !network.dns.is_empty() || !network.dns_search.is_empty() {
        files.push(GivenFile { name: "resolv.conf", text: resolv_conf(unit), is_asked_for: true });
    }
    files
}

/// Their mounts. A unit's own volumes come after them, and may cover them.
pub(super) fn jail_steps(unit: &Unit) -> impl Iterator<Item = JailStep> {
    // Of the texts nothing is needed.
    let files = files(unit, "", "").into_iter().enumerate();
    files.map(|(number, file)| JailStep::MountGiven {
        target: path_steps(&format!("/etc/{}", file.name)),
        number,
        is_asked_for: file.is_asked_for,
    })
}

fn hosts(unit: &Unit, host_name: &str) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let own = unit.network.address.iter().map(|address| (address.address(), host_name));
    let others = unit.network.add_host.iter().map(|host| (host.address, host.name.as_str()));
    for (address, name) in own.chain(others) {
        let _ = writeln!(text, "{address} {name}");
    }
    if unit.network.address.is_empty() {
        // As Debian's installer has it: the name is to lead somewhere.
        let _ = writeln!(text, "127.0.1.1 {host_name}");
    }
    text
}

fn resolv_conf(unit: &Unit) -> String {
    let mut text = String::new();
    for server in &unit.network.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    let domains: Vec<&str> = unit.network.dns_search.iter().map(HostName::as_str).collect();
    if !domains.is_empty() {
        let _ = writeln!(text, "search {}", domains.join(" "));
    }
    text
}

/// Always the same for a jail on a host, and nobody learns the host's from it (machine-id(5) asks for that). Of the form
/// of a random UUID, as `sd_id128_get_machine_app_specific(3)` makes it.
fn own_machine_id(host: &str, jail: &str) -> String {
    let hash = Sha256::new().chain_update("machine-id of jail ").chain_update(jail);
    let hash = hash.chain_update([0]).chain_update(host.trim()).finalize();
    let mut id: Vec<u8> = hash.iter().take(16).copied().collect();
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let mut text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    text
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
