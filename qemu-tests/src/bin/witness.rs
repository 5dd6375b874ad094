//! A service that keeps a record of its own lives on a volume: the tests' oracle for what a supervisor
//! does, which asks that supervisor nothing.
//!
//! `witness DIRECTORY steady|mortal`. Each line goes to standard output first and then to the file
//! `record`, so that what the record has was certainly said. Each life holds a lock; one that does not get
//! it writes `collision`: two of them at once. A mortal one ends by itself after a while, in a way that
//! depends on which life it is, and writes how before. Where somebody waits for it, it says that it is ready (sd_notify(3)).

#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, getpid, kill_process},
};
use signal_hook::consts::SIGTERM;

/// Between two lines.
const BEAT: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (directory, mortal) = match &words[..] {
        [directory, kind] if kind == "steady" => (directory, false),
        [directory, kind] if kind == "mortal" => (directory, true),
        _ => return Err(io::Error::other("usage: witness DIRECTORY steady|mortal")),
    };
    let stopped = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&stopped))?;
    let directory = Path::new(directory);
    let mut record = File::options().create(true).append(true).open(directory.join("record"))?;
    let lock = File::options().create(true).append(true).open(directory.join("lock"))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        record.write_all(b"collision\n")?;
        process::exit(99);
    }
    let lives = fs::read_to_string(directory.join("record"))?;
    let life = 1 + lives.lines().filter(|line| line.starts_with("start ")).count();
    let mut say = |words: &str| {
        io::stdout().write_all(words.as_bytes())?;
        record.write_all(words.as_bytes())
    };
    say(&format!("start {life} {}\n", getpid().as_raw_nonzero()))?;
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    }
    let span = 5 + life * 7 % 13;
    for beat in 1.. {
        if stopped.load(Ordering::Relaxed) {
            return say(&format!("asked {life}\n"));
        }
        say(&format!("beat {life} {beat}\n"))?;
        if mortal && beat > span {
            break;
        }
        thread::sleep(BEAT);
    }
    if life % 4 == 0 {
        say(&format!("killed {life}\n"))?;
        return Ok(kill_process(getpid(), Signal::KILL)?);
    }
    let code = 1 + life % 200;
    say(&format!("exited {life} {code}\n"))?;
    process::exit(i32::try_from(code).unwrap_or(1));
}
