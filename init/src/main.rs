//! PID 1 of Warder: the same static program in the initrd, where it finds the verified root, and on the host,
//! where it runs the boot's stages, then the keeper's loop, then the shutdown.
//!
//! ```text
//! kernel ─► initrd::run ─► (verity root) ─► boot::run (stages) ─► keeper::run ─► shutdown::run ─► reboot(2)
//!                 └──────────────────────────────┴─ last_resort::give_up ─ when nothing more can be done
//! ```
//!
//! It parses no unit, opens no network socket and touches no jail's image. It never returns and never panics.

use std::path::Path;

use keeper::Config;

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

fn main() {
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
    if let Err((stage, policy)) = boot::run() {
        last_resort::give_up(&format!("stage {stage} failed (message above)"), policy);
    }
    let services = services::all();
    let triggers = power::buttons();
    log::info!("boot complete in {} ms", stage::since_boot().as_millis());
    // What the boot needed is not needed again: its pages count as PID 1's memory for ever.
    if let Err(e) = sys::code::release() {
        log::warn!("release the boot's code: {e}");
    }
    let how = keeper::run(Config { services, triggers, cgroup_root: cgroups::ROOT.into() });
    let policy = boot::load_cmdline().unwrap_or_default().panic;
    shutdown::run(how, policy);
}
