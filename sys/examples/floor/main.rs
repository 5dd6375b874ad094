//! The floor under a jail's start: the isolation of a Warder jail by nothing but the system calls that
//! make it. `make bench` measures it beside Warder and the others (docs/benchmarks.md).
//!
//! ```text
//!  floor IMAGE CGROUP WORK FILTER... -- PROGRAM       IMAGE: an erofs file, or dir:PATH
//!     < floor | read-only | fresh | bare              one start a line
//!     < restart                                       one SIGKILL and the start that follows from it
//!     > BEGIN LINE                                    CLOCK_BOOTTIME, and what PROGRAM said
//! ```
//!
//! It is as lucky as a supervisor can be: it never ends, so image, devices, filters and, but for
//! `fresh`, the user and network namespace are there before. It checks nothing that the image could
//! have forged, looks no user up, keeps no log, has no process in the jail beside the program and
//! survives nothing.

#![allow(clippy::print_stdout, reason = "its interface")]

mod host;
mod jail;
mod mounts;

use host::{Host, Kind};
use std::io::{self, BufRead as _, Write as _};

fn main() -> io::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other("usage: floor IMAGE CGROUP WORK FILTER... -- PROGRAM");
    let dashes = words.iter().position(|word| word == "--").ok_or_else(usage)?;
    let program = words.split_off(dashes).pop().ok_or_else(usage)?;
    let (Some(image), Some(cgroup), Some(work)) = (words.first(), words.get(1), words.get(2))
    else {
        return Err(usage());
    };
    let filters = words[3..].iter().map(|path| read_filter(path)).collect::<io::Result<_>>()?;
    let mut host = Host::new(image, cgroup, work, filters, &program)?;
    for line in io::stdin().lock().lines() {
        let kind = match line?.as_str() {
            "floor" => Kind::Ephemeral,
            "read-only" => Kind::ReadOnly,
            "fresh" => Kind::Fresh,
            "bare" => Kind::Bare,
            "restart" => {
                let (begin, said) = host.restart()?;
                answer(begin, &said)?;
                continue;
            }
            other => return Err(io::Error::other(format!("no such kind of start: {other}"))),
        };
        let (begin, said) = host.start(kind)?;
        answer(begin, &said)?;
    }
    host.end()
}

fn answer(begin: u64, said: &str) -> io::Result<()> {
    println!("{begin} {}", said.trim_end());
    io::stdout().flush()
}

/// A program of `struct sock_filter`s, as the kernel has them (linux/filter.h).
fn read_filter(path: &str) -> io::Result<Vec<sys::lockdown::Instruction>> {
    let bytes = std::fs::read(path)?;
    let instruction = |b: &[u8]| sys::lockdown::Instruction {
        code: u16::from_ne_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    Ok(bytes.chunks_exact(8).map(instruction).collect())
}
