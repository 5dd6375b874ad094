//! jailctl, the command line: asks jailsupd over its control socket and shows the answer.
//!
//! It holds no state and decides nothing. `varlink` talks, `render` turns answers into text (pure), `output`
//! writes; of jailsupd only `control::wire` is used.

mod cli;
mod command;
mod error;
mod keys;
mod moment;
mod output;
mod render;
mod session;
#[cfg(test)]
mod tests;
mod varlink;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let socket = arguments.socket();
    let mut out = output::Output::stdout();
    match command::run(&arguments, &socket, &mut out) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            let of_program = arguments.command.runs_a_program();
            ExitCode::from(if of_program { error.code_of_program() } else { error.code() })
        }
    }
}
