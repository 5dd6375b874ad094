//! `make run` and `make stop`: the production image in QEMU, its console on this terminal, its data
//! kept under `target/run`.

#![forbid(unsafe_code)]

mod run;
mod state;
mod stop;

use std::process::ExitCode;

const USAGE: &str = "usage: vm run    boot the image and serve the nginx jail (PORT=8080)
       vm stop   power that guest off";

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let result = match verb.as_deref() {
        Some("run") => run::run(),
        Some("stop") => stop::stop(),
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
