//! How a jail is built: from a checked unit to the steps of its start, in order.
//!
//! Pure: nothing is opened, and the same unit always gives the same plan. [`HostStep`]s are performed
//! by jailsupd before the jail's processes exist; [`JailStep`]s by the jail's own first process, which
//! must not allocate: so every string they need is made here.

pub mod admission;
mod cgroup;
mod files;
pub mod firewall;
pub mod hooks;
pub mod id_map;
pub mod ids;
pub mod jail_firewall;
pub mod link;
pub mod networks;
pub mod seccomp;
mod shared;
mod show;
mod steps;
mod sysfs;
mod volumes;

pub use cgroup::{DiskLimit, Limit};
pub use files::{GivenFile, Learned, files};
pub use hooks::StartHook;
pub use id_map::IdMap;
pub use ids::IdRange;
pub use link::Link;
pub use shared::Shared;
pub use steps::{HostStep, JailStep, KernelMount, Tmpfs};
pub use sysfs::PartOfSys;
pub use volumes::{PathStep, VolumeTmpfs};

use crate::unit::{HookKind, RootMode, Ulimit, UlimitName, Unit};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

/// Where things are on the host.
pub const CGROUPS: &str = "/sys/fs/cgroup/jails";

/// Everything that a start needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Performed by jailsupd, in order.
    pub host: Vec<HostStep>,
    /// The link in the place of the jail's own, of a version that is started beside the one that has that.
    pub link_beside: Option<Link>,
    /// Performed by the jail's first process, in order; user, capabilities, files and exec follow. Most jails have the same.
    pub jail: Arc<[JailStep]>,
    /// The jail's host name.
    pub host_name: CString,
    /// The system call filter, installed last; none when the unit wants none.
    pub filter: Option<Arc<seccomp::Filter>>,
    /// Bits of the capabilities that remain in the bounding set and become the final sets.
    pub capabilities: u64,
    /// Runs before the program.
    pub hook: Option<StartHook>,
    /// Program and arguments; empty when there is a hook alone.
    pub argv: Vec<CString>,
    /// `NAME=value`; `HOME` is added when the user is known.
    pub environment: BTreeMap<String, String>,
    /// Where the program starts.
    pub working_dir: CString,
    /// Its ids on the host.
    pub ids: IdMap,
    /// `oom_score_adj` of its processes (proc(5)).
    pub oom_score_adjust: i16,
    /// Its standard streams are a terminal of its own.
    pub terminal: bool,
    /// It has a socket to say how it is.
    pub notifies: bool,
}

/// What the unit does not say and the host knows.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The jail's ids on the host, the first range of them first.
    pub ids: &'a [IdRange],
    /// Identity of the host (machine-id(5)), from which Ethernet addresses are derived.
    pub machine_id: &'a str,
    /// The kernel's version, its first two numbers.
    pub kernel: (u32, u32),
    /// The jail's number in the host's own network that it is in.
    pub number: Option<u32>,
}

/// The default search path of a service, as systemd and container engines have it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a terminal is taken for before anybody is at it, as container engines have it.
const TERM: &str = "xterm";

/// Makes the plan; what it has in common with earlier ones is `shared`.
///
/// # Errors
/// When no filter can be made of the seccomp profile.
pub fn plan(
    unit: &Unit,
    context: Context<'_>,
    shared: &mut Shared,
) -> Result<Plan, seccomp::Error> {
    let mut environment = unit.process.environment.clone();
    environment.entry("PATH".into()).or_insert_with(|| PATH.into());
    if unit.process.terminal {
        environment.entry("TERM".into()).or_insert_with(|| TERM.into());
    }
    notify_variables(unit, &mut environment);
    Ok(Plan {
        host: host_steps(unit, context),
        link_beside: link::beside(unit, context.machine_id),
        jail: shared.steps(steps::jail_steps(unit, ulimits(unit), sysctls(unit))),
        host_name: c_string(host_name(unit)),
        filter: shared.filters.compile(seccomp::Request::of(unit, context.kernel))?,
        capabilities: unit.security.add_capability.bits(),
        hook: StartHook::of(unit, HookKind::StartContainer),
        argv: unit.process.exec.iter().map(|arg| c_string(arg)).collect(),
        environment,
        working_dir: c_string(unit.process.working_dir.as_str()),
        ids: IdMap::new(context.ids, &unit.user),
        oom_score_adjust: unit.resources.oom_score_adjust.get(),
        terminal: unit.process.terminal,
        notifies: unit.process.notifies(),
    })
}

/// What tells a program how it can say how it is: sd_notify(3), sd_watchdog_enabled(3).
fn notify_variables(unit: &Unit, environment: &mut BTreeMap<String, String>) {
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    if unit.process.notifies() {
        set("NOTIFY_SOCKET", "/dev/notify".to_owned());
    }
    if let Some(watchdog) = unit.process.watchdog {
        set("WATCHDOG_USEC", watchdog.as_micros().to_string());
        // After a hook in the jail the number is not known; without one any process may take the watchdog for its own.
        if unit.hooks.start_container.exec.is_none() {
            set("WATCHDOG_PID", SERVICE_PID.to_string());
        }
    }
}

impl Plan {
    /// The jail's link; none with loopback alone.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        self.host.iter().find_map(|step| match step {
            HostStep::SetUpNetwork(link) => link.as_ref(),
            _ => None,
        })
    }
}

/// The main process, as the jail numbers it: the first child of the first process of a pid namespace.
const SERVICE_PID: u32 = 2;

fn host_steps(unit: &Unit, context: Context<'_>) -> Vec<HostStep> {
    let mut steps = vec![HostStep::CreateCgroup];
    steps.extend(cgroup::limits(&unit.resources).into_iter().map(HostStep::SetLimit));
    steps.push(HostStep::LimitDisks(cgroup::disk_limits(&unit.resources)));
    steps.push(HostStep::CreateNamespaces { ids: IdMap::new(context.ids, &unit.user) });
    let link = link::link(unit, context);
    steps.push(HostStep::SetUpNetwork(link));
    let (source, size_max) = (unit.image.source.clone(), unit.root.size_max);
    match unit.root.mode {
        RootMode::ReadOnly => steps.extend([HostStep::OpenImage(source), HostStep::ShiftIds]),
        RootMode::Ephemeral => {
            let backing = unit.root.backing;
            let overlay = HostStep::Overlay { backing, size_max };
            steps.extend([HostStep::OpenImage(source), HostStep::ShiftIds, overlay]);
        }
        RootMode::Persistent => steps.push(HostStep::OpenRoot { source, size_max }),
    }
    steps.push(HostStep::FindUser {
        user: unit.process.user.clone(),
        group: unit.process.group.clone(),
    });
    steps.extend(volumes::host_steps(&unit.volumes));
    let nothing = Learned::default();
    steps.push(HostStep::WriteFiles(files(unit, context.machine_id, &nothing)));
    steps.push(HostStep::PinDevices(unit.security.add_device.clone()));
    steps.extend(unit.process.core_dump.map(HostStep::OpenCores));
    // They stay as long as the jail, and there are many jails.
    steps.shrink_to_fit();
    steps
}

/// What a service finds on a Debian host, whatever jailsupd's own limits are, and what the unit says.
fn ulimits(unit: &Unit) -> Vec<Ulimit> {
    let limit = |name, soft, hard| Ulimit { name, soft: Some(soft), hard: Some(hard) };
    // Of one byte, not of none: with that, the kernel starts no program that a host's pattern may name,
    // either (core(5)).
    let core = unit.process.core_dump.map_or(1, crate::unit::Bytes::get);
    let defaults = [
        limit(UlimitName::Core, core, core),
        limit(UlimitName::Nofile, 1024, 524_288),
        limit(UlimitName::Memlock, 8 << 20, 8 << 20),
        limit(UlimitName::Msgqueue, 819_200, 819_200),
    ];
    let said = &unit.resources.ulimit;
    let unsaid = defaults.into_iter().filter(|limit| said.iter().all(|own| own.name != limit.name));
    unsaid.chain(said.iter().copied()).collect()
}

fn host_name(unit: &Unit) -> &str {
    unit.network.hostname.as_ref().map_or(unit.name.as_str(), |name| name.as_str())
}

fn sysctls(unit: &Unit) -> Vec<(CString, CString)> {
    let files = unit.security.sysctl.iter();
    files.map(|(name, value)| (c_string(&name.path()), c_string(value))).collect()
}

/// `/a/b` as `/a`, then `/a/b`.
fn path_steps(path: &str) -> Vec<PathStep> {
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    let whole = ends.chain([path.len()]).map(|end| &path[..end]);
    whole
        .map(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            PathStep { path: c_string(path), name: c_string(name) }
        })
        .collect()
}

/// Units have no zero bytes (checked when they are read); a cut string is better than a crash.
fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}
