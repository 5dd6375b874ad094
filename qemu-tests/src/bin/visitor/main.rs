//! What the tests of `jailctl exec`, `run` and `console` execute in jails, and, on the host's side, a person
//! at a terminal (`drive`).

#![forbid(unsafe_code)]

mod attempts;
mod drive;

use std::{
    fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use rustix::{
    process::{getgid, getgroups, getuid},
    stdio::{stdin, stdout},
    termios::{isatty, tcgetwinsize},
};
use signal_hook::{
    consts::{SIGHUP, SIGTERM, SIGWINCH},
    iterator::Signals,
};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["cat"] => drop(io::copy(&mut io::stdin(), &mut io::stdout())?),
        ["zeros"] => drop(io::copy(&mut io::repeat(0), &mut io::stdout())?),
        ["both"] => {
            println!("this is output");
            eprintln!("this is error");
        }
        ["who"] => who()?,
        ["terminal"] => terminal()?,
        ["size"] => size()?,
        ["desk"] => desk()?,
        ["stubborn"] => {
            // Neither ends it.
            let signals = Signals::new([SIGHUP, SIGTERM])?;
            println!("here");
            thread::sleep(Duration::from_secs(3600));
            drop(signals);
        }
        ["leave-behind"] => drop(Command::new("/bin/nuisance").arg("stay").spawn()?),
        ["attempts"] => attempts::all(),
        ["drive", size, ref rest @ ..] => drive::drive(size, rest)?,
        ["take-terminal", program, ref arguments @ ..] => return take(program, arguments),
        _ => return Err(io::Error::other("see the source")),
    }
    Ok(())
}

fn who() -> io::Result<()> {
    let groups: Vec<u32> = getgroups()?.iter().map(|group| group.as_raw()).collect();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!(
        "uid={} gid={} groups={groups:?} dir={} home={} path={} mark={}",
        getuid().as_raw(),
        getgid().as_raw(),
        std::env::current_dir()?.display(),
        variable("HOME"),
        variable("PATH"),
        variable("MARK"),
    );
    let mut open: Vec<String> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // The one of this very loop leads to a directory of /proc.
        let to = fs::read_link(entry.path())?.display().to_string();
        if !to.starts_with("/proc/") {
            open.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    open.sort();
    println!("open={}", open.join(" "));
    Ok(())
}

fn terminal() -> io::Result<()> {
    let path = fs::read_link("/proc/self/fd/0")?;
    let owner = fs::metadata(&path).map_or(u32::MAX, |metadata| metadata.uid());
    let controlling = fs::File::options().read(true).write(true).open("/dev/tty").is_ok();
    println!(
        "terminal={} on={} owner={owner} controlling={controlling} term={}",
        isatty(stdin()) && isatty(stdout()),
        path.parent().unwrap_or(Path::new("/")).display(),
        std::env::var("TERM").unwrap_or_default(),
    );
    Ok(())
}

/// Says the terminal's size now and whenever it changes, until it is interrupted.
fn size() -> io::Result<()> {
    let mut signals = Signals::new([SIGWINCH])?;
    loop {
        let size = tcgetwinsize(stdin())?;
        println!("size={}x{}", size.ws_row, size.ws_col);
        signals.forever().next();
    }
}

/// A service at a terminal: does what the lines say that are typed.
fn desk() -> io::Result<()> {
    terminal()?;
    let console = fs::canonicalize("/dev/console")? == fs::read_link("/proc/self/fd/0")?;
    println!("console={console}");
    for line in io::stdin().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("size", _) => {
                let size = tcgetwinsize(stdin())?;
                println!("size={}x{}", size.ws_row, size.ws_col);
            }
            ("flood", lines) => {
                for number in 0..lines.parse().unwrap_or(0) {
                    println!("{number} {}", "x".repeat(1000));
                }
                println!("flood is over");
            }
            ("leave", code) => std::process::exit(code.parse().unwrap_or(1)),
            _ => println!("said: {line}"),
        }
    }
    Ok(())
}

/// Makes standard input the controlling terminal, as a login does, and executes.
fn take(program: &str, arguments: &[&str]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(stdin())?;
    Err(Command::new(program).args(arguments).exec())
}
