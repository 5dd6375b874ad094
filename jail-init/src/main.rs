//! PID 1 of a jail: starts the service, forwards signals to it, reaps orphans, reports how the
//! service ended, and ends with it, so that the kernel kills whatever is left.
//!
//! jailsupd executes it from a sealed memfd as the last step of a jail's start: every wall stands
//! already, and this program has no more rights than the service. Usage: `jail-init PROGRAM
//! [ARGUMENT...]`, environment = the service's, descriptors as in the library.

use jail_init::{EXIT_REPORT_FD, ExitReport, START_ERROR_FD, Stage, StartError};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use sys::exec::Vector;
use sys::wait::Exit;

/// Means reaping; every other signal is the service's (signal(7), x86 and arm).
const SIGCHLD: i32 = 17;
/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;
/// An argument or variable with a zero byte, which execve cannot pass.
const EINVAL: i32 = 22;

fn main() {
    let _ = sys::signal::block_all();
    let (Ok(start_error), Ok(exit_report)) =
        (sys::fd::inherit(START_ERROR_FD), sys::fd::inherit(EXIT_REPORT_FD))
    else {
        std::process::exit(125);
    };
    let service = match start(&start_error) {
        Ok(pid) => pid,
        Err(errno) => {
            fail(&start_error, errno);
            std::process::exit(125);
        }
    };
    // Its closing, together with the service's exec, tells jailsupd that the start is over.
    drop(start_error);
    let exit = supervise(service);
    let _ = rustix::io::write(&exit_report, &report(&exit).encode());
    std::process::exit(match exit.code {
        CLD_EXITED => exit.status,
        // The shell's convention; the report has the exact truth.
        _ => 128 + exit.status,
    });
}

/// Makes the service's process; its pid or an errno.
fn start(start_error: &OwnedFd) -> Result<i32, i32> {
    let text = |string: std::ffi::OsString| CString::new(string.into_vec()).map_err(|_| EINVAL);
    let argv: Vec<CString> = std::env::args_os().skip(1).map(text).collect::<Result<_, _>>()?;
    let mut envp = Vec::new();
    for (name, value) in std::env::vars_os() {
        let mut pair = name.into_vec();
        pair.push(b'=');
        pair.extend(value.into_vec());
        envp.push(CString::new(pair).map_err(|_| EINVAL)?);
    }
    let Some(program) = argv.first().cloned() else { return Err(EINVAL) };
    let (argv, envp) = (Vector::new(argv), Vector::new(envp));
    let child = sys::clone::fork(&mut || {
        let _ = rustix::process::setsid();
        let _ = sys::signal::reset();
        let error = sys::exec::execute(&program, &argv, &envp);
        fail(start_error, error.raw_os_error().unwrap_or(0));
        127
    });
    child.map_err(|error| error.raw_os_error().unwrap_or(0))
}

fn fail(start_error: &OwnedFd, errno: i32) {
    let record = StartError { stage: Stage::Exec, errno };
    let _ = rustix::io::write(start_error.as_fd(), &record.encode());
}

/// Forwards and reaps until the service has ended.
fn supervise(service: i32) -> Exit {
    loop {
        let Ok(received) = sys::signal::wait_any() else { continue };
        if received.signal != SIGCHLD {
            // It may have ended meanwhile; then its SIGCHLD is next.
            let _ = sys::signal::send(service, received.signal);
            continue;
        }
        while let Ok(Some(exit)) = sys::wait::reap_any() {
            if exit.pid == service {
                return exit;
            }
        }
    }
}

fn report(exit: &Exit) -> ExitReport {
    ExitReport {
        code: exit.code,
        status: exit.status,
        user_us: exit.user_us,
        system_us: exit.system_us,
        max_rss_kib: exit.max_rss_kib,
    }
}
