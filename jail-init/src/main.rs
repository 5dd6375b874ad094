//! The helper in a jail. As PID 1 (`jail-init PROGRAM [ARGUMENT...]`) it starts the service, forwards
//! signals to it, reaps orphans, reports how the service ended, and ends with it, so that the kernel kills
//! whatever is left. Under the names in [`jail_init::session`] it does the same for one more program in a
//! running jail, for a client; under those in [`jail_init::archive`] it is that program itself, and copies; under
//! that in [`jail_init::check`] it looks at the health of the jail.
//!
//! jailsupd executes it from a sealed memfd as the last step of a jail's start: every wall stands
//! already, and this program has no more rights than the service. Environment = the program's,
//! descriptors as in the library.

mod attended;
mod before;
mod copy;
mod left;
mod probe;
mod program;

use jail_init::{
    EXIT_REPORT_FD, ExitReport, START_ERROR_FD, Stage, StartError, archive, check, hook, session,
};
use program::{Parent, Program};
use std::os::fd::{AsFd, OwnedFd};
use sys::wait::Exit;

/// Means reaping; every other signal is the service's (signal(7), x86 and arm).
const SIGCHLD: i32 = 17;
/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;

fn main() {
    let _ = sys::signal::block_all();
    let status = match std::env::args_os().next() {
        Some(name) if name == session::EXEC => exec(),
        Some(name) if name == session::RUN => run(),
        Some(name) if name == archive::PACK => copy::run(copy::pack),
        Some(name) if name == archive::UNPACK => copy::run(copy::unpack),
        Some(name) if name == hook::INIT => hooked(),
        Some(name) if name == check::CHECK => probe::run(),
        _ => init(),
    };
    std::process::exit(status);
}

/// One more program in a running jail.
fn exec() -> i32 {
    let Ok(socket) = sys::fd::inherit(session::EXEC_FD) else { return 125 };
    attended::run(&socket, None, |_| {}).map_or(125, |exit| status(&exit))
}

/// The jail's PID 1, whose program has a client.
fn run() -> i32 {
    let (Ok(start_error), Ok(exit_report), Ok(socket)) = (
        sys::fd::inherit(START_ERROR_FD),
        sys::fd::inherit(EXIT_REPORT_FD),
        sys::fd::inherit(session::RUN_FD),
    ) else {
        return 125;
    };
    let ended = |exit: &Exit| {
        let _ = rustix::io::write(&exit_report, &report(exit).encode());
    };
    attended::run(&socket, Some(start_error), ended).map_or(125, |exit| status(&exit))
}

/// The jail's PID 1 that has a hook to run first, and perhaps nothing else.
fn hooked() -> i32 {
    // From here on a hook does not inherit them.
    let (Ok(start_error), Ok(exit_report)) =
        (sys::fd::inherit(START_ERROR_FD), sys::fd::inherit(EXIT_REPORT_FD))
    else {
        return 125;
    };
    match before::run() {
        Ok(before) if std::env::args_os().len() <= before => 0,
        Ok(before) => serve(start_error, &exit_report, before),
        Err(failure) => {
            let record = StartError { stage: Stage::StartContainer, errno: failure.encode() };
            let _ = rustix::io::write(&start_error, &record.encode());
            125
        }
    }
}

/// The jail's PID 1.
fn init() -> i32 {
    match (sys::fd::inherit(START_ERROR_FD), sys::fd::inherit(EXIT_REPORT_FD)) {
        (Ok(start_error), Ok(exit_report)) => serve(start_error, &exit_report, 1),
        _ => 125,
    }
}

/// Runs the service to its end; `before` words of the command line are not its own.
fn serve(start_error: OwnedFd, exit_report: &OwnedFd, before: usize) -> i32 {
    let failed = |errno| fail(&start_error, errno);
    let started = Program::told(before).and_then(|program| program.start(Parent::Init, failed));
    let service = match started {
        Ok(pid) => pid,
        Err(errno) => {
            fail(&start_error, errno);
            return 125;
        }
    };
    // Its closing, together with the service's exec, tells jailsupd that the start is over.
    drop(start_error);
    let exit = supervise(service);
    let mut records = report(&exit).encode().to_vec();
    records.extend(left::look().encode());
    let _ = rustix::io::write(exit_report, &records);
    status(&exit)
}

fn status(exit: &Exit) -> i32 {
    match exit.code {
        CLD_EXITED => exit.status,
        // The shell's convention; the report has the exact truth.
        _ => 128 + exit.status,
    }
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

pub(crate) fn report(exit: &Exit) -> ExitReport {
    ExitReport {
        code: exit.code,
        status: exit.status,
        user_us: exit.user_us,
        system_us: exit.system_us,
        max_rss_kib: exit.max_rss_kib,
    }
}
