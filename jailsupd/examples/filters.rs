//! Writes the default profile's system call filter as the kernel takes it (`struct sock_filter`,
//! linux/filter.h), for what is to be measured or tried with the very same filter.
//!
//! `filters DIRECTORY` prints the file's path.

#![allow(clippy::print_stdout, reason = "its interface")]

use jailsupd::plan::seccomp::{self, Request};
use jailsupd::unit::Capabilities;
use jailsupd::unit::seccomp::Seccomp;
use std::error::Error;
use std::path::PathBuf;

/// Debian's, whose calls the profile knows.
const KERNEL: (u32, u32) = (6, 12);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).ok_or("usage: filters DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    let request = Request {
        seccomp: &Seccomp::Default,
        profile: None,
        capabilities: Capabilities::default(),
        kernel: KERNEL,
        log: false,
    };
    for (number, filter) in seccomp::compile(request)?.iter().enumerate() {
        let mut bytes = Vec::new();
        for instruction in &filter.program {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        let path = directory.join(format!("filter{number}"));
        std::fs::write(&path, bytes)?;
        println!("{}", path.display());
    }
    Ok(())
}
