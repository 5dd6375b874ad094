//! The host's half: the table of stages, and what they share.

use std::path::Path;

use crate::cmdline::{Cmdline, PanicPolicy};
use crate::data;
use crate::error::{Context, Error};
use crate::initrd;
use crate::modules;
use crate::mounts;
use crate::stage::{End, Ledger, OnFailure, Outcome, Stage, run_all};
use crate::{cgroups, compose, identity, process, sysctl, time};

const STAGES_FILE: &str = "/run/warder/stages";
/// Not there when the image has a monolithic kernel.
const MODULES_LIST: &str = "/usr/lib/warder/modules.list";

/// What stages hand to later ones.
#[derive(Default)]
pub(crate) struct Boot {
    /// From stage `cmdline` on.
    pub(crate) cmdline: Cmdline,
    /// Why `/data` is in memory; `None` when it is on the disk. From stage `data` on.
    pub(crate) data_in_memory: Option<String>,
}

impl Boot {
    /// Whether what is written to `/data` outlives this boot.
    pub(crate) fn kept(&self) -> bool {
        self.data_in_memory.is_none()
    }
}

/// In this order. `docs/boot.md` says what each one does and why it may or may not fail.
const STAGES: &[Stage<Boot>] = &[
    Stage { name: "mounts", run: mount_api, on_failure: OnFailure::Stop },
    Stage { name: "console", run: process::open_console, on_failure: OnFailure::Continue },
    Stage { name: "cmdline", run: read_cmdline, on_failure: OnFailure::Continue },
    Stage { name: "sysctl", run: sysctl::apply, on_failure: OnFailure::Continue },
    Stage { name: "oom", run: process::protect, on_failure: OnFailure::Continue },
    Stage { name: "cgroups", run: cgroups::set_up, on_failure: OnFailure::Stop },
    Stage { name: "hostname", run: identity::set_hostname, on_failure: OnFailure::Continue },
    Stage { name: "loopback", run: loopback, on_failure: OnFailure::Continue },
    Stage { name: "modules", run: load_modules, on_failure: OnFailure::Continue },
    Stage { name: "data", run: data::bring_up, on_failure: OnFailure::Stop },
    Stage { name: "clock", run: time::set_clock, on_failure: OnFailure::Continue },
    Stage { name: "random-seed", run: identity::seed_random, on_failure: OnFailure::Continue },
    Stage { name: "machine-id", run: identity::set_machine_id, on_failure: OnFailure::Continue },
    Stage { name: "compose", run: compose::bind_writable, on_failure: OnFailure::Continue },
    Stage { name: "jails-disk", run: compose::mount_jails_disk, on_failure: OnFailure::Continue },
];

/// Runs all stages.
///
/// # Errors
/// The stage that must not fail and did, with the policy to follow.
pub(crate) fn run() -> Result<(), (&'static str, PanicPolicy)> {
    let mut boot = Boot::default();
    let mut ledger = Ledger::default();
    record_initrd(&mut ledger);
    run_all(STAGES, &mut boot, &mut ledger, Path::new(STAGES_FILE))
        .map_err(|stage| (stage, boot.cmdline.panic))
}

/// Takes over the times of the initrd's half, when there was one.
fn record_initrd(ledger: &mut Ledger) {
    let Ok(times) = std::env::var(initrd::TIMES_VARIABLE) else { return };
    let mut micros = times.split(' ').filter_map(|t| t.parse().ok());
    if let (Some(start), Some(took)) = (micros.next(), micros.next()) {
        let micros = std::time::Duration::from_micros;
        ledger.add("initrd", micros(start), micros(took), &End::Ok);
    }
}

fn mount_api(_: &mut Boot) -> Result<Outcome, Error> {
    mounts::mount_early()?;
    mounts::mount_late()?;
    std::fs::create_dir_all("/run/warder").doing(|| "make /run/warder".to_owned())?;
    Ok(Outcome::Done)
}

fn read_cmdline(boot: &mut Boot) -> Result<Outcome, Error> {
    boot.cmdline = load_cmdline()?;
    Ok(match boot.cmdline.rejected.as_slice() {
        [] => Outcome::Done,
        words => Outcome::Degraded(format!("not understood, ignored: {}", words.join(" "))),
    })
}

/// Reads `/proc/cmdline`.
///
/// # Errors
/// When /proc is not mounted.
pub(crate) fn load_cmdline() -> Result<Cmdline, Error> {
    let text =
        std::fs::read_to_string("/proc/cmdline").doing(|| "read /proc/cmdline".to_owned())?;
    Ok(Cmdline::parse(&text))
}

fn loopback(_: &mut Boot) -> Result<Outcome, Error> {
    sys::link::set_up("lo").doing(|| "set lo up".to_owned())?;
    Ok(Outcome::Done)
}

fn load_modules(_: &mut Boot) -> Result<Outcome, Error> {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    let list = Path::new(MODULES_LIST);
    if !list.exists() {
        log::info!("kernel {release}, monolithic");
        return Ok(Outcome::Done);
    }
    log::info!("kernel {release}, with modules");
    let directory = Path::new("/usr/lib/modules").join(&*release);
    let failed = modules::load_listed(list, &directory)?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::Degraded(failed.join("; ")) })
}
