//! A service that prints: numbered lines, so that a reader sees what is missing, doubled or out of order.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Write},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use signal_hook::{consts::SIGUSR1, iterator::Signals};

/// Bytes of one write of a flood.
const BLOCK: usize = 64 << 10;
/// Bytes of a line that is offered.
const LINE: usize = 1000;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["count", total, pause_us] => count(number(total)?, number(pause_us)?)?,
        ["flood"] => flood(u64::MAX)?,
        ["flood", megabytes] => flood(number(megabytes)? << 20)?,
        ["flood-on-usr1", megabytes] => {
            wait_for_usr1()?;
            flood(number(megabytes)? << 20)?;
        }
        ["offer", directory] => offer(Path::new(directory))?,
        ["burst", total] => {
            wait_for_usr1()?;
            burst(number(total)?)?;
        }
        ["bytes", byte_count] => {
            // Character by character: a line whose end comes when it is asked for.
            for _ in 0..number(byte_count)? {
                write(&mut io::stdout(), b"x")?;
            }
            wait_for_usr1()?;
            write(&mut io::stdout(), b" end\n")?;
        }
        _ => {
            return Err(io::Error::other(
                "usage: printer count TOTAL PAUSE_US | flood [MEGABYTES] | flood-on-usr1 MEGABYTES | offer DIRECTORY | burst TOTAL | bytes COUNT",
            ));
        }
    }
    loop {
        thread::park();
    }
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

fn wait_for_usr1() -> io::Result<()> {
    let mut signals = Signals::new([SIGUSR1])?;
    write(&mut io::stderr(), b"waits\n")?;
    signals.forever().next();
    Ok(())
}

/// One write, past Rust's buffers.
fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Both streams, each with numbers of its own and the time; each seventh line in two writes.
fn count(total: u64, pause_us: u64) -> io::Result<()> {
    for number in 0..total {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = format!("out {number} {now}\n");
        let half = if number % 7 == 0 { line.len() / 2 } else { 0 };
        let (first, second) = line.split_at(half);
        if !first.is_empty() {
            write(&mut io::stdout(), first.as_bytes())?;
        }
        write(&mut io::stderr(), format!("err {number} {now}\n").as_bytes())?;
        write(&mut io::stdout(), second.as_bytes())?;
        if pause_us > 0 {
            thread::sleep(Duration::from_micros(pause_us));
        }
    }
    write(&mut io::stdout(), b"all written\n")
}

/// So many lines as fast as they are taken, and a word on the other stream when the last one was.
fn burst(total: u64) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK + 100);
    for number in 0..total {
        block.extend_from_slice(format!("burst {number}\n").as_bytes());
        if block.len() >= BLOCK || number + 1 == total {
            write(&mut io::stdout().lock(), &block)?;
            block.clear();
        }
    }
    write(&mut io::stderr(), b"burst is over\n")
}

/// Lines of a thousand bytes, always the same so that making them takes no time, until the directory has a file `enough`.
/// `offered` has how many were taken by then, how many microseconds that took, and at last `over`.
fn offer(directory: &Path) -> io::Result<()> {
    let line = format!("offer {}\n", "x".repeat(LINE - "offer \n".len()));
    let block = line.repeat(BLOCK / line.len());
    let out = rustix::stdio::stdout();
    let begin = Instant::now();
    let mut lines = 0_u64;
    loop {
        // A megabyte between two looks.
        for _ in 0..16 {
            let mut rest = block.as_bytes();
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(out, rest))?;
                rest = &rest[written..];
            }
            lines += (block.len() / LINE) as u64;
        }
        let is_over = directory.join("enough").exists();
        let end = if is_over { "over" } else { "more" };
        let next = directory.join("next");
        fs::write(&next, format!("{lines} {} {end}\n", begin.elapsed().as_micros()))?;
        fs::rename(next, directory.join("offered"))?;
        if is_over {
            return Ok(());
        }
    }
}

/// Lines of a hundred bytes as fast as they are taken.
fn flood(bytes: u64) -> io::Result<()> {
    let padding = "x".repeat(100 - "flood 0123456789 \n".len());
    let (mut number, mut sent) = (0u64, 0u64);
    let mut block = Vec::with_capacity(BLOCK + 100);
    let out = rustix::stdio::stdout();
    let begin = Instant::now();
    while sent < bytes {
        block.clear();
        while block.len() < BLOCK {
            block.extend_from_slice(format!("flood {number:010} {padding}\n").as_bytes());
            number += 1;
        }
        let mut rest = &block[..];
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(out, rest))?;
            rest = &rest[written..];
        }
        sent += block.len() as u64;
    }
    let taken = begin.elapsed().as_micros();
    let told = format!("flood is over: microseconds {taken} lines {number}\n");
    write(&mut io::stderr(), told.as_bytes())
}
