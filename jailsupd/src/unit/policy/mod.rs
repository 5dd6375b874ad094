//! `policy.toml`: what units may ask for on this host. Read with the same means as units.
//!
//! The host's administrator writes it; whoever writes units stays within it. It has the sections and keys of a unit
//! file: `add_capability` in `[security]` of the policy bounds `add_capability` in `[security]` of every unit.
//! What it does not say has a safe default, so a host without the file is bounded too.
//!
//! To bound one more key of units:
//!
//! 1. add a field to [`Bounds`], with a safe default, and a row to `KEYS`, under the section and the name of the
//!    unit's key;
//! 2. add a rule to `rules.rs`: a function that looks at the unit and calls `Review::refuse` for each thing that is not
//!    allowed, and its line in `RULES`. The place of the rule, what it allows and the remedy are told by `refuse`;
//! 3. put a unit that it refuses into `tests/policy/`, and run `UPDATE=1 cargo test -p jailsupd --test broken --test
//!    reference`.
//!
//! [`PathPrefix`] is there for directories of the host, [`Pattern`] for names with `*`.

mod rules;
mod seccomp;
mod sysctl;

use super::amount::{Bytes, CpuQuota};
use super::capability::Capabilities;
use super::document::{Effect, Grammar, Key, Presence, Section};
use super::hidden::Hidden;
use super::host::Pattern;
use super::keys::{Version, key};
use super::layer::Layer;
use super::prefix::PathPrefix;
use super::publish::PortRange;
use super::resources::PidsMax;
use super::section::{Forward, NetworkMode, VlanId};
use super::user::HostIds;
use super::value::{FromText as _, FromToml};
use super::{Origin, Problem, Unit};
use seccomp::SeccompBound;
use sysctl::SysctlPattern;

/// The host's policy, all layers merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    bounds: Bounds,
    origin: Origin,
}

/// What units may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    version: Option<Version>,
    /// Directories that images may be in.
    image_source: Vec<PathPrefix>,
    /// Users of the host.
    uid_map: Vec<HostIds>,
    /// Groups of the host.
    gid_map: Vec<HostIds>,
    /// Capabilities.
    add_capability: Capabilities,
    /// Device nodes, and directories of them.
    add_device: Vec<PathPrefix>,
    /// System call filters.
    seccomp: Vec<SeccompBound>,
    /// Kernel files that tell of the host.
    unmask: Vec<Hidden>,
    /// Kernel settings.
    sysctl: Vec<SysctlPattern>,
    /// Kinds of links.
    network_mode: Vec<NetworkMode>,
    /// The host's own networks.
    network_network: Vec<Pattern>,
    /// Ways out of them.
    network_forward: Vec<Forward>,
    /// Ports of the host.
    network_publish: Vec<PortRange>,
    /// Links of the host.
    network_parent: Vec<Pattern>,
    /// VLANs.
    network_vlan: Vec<VlanId>,
    /// Directories that volumes may show.
    volume_source: Vec<PathPrefix>,
    /// The highest limit of memory; none leaves it to the unit.
    memory_max: Option<Bytes>,
    /// The same of processor time.
    cpu_max: Option<CpuQuota>,
    /// The same of processes.
    pids_max: Option<PidsMax>,
}

/// Capabilities over the jail's own files, processes and ids, and over ports below 1024; IPC_LOCK and SYS_CHROOT, which
/// open calls of the filter. Inside a user namespace they reach nothing that is not the jail's own already. All others open parts of the kernel that no
/// unprivileged process gets to: packet sockets (NET_RAW), packet filters and links (NET_ADMIN), mounts and
/// much else (SYS_ADMIN), other processes' memory (SYS_PTRACE).
const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "IPC_LOCK",
    "SYS_CHROOT",
];

/// Warder's own profiles, and those that the administrator has put beside the policy.
const SECCOMP: [&str; 3] = ["strict", "default", "/etc/warder/seccomp"];

/// How the jail's own sockets, links and IPC work. Not the other settings of net.*: each new kind of them may use up
/// memory that is the host's, or is code that few have looked at.
const SYSCTLS: [&str; 9] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_*",
    "net.ipv6.bindv6only",
    "net.ipv6.conf.*",
    "kernel.*",
    "fs.mqueue.*",
];

/// Made for jails alone: what is there, a jail may own.
const SHARED: [&str; 1] = ["/data/shared"];

/// Where Warder and its administrator put images, and nothing else.
const IMAGES: [&str; 3] = ["/usr/share/jails", "/srv", "/data/images"];

impl Default for Bounds {
    fn default() -> Self {
        // Constants that a test reads back; one that could not be read would allow nothing.
        let prefixes = |paths: &[&str]| {
            paths.iter().filter_map(|path| PathPrefix::from_text(path).ok()).collect()
        };
        Self {
            version: None,
            image_source: prefixes(&IMAGES),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            add_capability: Capabilities::of(&CAPABILITIES),
            add_device: Vec::new(),
            seccomp: SECCOMP.iter().filter_map(|text| SeccompBound::from_text(text).ok()).collect(),
            sysctl: SYSCTLS.iter().filter_map(|text| SysctlPattern::from_text(text).ok()).collect(),
            unmask: Vec::new(),
            network_mode: vec![
                NetworkMode::Macvlan,
                NetworkMode::Ipvlan,
                NetworkMode::Bridge,
                NetworkMode::None,
            ],
            network_network: Pattern::from_text("*").into_iter().collect(),
            network_forward: vec![Forward::None, Forward::Nat],
            network_publish: vec![PortRange::ALL],
            network_parent: Pattern::from_text("*").into_iter().collect(),
            network_vlan: Vec::new(),
            volume_source: prefixes(&SHARED),
            memory_max: None,
            cpu_max: None,
            pids_max: None,
        }
    }
}

use Effect::Live;
use Presence::{Default as Otherwise, Required, Unset};

/// What `policy.toml` may say.
pub(crate) static POLICY: Grammar<Bounds> = Grammar {
    what: "policy.toml",
    sections: &[
        Section { name: "image", doc: "Where images may come from." },
        Section { name: "user", doc: "Ids of the host that a unit may ask for." },
        Section { name: "security", doc: "Privileges that a unit may ask for." },
        Section { name: "network", doc: "Links, networks and ports that a unit may ask for." },
        Section { name: "volume", doc: "What of the host volumes may show." },
        Section {
            name: "resources",
            doc: "Ceilings. A unit that sets no limit asks for more than any ceiling: it is refused until it sets one.",
        },
    ],
    keys: KEYS,
    not_yet: &[],
    never: &[],
};

static KEYS: &[Key<Bounds>] = &[
    key!("" "version": Option<Version> = version; Live; Required; "1";
        "Version of the file's format. Always 1 today."),
    key!("image" "source": Vec<PathPrefix> = image_source; Live; Otherwise("[\"/usr/share/jails\", \"/srv\", \"/data/images\"]"); "[\"/srv/images\"]";
        "Directories of the host that images may be in. A jail's root owns what is in its image: a unit that may name any directory of the host may read all of them."),
    key!("user" "uid_map": Vec<HostIds> = uid_map; Live; Otherwise("[]"); "[\"1000-1999\"]";
        "Users of the host that units may map users of a jail to: one, or the first and the last. Whatever such a user may do on the host with files, that jail may do with those that it gets to."),
    key!("user" "gid_map": Vec<HostIds> = gid_map; Live; Otherwise("[]"); "[\"1000-1999\"]";
        "The same of groups."),
    key!("security" "add_device": Vec<PathPrefix> = add_device; Live; Otherwise("[]"); "[\"/dev/net/tun\"]";
        "Device nodes of the host, or directories of them, that units may ask for. A driver is a part of the kernel; a disk is all that is on it."),
    key!("security" "add_capability": Capabilities = add_capability; Live; Otherwise("[\"CHOWN\", \"DAC_OVERRIDE\", \"FOWNER\", \"FSETID\", \"KILL\", \"SETGID\", \"SETUID\", \"SETPCAP\", \"NET_BIND_SERVICE\", \"IPC_LOCK\", \"SYS_CHROOT\"]"); "[\"NET_BIND_SERVICE\"]";
        "Capabilities that units may ask for. The default is those over the jail's own files, processes and ids, and over ports below 1024: inside a user namespace they reach nothing that is not the jail's own already. Each of the others opens a part of the kernel that no unprivileged process gets to."),
    key!("security" "seccomp": Vec<SeccompBound> = seccomp; Live; Otherwise("[\"strict\", \"default\", \"/etc/warder/seccomp\"]"); "[\"strict\", \"default\", \"none\"]";
        "System call filters that units may ask for: profiles by name, and directories of the host whose files may be profiles. `none` is not in the default: without a filter a jail reaches the whole kernel."),
    key!("security" "sysctl": Vec<SysctlPattern> = sysctl; Live; Otherwise("[\"net.core.somaxconn\", \"net.ipv4.ip_local_port_range\", \"net.ipv4.ip_unprivileged_port_start\", \"net.ipv4.ping_group_range\", \"net.ipv4.tcp_*\", \"net.ipv6.bindv6only\", \"net.ipv6.conf.*\", \"kernel.*\", \"fs.mqueue.*\"]"); "[\"net.*\"]";
        "Patterns for the kernel settings that units may set in their own namespaces; `*` stands for any characters. Those of the whole host are in no unit's reach, whatever stands here."),
    key!("security" "unmask": Vec<Hidden> = unmask; Live; Otherwise("[]"); "[\"/sys/dev/char\", \"/sys/devices\"]";
        "Kernel files that tell of the host, or directories of them, that units may have in sight. They are no secret that the host's safety hangs on, but of use to an attacker: `/proc/kallsyms` and `/sys/firmware`, for example, tell where the kernel's code is and what the machine is."),
    key!("network" "mode": Vec<NetworkMode> = network_mode; Live; Otherwise("[\"macvlan\", \"ipvlan\", \"bridge\", \"none\"]"); "[\"none\"]";
        "Kinds of links that units may ask for."),
    key!("network" "network": Vec<Pattern> = network_network; Live; Otherwise("[\"*\"]"); "[\"front\", \"back-*\"]";
        "Patterns for the host's own networks that jails may be in; `*` stands for any characters, `?` for one."),
    key!("network" "forward": Vec<Forward> = network_forward; Live; Otherwise("[\"none\", \"nat\"]"); "[\"none\"]";
        "What `forward` of a network may be for units to join it. With `nat` a jail speaks to others with the host's address, so to all that trust the host; with `routed`, others get to the jail."),
    key!("network" "publish": Vec<PortRange> = network_publish; Live; Otherwise("[\"1-65535\"]"); "[\"443\", \"1024-65535\"]";
        "Ports of the host that units may publish. A port that a jail has, a service of the host itself does not hear of."),
    key!("network" "parent": Vec<Pattern> = network_parent; Live; Otherwise("[\"*\"]"); "[\"uplink\"]";
        "Patterns for the links of the host that jails may sit on, as units write them (`uplink`, too); `*` stands for any characters, `?` for one."),
    key!("network" "vlan": Vec<VlanId> = network_vlan; Live; Otherwise("[]"); "[10, 20]";
        "VLANs of those links that units may ask for, by their numbers. In a network that is kept apart by VLANs, each is a door."),
    key!("volume" "source": Vec<PathPrefix> = volume_source; Live; Otherwise("[\"/data/shared\"]"); "[\"/data/shared\", \"/srv/www\"]";
        "Directories of the host that the `source` of a `[[volume]]` may be in. A jail's root owns what is there as the host's root does, so name nothing that the host or another jail lives by."),
    key!("resources" "memory_max": Option<Bytes> = memory_max; Live; Unset("no ceiling"); "\"2G\"";
        "The highest `memory_max` of a unit."),
    key!("resources" "cpu_max": Option<CpuQuota> = cpu_max; Live; Unset("no ceiling"); "\"200%\"";
        "The highest `cpu_max` of a unit."),
    key!("resources" "pids_max": Option<PidsMax> = pids_max; Live; Unset("no ceiling"); "4096";
        "The highest `pids_max` of a unit. A unit that does not set it asks for 1024."),
];

/// Reads the layers, lowest first; a key in a later one replaces the same key of an earlier one.
///
/// # Errors
/// Every problem of every layer. The caller goes on with [`Policy::default`], which is safe, then.
pub fn parse(layers: &[Layer<'_>]) -> Result<Policy, Vec<Problem>> {
    let mut bounds = Bounds::default();
    let origin = POLICY.read_layers(layers, &mut bounds, |_, _| ())?;
    Ok(Policy { bounds, origin })
}

impl Default for Policy {
    /// What holds without any file.
    fn default() -> Self {
        Self { bounds: Bounds::default(), origin: Origin::none() }
    }
}

impl Policy {
    /// Everything that `unit` asks for and this host does not allow, in the order of the rules; nothing when it may
    /// run.
    pub fn check(&self, unit: &Unit) -> Vec<Problem> {
        rules::check(self, unit)
    }
}
