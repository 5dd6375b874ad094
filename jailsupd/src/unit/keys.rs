//! The one table of what a unit file may say. Parser, canonical form, `docs/units.md`, the
//! JSON Schema and `jailctl explain` all read this. A key stands here when it works, not before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{Address, IpPrefix, MacAddress};
use super::amount::{Bytes, CpuQuota};
use super::capability::Capabilities;
use super::command::Command;
use super::dependencies::Dependencies;
use super::device::Device;
use super::document::{Effect, Grammar, Key, Never, NotYet, Presence, Section};
use super::exit_status::ExitStatus;
use super::firewall::{Egress, Firewall, Ingress};
use super::health::{CheckCommand, Health, HttpUrl, Retries, Successes, TcpAddress};
use super::hidden::{Covered, Hidden};
use super::hooks::Hooks;
use super::image::{Digest, ImageSource};
use super::name::{HostEntry, HostName, JailName, LinkName, NetworkName, UserSpec};
use super::path::JailPath;
use super::publish::Publish;
use super::resources::{
    CpuWeight, DeviceBandwidth, DeviceIops, Hugetlb, IoWeight, Numbers, OomScore, PidsMax,
    Resources,
};
use super::seccomp::Seccomp;
use super::section::{
    Attempts, Backing, Deploy, IMAGE_TIMEOUT, IpvlanMode, Jitter, LineCount, Logs, MacvlanMode,
    Mtu, Network, NetworkMode, Notify, OnFull, Process, Reaction, Restart, RestartPolicy, Root,
    RootMode, Security, Start, StartLimit, Stop, Strategy, VlanId,
};
use super::signal::Signal;
use super::sysctl::Sysctls;
use super::ulimit::Ulimit;
use super::user::{IdCount, Mapping, User};
use super::value::{Fault, FromToml, Kind, Value, plain};
use super::volume::Volumes;

/// A unit while it is read: required parts may still be missing.
pub(crate) struct Draft {
    pub(crate) version: Option<Version>,
    pub(crate) description: Option<String>,
    pub(crate) critical: bool,
    pub(crate) enabled: bool,
    pub(crate) source: Option<ImageSource>,
    pub(crate) image_timeout: Duration,
    pub(crate) digest: Option<Digest>,
    pub(crate) root: Root,
    pub(crate) process: Process,
    pub(crate) user: User,
    pub(crate) security: Security,
    pub(crate) network: Network,
    pub(crate) firewall: Firewall,
    pub(crate) resources: Resources,
    pub(crate) dependencies: Dependencies,
    pub(crate) restart: Restart,
    pub(crate) start: Start,
    pub(crate) health: Health,
    pub(crate) deploy: Deploy,
    pub(crate) stop: Stop,
    pub(crate) hooks: Hooks,
    pub(crate) logs: Logs,
    pub(crate) volumes: Volumes,
}

impl std::default::Default for Draft {
    fn default() -> Self {
        Self {
            version: None,
            description: None,
            critical: false,
            enabled: true,
            source: None,
            image_timeout: IMAGE_TIMEOUT,
            digest: None,
            root: Root::default(),
            process: Process::default(),
            user: User::default(),
            security: Security::default(),
            network: Network::default(),
            firewall: Firewall::default(),
            resources: Resources::default(),
            dependencies: Dependencies::default(),
            restart: Restart::default(),
            start: Start::default(),
            health: Health::default(),
            deploy: Deploy::default(),
            stop: Stop::default(),
            hooks: Hooks::default(),
            logs: Logs::default(),
            volumes: Volumes::default(),
        }
    }
}

/// The version of a file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u32);

impl FromToml for Version {
    const KIND: Kind = Kind::Integer { min: 1, max: 1 };

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let integer =
            value.get_ref().as_integer().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        match super::value::number(integer) {
            Some(1_u32) => Ok(Self(1)),
            _ => Err(Fault::new(format!(
                "this Warder does not read version {}",
                plain(&integer.to_string())
            ))
            .help("write `version = 1`, or update Warder")
            .alone()),
        }
    }

    /// Not part of the canonical form: another spelling of the same unit restarts nothing.
    fn show(&self) -> Option<String> {
        None
    }
}

/// One row of the table.
macro_rules! key {
    ($section:literal $name:literal: $type:ty = $($field:ident).+; $effect:expr; $presence:expr; $example:literal; $doc:literal) => {
        key!(@ $section $name, $type, $($field).+, FromToml::from_toml; $effect; $presence; $example; $doc)
    };
    (@ $section:literal $name:literal, $type:ty, $($field:ident).+, $read:expr; $effect:expr; $presence:expr; $example:literal; $doc:literal) => {
        key!(= $section $name, $type, $($field).+; $effect; $presence; $example; $doc; |draft, value| {
            draft.$($field).+ = $read(value)?;
            Ok(())
        })
    };
    // A table of free names: what a later file says is added.
    (+ $section:literal $name:literal: $type:ty = $($field:ident).+; $effect:expr; $presence:expr; $example:literal; $doc:literal) => {
        key!(= $section $name, $type, $($field).+; $effect; $presence; $example; $doc; |draft, value| {
            draft.$($field).+.extend(<$type as FromToml>::from_toml(value)?);
            Ok(())
        })
    };
    (= $section:literal $name:literal, $type:ty, $($field:ident).+; $effect:expr; $presence:expr; $example:literal; $doc:literal; $read:expr) => {
        Key {
            section: $section,
            name: $name,
            kind: <$type as FromToml>::KIND,
            effect: $effect,
            presence: $presence,
            example: $example,
            doc: $doc,
            read: $read,
            show: |draft| <$type as FromToml>::show(&draft.$($field).+),
        }
    };
}
pub(crate) use key;

use Effect::{Live, Restart as Anew};
use Presence::{Default, Required, Unset};

/// What a unit file may say.
pub(crate) static UNIT: Grammar<Draft> =
    Grammar { what: "a unit file", sections: SECTIONS, keys: KEYS, not_yet: NOT_YET, never: NEVER };

static SECTIONS: &[Section] = &[
    Section {
        name: "image",
        doc: "What the jail's root is made from. Images are never written to.",
    },
    Section { name: "root", doc: "What happens when the jail writes below its `/`." },
    Section { name: "process", doc: "The program, and how it is run." },
    Section {
        name: "user",
        doc: "Which users and groups of the host the jail's are. Each jail has ids that no other has, given when its unit is first seen and kept over restarts and reboots; owners of files are mapped, never changed.",
    },
    Section {
        name: "security",
        doc: "Privileges. By default a jail has none: no capability, no new privileges, and its root is an unprivileged user of the host.",
    },
    Section {
        name: "network",
        doc: "The jail's link, its addresses and names, and the ports of the host that lead to it.",
    },
    Section {
        name: "firewall",
        doc: "Whose connections reach the jail, and whom its own reach ([network.md](network.md#a-firewall-of-each-jail)). A list that is there lets through what one of its tables says, and what belongs to connections that were let through; the rest is dropped. A list replaces that of the file below it.",
    },
    Section {
        name: "resources",
        doc: "Limits, kept by the kernel for all processes of the jail together.",
    },
    Section {
        name: "dependencies",
        doc: "Other jails that this one needs, or comes before or after, by their names (an instance `NAME@I` is called `NAME-I`). A jail that waits is *waiting*, and `jailctl why` says for what; it starts by itself as soon as that is ready, also when somebody had to mend it first. A jail is ready as soon as its program is executed, unless its unit says otherwise. Jails that end together end in the reverse order. Circles are refused.",
    },
    Section { name: "start", doc: "How the jail comes up." },
    Section {
        name: "health",
        doc: "Checks whether the jail does what it is there for. Exactly one of `exec`, `http` and `tcp` says how. A check is made in the jail, as the program's user and with the program's walls, so it reaches what the program reaches; the next one waits until it has ended. A frozen jail is not checked.",
    },
    Section { name: "restart", doc: "What follows when the jail ends by itself." },
    Section {
        name: "deploy",
        doc: "What makes another version of the unit, or of its image, a good one, and what follows when it is not (`docs/deploy.md`). A version is on trial from its first start until it has been healthy for a while; where the jail has checks, they say what healthy is, else that it is up.",
    },
    Section { name: "stop", doc: "How the jail is asked to end." },
    Section {
        name: "hooks",
        doc: "Programs of the image that run at points of the jail's life, by OCI's names. Each runs in the jail, behind the same walls as the program, with its user and environment, and reads OCI's state as JSON from standard input. What it prints is in the jail's log. One that takes longer than its time is killed. `jailctl why` tells which failed, and how. OCI's hooks that run on the host (`createRuntime`, `createContainer`, `prestart`) are refused: nothing of a unit is executed there.",
    },
    Section {
        name: "logs",
        doc: "What becomes of what the jail prints. Lines go to a log on the data partition, which `jailctl logs` shows; `docs/logs.md` tells how they are kept. What is dropped is counted in the log itself.",
    },
];

/// OCI's hooks of the host: in OCI they run in the runtime's namespace, as root.
static NEVER: &[Never] = &[
    Never {
        section: "hooks",
        names: &[
            "prestart",
            "create_runtime",
            "createRuntime",
            "create_container",
            "createContainer",
        ],
        why: "it would run a program on the host, and nothing of a unit is executed there",
        help: "use `start_container`: it runs in the jail, before its program",
    },
    Never {
        section: "hooks",
        names: &["startContainer"],
        why: "keys are written with `_`",
        help: "write `start_container`",
    },
];

static NOT_YET: &[NotYet] =
    &[NotYet { section: "process", name: "init" }, NotYet { section: "process", name: "umask" }];

static KEYS: &[Key<Draft>] = &[
    key!("" "version": Option<Version> = version; Live; Required; "1";
        "Version of the file's format. Always 1 today; it lets a later Warder read old files rightly."),
    key!("" "description": Option<String> = description; Live; Unset("none"); "\"front web server\"";
        "One line for people; `jailctl inspect` shows it."),
    key!("" "critical": bool = critical; Live; Default("false"); "true";
        "Marks a jail that the host is useless without. `jailctl inspect` shows it; the host itself does not act on it yet."),
    key!("" "enabled": bool = enabled; Live; Default("true"); "false";
        "Whether the jail is started when its unit appears, and at boot. One that is not enabled is started by hand, or with a jail that names it in `requires`, `wants`, `binds_to` or `on_failure`."),
    key!("image" "source": Option<ImageSource> = source; Anew; Unset("the image of `digest`; one of the two must be there"); "\"erofs:/usr/share/jails/web.erofs\"";
        "The image: `erofs:` and the absolute path of a file with an erofs file system, `squashfs:` and that of one with a squashfs file system, `tar:` and that of a tar archive, plain or packed by gzip, xz or zstd, or `dir:` and that of a directory tree. `image:NAME` or `image:NAME:TAG` is one that `jailctl image import` has brought in. An archive is imported before the first start, and again when it has changed; so is a file on a disk that is not mounted read-only. Owners in it are counted from 0, as in any image."),
    key!("image" "digest": Option<Digest> = digest; Anew; Unset("whatever the name means at a start"); "\"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"";
        "The one imported image that it may be, as `jailctl image ls` shows it: alone, or beside `source = \"image:NAME\"`, whatever that name means by now."),
    key!("image" "timeout": Duration = image_timeout; Live; Default("\"30m\""); "\"2h\"";
        "How long the work on the image before a start may take: the import of an archive, the copy for a persistent root or a fresh volume. It never counts as a part of `start.timeout`."),
    key!("root" "mode": RootMode = root.mode; Anew; Default("\"ephemeral\""); "\"read-only\"";
        "Whether the jail can write below its `/`: not at all (`read-only`), until it stops (`ephemeral`), or for good (`persistent`). A persistent root is a copy of the image, made before the first start. It stays, also when the image changes or the unit goes, until `jailctl root rm`; the next start then makes another."),
    key!("root" "backing": Backing = root.backing; Anew; Default("\"disk\""); "\"memory\"";
        "Where an ephemeral root keeps what is written: on the host's data partition (`disk`) or in memory that counts as the jail's (`memory`)."),
    key!("root" "size_max": Option<Bytes> = root.size_max; Anew; Unset("what the disk has, or half of the host's memory"); "\"64M\"";
        "The most that may be written to an ephemeral root; the most that a persistent one may hold, its copy of the image included. Beyond it a write fails with EDQUOT (`Disk quota exceeded`), or ENOSPC in memory; other jails do not notice."),
    key!(@ "process" "exec", Vec<String>, process.exec, super::command::read; Anew; Required; "[\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]";
        "The program and its arguments. The program is an absolute path in the image; no shell and no search path is involved. It must stay in the foreground."),
    key!("process" "user": UserSpec = process.user; Anew; Default("\"root\""); "\"www-data\"";
        "The user that the program runs as: a name of the image's `/etc/passwd`, or a number from 0 to 65535. The jail's root is an unprivileged user on the host."),
    key!("process" "group": Option<UserSpec> = process.group; Anew; Unset("the user's own group"); "\"www-data\"";
        "The group that the program runs as: a name of the image's `/etc/group`, or a number."),
    key!(+ "process" "environment": BTreeMap<String, String> = process.environment; Anew; Default("{}"); "{ TZ = \"UTC\" }";
        "Variables for the program. Nothing of the host's environment reaches it. A drop-in adds to those of the file below it."),
    key!("process" "working_dir": JailPath = process.working_dir; Anew; Default("\"/\""); "\"/var/lib/web\"";
        "The directory in the jail that the program starts in."),
    key!("process" "notify": Notify = process.notify; Anew; Default("\"none\""); "\"ready\"";
        "When the jail is up. `none`: when its program is executed. `ready`: when the program says so by sd_notify(3); `NOTIFY_SOCKET` tells it where, and any process of the jail may speak. `healthy`: when the first check of `[health]` has succeeded. Until then the jail is *activating*; `jailctl start` waits, and so do jails that need it."),
    key!("process" "watchdog": Option<Duration> = process.watchdog; Anew; Unset("none is expected"); "\"30s\"";
        "How long the program may give no sign of life (`WATCHDOG=1` of sd_notify(3)) once the jail is up. Then it gets SIGABRT, which counts as a failure: `restart.policy` decides what follows. An edit that makes it shorter holds from the next start. The program finds the time in `WATCHDOG_USEC`; it should give a sign after half of it."),
    key!("process" "core_dump": Option<Bytes> = process.core_dump; Anew; Unset("no core is dumped"); "\"64M\"";
        "Keeps the core of a process of the jail that dies of a fault, up to that size. Dumps go to a store of the jail on the data partition, which holds those of this start and of the last one that left any, each time not much more than the size given here; `jailctl why` names the files. In the jail the store is `/dev/cores`."),
    key!("process" "runtime_max": Option<Duration> = process.runtime_max; Live; Unset("no limit"); "\"12h\"";
        "How long the program may run from when it is ready. Then it is asked to end, which counts as a failure: `restart.policy` decides what follows."),
    key!("process" "terminal": bool = process.terminal; Anew; Default("false"); "true";
        "Whether the program has a terminal instead of pipes, for programs that people talk to: `jailctl console` attaches to it. What the terminal shows is in the log, too. `TERM` is `xterm` unless `environment` says otherwise. A shell ignores SIGTERM at a terminal: give it `stop.signal = \"SIGHUP\"`."),
    key!("user" "size": IdCount = user.size; Anew; Default("65536"); "131072";
        "How many ids the jail has, from 0 on: a multiple of 65536. More than the default is for images with users beyond 65535; the program itself runs as one up to 65535."),
    key!("user" "uid_map": Vec<Mapping> = user.uid_map; Anew; Default("[]"); "[\"1000:1000:1\"]";
        "Users of the jail that are users of the host, for files that both use: the first in the jail, the first on the host, and how many. The host's policy says which ids of the host units may ask for: by default none. Root is never among them."),
    key!("user" "gid_map": Vec<Mapping> = user.gid_map; Anew; Default("[]"); "[\"1000:1000:1\"]";
        "The same of groups."),
    key!("security" "add_capability": Capabilities = security.add_capability; Anew; Default("[]"); "[\"NET_BIND_SERVICE\"]";
        "Capabilities that the program gets, by the names of capabilities(7), with or without `CAP_`. They hold inside the jail's user namespace only."),
    key!("security" "add_device": Vec<Device> = security.add_device; Anew; Default("[]"); "[\"/dev/net/tun:/dev/net/tun:rw\"]";
        "Device nodes of the host that the jail gets, beside those that every jail has: `null`, `zero`, `full`, `random`, `urandom` and terminals. Each is the host's path, then after colons the path in the jail if it is another, and what is allowed: `r`, `w`, `rw` (the default). In the jail a node belongs to root and the program's group. The kernel refuses all other devices, wherever their nodes come from. The host's policy says which devices units may ask for: by default none."),
    key!("security" "seccomp": Seccomp = security.seccomp; Anew; Default("\"default\""); "\"strict\"";
        "The filter of system calls. `default`: what services need, and nothing that reaches the host. `strict`: without what only few need, such as a change of user, System V IPC, FIFOs and programs in memory. `none`: no filter, where the host's policy allows that. Or the absolute path of a file on the host in OCI's JSON format, as podman's `--security-opt seccomp=`; an edit of that file counts as one of the unit, and some calls stay denied whatever it says. `docs/security.md` has the lists."),
    key!("security" "seccomp_log": bool = security.seccomp_log; Anew; Default("false"); "true";
        "Whether the kernel logs the calls that the filter denies. `jailctl why` then shows them by name."),
    key!(+ "security" "sysctl": Sysctls = security.sysctl; Anew; Default("{}"); "{ \"net.core.somaxconn\" = \"1024\" }";
        "Kernel settings of the jail's own network and IPC namespaces, as sysctl(8) names them: net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*. The host's policy says which of them. A drop-in adds to those of the file below it."),
    key!("security" "mask": Vec<Covered> = security.mask; Anew; Default("[]"); "[\"/proc/cpuinfo\", \"/srv/private\"]";
        "Paths that the jail does not see, beside those that none does: a file is empty, a directory has nothing in it. What is not there needs no hiding."),
    key!("security" "unmask": Vec<Hidden> = security.unmask; Anew; Default("[]"); "[\"/sys/dev/char\", \"/sys/devices/pci0000:00\"]";
        "Kernel files that the jail sees although they tell of the host: `/proc/acpi`, `/proc/asound`, `/proc/interrupts`, `/proc/kallsyms`, `/proc/kcore`, `/proc/keys`, `/proc/latency_stats`, `/proc/sched_debug`, `/proc/scsi`, `/proc/timer_list`, and of `/sys`, which has little in a jail, any path or the whole. A device's driver library may need some of it. All stays read-only. The host's policy says which of them units may ask for: by default none."),
    key!("security" "read_only_paths": Vec<Covered> = security.read_only_paths; Anew; Default("[]"); "[\"/etc\"]";
        "Paths that the jail cannot write, with all that is mounted below them, although its root is not read-only."),
    key!("network" "mode": NetworkMode = network.mode; Anew; Default("\"macvlan\""); "\"none\"";
        "`macvlan`: the jail has an Ethernet address of its own on the parent link, and is a host like any other there. `ipvlan`: it has addresses of its own, but the parent's Ethernet address, for networks that let each port have only one. `bridge`: it is in a network of the host's own, with the other jails that name it; that network's file says whether there is a way out. `none`: a loopback link only. One parent has jails of one kind only."),
    key!("network" "network": Option<NetworkName> = network.network; Anew; Unset("none, and `mode = \"bridge\"` needs one"); "\"backend\"";
        "The host's own network that the jail is in, which the file `networks/NAME.toml` beside the units describes: with `mode = \"bridge\"`. An edit of that file counts as one of each unit that names it. The jail's `/etc/hosts` has the names of the others in it, as they come and go."),
    key!("network" "parent": LinkName = network.parent; Anew; Default("\"uplink\""); "\"eth1\"";
        "The host's link that the jail sits on: a link's name, or `uplink`, which `host.toml` resolves."),
    key!("network" "wait_for_parent": bool = network.wait_for_parent; Live; Default("true"); "false";
        "Whether a start waits until the parent link is there. Without that, the jail starts with a loopback link only. Either way a running jail gets its link, with the same addresses, when the parent comes (back)."),
    key!("network" "vlan": Option<VlanId> = network.vlan; Anew; Unset("untagged frames"); "10";
        "The VLAN of the parent link that the jail is in, by its number. The host's link for it is made with the first jail that needs it, and goes with the last. The host's policy says which VLANs units may ask for: by default none."),
    key!("network" "macvlan_mode": MacvlanMode = network.macvlan_mode; Anew; Default("\"bridge\""); "\"private\"";
        "Which other macvlan jails on the same parent it reaches: those in `bridge` mode, too (`bridge`), none (`private`), or those that a switch outside sends its frames back to (`vepa`)."),
    key!("network" "ipvlan_mode": IpvlanMode = network.ipvlan_mode; Anew; Default("\"l2\""); "\"l3\"";
        "What an ipvlan link hands to its parent. `l2`: frames, and it finds its neighbours itself. `l3`: packets, which the host routes; nobody outside finds it by ARP or neighbour discovery. `l3s`: as `l3`, through the host's packet filter. The same for all jails on one parent."),
    key!("network" "mtu": Option<Mtu> = network.mtu; Anew; Unset("that of the parent link"); "1400";
        "The largest packet on the link, in bytes: not more than on the parent, and at least 1280 with an IPv6 address. Not in a network of the host's own: its file says it."),
    key!("network" "address": Vec<Address> = network.address; Anew; Default("[]"); "[\"192.0.2.10/24\", \"2001:db8::10/64\"]";
        "The jail's addresses, each with the prefix length of its subnet. `dhcp`: the network's DHCP server gives one, and with it a router, name servers and domains, as far as the unit does not say them itself. At least one entry is needed with a parent link. In a network of the host's own, the jail is given an address of each subnet from which none stands here, and keeps it."),
    key!("network" "wait_for_address": bool = network.wait_for_address; Live; Default("true"); "false";
        "Whether a start waits until a DHCP server has given an address, and until nobody else on the wire was found to have one that stands in `address` (with `mode = \"macvlan\"`). Without that, the jail starts, has its address from DHCP when there is one, and uses the others without asking."),
    key!("network" "gateway": Vec<IpAddr> = network.gateway; Anew; Default("[]"); "[\"192.0.2.1\"]";
        "Routers for everything outside the subnets: at most one for IPv4 and one for IPv6. Not in a network of the host's own: its file says it."),
    key!("network" "mac": Option<MacAddress> = network.mac; Anew; Unset("derived from the jail's name, so always the same"); "\"02:00:00:00:00:0a\"";
        "The jail's Ethernet address, with `mode = \"macvlan\"` or `\"bridge\"`."),
    key!("network" "publish": Vec<Publish> = network.publish; Live; Default("[]"); "[\"8080:80/tcp\", \"192.0.2.1:53:53/udp\"]";
        "Ports of the host that lead to ports of the jail, which is in a network with a way out (`mode = \"bridge\"`): `HOST_PORT:JAIL_PORT`, or `ADDRESS:HOST_PORT:JAIL_PORT` for one of the host's addresses, those of IPv6 in brackets; ranges of ports lead to as many: `5000-5100:5000-5100`; TCP, or UDP with `/udp` at the end. The jail sees who has sent. No other jail can have the port, and a program of the host that listens there hears nothing."),
    key!("network" "hostname": Option<HostName> = network.hostname; Anew; Unset("the jail's name"); "\"www.example.org\"";
        "The host name that the jail sees."),
    key!("network" "dns": Vec<IpAddr> = network.dns; Anew; Default("[]"); "[\"192.0.2.53\"]";
        "Servers that the jail asks for names: at most three, which is what resolvers read. With this or `dns_search`, the jail's `/etc/resolv.conf` is the host's to write; without, it is what the image has."),
    key!("network" "dns_search": Vec<HostName> = network.dns_search; Anew; Default("[]"); "[\"example.org\"]";
        "Domains in which names without a dot are looked for, in this order."),
    key!("network" "add_host": Vec<HostEntry> = network.add_host; Anew; Default("[]"); "[\"db:192.0.2.11\"]";
        "Names that lead somewhere without a server: lines of the jail's `/etc/hosts`. That has `localhost` and the jail's own name, too. Where the image has no such file, the jail has one with an entry here, or in a network of the host's own if its root can be written."),
    key!("firewall" "ingress": Option<Ingress> = firewall.ingress; Live; Unset("everything may come"); "[{ from = [\"192.0.2.0/24\"], port = [\"443/tcp\"] }]";
        "Connections that others may make to the jail, each a table `[[firewall.ingress]]`. `ingress = []` in `[firewall]` lets none come."),
    key!("firewall" "egress": Option<Egress> = firewall.egress; Live; Unset("everything may go"); "[{ to = [\"jail:db\"], port = [\"5432/tcp\"] }]";
        "Connections that the jail may make, each a table `[[firewall.egress]]`. `egress = []` in `[firewall]` lets none go. The servers of names must be in the list, too."),
    key!("resources" "memory_min": Option<Bytes> = resources.memory_min; Live; Unset("nothing"); "\"64M\"";
        "Memory that is the jail's whatever happens: the kernel never takes it back, not even when the host runs out. Not more than the host can spare for all jails together."),
    key!("resources" "memory_low": Option<Bytes> = resources.memory_low; Live; Unset("nothing"); "\"128M\"";
        "Memory that is taken back from the jail only when there is none left to be taken from others."),
    key!("resources" "memory_high": Option<Bytes> = resources.memory_high; Live; Unset("no limit"); "\"200M\"";
        "Beyond this the jail is slowed down and its memory reclaimed, but nothing is killed."),
    key!("resources" "memory_max": Option<Bytes> = resources.memory_max; Live; Unset("no limit"); "\"256M\"";
        "The most memory the jail may use. Beyond it the kernel kills (see `oom_group`)."),
    key!("resources" "memory_swap_max": Option<Bytes> = resources.memory_swap_max; Live; Unset("no limit"); "\"0B\"";
        "The most swap space the jail may use."),
    key!("resources" "oom_group": bool = resources.oom_group; Live; Default("true"); "false";
        "Out of memory: kill the whole jail (`true`), so that it is restarted as a whole, or one process of it (`false`)."),
    key!("resources" "oom_action": Reaction = resources.oom_action; Live; Default("\"none\""); "\"restart\"";
        "What follows when the kernel has killed a process of the jail for want of memory, or all of them (see `oom_group`). `none`: it is told, and when the jail has ended by it, `restart.policy` decides what follows. `kill`: what is left is killed, and `restart.policy` decides. `restart`: it is asked to end, and started again after the delay of `[restart]`. `stop`: it is asked to end, and has failed."),
    key!("resources" "oom_score_adjust": OomScore = resources.oom_score_adjust; Anew; Default("0"); "500";
        "When the host itself runs out of memory: how willingly the jail's processes are killed, from -999 (last) to 1000 (first)."),
    key!("resources" "cpu_max": Option<CpuQuota> = resources.cpu_max; Live; Unset("no limit"); "\"150%\"";
        "The most processor time: `100%` is one processor all the time."),
    key!("resources" "cpu_weight": Option<CpuWeight> = resources.cpu_weight; Live; Unset("100"); "200";
        "The jail's share of the processors when they are scarce, against the weights of the other jails."),
    key!("resources" "allowed_cpus": Option<Numbers> = resources.allowed_cpus; Live; Unset("all"); "\"0-3,8\"";
        "The processors that the jail runs on, by their numbers on the host."),
    key!("resources" "allowed_memory_nodes": Option<Numbers> = resources.allowed_memory_nodes; Live; Unset("all"); "\"0\"";
        "The memory nodes (NUMA) that the jail's memory comes from, by their numbers on the host."),
    key!("resources" "io_weight": Option<IoWeight> = resources.io_weight; Live; Unset("100"); "200";
        "The jail's share of the data partition's disk when it is busy, against the weights of the other jails."),
    key!("resources" "io_read_bandwidth_max": Vec<DeviceBandwidth> = resources.io_read_bandwidth_max; Live; Default("[]"); "[\"data 10M\"]";
        "The most bytes per second that the jail reads from a disk: `data`, the disk of the data partition, or a path below `/dev`, then the bytes. A partition stands for its whole disk."),
    key!("resources" "io_write_bandwidth_max": Vec<DeviceBandwidth> = resources.io_write_bandwidth_max; Live; Default("[]"); "[\"data 10M\", \"/dev/vdb 100M\"]";
        "The most bytes per second that the jail writes to a disk."),
    key!("resources" "io_read_iops_max": Vec<DeviceIops> = resources.io_read_iops_max; Live; Default("[]"); "[\"data 500\"]";
        "The most operations per second with which the jail reads from a disk."),
    key!("resources" "io_write_iops_max": Vec<DeviceIops> = resources.io_write_iops_max; Live; Default("[]"); "[\"data 500\"]";
        "The most operations per second with which the jail writes to a disk."),
    key!("resources" "pids_max": PidsMax = resources.pids_max; Live; Default("1024"); "128";
        "The most processes and threads the jail may have."),
    key!("resources" "hugetlb_max": Vec<Hugetlb> = resources.hugetlb_max; Live; Default("[]"); "[\"2M 64M\"]";
        "The most huge pages of each size: the size of the pages, `2M` or `1G`, and the bytes of all of them."),
    key!("resources" "memory_pressure_threshold": Option<Duration> = resources.memory_pressure_threshold; Live; Unset("nothing is told"); "\"200ms\"";
        "When processes of the jail have waited for memory that long within 2 seconds, it is an event: `jailctl events` and `jailctl why` show it."),
    key!("resources" "cpu_pressure_threshold": Option<Duration> = resources.cpu_pressure_threshold; Live; Unset("nothing is told"); "\"1s\"";
        "The same of waiting for a processor."),
    key!("resources" "io_pressure_threshold": Option<Duration> = resources.io_pressure_threshold; Live; Unset("nothing is told"); "\"500ms\"";
        "The same of waiting for a disk."),
    key!("resources" "pressure_action": Reaction = resources.pressure_action; Live; Default("\"none\""); "\"restart\"";
        "What follows when one of the three thresholds is passed: `none` (it is only told), `kill`, `restart`, `stop`, as for `oom_action`."),
    key!("resources" "ulimit": Vec<Ulimit> = resources.ulimit; Anew; Default("[]"); "[\"nofile=1024:4096\", \"memlock=64M\"]";
        "Limits of each process, by the names of setrlimit(2): the soft limit, then after a colon the hard one where it is another; `unlimited` is none. What is not named is as on a Debian host, with 1024 open files (hard limit 524288)."),
    key!("dependencies" "requires": Vec<JailName> = dependencies.requires; Live; Default("[]"); "[\"db\"]";
        "Jails that this one cannot start without. They are started with it, although they may be disabled; it starts when they are ready. When someone stops or restarts one of them, or deletes its unit, this jail is stopped first, and it comes back when that one is ready again. When one ends by itself, this jail goes on: it can do without for a while."),
    key!("dependencies" "wants": Vec<JailName> = dependencies.wants; Live; Default("[]"); "[\"cache\"]";
        "Jails that are started with this one, and waited for while they are on their way. When one fails, or does not exist, this jail starts without it. It is not stopped with them."),
    key!("dependencies" "binds_to": Vec<JailName> = dependencies.binds_to; Live; Default("[]"); "[\"db\"]";
        "Jails that this one cannot be without: as `requires`, and it is also stopped when one of them ends by itself in whatever way, its restart included."),
    key!("dependencies" "after": Vec<JailName> = dependencies.after; Live; Default("[]"); "[\"migration\"]";
        "Jails that are waited for while they are on their way. They are not started for this one, and need not exist."),
    key!("dependencies" "before": Vec<JailName> = dependencies.before; Live; Default("[]"); "[\"web\"]";
        "Jails that wait for this one while it is on its way: `after`, said by the other one."),
    key!("dependencies" "on_failure": Vec<JailName> = dependencies.on_failure; Live; Default("[]"); "[\"alarm\"]";
        "Jails that are started when this one has failed and is not tried again by itself. One that is only for that is `enabled = false`."),
    key!("start" "timeout": Duration = start.timeout; Live; Default("\"1m30s\""); "\"5m\"";
        "How long the jail may take from the execution of its program until it is ready, where `process.notify` says what that means. Then it is asked to end, which counts as a failure. The program may ask for more (`EXTEND_TIMEOUT_USEC=` of sd_notify(3)). The execution itself may take as long before, beside `start_container`; without `process.notify` it may take the default."),
    key!("health" "exec": Option<CheckCommand> = health.exec; Live; Unset("another kind of check, or none"); "[\"pg_isready\", \"-q\"]";
        "A program and its arguments: the jail is healthy when it ends with 0. A name without `/` is looked for in `PATH`. What it prints last is kept for `jailctl why`."),
    key!("health" "http": Option<HttpUrl> = health.http; Live; Unset("another kind of check, or none"); "\"http://127.0.0.1/healthz\"";
        "What a web server in the jail is asked for: the jail is healthy when the status is 200 to 399. The host is an address or `localhost`."),
    key!("health" "tcp": Option<TcpAddress> = health.tcp; Live; Unset("another kind of check, or none"); "\"127.0.0.1:5432\"";
        "An address and a port: the jail is healthy when it takes a connection."),
    key!("health" "interval": Duration = health.interval; Live; Default("\"30s\""); "\"10s\"";
        "How long from the end of a check to the next one. Until the first success it is tried every second; of those failures one an interval counts."),
    key!("health" "timeout": Duration = health.timeout; Live; Default("\"5s\""); "\"1s\"";
        "How long a check may take. Then it is killed with all that it has started, and has failed."),
    key!("health" "retries": Retries = health.retries; Live; Default("3"); "5";
        "How many checks in a row must fail for the jail to be unhealthy."),
    key!("health" "start_period": Duration = health.start_period; Live; Default("\"0s\""); "\"1m\"";
        "How long from the start on failures do not count. The first success ends it."),
    key!("health" "on_failure": Reaction = health.on_failure; Live; Default("\"restart\""); "\"none\"";
        "What follows when the jail is unhealthy. `none`: it is only told. `kill`: everything in it is killed, and `restart.policy` decides what follows. `restart`: it is asked to end, and started again after the delay of `[restart]`. `stop`: it is asked to end, and has failed."),
    key!("health" "startup_interval": Option<Duration> = health.startup_interval; Live; Unset("no startup probe"); "\"1s\"";
        "With it there is a startup probe, tried this long after the last try. Until it has succeeded the regular check is not made, and a jail with `notify = \"healthy\"` is not ready."),
    key!("health" "startup_exec": Option<CheckCommand> = health.startup_exec; Live; Unset("it tries what the regular check tries"); "[\"/usr/bin/warm\"]";
        "A program of its own for the startup probe. After its success the regular check begins."),
    key!("health" "startup_timeout": Duration = health.startup_timeout; Live; Default("\"5s\""); "\"1s\"";
        "How long each try of the startup probe may take."),
    key!("health" "startup_retries": Option<Retries> = health.startup_retries; Live; Unset("as many as it takes; `start.timeout` is the limit where `process.notify` is set"); "60";
        "How many tries in a row may fail. Then the jail is unhealthy."),
    key!("health" "startup_success": Successes = health.startup_success; Live; Default("1"); "3";
        "How many tries in a row must succeed."),
    key!("restart" "policy": RestartPolicy = restart.policy; Live; Default("\"on-failure\""); "\"always\"";
        "When to start again: never (`no`), when the program exited with 0 (`on-success`), when it failed in any way, or could not be started (`on-failure`), or both (`always`)."),
    key!("restart" "delay": Duration = restart.delay; Live; Default("\"100ms\""); "\"1s\"";
        "The wait before the first restart; it doubles with each further one in a row."),
    key!("restart" "delay_max": Duration = restart.delay_max; Live; Default("\"1m\""); "\"5m\"";
        "The longest wait that the doubling leads to."),
    key!("restart" "reset_after": Duration = restart.reset_after; Live; Default("\"10m\""); "\"1h\"";
        "After that long up without an end, and healthy where its health is checked, the next restart waits for `delay` again."),
    key!("restart" "jitter": Jitter = restart.jitter; Live; Default("10"); "25";
        "By up to how many percent each wait is shorter or longer, at random, so that jails that failed together do not all come back in the same moment."),
    key!("restart" "start_limit_burst": Option<StartLimit> = restart.start_limit_burst; Live; Unset("no limit: `delay_max` is the longest wait, and it is tried for ever"); "5";
        "The most restarts within `start_limit_interval`. One more, and the jail has failed and stays down until someone starts it by hand, which is never refused, or its unit changes."),
    key!("restart" "start_limit_interval": Duration = restart.start_limit_interval; Live; Default("\"10m\""); "\"1h\"";
        "The interval of `start_limit_burst`. The waits count, too: with the default ones, the tenth restart comes some 100 seconds after the first."),
    key!("restart" "success_exit_status": Vec<ExitStatus> = restart.success_exit_status; Live; Default("[]"); "[143, \"SIGTERM\"]";
        "Exit codes and signals that are a success, beside exit code 0."),
    key!("restart" "prevent_exit_status": Vec<ExitStatus> = restart.prevent_exit_status; Live; Default("[]"); "[2, \"SIGABRT\"]";
        "Exit codes and signals after which the jail is not started again, whatever `policy` says. This, like `success_exit_status`, is about ends by itself: not those that Warder has brought about (watchdog, time-outs, health checks), nor one for want of memory."),
    key!("deploy" "strategy": Strategy = deploy.strategy; Live; Default("\"restart\""); "\"start-first\"";
        "How another version takes the place of the one that runs. `restart`: that one is stopped, and the new one started. `start-first`: the new one is started beside it, and takes its place, with its addresses, when it is good; until then the other one runs as if nothing had happened. Not with `root.mode = \"persistent\"`: there is one such root. Both have the same volumes."),
    key!("deploy" "address": Vec<IpPrefix> = deploy.address; Live; Default("[]"); "[\"192.0.2.11/24\"]";
        "With `start-first`: the addresses that the new version has until it takes the other one's place. Without any, it has its loopback alone until then, and nobody else on the network to wait for."),
    key!("deploy" "rollback": bool = deploy.rollback; Live; Default("true"); "false";
        "Whether the last good version of the unit, with its image, comes back by itself when another one fails. `jailctl why` then says what the new one failed by."),
    key!("deploy" "min_healthy_time": Duration = deploy.min_healthy_time; Live; Default("\"10s\""); "\"1m\"";
        "How long a version must be healthy without a break to be a good one."),
    key!("deploy" "healthy_deadline": Duration = deploy.healthy_deadline; Live; Default("\"5m\""); "\"15m\"";
        "How long after its first start a version may take to become healthy. Then it has failed."),
    key!("deploy" "attempts": Attempts = deploy.attempts; Live; Default("3"); "1";
        "How many times in a row a version may fail. It has failed sooner when its restart policy does not start it again."),
    key!("stop" "signal": Signal = stop.signal; Live; Default("\"SIGTERM\""); "\"SIGQUIT\"";
        "The signal that asks the program to end, by the names of signal(7)."),
    key!("stop" "timeout": Duration = stop.timeout; Live; Default("\"10s\""); "\"30s\"";
        "How long it may take to end. Then everything in the jail is killed."),
    key!("hooks" "start_container": Option<Command> = hooks.start_container.exec; Anew; Unset("nothing runs"); "[\"/usr/bin/migrate\", \"--to\", \"latest\"]";
        "Runs in the jail before its program is executed. The program is executed when it has exited with 0; otherwise the start has failed, as if the program had, and `restart.policy` decides what follows. `process.runtime_max` and readiness count from after it."),
    key!("hooks" "start_container_timeout": Duration = hooks.start_container.timeout; Anew; Default("\"30s\""); "\"1m\"";
        "How long `start_container` may take."),
    key!("hooks" "poststart": Option<Command> = hooks.poststart.exec; Live; Unset("nothing runs"); "[\"/usr/bin/announce\"]";
        "Runs in the jail when it is ready. Its failure is told, and changes nothing. When jailsupd dies meanwhile, the next one runs it again from its beginning."),
    key!("hooks" "poststart_timeout": Duration = hooks.poststart.timeout; Live; Default("\"30s\""); "\"1m\"";
        "How long `poststart` may take."),
    key!("hooks" "prestop": Option<Command> = hooks.prestop.exec; Live; Unset("nothing runs"); "[\"/usr/bin/drain\"]";
        "Runs in a jail that is or was ready, before it is asked to end; not when it gave no sign of life, is killed, or ends by itself. `stop.signal` follows when it has ended. `stop.timeout` holds for both together, so it must be longer than `prestop_timeout`. When jailsupd dies meanwhile, the next one runs it again from its beginning, in what is left of that time; not when the unit is gone by then."),
    key!("hooks" "prestop_timeout": Duration = hooks.prestop.timeout; Live; Default("\"5s\""); "\"8s\"";
        "How long `prestop` may take."),
    key!("hooks" "poststop": Option<Command> = hooks.poststop.exec; Live; Unset("nothing runs"); "[\"/usr/bin/tidy-up\"]";
        "Runs when a jail whose program was executed has ended, however that came, in a fresh run of the same image with the same volumes and network; what an ephemeral root had held is gone. Only then the jail is down, or starts again. Its failure is told, and changes nothing."),
    key!("hooks" "poststop_timeout": Duration = hooks.poststop.timeout; Live; Default("\"30s\""); "\"1m\"";
        "How long `poststop` may take."),
    key!("logs" "size_max": Bytes = logs.size_max; Live; Default("\"8M\""); "\"64M\"";
        "The most that is kept of the jail's log, its newest lines. At least 256K. One that is made smaller shrinks as new lines come."),
    key!("logs" "on_full": Option<OnFull> = logs.on_full; Live; Unset("the jail waits while it prints faster than can be stored; what a full disk has no room for is dropped"); "\"drop\"";
        "What becomes of lines that cannot be stored as fast as they come, or not at all since the data partition is full. `block`: the jail waits, as at any pipe that nobody reads. `drop`: they are dropped and counted, once the jail has waited for a second; it does not wait again before it prints less."),
    key!("logs" "rate_limit_interval": Option<Duration> = logs.rate_limit_interval; Live; Unset("no limit"); "\"30s\"";
        "In any time of that length, beginning with a line, only the first `rate_limit_burst` lines are kept; others are dropped and counted. A line of more than 16K counts as one for each 16K of it."),
    key!("logs" "rate_limit_burst": LineCount = logs.rate_limit_burst; Live; Default("10000"); "500";
        "How many lines are kept in `rate_limit_interval`."),
    key!(+ "" "volume": Volumes = volumes; Anew; Default("[]"); "[{ path = \"/var/lib/web\", name = \"web-data\" }]";
        "Directories of the jail that are not its image's, each a table `[[volume]]`. Exactly one of `name`, `source` and `tmpfs` says what a volume holds. A drop-in adds to the volumes of the file below it; one at the same `path` takes the other's place."),
];
