//! A service that does on purpose what services do by accident, or looks around. The tests put it
//! into jails.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::Path,
    process::{self, Command},
    thread,
};

use rustix::process::{Signal, getpid, getuid, kill_process};
use signal_hook::{
    consts::{SIGTERM, SIGUSR1},
    iterator::Signals,
};

/// How many processes lose their parent on each SIGUSR1.
const ORPHANS: usize = 200;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["exit", code] => process::exit(code.parse().map_err(io::Error::other)?),
        // The first is taken by the handler with which Rust's runtime looks for stack overflows, and
        // which then stands aside.
        ["fault"] => loop {
            kill_process(getpid(), Signal::SEGV)?;
        },
        ["wait-exit", code] => {
            let mut signals = Signals::new([SIGTERM, SIGUSR1])?;
            if signals.forever().next() == Some(SIGUSR1) {
                process::exit(code.parse().map_err(io::Error::other)?);
            }
        }
        ["stay"] => stay()?,
        ["ignore"] => ignore()?,
        // The beginning of a line, and no more of it.
        ["mutter", text] => {
            print!("{text}");
            io::stdout().flush()?;
            stay()?;
        }
        // With no handler of its own, so that no signal is lost between its exec and that.
        ["park"] => loop {
            thread::park();
        },
        ["hook", code] => hook(code.parse().map_err(io::Error::other)?)?,
        ["say", ref lines @ ..] => say(lines)?,
        ["look"] => {
            look()?;
            stay()?;
        }
        ["subvolume", directory] => subvolume(directory)?,
        // The parent of an orphan: gone before its child is.
        ["parent"] => drop(Command::new("/proc/self/exe").arg("orphan").spawn()?),
        ["orphan"] => {}
        _ => {
            return Err(io::Error::other(
                "usage: nuisance exit CODE | wait-exit CODE | fault | stay | ignore | park | mutter TEXT | hook CODE | say LINE... | look | subvolume DIRECTORY",
            ));
        }
    }
    Ok(())
}

/// Tries to make a btrfs subvolume there, and says how it went.
fn subvolume(directory: &str) -> io::Result<()> {
    match sys::btrfs::create_subvolume(fs::File::open(directory)?.as_fd(), c"nested") {
        Ok(()) => println!("subvolume: made"),
        Err(error) => println!("subvolume: {error}"),
    }
    Ok(())
}

/// Runs until SIGTERM. SIGUSR1 leaves orphans to whoever reaps here, and then `/orphans`.
fn stay() -> io::Result<()> {
    for signal in Signals::new([SIGTERM, SIGUSR1])?.forever() {
        if signal == SIGTERM {
            break;
        }
        for _ in 0..ORPHANS {
            Command::new("/proc/self/exe").arg("parent").spawn()?.wait()?;
        }
        fs::write("/orphans", ORPHANS.to_string())?;
    }
    Ok(())
}

/// Runs whatever SIGTERM says, and says so.
fn ignore() -> io::Result<()> {
    for _ in Signals::new([SIGTERM])?.forever() {
        println!("ignored");
    }
    Ok(())
}

/// A hook: says what it read from standard input, and ends so.
fn hook(code: i32) -> io::Result<()> {
    println!("read {}", io::read_to_string(io::stdin())?);
    process::exit(code)
}

/// Says these lines, and `again` on each SIGUSR1, until SIGTERM.
fn say(lines: &[&str]) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGUSR1])?;
    for line in lines {
        println!("{line}");
    }
    for signal in signals.forever() {
        if signal == SIGTERM {
            break;
        }
        println!("again");
    }
    Ok(())
}

/// Writes what can be seen from here to `/seen`.
fn look() -> io::Result<()> {
    let host = Path::new("/usr/lib/warder").exists() || Path::new("/data").exists();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let of_the_host =
        |line: &&str| ["/data ", "/dev/dm-", "/run/warder"].iter().any(|mark| line.contains(mark));
    let mounts: Vec<_> = mounts.lines().filter(of_the_host).collect();
    let processes = names("/proc")?.into_iter().filter(|name| name.parse::<u32>().is_ok());
    let text = format!(
        "uid: {}\nhost root: {}\nroot: {}\nmounts of the host: {}\nprocesses: {}\nlinks: {}\n",
        getuid().as_raw(),
        if host { "present" } else { "absent" },
        names("/")?.join(" "),
        mounts.join(" "),
        processes.collect::<Vec<_>>().join(" "),
        names("/sys/class/net")?.join(" "),
    );
    // In one step, so that a reader never sees a part.
    fs::write("/seen.new", text)?;
    fs::rename("/seen.new", "/seen")
}

fn names(directory: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
