//! A service that speaks sd_notify(3), and what its health checks run: each word of the command line is a step. The
//! tests put it into jails, and let it go on by files.

#![forbid(unsafe_code)]

use std::{
    fs, io,
    io::IoSlice,
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::Path,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use signal_hook::{
    consts::{SIGABRT, SIGTERM},
    iterator::Signals,
};

const USAGE: &str = "usage: speaker STEP...
  say TEXT      sends a datagram; | is a line end      wait FILE     until it is there
  every MS TEXT sends it again and again, until /quiet is there
  flood N TEXT  sends it N times                       long          sends more than a datagram may be
  fds N         sends N descriptors, a hundred times   barrier       until all was taken, then makes /barrier
  watchdog      says whose watchdog it is              touch FILE, remove FILE
  exists FILE   or exit code 1                         hang          with a child that has left it
  exit CODE     stay          until SIGTERM            linger        SIGTERM asks for more time, /end ends it
  print TEXT    to standard output                     tell          prints what signals it gets, /end ends it";

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&asked))?;
    let mut rest = &words[..];
    while !rest.is_empty() {
        rest = match rest {
            ["say", text, rest @ ..] => done(say(text), rest)?,
            ["wait", file, rest @ ..] => done(wait(file, &asked), rest)?,
            ["every", pace, text, rest @ ..] => done(every(pace, text), rest)?,
            ["flood", count, text, rest @ ..] => done(flood(count, text), rest)?,
            ["long", rest @ ..] => done(say(&"STATUS=long|".repeat(1000)), rest)?,
            ["fds", count, rest @ ..] => done(descriptors(count), rest)?,
            ["barrier", rest @ ..] => done(barrier(), rest)?,
            ["watchdog", rest @ ..] => done(watchdog(), rest)?,
            ["touch", file, rest @ ..] => done(fs::write(file, ""), rest)?,
            ["remove", file, rest @ ..] => done(fs::remove_file(file), rest)?,
            ["exists", file, rest @ ..] => done(exists(file), rest)?,
            ["hang"] => return hang(),
            ["exit", code] => process::exit(code.parse().map_err(io::Error::other)?),
            ["print", text, rest @ ..] => done(print(text), rest)?,
            ["tell"] => return tell(),
            ["stay"] => return until(|| asked.load(Ordering::Relaxed)),
            ["linger"] => return linger(&asked),
            _ => return Err(io::Error::other(USAGE)),
        };
    }
    Ok(())
}

fn done<'a>(step: io::Result<()>, rest: &'a [&'a str]) -> io::Result<&'a [&'a str]> {
    step.map(|()| rest)
}

fn until(mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    while !is_so() {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn socket() -> io::Result<UnixDatagram> {
    let path = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn say(text: &str) -> io::Result<()> {
    socket()?.send(text.replace('|', "\n").as_bytes()).map(drop)
}

/// SIGTERM ends the waiting and the program, as it would without a handler.
fn wait(file: &str, asked: &AtomicBool) -> io::Result<()> {
    until(|| Path::new(file).exists() || asked.load(Ordering::Relaxed))?;
    if asked.load(Ordering::Relaxed) {
        process::exit(143);
    }
    Ok(())
}

/// In a thread of its own.
fn every(pace: &str, text: &str) -> io::Result<()> {
    let pace = Duration::from_millis(pace.parse().map_err(io::Error::other)?);
    let text = text.to_owned();
    thread::spawn(move || {
        while !Path::new("/quiet").exists() {
            let _ = say(&text);
            thread::sleep(pace);
        }
    });
    Ok(())
}

fn flood(count: &str, text: &str) -> io::Result<()> {
    let count: u32 = count.parse().map_err(io::Error::other)?;
    let socket = socket()?;
    let begun = Instant::now();
    for _ in 0..count {
        socket.send(text.as_bytes())?;
    }
    println!("flood of {count} in {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// More of them than jailsupd may have, if it kept them.
fn descriptors(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let null = fs::File::open("/dev/null")?;
    let fds: Vec<_> = (0..count).map(|_| null.as_fd()).collect();
    for _ in 0..100 {
        // The kernel lets a user have no more of them under way than open (unix(7)): those that jailsupd has not
        // thrown away yet count.
        while let Err(error) = send_with(b"FDSTORE=1\nSTATUS=descriptors", &fds) {
            if error.raw_os_error() != Some(Errno::TOOMANYREFS.raw_os_error()) {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    println!("descriptors were sent");
    Ok(())
}

fn send_with(text: &[u8], fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<()> {
    let socket = socket()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(&socket, &[IoSlice::new(text)], &mut control, SendFlags::empty())?;
    Ok(())
}

/// As sd_notify_barrier(3): the pipe's other end is closed when all that was sent before was taken.
fn barrier() -> io::Result<()> {
    let (ours, theirs) = rustix::pipe::pipe()?;
    send_with(b"BARRIER=1", &[theirs.as_fd()])?;
    drop(theirs);
    let mut fds = [PollFd::new(&ours, PollFlags::empty())];
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    match poll(&mut fds, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => fs::write("/barrier", ""),
    }
}

fn watchdog() -> io::Result<()> {
    let of = |name| std::env::var(name).unwrap_or_default();
    let mine = of("WATCHDOG_PID") == process::id().to_string();
    println!("watchdog of {} us, {}", of("WATCHDOG_USEC"), if mine { "mine" } else { "not mine" });
    Ok(())
}

fn exists(file: &str) -> io::Result<()> {
    if Path::new(file).exists() {
        return Ok(());
    }
    println!("there is no {file}");
    process::exit(1);
}

/// With a grandchild in a session of its own that ignores everything but its death.
fn hang() -> io::Result<()> {
    println!("this check hangs");
    if std::env::var("LEFT").is_err() {
        Command::new("/proc/self/exe").arg("hang").env("LEFT", "yes").spawn()?;
    } else {
        rustix::process::setsid()?;
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn print(text: &str) -> io::Result<()> {
    println!("{text}");
    Ok(())
}

fn tell() -> io::Result<()> {
    let mut told = Signals::new([SIGABRT, SIGTERM])?;
    until(|| {
        told.pending().for_each(|signal| println!("told by signal {signal}"));
        Path::new("/end").exists()
    })
}

fn linger(asked: &AtomicBool) -> io::Result<()> {
    until(|| asked.load(Ordering::Relaxed))?;
    say("STOPPING=1|STATUS=lingering|EXTEND_TIMEOUT_USEC=120000000")?;
    until(|| Path::new("/end").exists())
}
