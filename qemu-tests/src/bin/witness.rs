//! A service that keeps a record of its own lives on a volume: the tests' oracle for what a supervisor
//! does, which asks that supervisor nothing.
//!
//! `witness DIRECTORY steady|mortal|aging`. Each line goes to standard output first and then to the file
//! `record`, so that what the record has was certainly said. Each life holds a lock; one that does not get
//! it writes `collision`: two of them at once. A mortal one ends by itself after a while, an aging one
//! later, in a way that depends on which life it is, and writes how before. Where somebody waits for it, it says that it is ready (sd_notify(3)).
//!
//! `witness DIRECTORY before|beside|after` is a hook, and says so in the same way: `before` and `after` hold the lock, too,
//! so that a life beside them is a collision. `witness DIRECTORY check` is a health check: somebody has written lately.

#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, getpid, kill_process},
};
use signal_hook::consts::SIGTERM;

/// Between two lines.
const BEAT: Duration = Duration::from_millis(200);
/// What was written longer ago was not written lately, also where much else goes on.
const LATELY: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [directory, "steady"] => live(&mut Record::open(directory)?, None),
        [directory, "mortal"] => live(&mut Record::open(directory)?, Some(1)),
        [directory, "aging"] => live(&mut Record::open(directory)?, Some(4)),
        [directory, hook @ ("before" | "beside" | "after")] => {
            run_hook(&mut Record::open(directory)?, hook)
        }
        [directory, "check"] => check(directory),
        _ => Err(io::Error::other(
            "usage: witness DIRECTORY steady | mortal | aging | before | beside | after | check",
        )),
    }
}

struct Record {
    file: File,
    path: PathBuf,
}

impl Record {
    fn open(directory: &str) -> io::Result<Self> {
        let path = Path::new(directory).join("record");
        Ok(Self { file: File::options().create(true).append(true).open(&path)?, path })
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        io::stdout().write_all(words.as_bytes())?;
        self.file.write_all(words.as_bytes())
    }

    /// How many lines begin with this word.
    fn count(&self, word: &str) -> io::Result<usize> {
        let text = fs::read_to_string(&self.path)?;
        Ok(text.lines().filter(|line| line.split(' ').next() == Some(word)).count())
    }

    /// As long as it is kept, nobody else has it.
    fn lock(&mut self) -> io::Result<File> {
        let lock =
            File::options().create(true).append(true).open(self.path.with_file_name("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            self.file.write_all(b"collision\n")?;
            process::exit(99);
        }
        Ok(lock)
    }
}

/// `pace`: of one that ends by itself, how slow it is to.
fn live(record: &mut Record, pace: Option<usize>) -> io::Result<()> {
    let stopped = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&stopped))?;
    let _lock = record.lock()?;
    let life = 1 + record.count("start")?;
    record.say(&format!("start {life} {}\n", getpid().as_raw_nonzero()))?;
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    }
    let span = pace.map(|pace| pace * (2 + life * 3 % 7));
    for beat in 1.. {
        if stopped.load(Ordering::Relaxed) {
            return record.say(&format!("asked {life}\n"));
        }
        record.say(&format!("beat {life} {beat}\n"))?;
        if span.is_some_and(|span| beat > span) {
            break;
        }
        thread::sleep(BEAT);
    }
    if life % 4 == 0 {
        record.say(&format!("killed {life}\n"))?;
        return Ok(kill_process(getpid(), Signal::KILL)?);
    }
    let code = 1 + life % 200;
    record.say(&format!("exited {life} {code}\n"))?;
    process::exit(i32::try_from(code).unwrap_or(1));
}

/// Takes its time, so that it may be what goes on when something happens.
fn run_hook(record: &mut Record, hook: &str) -> io::Result<()> {
    let _lock = if hook == "beside" { None } else { Some(record.lock()?) };
    thread::sleep(BEAT);
    let (number, life) = (1 + record.count("hook")?, record.count("start")?);
    record.say(&format!("hook {life} {hook} {number}\n"))?;
    thread::sleep(BEAT);
    Ok(())
}

fn check(directory: &str) -> io::Result<()> {
    let written = fs::metadata(Path::new(directory).join("record"))?.modified()?;
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    if age > LATELY {
        println!("nothing was written for {age:?}");
        process::exit(1);
    }
    Ok(())
}
