//! A service that takes all that it can get: memory, processes, processor time, disk. The tests put
//! it into jails to see their limits hold.

#![forbid(unsafe_code)]

use std::{
    fs::{self, OpenOptions},
    hint, io,
    io::Write as _,
    process::{Child, Command},
    thread,
    time::Duration,
};

/// Taken at once.
const MIB: usize = 1 << 20;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["memory"] => take_memory(),
        // Stays when its child is killed.
        ["nurse"] => nurse(),
        ["processes"] => take_processes(),
        ["processor", threads] => take_processor(threads.parse().map_err(io::Error::other)?),
        ["disk"] => take_disk(),
        ["stay"] => loop {
            thread::park();
        },
        _ => Err(io::Error::other(
            "usage: strain memory | nurse | processes | processor THREADS | disk | stay",
        )),
    }
}

/// Memory that is written to, so that it is there.
fn take_memory() -> io::Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(hint::black_box(vec![0x5a_u8; MIB]));
    }
}

fn nurse() -> io::Result<()> {
    let status = Command::new("/proc/self/exe").arg("memory").status()?;
    fs::write("/child", format!("{status}\n"))?;
    loop {
        thread::park();
    }
}

/// Each process makes as many as it gets, and each of them the same.
fn take_processes() -> io::Result<()> {
    let mut children: Vec<Child> = Vec::new();
    loop {
        match Command::new("/proc/self/exe").arg("processes").spawn() {
            Ok(child) => children.push(child),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn take_processor(threads: usize) -> io::Result<()> {
    let burn = || loop {
        hint::black_box(0);
    };
    for _ in 1..threads {
        thread::spawn(burn);
    }
    burn()
}

/// Writes 1 MiB after the other over a file of 16, so that the disk does not fill up. What is not synced
/// is written when the jail may have no more dirty memory.
fn take_disk() -> io::Result<()> {
    let block = vec![0x5a; MIB];
    loop {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).open("/written")?;
        for _ in 0..16 {
            file.write_all(&block)?;
            file.sync_data()?;
        }
    }
}
