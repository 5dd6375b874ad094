//! The keeper as a program of its own, for a plain Debian host: jails survive the death of jailsupd,
//! though not the keeper's. On a Warder host PID 1 is the keeper and this program is absent.
//!
//! Asked for it, it executes its own file anew, with everything that it holds: an upgrade ends no jail.
//!
//! Usage: `keeper CGROUP PROGRAM [ARGUMENT...]`, with the delegated cgroup v2 directory and the
//! command line of jailsupd.

use keeper::{Config, Handed, Service};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(status) = keeper::self_test() {
        return ExitCode::from(status);
    }
    keeper::kmsg::init("keeper");
    let mut args: Vec<_> = std::env::args_os().collect();
    let handed = match Handed::take(&mut args) {
        Ok(handed) => handed,
        Err(why) => {
            log::error!("cannot go on: {why}");
            return ExitCode::FAILURE;
        }
    };
    // After an exec by descriptor only the name that it was given leads to the file.
    let program = match handed {
        Some(_) => args.first().map(PathBuf::from),
        None => std::env::current_exe().ok(),
    };
    let arguments: Result<Vec<CString>, _> =
        args.drain(..).skip(1).map(|arg| CString::new(arg.into_vec())).collect();
    let (Some(program), Ok(arguments)) = (program, arguments) else { return usage() };
    let Some((cgroup_root, argv)) = arguments.split_first().filter(|(_, argv)| !argv.is_empty())
    else {
        return usage();
    };
    let cgroup_root = PathBuf::from(OsStr::from_bytes(cgroup_root.as_bytes()));
    // Before the first fork: orphans of jails must come to us, not to the host's init.
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        log::error!("cannot become a subreaper: {error}");
        return ExitCode::FAILURE;
    }
    let services = vec![Service { name: "jailsupd".into(), argv: argv.to_vec(), brain: true }];
    let triggers = Vec::new();
    let config = Config { services, triggers, cgroup_root, program, arguments };
    let _ = match handed {
        Some(handed) => keeper::resume(config, handed),
        None => keeper::run(config),
    };
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    log::error!("usage: keeper CGROUP PROGRAM [ARGUMENT...]");
    ExitCode::from(2)
}
