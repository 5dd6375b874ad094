//! What the keys of links and addresses must be to each other.

use std::net::IpAddr;

use super::is_void;
use crate::unit::Problem;
use crate::unit::address::{Address, IpPrefix, is_link_local};
use crate::unit::document::Walk;
use crate::unit::publish::MOVED_MAX;
use crate::unit::section::{IpvlanMode, Network, NetworkMode};

/// What a jail without a link cannot have, beside what belongs to a parent link.
const OF_A_LINK: &[&str] = &[
    "network.network",
    "network.address",
    "network.mac",
    "network.publish",
    "network.dns",
    "network.dns_search",
];
/// What belongs to a parent link, or is the network's to say: what a jail in a network of the host's own cannot have.
const OF_A_PARENT: &[&str] = &[
    "network.parent",
    "network.wait_for_parent",
    "network.vlan",
    "network.macvlan_mode",
    "network.ipvlan_mode",
    "network.mtu",
    "network.wait_for_address",
    "network.gateway",
];
/// What only a jail in a network of the host's own can have.
const OF_A_BRIDGE: &[&str] = &["network.publish"];
/// `MAXNS` of resolv.conf(5).
const DNS_SERVERS_MAX: usize = 3;
/// RFC 8200, section 5; the kernel has no IPv6 on a link with less.
pub(crate) const IPV6_MTU_MIN: u64 = 1280;

/// What every unit must say.
pub(super) fn complete(walk: &mut Walk<'_>, network: &Network) {
    if !walk.sound("network.mode") {
        return;
    }
    let needs_address = network.mode.has_parent() && network.address.is_empty();
    if needs_address && walk.sound("network.address") {
        no_address(walk);
    }
    let key = "network.network";
    let needs_network = network.mode == NetworkMode::Bridge && network.network.is_none();
    if needs_network && walk.lacks("network", key) {
        let help = "add `network = \"NAME\"` in `[network]`, with a file networks/NAME.toml beside the units";
        let place = walk.at("network.mode");
        walk.add(Problem::new(place, key, "is missing").help(help));
    }
}

/// What is said must go together. What a later file has made void is taken out of the draft.
pub(super) fn unit(walk: &mut Walk<'_>, network: &mut Network) {
    if !walk.sound("network.mode") {
        return;
    }
    let void: [&[&str]; 2] = match network.mode {
        NetworkMode::None => [OF_A_PARENT, OF_A_LINK],
        NetworkMode::Macvlan => [&["network.network", "network.ipvlan_mode"], OF_A_BRIDGE],
        NetworkMode::Ipvlan => {
            [&["network.network", "network.macvlan_mode", "network.mac"], OF_A_BRIDGE]
        }
        NetworkMode::Bridge => [OF_A_PARENT, &[]],
    };
    for key in void.into_iter().flatten() {
        if is_void(walk, key, "network.mode") {
            let message = format!("has no effect with `mode = \"{}\"`", network.mode);
            walk.refuse(key, message, "take it out, or choose another mode");
        }
    }
    narrow(network);
    if network.mode == NetworkMode::None {
        return;
    }
    if network.dns.len() > DNS_SERVERS_MAX {
        walk.refuse("network.dns", "has more than three servers", "keep the three nearest");
    }
    let fixed: Vec<IpPrefix> = network.fixed().collect();
    let has_v6 = fixed.iter().any(|address| address.address().is_ipv6());
    if has_v6 && network.mtu.is_some_and(|mtu| mtu.get() < IPV6_MTU_MIN) {
        let help = format!("at least {IPV6_MTU_MIN}, or take the IPv6 address out");
        walk.refuse("network.mtu", "is too little for the IPv6 address", help);
    }
    let twice = network.publish.iter().enumerate().find_map(|(at, one)| {
        network.publish[..at].iter().any(|other| one.overlaps(other)).then(|| one.shown_host())
    });
    if let Some(port) = twice {
        walk.refuse("network.publish", format!("{port} is there twice"), "take one of them out");
    }
    let moved: usize = network.publish.iter().map(|one| one.moved().len()).sum();
    if moved > MOVED_MAX {
        let message = format!("leads {moved} ports to other ones");
        let help =
            format!("at most {MOVED_MAX}, or to the same ones of the jail, as many as there are");
        walk.refuse("network.publish", &message, help);
    }
    dhcp(walk, network);
    // Without an address, that is what is missing; of a template, an instance may give it.
    let gateway = if network.address.is_empty() { &[][..] } else { &network.gateway };
    addresses(walk, "network", &fixed, gateway);
}

/// Takes out what has no effect.
fn narrow(network: &mut Network) {
    let none = Network::default();
    match network.mode {
        NetworkMode::None => {
            let (hostname, add_host) =
                (network.hostname.take(), std::mem::take(&mut network.add_host));
            *network = Network { mode: NetworkMode::None, hostname, add_host, ..none };
        }
        NetworkMode::Macvlan => {
            (network.network, network.ipvlan_mode) = (None, none.ipvlan_mode);
            network.publish.clear();
        }
        NetworkMode::Ipvlan => {
            (network.network, network.macvlan_mode, network.mac) =
                (None, none.macvlan_mode, none.mac);
            network.publish.clear();
        }
        NetworkMode::Bridge => {
            *network = Network {
                mode: NetworkMode::Bridge,
                network: network.network.take(),
                address: std::mem::take(&mut network.address),
                mac: network.mac,
                publish: std::mem::take(&mut network.publish),
                hostname: network.hostname.take(),
                dns: std::mem::take(&mut network.dns),
                dns_search: std::mem::take(&mut network.dns_search),
                add_host: std::mem::take(&mut network.add_host),
                ..none
            };
        }
    }
}

fn dhcp(walk: &mut Walk<'_>, network: &Network) {
    let key = "network.address";
    let times = network.address.iter().filter(|one| **one == Address::Dhcp).count();
    if times > 1 {
        walk.refuse(key, "dhcp is there twice", "take one of them out");
    }
    let has_no_broadcast =
        network.mode == NetworkMode::Ipvlan && network.ipvlan_mode != IpvlanMode::L2;
    if times > 0 && has_no_broadcast && walk.sound("network.ipvlan_mode") {
        let mode = network.ipvlan_mode;
        let message = format!("dhcp needs broadcasts, which an ipvlan link in mode {mode} has not");
        walk.refuse(key, message, "give a fixed address, or use `ipvlan_mode = \"l2\"`");
    }
    if times > 0 && network.mode == NetworkMode::Bridge {
        let message = "dhcp: a network of the host's own has no DHCP server";
        walk.refuse(key, message, "take it out: the jail is given an address without");
    }
}

fn no_address(walk: &mut Walk<'_>) {
    let key = "network.address";
    let place = match walk.has(key) {
        true => walk.at(key),
        false if walk.lacks("network", key) => walk.at("network"),
        false => return,
    };
    let message = "is missing: a jail does not get an address by itself";
    let help = "add `address = [\"192.0.2.10/24\"]` or `address = [\"dhcp\"]` in `[network]`, or `mode = \"none\"` for a jail without network";
    walk.add(Problem::new(place, key, message).help(help));
}

/// Of one link; far beyond any use.
const MOST_ADDRESSES: usize = 64;

/// Addresses and gateways of one link; `section` has the keys `address` and `gateway`.
pub(crate) fn addresses(
    walk: &mut Walk<'_>,
    section: &str,
    address: &[IpPrefix],
    gateway: &[IpAddr],
) {
    let address_key = format!("{section}.address");
    let gateway_key = format!("{section}.gateway");
    if !walk.sound(&address_key) || !walk.sound(&gateway_key) {
        return;
    }
    if address.len() > MOST_ADDRESSES {
        let help = format!("at most {MOST_ADDRESSES} are possible");
        walk.refuse(&address_key, "has too many addresses", help);
        return;
    }
    if gateway.len() > 2 {
        let help = "keep one router for IPv4 and one for IPv6";
        walk.refuse(&gateway_key, "has too many routers", help);
        return;
    }
    for (at, one) in address.iter().enumerate() {
        if address[..at].iter().any(|other| other.address() == one.address()) {
            walk.refuse(
                &address_key,
                format!("{} is there twice", one.address()),
                "take one of them out",
            );
        }
    }
    for (at, one) in gateway.iter().enumerate() {
        if gateway[..at].iter().any(|other| other.is_ipv4() == one.is_ipv4()) {
            let family = if one.is_ipv4() { "IPv4" } else { "IPv6" };
            walk.refuse(&gateway_key, format!("has two routers for {family}"), "keep one of them");
        }
        if address.iter().any(|own| own.address() == *one) {
            walk.refuse(
                &gateway_key,
                format!("{one} is the address that is routed from"),
                "give the router's address",
            );
            continue;
        }
        let near = address.iter().any(|own| own.contains(*one));
        let family = address.iter().any(|own| own.address().is_ipv4() == one.is_ipv4());
        if !family {
            let wanted = if one.is_ipv4() { "IPv4" } else { "IPv6" };
            walk.refuse(
                &gateway_key,
                format!("{one} has no address to go with: none is {wanted}"),
                format!("add an {wanted} address, or take the gateway out"),
            );
        } else if !near && !is_link_local(*one) {
            let subnets: Vec<String> = address.iter().map(ToString::to_string).collect();
            walk.refuse(
                &gateway_key,
                format!("{one} is in no subnet of `address`"),
                format!(
                    "a router must be reachable directly, in {}; check it and the prefix length",
                    subnets.join(" or ")
                ),
            );
        }
    }
}
