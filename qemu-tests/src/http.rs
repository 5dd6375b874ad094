//! Just enough HTTP to see whether a jail serves its page.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result, time::Deadline};

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The first attempts of [`wait`]: QEMU accepts a forwarded connection before the guest does, so an
/// attempt at a guest that is not ready hangs. Each that hung gives the next twice the time.
const FIRST_ATTEMPT: Duration = Duration::from_millis(200);
/// Between attempts; nothing outside of the guest can tell the moment.
const PAUSE: Duration = Duration::from_millis(20);

/// A response.
#[derive(Debug)]
pub struct Page {
    /// 200 and so on.
    pub status: u16,
    /// After the header.
    pub body: String,
}

/// GETs `/` once.
///
/// # Errors
/// No connection, no answer in ten seconds, or not HTTP.
pub fn get(address: SocketAddr) -> Result<Page> {
    attempt(address, ATTEMPT)
}

fn attempt(address: SocketAddr, limit: Duration) -> Result<Page> {
    let text = exchange(address, limit).map_err(speak);
    let text = text.map_err(Error::io(format!("GET http://{address}/")))?;
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    match (status, text.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok(Page { status, body: body.into() }),
        _ => Err(Error::Answer { peer: "the page's server", answer: format!("{text:?}") }),
    }
}

/// GETs `/` until there is an answer.
///
/// # Errors
/// None within `limit` (of an idle machine), or `over` says that there will be none.
pub fn wait(address: SocketAddr, limit: Duration, over: impl Fn() -> bool) -> Result<Page> {
    let deadline = Deadline::after(limit);
    let mut patience = FIRST_ATTEMPT;
    loop {
        let start = Instant::now();
        match attempt(address, patience) {
            Ok(page) => return Ok(page),
            Err(error) if over() || deadline.left().is_none() => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
        if start.elapsed() >= patience {
            patience = ATTEMPT.min(patience * 2);
        }
    }
}

/// The kernel's word for a read that timed out is "temporarily unavailable".
fn speak(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        _ => error,
    }
}

fn exchange(address: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: warder.test\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
