//! `make run` and `make stop`: the production image in QEMU, its console on this terminal, its data
//! kept under `target/run`. `make shell`: the debug image for trying things out, its data gone afterwards.

#![forbid(unsafe_code)]

mod run;
mod shell;
mod state;
mod stop;

use std::process::ExitCode;

const USAGE: &str = "usage: vm run    boot the image and serve the nginx jail (PORT=8080)
       vm stop   power that guest off
       vm shell  boot the debug image; its shell takes the lines of standard input";

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let result = match verb.as_deref() {
        Some("run") => run::run(),
        Some("stop") => stop::stop(),
        Some("shell") => shell::shell(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm: {error:?}");
            ExitCode::FAILURE
        }
    }
}
