//! A service that takes all that it can get: memory, processes, processor time, disk. The tests put
//! it into jails to see their limits hold.

#![forbid(unsafe_code)]

use std::{
    fs::{self, OpenOptions},
    hint, io,
    io::Write as _,
    os::unix::fs::FileExt as _,
    process::{Child, Command},
    thread,
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags};
use rustix::fs::{Advice, CWD, FileType, Mode, fadvise, makedev, mknodat};
use rustix::process::{Signal, getpid, kill_process};

/// Taken at once.
const MIB: usize = 1 << 20;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["memory"] => take_memory(),
        // Dies of a fault, with some memory to be dumped.
        ["fault", mib] => fault(mib.parse().map_err(io::Error::other)?),
        // Writes a file until it cannot.
        ["fill", path] => fill(path),
        // Stays when its child is killed.
        ["nurse"] => nurse(),
        ["processes"] => take_processes(),
        ["boast"] => boast(),
        ["processor", threads] => take_processor(threads.parse().map_err(io::Error::other)?),
        ["disk"] => take_disk(),
        // Reads a file again and again, each time from the disk.
        ["read"] => read_disk(),
        ["hold", mib] => hold(mib.parse().map_err(io::Error::other)?),
        ["try", ref words @ ..] => {
            for word in words {
                println!("{word}: {}", attempt(word));
            }
            println!("tried all");
            stay()
        }
        ["stay", ..] => stay(),
        _ => Err(io::Error::other(
            "usage: strain memory | fault MIB | fill PATH | nurse | processes | boast | processor THREADS | disk | read | hold MIB | try WORD... | stay",
        )),
    }
}

fn stay() -> io::Result<()> {
    loop {
        thread::park();
    }
}

/// `r:PATH` and `w:PATH` open, `make:PATH` makes a node of /dev/null, `inotify:N` has so many instances at once: `ok`, or the number of the error.
fn attempt(word: &str) -> String {
    let Some((what, path)) = word.split_once(':') else { return "no colon".into() };
    let result = match what {
        "r" => OpenOptions::new().read(true).open(path).map(drop),
        "w" => OpenOptions::new().write(true).open(path).map(drop),
        "make" => {
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).map_err(Into::into)
        }
        "inotify" => watch(path.parse().unwrap_or(0)),
        _ => return "unknown".into(),
    };
    match result.map_err(|error| error.raw_os_error()) {
        Ok(()) => "ok".into(),
        Err(number) => number.unwrap_or_default().to_string(),
    }
}

fn watch(instances: usize) -> io::Result<()> {
    let all: Result<Vec<_>, _> =
        (0..instances).map(|_| inotify::init(CreateFlags::empty())).collect();
    Ok(all.map(drop)?)
}

/// Memory that is written to, so that it is there.
fn take_memory() -> io::Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(hint::black_box(vec![0x5a_u8; MIB]));
    }
}

fn fault(mib: usize) -> io::Result<()> {
    let taken = hint::black_box(vec![0x5a_u8; mib * MIB]);
    loop {
        // The first is taken by the handler of Rust's runtime, which then stands aside.
        kill_process(getpid(), Signal::SEGV)?;
        hint::black_box(&taken);
    }
}

fn fill(path: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let error = loop {
        if let Err(error) = file.write_all(&vec![0x5a_u8; MIB]).and_then(|()| file.sync_data()) {
            break error;
        }
    };
    println!("filled: {}", error.raw_os_error().unwrap_or_default());
    stay()
}

fn nurse() -> io::Result<()> {
    let status = Command::new("/proc/self/exe").arg("memory").status()?;
    fs::write("/child", format!("{status}\n"))?;
    stay()
}

/// A process with a command line of a megabyte.
fn boast() -> io::Result<()> {
    let long = "x".repeat(100 << 10);
    let status = Command::new("/proc/self/exe").arg("stay").args(vec![long; 10]).status()?;
    Err(io::Error::other(status.to_string()))
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

fn hold(mib: usize) -> io::Result<()> {
    let taken = hint::black_box(vec![0x5a_u8; mib * MIB]);
    println!("held");
    stay()?;
    drop(taken);
    Ok(())
}

/// A file of 8 MiB, and a line each time that it was read.
fn read_disk() -> io::Result<()> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open("/read")?;
    let mut block = vec![0x5a_u8; MIB];
    for _ in 0..8 {
        (&file).write_all(&block)?;
    }
    file.sync_all()?;
    for number in 1_u64.. {
        fadvise(&file, 0, None, Advice::DontNeed)?;
        for at in 0..8 {
            file.read_exact_at(&mut block, at * MIB as u64)?;
        }
        println!("pass {number}");
    }
    Ok(())
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
