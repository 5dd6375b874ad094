//! PID 1 of Warder: the same static program in the initrd, where it finds the verified root, and on the host,
//! where it runs the boot's stages, then the keeper's loop, then the shutdown.
//!
//! ```text
//! kernel ─► initrd::run ─► (verity root) ─► boot::run (stages) ─► keeper::run ─► shutdown::run ─► reboot(2)
//!                 │                              │                  │  ▲
//!                 │                              │                  ▼  │ executed anew, with everything
//!                 └──────────────────────────────┴─ last_resort::give_up ─ when nothing more can be done
//! ```
//!
//! It parses no unit, opens no network socket and touches no jail's image. It never returns and never panics.

use std::path::Path;

use keeper::{Config, Handed, Shutdown, Trigger};

mod block;
mod boot;
mod cgroups;
mod cmdline;
mod compose;
mod data;
mod error;
mod gpt;
mod identity;
mod initrd;
mod last_resort;
mod le;
mod modules;
mod mounts;
mod power;
mod process;
mod services;
mod shutdown;
mod stage;
mod state;
mod sysctl;
mod time;
mod uevent;
mod verity;

/// What the kernel, or the PID 1 before, starts.
pub fn main() {
    if let Some(status) = keeper::self_test() {
        std::process::exit(status.into());
    }
    if std::process::id() != 1 {
        eprintln!("init: only the kernel starts this program, as PID 1");
        std::process::exit(2);
    }
    if Path::new(initrd::MARK).exists() { in_initrd() } else { on_host() }
}

fn in_initrd() -> ! {
    let start = stage::since_boot();
    // The log needs /dev.
    let mounted = mounts::mount_early();
    keeper::kmsg::init("init");
    let cmdline = boot::load_cmdline().unwrap_or_default();
    let end = mounted.and_then(|()| initrd::run(&cmdline, start));
    let Err(e) = end;
    last_resort::give_up(&format!("initrd: {e}"), cmdline.panic);
}

fn on_host() -> ! {
    // The initrd has mounted /dev; without one the kernel has, or the first stage does.
    keeper::kmsg::init("init");
    let how = match Handed::take(&mut std::env::args_os().collect()) {
        Ok(None) => after_boot(),
        Ok(Some(handed)) => again(handed),
        Err(why) => {
            let policy = boot::load_cmdline().unwrap_or_default().panic;
            last_resort::give_up(&format!("take over from the PID 1 before: {why}"), policy);
        }
    };
    let policy = boot::load_cmdline().unwrap_or_default().panic;
    shutdown::run(how, policy);
}

/// The stages of the boot, then the keeper.
fn after_boot() -> Shutdown {
    if let Err((stage, policy)) = boot::run() {
        last_resort::give_up(&format!("stage {stage} failed (message above)"), policy);
    }
    let config = config(power::buttons());
    log::info!("boot complete in {} ms", stage::since_boot().as_millis());
    // What the boot needed is not needed again: its pages count as PID 1's memory for ever.
    if let Err(e) = sys::code::release() {
        log::warn!("release the boot's code: {e}");
    }
    keeper::run(config)
}

/// The keeper, with all that the PID 1 before this one held. Nothing of the boot is done again.
fn again(mut handed: Handed) -> Shutdown {
    let triggers = handed.triggers().into_iter().map(power::trigger).collect();
    keeper::resume(config(triggers), handed)
}

fn config(triggers: Vec<Trigger>) -> Config {
    Config {
        services: services::all(),
        triggers,
        cgroup_root: cgroups::ROOT.into(),
        program: initrd::INIT.into(),
        arguments: Vec::new(),
    }
}
