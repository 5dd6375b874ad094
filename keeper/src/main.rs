//! The keeper as a program of its own, for a plain Debian host: jails survive the death of jailsupd,
//! though not the keeper's. On a Warder host PID 1 is the keeper and this program is absent.
//!
//! Usage: `keeper CGROUP PROGRAM [ARGUMENT...]`, with the delegated cgroup v2 directory and the
//! command line of jailsupd.

use keeper::{Config, Service};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    keeper::kmsg::init("keeper");
    let mut args = std::env::args_os().skip(1);
    let cgroup_root = args.next().map(PathBuf::from);
    let argv: Result<Vec<CString>, _> = args.map(|arg| CString::new(arg.into_vec())).collect();
    let (Some(cgroup_root), Ok(argv)) = (cgroup_root, argv) else { return usage() };
    if argv.is_empty() {
        return usage();
    }
    // Before the first fork: orphans of jails must come to us, not to the host's init.
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        log::error!("cannot become a subreaper: {error}");
        return ExitCode::FAILURE;
    }
    let services = vec![Service { name: "jailsupd".into(), argv, brain: true }];
    let _ = keeper::run(Config { services, triggers: Vec::new(), cgroup_root });
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    log::error!("usage: keeper CGROUP PROGRAM [ARGUMENT...]");
    ExitCode::from(2)
}
