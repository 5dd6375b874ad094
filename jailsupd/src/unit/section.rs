//! The sections of a unit file as types, with their defaults. What each key means to a user is
//! told once, in `keys`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{Address, IpPrefix, MacAddress};
use super::amount::Bytes;
use super::capability::Capabilities;
use super::device::Device;
use super::exit_status::ExitStatus;
use super::hidden::{Covered, Hidden};
use super::image::ImageSource;
use super::name::{HostEntry, HostName, LinkName, NetworkName, UserSpec};
use super::path::JailPath;
use super::publish::Publish;
use super::seccomp::Seccomp;
use super::signal::Signal;
use super::sysctl::Sysctls;
use super::value::{Fault, FromText, Kind, Whole, choices, shown};

/// Makes an enum whose variants are the words a key takes.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromText for $name {
            const KIND: Kind = Kind::Choice(&[$($word),+]);

            fn from_text(text: &str) -> Result<Self, Fault> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(unknown_word(text, $what, &[$($word),+])),
                }
            }
        }
    };
}

/// Words that the design has and this version lacks: said as such, not as a slip of the pen.
const NOT_YET: [(&str, &str); 1] = [("network mode", "host")];

fn unknown_word(text: &str, what: &str, known: &[&str]) -> Fault {
    let shown = shown(text);
    let message = if NOT_YET.contains(&(what, text)) {
        format!("the {what} {shown} is not supported yet")
    } else {
        format!("{shown} is not a {what}")
    };
    Fault::new(message).help(format!("write {}", choices(known)))
}

/// `[image]`: what the jail's root is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub source: ImageSource,
    /// How long making it ready may take.
    pub timeout: Duration,
}

/// How long an import or a copy of an image may take. It is for what hangs: a large image on a slow disk is done
/// by then.
pub(crate) const IMAGE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

words! {
    /// What makes a jail ready whose program is executed: Quadlet's `Notify`.
    Notify, "kind of readiness" {
        /// Nothing more.
        None = "none",
        /// That it says so: sd_notify(3).
        Ready = "ready",
        /// That a check of its health has succeeded.
        Healthy = "healthy",
    }
}

/// `[start]`: how a jail comes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// From the execution of its program until it is ready.
    pub timeout: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(90) }
    }
}

words! {
    /// What happens to writes below the jail's `/`.
    RootMode, "root mode" {
        /// They fail.
        ReadOnly = "read-only",
        /// They last until the jail stops.
        Ephemeral = "ephemeral",
        /// They last.
        Persistent = "persistent",
    }
}

words! {
    /// Where an ephemeral root keeps its writes.
    Backing, "backing" {
        /// On the data partition.
        Disk = "disk",
        /// In memory, charged to the jail.
        Memory = "memory",
    }
}

/// `[root]`: what happens to writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Whether writes are possible.
    pub mode: RootMode,
    /// Where they go; of no meaning when read-only.
    pub backing: Backing,
    /// Most bytes that may be written to it, or that a persistent one may hold.
    pub size_max: Option<Bytes>,
}

impl Default for Root {
    fn default() -> Self {
        Self { mode: RootMode::Ephemeral, backing: Backing::Disk, size_max: None }
    }
}

/// `[process]`: the program and how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Program (absolute, in the jail) and its arguments; never empty, no NUL.
    pub exec: Vec<String>,
    /// User that it runs as.
    pub user: UserSpec,
    /// Group; none means the user's own of `/etc/passwd`, or the number of the user.
    pub group: Option<UserSpec>,
    /// Its environment, beside `PATH` and `HOME`; names have no `=` and no NUL.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub working_dir: JailPath,
    /// The most that one core dump may be; none is no core dump.
    pub core_dump: Option<Bytes>,
    /// Whether its standard streams are a terminal, which `console` attaches to.
    pub terminal: bool,
    /// How long it may run once it is ready.
    pub runtime_max: Option<Duration>,
    /// What makes it ready.
    pub notify: Notify,
    /// How long it may give no sign of life once it is ready.
    pub watchdog: Option<Duration>,
}

impl Process {
    /// Whether the program is told where it can say how it is.
    pub fn notifies(&self) -> bool {
        self.notify == Notify::Ready || self.watchdog.is_some()
    }
}

impl Default for Process {
    fn default() -> Self {
        Self {
            exec: Vec::new(),
            user: UserSpec::root(),
            group: None,
            environment: BTreeMap::new(),
            working_dir: JailPath::root(),
            core_dump: None,
            terminal: false,
            runtime_max: None,
            notify: Notify::None,
            watchdog: None,
        }
    }
}

/// `[security]`: privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Capabilities (inside the jail's user namespace); none by default.
    pub add_capability: Capabilities,
    /// Device nodes of the host, beside those that every jail has; no two of one name.
    pub add_device: Vec<Device>,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// Whether the kernel logs what it denies.
    pub seccomp_log: bool,
    /// Settings of its network and IPC namespaces.
    pub sysctl: Sysctls,
    /// What is hidden beside the kernel's.
    pub mask: Vec<Covered>,
    /// What of the kernel's is not hidden.
    pub unmask: Vec<Hidden>,
    /// What cannot be written.
    pub read_only_paths: Vec<Covered>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            add_capability: Capabilities::NONE,
            add_device: Vec::new(),
            seccomp: Seccomp::Default,
            seccomp_log: false,
            sysctl: Sysctls::default(),
            mask: Vec::new(),
            unmask: Vec::new(),
            read_only_paths: Vec::new(),
        }
    }
}

words! {
    /// How the jail is on the network.
    NetworkMode, "network mode" {
        /// With an Ethernet address of its own on the parent link.
        Macvlan = "macvlan",
        /// With addresses of its own behind the parent link's Ethernet address.
        Ipvlan = "ipvlan",
        /// In one of the host's own networks.
        Bridge = "bridge",
        /// With a loopback link only.
        None = "none",
    }
}

impl NetworkMode {
    /// Whether the jail's link sits on one of the host's.
    pub const fn has_parent(self) -> bool {
        matches!(self, Self::Macvlan | Self::Ipvlan)
    }
}

words! {
    /// Whether there is a way out of one of the host's own networks, in the sense of libvirt's `<forward>`.
    #[derive(PartialOrd, Ord)]
    Forward, "way out" {
        /// There is none.
        None = "none",
        /// With the host's address.
        Nat = "nat",
        /// With the jails' addresses, and back.
        Routed = "routed",
    }
}

words! {
    /// Whom a macvlan link exchanges frames with, beside the outside.
    MacvlanMode, "macvlan mode" {
        /// With the other bridge links on its parent, directly.
        Bridge = "bridge",
        /// With none of them.
        Private = "private",
        /// With those that a switch outside sends its frames back to.
        Vepa = "vepa",
    }
}

words! {
    /// What an ipvlan link hands to its parent.
    IpvlanMode, "ipvlan mode" {
        /// Frames: it finds its neighbours itself.
        L2 = "l2",
        /// Packets: the host routes them.
        L3 = "l3",
        /// As `l3`, through the host's packet filter.
        L3s = "l3s",
    }
}

/// Number of a VLAN (IEEE 802.1Q); 0 and 4095 are none.
pub type VlanId = Whole<1, 4094>;
/// Bytes of a packet; the least is what IPv4 demands of a link.
pub type Mtu = Whole<68, 65535>;

/// `[network]`: link and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The kind of link; with [`NetworkMode::None`] all but `hostname` and `add_host` is unset.
    pub mode: NetworkMode,
    /// The host's own network that it is in; with [`NetworkMode::Bridge`], and only then.
    pub network: Option<NetworkName>,
    /// The host's link that it sits on.
    pub parent: LinkName,
    /// A start waits until that link is there.
    pub wait_for_parent: bool,
    /// The VLAN on that link; none means untagged frames.
    pub vlan: Option<VlanId>,
    /// Of a macvlan link.
    pub macvlan_mode: MacvlanMode,
    /// Of an ipvlan link; the same for all on one parent.
    pub ipvlan_mode: IpvlanMode,
    /// The largest packet; none means the parent's. At least 1280 with an IPv6 address.
    pub mtu: Option<Mtu>,
    /// Where addresses are from; no two alike, at least one with a parent link.
    pub address: Vec<Address>,
    /// A start waits until DHCP has given an address, and others were asked for those that the unit gives.
    pub wait_for_address: bool,
    /// Next hops of the default routes; at most one of each family.
    pub gateway: Vec<IpAddr>,
    /// Ethernet address, unless it is the parent's; none means one derived from the jail's name.
    pub mac: Option<MacAddress>,
    /// Ports of the host that lead to it; no two alike.
    pub publish: Vec<Publish>,
    /// Host name in the jail; none means the jail's name.
    pub hostname: Option<HostName>,
    /// Servers that names are asked of; at most three.
    pub dns: Vec<IpAddr>,
    /// Domains in which names without dots are looked for.
    pub dns_search: Vec<HostName>,
    /// Names that need no server.
    pub add_host: Vec<HostEntry>,
}

impl Network {
    /// The addresses that the unit gives.
    pub fn fixed(&self) -> impl Iterator<Item = IpPrefix> {
        self.address.iter().filter_map(|address| match address {
            Address::Fixed(fixed) => Some(*fixed),
            Address::Dhcp => None,
        })
    }

    /// Whether a DHCP server is asked for one.
    pub fn asks_dhcp(&self) -> bool {
        self.address.contains(&Address::Dhcp)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            mode: NetworkMode::Macvlan,
            network: None,
            parent: LinkName::uplink(),
            wait_for_parent: true,
            vlan: None,
            macvlan_mode: MacvlanMode::Bridge,
            ipvlan_mode: IpvlanMode::L2,
            mtu: None,
            address: Vec::new(),
            wait_for_address: true,
            gateway: Vec::new(),
            mac: None,
            hostname: None,
            dns: Vec::new(),
            publish: Vec::new(),
            dns_search: Vec::new(),
            add_host: Vec::new(),
        }
    }
}

words! {
    /// When a jail that ended by itself is started again.
    RestartPolicy, "restart policy" {
        /// Never.
        No = "no",
        /// When its main process exited with 0.
        OnSuccess = "on-success",
        /// When it exited otherwise, was killed or could not be started.
        OnFailure = "on-failure",
        /// Whatever happened.
        Always = "always",
    }
}

/// Percent of a wait.
pub type Jitter = Whole<0, 100>;
/// How many restarts are allowed.
pub type StartLimit = Whole<1, 10_000>;

words! {
    /// What becomes of lines that cannot be stored as fast as they come, or not at all.
    OnFull, "way to deal with a full log" {
        /// The jail waits.
        Block = "block",
        /// They are dropped and counted.
        Drop = "drop",
    }
}

/// `[logs]`: what becomes of what the jail prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// The most that is kept.
    pub size_max: Bytes,
    /// None: the jail waits for jailsupd, but not for room on the disk.
    pub on_full: Option<OnFull>,
    /// The time in which at most `rate_limit_burst` lines are kept; none for no such limit.
    pub rate_limit_interval: Option<Duration>,
    /// Lines.
    pub rate_limit_burst: LineCount,
}

/// How many lines.
pub type LineCount = Whole<1, 1_000_000_000>;

impl Default for Logs {
    fn default() -> Self {
        Self {
            size_max: Bytes::new(8 << 20),
            on_full: None,
            rate_limit_interval: None,
            rate_limit_burst: LineCount::clamped(10_000),
        }
    }
}

/// `[restart]`: what follows when the jail ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When.
    pub policy: RestartPolicy,
    /// Wait before the first restart, at least 1 ms; doubled for each further one in a row.
    pub delay: Duration,
    /// Longest wait; not below `delay`.
    pub delay_max: Duration,
    /// Time up after which the count of restarts in a row starts anew.
    pub reset_after: Duration,
    /// Percent by which a wait may be shorter or longer.
    pub jitter: Jitter,
    /// Restarts within an interval after which it is not started again.
    pub start_limit_burst: Option<StartLimit>,
    /// That interval.
    pub start_limit_interval: Duration,
    /// Ends that are a success, beside exit code 0.
    pub success_exit_status: Vec<ExitStatus>,
    /// Ends after which it is not started again.
    pub prevent_exit_status: Vec<ExitStatus>,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(60),
            reset_after: Duration::from_secs(600),
            jitter: Jitter::clamped(10),
            start_limit_burst: None,
            start_limit_interval: Duration::from_secs(600),
            success_exit_status: Vec::new(),
            prevent_exit_status: Vec::new(),
        }
    }
}

words! {
    /// What follows when something is wrong with a jail that runs; the words are those of Quadlet's `HealthOnFailure`.
    #[derive(Default)]
    Reaction, "reaction" {
        /// It is only told.
        #[default]
        None = "none",
        /// Everything in it is killed; then its restart policy decides.
        Kill = "kill",
        /// It is asked to end, and started again.
        Restart = "restart",
        /// It is asked to end, and has failed.
        Stop = "stop",
    }
}

words! {
    /// How another version takes the place of the one that runs.
    #[derive(Default)]
    Strategy, "strategy" {
        /// That one is stopped, and the new one started.
        #[default]
        Restart = "restart",
        /// The new one is started beside it. It takes its place when it is good.
        StartFirst = "start-first",
    }
}

/// `[deploy]`: what makes another version of the unit a good one, and what follows when it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// How it takes the place of the one that runs.
    pub strategy: Strategy,
    /// With `StartFirst`: the addresses that it has until then; without any its loopback alone.
    pub address: Vec<IpPrefix>,
    /// The last good version comes back.
    pub rollback: bool,
    /// How long it must be healthy without a break.
    pub min_healthy_time: Duration,
    /// How long that may take to begin; longer than `min_healthy_time`.
    pub healthy_deadline: Duration,
    /// Failures in a row that end the trial before.
    pub attempts: Attempts,
}

/// How often a version may fail.
pub type Attempts = Whole<1, 1000>;

impl Default for Deploy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Restart,
            address: Vec::new(),
            rollback: true,
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(300),
            attempts: Attempts::clamped(3),
        }
    }
}

/// `[stop]`: how the jail is asked to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Sent to the main process.
    pub signal: Signal,
    /// Wait until everything in the jail is killed.
    pub timeout: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::TERM, timeout: Duration::from_secs(10) }
    }
}
