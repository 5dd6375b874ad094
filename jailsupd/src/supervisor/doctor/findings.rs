//! Why a jail is not reached: findings from what was observed. Pure.
//!
//! In the order of the way: the jail's program, the host's link, the jail's own, its address, its routers, its firewall.
//! Only what was seen is said; what may have another reason is a suspicion.

use crate::control::wire::{Diagnosis, Finding, JailState, LinkState, Weight};
use crate::exec::net::{Neighbour, Seen, SeenAddress, SeenLink};
use crate::plan::Link;
use crate::plan::link::{Kind, NAME};
use crate::unit::IpvlanMode;
use std::net::IpAddr;

/// What was observed of a jail and of what it stands on.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) jail: String,
    pub(super) life: Life,
    /// The link that its unit asks for; none where it asks for none.
    pub(super) link: Option<Link>,
    pub(super) lower: Lower,
    /// What there is in its namespace; none when it has no link there.
    pub(super) inside: Option<Result<Seen, String>>,
    pub(super) lease: Lease,
    /// The next hops of its default routes.
    pub(super) routers: Vec<Router>,
    pub(super) firewall: Firewall,
    /// The ports that it publishes, and whether a rule leads to it by each.
    pub(super) ports: Vec<(String, bool)>,
}

/// How its program is.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) state: JailState,
    /// Some version of its unit can be used.
    pub(super) has_unit: bool,
    pub(super) is_running: bool,
    pub(super) is_frozen: bool,
    pub(super) is_stale: bool,
    pub(super) is_enabled: bool,
    /// What `jailctl ls` says of it.
    pub(super) problem: Option<String>,
}

/// What of the host its link sits on.
#[derive(Debug)]
pub(super) enum Lower {
    /// Nothing: it asks for no link.
    None,
    /// A link of this name, which the host has or not, and what it has instead.
    Parent {
        name: String,
        seen: Option<SeenLink>,
        others: String,
        /// The VLAN on it, and the host's link for that.
        vlan: Option<(u16, Option<SeenLink>)>,
        is_wireless: bool,
    },
    /// The bridge of a network, and whether that has a way out.
    Network { name: String, bridge: Option<SeenLink>, has_way_out: bool },
}

/// Its address from DHCP.
#[derive(Debug)]
pub(super) enum Lease {
    /// None is asked for.
    NotAsked,
    /// It has this one.
    Held { address: IpAddr, length: u8, server: IpAddr },
    /// It has none, to be read after "an address".
    Lacking(String),
}

/// A next hop.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) address: IpAddr,
    /// What the jail knows of it; none where that could not be asked.
    pub(super) of_jail: Option<Neighbour>,
    /// What the host knows of it on the parent.
    pub(super) of_host: Option<Neighbour>,
}

/// What its firewall lets through; none is everything.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    pub(super) ingress: Option<Vec<String>>,
    pub(super) egress: Option<Vec<String>>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    right: Vec<String>,
}

impl Report {
    fn add(&mut self, weight: Weight, texts: [&str; 2], remedy: &str) {
        let [what, evidence] = texts.map(str::to_owned);
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty()).map(str::to_owned);
        self.findings.push(Finding { weight, what, evidence, remedy });
    }

    fn wrong(&mut self, what: &str, evidence: &str, remedy: &str) {
        self.add(Weight::Wrong, [what, evidence], remedy);
    }

    fn suspect(&mut self, what: &str, evidence: &str, remedy: &str) {
        self.add(Weight::Suspected, [what, evidence], remedy);
    }

    fn note(&mut self, what: &str, evidence: &str) {
        self.add(Weight::Note, [what, evidence], "");
    }

    fn right(&mut self, what: String) {
        self.right.push(what);
    }
}

/// What follows from what was observed.
pub(super) fn diagnose(seen: &Observed) -> Diagnosis {
    let mut report = Report::default();
    life(&seen.life, &seen.jail, &mut report);
    if let Some(link) = &seen.link {
        lower(&seen.lower, &mut report);
        lease(&seen.lease, link, &mut report);
        inside(seen, link, &mut report);
        routers(seen, link, &mut report);
        firewall(&seen.firewall, &mut report);
        ports(seen, &mut report);
        who_else(seen, link, &mut report);
    } else if seen.life.has_unit {
        let evidence = "`mode` in [network] of its unit is \"none\"";
        report.wrong("it has no link", evidence, "give it one: see `jailctl explain network.mode`");
    }
    Diagnosis { jail: seen.jail.clone(), findings: report.findings, right: report.right }
}

fn life(life: &Life, jail: &str, report: &mut Report) {
    if !life.is_running {
        let state = format!("it is {}", life.state);
        let problem = life.problem.as_ref().map(|problem| format!("{state}: {problem}"));
        let start = match life.state {
            JailState::Down => format!("`jailctl start {jail}`"),
            _ => format!("`jailctl why {jail}` tells more"),
        };
        report.wrong("its program does not run", &problem.unwrap_or(state), &start);
    } else if life.is_frozen {
        let remedy = format!("`jailctl thaw {jail}`");
        report.wrong("it is frozen: nothing in it answers", "its cgroup says so", &remedy);
    } else {
        report.right("its program runs".to_owned());
    }
    if life.is_stale && life.is_running {
        report.note(
            "it runs with an older version of its unit, and what is looked at here is the one in force",
            "what it was started from differs",
        );
    }
}

fn lower(lower: &Lower, report: &mut Report) {
    match lower {
        Lower::None => {}
        Lower::Parent { name, seen: None, others, .. } => {
            let evidence = format!("the host has {others}");
            let remedy = "put the card in, or name another link: `network.parent`";
            report.wrong(&format!("its parent link {name} is not there"), &evidence, remedy);
        }
        Lower::Parent { seen: Some(parent), vlan, .. } => {
            carries("its parent link", parent, report);
            match vlan {
                None => {}
                Some((id, None)) => {
                    let what = format!("VLAN {id} of {} is not there", parent.name);
                    let evidence = "the host has no link for it";
                    report.wrong(&what, evidence, "it is made at the jail's start: restart it");
                }
                Some((id, Some(link))) => carries(&format!("its VLAN {id},"), link, report),
            }
        }
        Lower::Network { name, bridge: None, .. } => {
            let what = format!("the bridge of network {name} is not there");
            report.wrong(&what, "the host has no such link", "it is made at the jail's start");
        }
        // One without a port that is up has no carrier, and then so has the jail's link.
        Lower::Network { name, bridge: Some(bridge), .. } => match bridge.state {
            LinkState::Down => carries(&format!("the bridge of network {name},"), bridge, report),
            _ => report.right(format!("the bridge of network {name}, {}, is up", bridge.name)),
        },
    }
}

/// Whether a link of the host is of use.
fn carries(what: &str, link: &SeenLink, report: &mut Report) {
    let name = &link.name;
    match link.state {
        LinkState::Up => report.right(format!("{what} {name} is up and has a carrier")),
        LinkState::Down => {
            let evidence = "the kernel lists it without the flag UP";
            report.wrong(
                &format!("{what} {name} is down"),
                evidence,
                &format!("`ip link set {name} up` on the host, and find out who took it down"),
            );
        }
        LinkState::NoCarrier => {
            let evidence = "the kernel lists it as UP, and without LOWER_UP";
            report.wrong(
                &format!("{what} {name} has no carrier"),
                evidence,
                "look at the cable and at the switch's port, or at the virtual machine's card",
            );
        }
    }
}

fn lease(lease: &Lease, link: &Link, report: &mut Report) {
    match lease {
        Lease::NotAsked => {}
        Lease::Held { address, length, server } => {
            report.right(format!("it has {address}/{length} from the DHCP server {server}"));
        }
        Lease::Lacking(why) => {
            let what = "it has no address from DHCP";
            let filter = match link.kind {
                Kind::Macvlan { .. } => {
                    "; where a switch or a hypervisor lets only one Ethernet address through, `mode = \"ipvlan\"` helps"
                }
                Kind::Ipvlan { .. } | Kind::Veth { .. } => "",
            };
            let remedy = format!(
                "look for a DHCP server on {}, that it has addresses left, and that it hears this link{filter}",
                link.lower
            );
            report.wrong(what, &format!("an address {why}"), &remedy);
        }
    }
}

/// The jail's own link, and what is on it.
fn inside(seen: &Observed, link: &Link, report: &mut Report) {
    let there = match &seen.inside {
        Some(Ok(there)) => there,
        Some(Err(error)) => {
            report.note("its link could not be looked at", error);
            return;
        }
        // Its start makes it.
        None if !seen.life.is_running => return,
        None => {
            let remedy = "it comes with its parent link; else `jailctl restart` makes it anew";
            return report.wrong("it has no link", "jailsupd has none of it", remedy);
        }
    };
    if there.is_cut {
        let evidence = "it has more links, addresses or routes than are looked at";
        report.note("what is not found of it may be there", evidence);
    }
    let Some(own) = there.named(NAME) else {
        if there.is_cut {
            return;
        }
        let evidence = "its network namespace has no such link";
        let remedy = "a restart of the jail makes it anew";
        return report.wrong(&format!("its link {NAME} is not there"), evidence, remedy);
    };
    match own.state {
        LinkState::Up => report.right(format!("its link {NAME} is up")),
        LinkState::Down => {
            let evidence = "the kernel lists it without the flag UP";
            let remedy = "something in the jail took it down: a restart of the jail makes it anew";
            report.wrong(&format!("its link {NAME} is down"), evidence, remedy);
        }
        LinkState::NoCarrier => {
            let evidence = "the kernel lists it as UP, and without LOWER_UP";
            let remedy = "what it sits on must be up";
            report.wrong(&format!("its link {NAME} has no carrier"), evidence, remedy);
        }
    }
    addresses(seen, link, (there, own), report);
}

fn addresses(seen: &Observed, link: &Link, of: (&Seen, &SeenLink), report: &mut Report) {
    let (there, own) = of;
    let fixed = link.address.iter().map(|own| (own.address(), own.length()));
    let leased = match seen.lease {
        Lease::Held { address, length, .. } => Some((address, length)),
        Lease::NotAsked | Lease::Lacking(_) => None,
    };
    for (address, length) in fixed.chain(leased) {
        let is_it = |one: &&SeenAddress| {
            one.index == own.index && (one.address, one.length) == (address, length)
        };
        let text = format!("{address}/{length}");
        match there.addresses.iter().find(is_it) {
            None if there.is_cut => {}
            None => {
                let what = format!("{text} is not on {NAME}");
                let evidence = "the kernel does not list it there";
                let remedy =
                    "something in the jail took it away: a restart of the jail makes its link anew";
                report.wrong(&what, evidence, remedy);
            }
            Some(one) if one.is_duplicate => {
                let what = format!("somebody else on the wire has {text}");
                let evidence = "the kernel asked the link (DAD), was answered, and does not use it";
                report.wrong(&what, evidence, "give one of the two another address");
            }
            Some(one) if one.is_tentative => {
                let what = format!("{text} cannot be used yet");
                let evidence = "the kernel does not know yet whether somebody else has it (DAD)";
                report.suspect(
                    &what,
                    evidence,
                    "it is known a second after the link has a carrier",
                );
            }
            Some(_) => report.right(format!("{text} is on {NAME}")),
        }
    }
}

fn routers(seen: &Observed, link: &Link, report: &mut Report) {
    let Some(Ok(there)) = &seen.inside else { return };
    let Some(own) = there.named(NAME) else { return };
    for router in &seen.routers {
        let address = router.address;
        let leads = there.routes.iter().any(|one| {
            one.to.is_none() && one.via == Some(address) && one.index == Some(own.index)
        });
        if !leads && there.is_cut {
            continue;
        }
        if !leads {
            let what = format!("the default route by {address} is not there");
            let evidence = "the kernel does not list it in the jail";
            let remedy = "something took it away: a restart of the jail makes its link anew";
            report.wrong(&what, evidence, remedy);
            continue;
        }
        match router.of_jail.filter(|_| own.state == LinkState::Up) {
            Some(Neighbour::Answers | Neighbour::HasAnswered) => {
                report.right(format!("the router {address} has answered it"));
            }
            Some(Neighbour::Silent | Neighbour::Asked) => silent(seen, router, (link, own), report),
            Some(Neighbour::Unknown) | None => {}
        }
    }
}

/// A router that does not answer: who is to blame is guessed by who else hears of it.
fn silent(seen: &Observed, router: &Router, of: (&Link, &SeenLink), report: &mut Report) {
    let (link, own) = of;
    let address = router.address;
    let what = format!("the router {address} does not answer the jail");
    let evidence = "the jail has asked for its Ethernet address (ARP, neighbour discovery) in vain";
    let is_macvlan = matches!(link.kind, Kind::Macvlan { .. });
    let Lower::Parent { seen: Some(parent), is_wireless, .. } = &seen.lower else {
        return report.wrong(&what, evidence, "is it the address of a router, and is that up?");
    };
    report.wrong(
        &what,
        evidence,
        "is it the address of a router of this network, is that up, and is the VLAN the right one?",
    );
    let hears_host = matches!(router.of_host, Some(Neighbour::Answers | Neighbour::HasAnswered));
    let hears_nothing = own.received == 0 && own.sent > 0 && parent.received > 0;
    if !is_macvlan || parent.state != LinkState::Up || !(hears_host || hears_nothing) {
        return;
    }
    let how = match hears_host {
        true => format!("the same router answers the host itself on {}", parent.name),
        false => format!(
            "{NAME} has sent {} packets and received none, while {} has received {}",
            own.sent, parent.name, parent.received
        ),
    };
    let who = if *is_wireless {
        "the wireless network lets no other Ethernet address through than the card's"
    } else {
        "a switch (port security) or a hypervisor (MAC filter) lets only the host's Ethernet address through"
    };
    let remedy = "let it allow several addresses (forged transmits, promiscuous mode), or take what shares the \
                  host's address: `mode = \"ipvlan\"` in [network]";
    report.suspect(who, &how, remedy);
}

fn firewall(firewall: &Firewall, report: &mut Report) {
    match firewall.ingress.as_deref() {
        None => {}
        Some([]) => report.wrong(
            "its firewall lets nobody in",
            "`ingress` in [firewall] of its unit is empty",
            "list who may come in as `[[firewall.ingress]]`",
        ),
        Some(some) => {
            let lets_in = format!("it lets in: {}", some.join("; "));
            let is_pingable = some.iter().any(|one| one.contains("every port"));
            let what = match is_pingable {
                true => "its firewall lets in what its unit lists",
                false => "its firewall lets in what its unit lists, and no ping",
            };
            report.note(what, &lets_in);
        }
    }
    match firewall.egress.as_deref() {
        None => {}
        Some([]) => {
            report.note("its firewall lets it begin nothing", "`egress` of its unit is empty");
        }
        Some(some) => {
            let lets_out = format!("it lets out: {}", some.join("; "));
            report.note("its firewall lets it begin what its unit lists", &lets_out);
        }
    }
}

fn ports(seen: &Observed, report: &mut Report) {
    for (port, leads) in &seen.ports {
        if *leads {
            report.right(format!("the rule for the published port {port} is there"));
        } else if seen.life.is_enabled {
            let evidence = "the host's packet filter has no rule for it";
            let remedy = "the kernel's or jailsupd's log tells why: `jailctl logs -k`";
            report.wrong(&format!("nothing leads by the published port {port}"), evidence, remedy);
        } else {
            let what = format!("nothing leads by the published port {port}");
            let remedy = format!("`jailctl enable {}`", seen.jail);
            report.wrong(&what, "its unit says `enabled = false`", &remedy);
        }
    }
}

/// Who does not reach it although nothing is wrong.
fn who_else(seen: &Observed, link: &Link, report: &mut Report) {
    match &seen.lower {
        Lower::None => {}
        Lower::Parent { is_wireless, .. } => {
            let kind = match link.kind {
                Kind::Ipvlan { .. } => "ipvlan",
                _ => "macvlan",
            };
            let evidence = format!("with {kind} the host and its jails do not hear each other");
            report.note(
                "its own host does not reach it, wherever else it is reached from",
                &evidence,
            );
            if let Kind::Ipvlan { mode: mode @ (IpvlanMode::L3 | IpvlanMode::L3s) } = link.kind {
                let what = "others outside reach it only if they have a route to it by this host";
                let evidence = format!("with `ipvlan_mode = \"{mode}\"` it answers nobody by ARP");
                report.note(what, &evidence);
            }
            if *is_wireless && matches!(link.kind, Kind::Macvlan { .. }) {
                let what = "most wireless networks take no second Ethernet address from a card";
                let evidence = "its parent is wireless, and its link is macvlan";
                report.suspect(what, evidence, "`mode = \"ipvlan\"` in [network]");
            }
        }
        Lower::Network { name, has_way_out: false, .. } => {
            let evidence = format!("`forward` of network {name} is \"none\"");
            report.note("only jails of its network reach it", &evidence);
        }
        Lower::Network { .. } if seen.ports.is_empty() => {
            let evidence = "its unit has no `publish`";
            report.note("others outside reach it by no port of the host", evidence);
        }
        Lower::Network { .. } => {}
    }
}

#[cfg(test)]
mod tests;
