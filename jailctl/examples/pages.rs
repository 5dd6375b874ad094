//! Writes jailctl's man pages and shell completions below a directory, as a package lays them out:
//! `cargo run -p jailctl --example pages -- DIRECTORY`.
//!
//! An example and no program of the product: what it needs is a development dependency only, and the image
//! holds neither it nor its pages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

#[allow(dead_code)] // the pages need the definition only
#[path = "../src/cli.rs"]
mod cli;
#[allow(dead_code)]
#[path = "../src/keys.rs"]
mod keys;
#[allow(dead_code)]
#[path = "../src/moment.rs"]
mod moment;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: pages DIRECTORY");
        return ExitCode::from(2);
    };
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages: cannot write below {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let manuals = directory.join("usr/share/man/man1");
    std::fs::create_dir_all(&manuals)?;
    clap_mangen::generate_to(cli::Arguments::command(), &manuals)?;
    for (shell, place) in [
        (Shell::Bash, "usr/share/bash-completion/completions/jailctl"),
        (Shell::Zsh, "usr/share/zsh/vendor-completions/_jailctl"),
        (Shell::Fish, "usr/share/fish/vendor_completions.d/jailctl.fish"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut cli::Arguments::command(), "jailctl", &mut text);
        let path = directory.join(place);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
