//! One check of a jail's health, made inside it: executes a program, asks a web server, or connects. What comes
//! of it is told over the session in one packet ([`jail_init::check`]).
//!
//! It has its own time-out, so that what a program has printed until then is not lost; jailsupd has another
//! one, and kills whatever is left.

use crate::program::{Parent, Program};
use jail_init::check::{self, Answer, EXEC, HTTP, TCP};
use jail_init::session;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::wait::Exit;

/// Words of the command line before those of the kind.
const BEFORE: usize = 3;
/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;
/// What is read of an answer after its first line, so that the server sees an orderly end.
const REST_MAX: usize = 64 << 10;
/// The longest first line that is read.
const LINE_MAX: usize = 512;

/// Makes the check that this process was told to make; the exit status.
pub(crate) fn run() -> i32 {
    let Ok(socket) = sys::fd::inherit(session::EXEC_FD) else { return 125 };
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let time = words.first().and_then(|time| time.parse().ok()).map_or(Duration::ZERO, millis);
    let until = Instant::now() + time;
    let found = match words.get(1..) {
        Some([EXEC, ..]) => execute(&socket, until, time),
        Some([TCP, address]) => connect(address, until).map(|_| String::from("connected").into()),
        Some([HTTP, address, host, path]) => ask((address, host, path), until),
        _ => Err("the check is not understood".into()),
    };
    let (healthy, text) = match found {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    };
    let packet = Answer::encode(healthy, &text);
    // A jailsupd that is gone does not want to know.
    let _ = rustix::net::send(&socket, &packet, SendFlags::NOSIGNAL);
    i32::from(!healthy)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What was found; an error is what is wrong.
type Found = Result<Vec<u8>, Vec<u8>>;

/// Connects; an error in words.
fn connect(address: &str, until: Instant) -> Result<TcpStream, Vec<u8>> {
    let address: SocketAddr =
        address.parse().map_err(|_| b"the address is not understood".to_vec())?;
    let fail = |error: &io::Error| format!("{address}: {}", in_words(error)).into_bytes();
    TcpStream::connect_timeout(&address, left(until)).map_err(|error| fail(&error))
}

/// Asks for one page.
fn ask((address, host, path): (&str, &str, &str), until: Instant) -> Found {
    let mut stream = connect(address, until)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: warder-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let fail = |error: &io::Error| format!("http://{host}{path}: {}", in_words(error)).into_bytes();
    let answer = converse(&mut stream, request.as_bytes(), until).map_err(|error| fail(&error))?;
    let line = answer.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    match status(line) {
        Some(200..=399) => Ok(line.to_vec()),
        Some(_) => Err(line.to_vec()),
        None => Err([b"no answer of HTTP: ", line].concat()),
    }
}

/// Sends, and reads the first line. The rest is let pass.
fn converse(stream: &mut TcpStream, request: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(left(until)))?;
    stream.write_all(request)?;
    let mut line = Vec::new();
    let mut bytes = [0; 4096];
    let mut passed = 0;
    loop {
        stream.set_read_timeout(Some(left(until)))?;
        let is_known = line.contains(&b'\n') || line.len() >= LINE_MAX;
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(line),
            Ok(length) if is_known => passed += length,
            Ok(length) => line.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The answer is there; that its end is not is another matter.
            Err(_) if is_known => return Ok(line),
            Err(error) => return Err(error),
        }
        if passed > REST_MAX {
            return Ok(line);
        }
    }
}

/// The status of `HTTP/1.1 200 OK`: RFC 9112, 4.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.get(..12)?).ok()?;
    let (version, status) = line.split_once(' ')?;
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let known = version.strip_prefix("HTTP/1.").is_some_and(|minor| minor.len() == 1);
    status.parse().ok().filter(|_| digits && known)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

/// Never zero, which would be no limit.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(millis(1))
}

/// Runs the program and waits for its end; what it prints is kept, the last part of it.
fn execute(session: &OwnedFd, until: Instant, time: Duration) -> Found {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| format!("no pipe: {errno}").into_bytes())?;
    let _ = rustix::io::ioctl_fionbio(&read, true);
    let failed = |_| {};
    let started =
        Program::told(BEFORE).and_then(|program| program.start_to(Parent::Helper, &write, failed));
    drop(write);
    let pid = started.map_err(|errno| reason(errno).into_bytes())?;
    let mut output = Vec::new();
    let ended = watch(pid, (session, &read), until, &mut output);
    if let Some(group) = Pid::from_raw(pid) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    drain(&read, &mut output);
    let output = output.trim_ascii();
    let told = |text: String| match output {
        [] => text.into_bytes(),
        output => [text.as_bytes(), b": ", output].concat(),
    };
    match ended {
        Some(exit) if (exit.code, exit.status) == (CLD_EXITED, 0) => Ok(output.to_vec()),
        Some(exit) if exit.code == CLD_EXITED && exit.status == NOT_EXECUTED => {
            Err(told("it could not be executed, or says so (exit code 127)".into()))
        }
        Some(exit) if exit.code == CLD_EXITED => Err(told(format!("exit code {}", exit.status))),
        Some(exit) => Err(told(format!("killed by signal {}", exit.status))),
        None => Err(told(format!("it did not end within {time:?}"))),
    }
}

/// What a child exits with that could not execute its program.
const NOT_EXECUTED: i32 = 127;

fn reason(errno: i32) -> String {
    io::Error::from_raw_os_error(errno).to_string()
}

/// Until the program has ended, its time is over, or nobody wants to know any more: its end, if it had one.
fn watch(
    pid: i32,
    (session, read): (&OwnedFd, &OwnedFd),
    until: Instant,
    output: &mut Vec<u8>,
) -> Option<Exit> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&SigSet::all(), flags).ok()?;
    let mut is_open = true;
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        let mut fds =
            vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(session, PollFlags::RDHUP)];
        if is_open {
            fds.push(PollFd::new(read, PollFlags::IN));
        }
        let _ = poll(&mut fds, Some(&timespec(left)));
        if !fds[1].revents().is_empty() {
            return None;
        }
        is_open = is_open && drain(read, output);
        while let Ok(Some(_)) = signals.read_signal() {}
        while let Ok(Some(exit)) = sys::wait::reap_any() {
            if exit.pid == pid {
                return Some(exit);
            }
        }
    }
}

/// Reads what is there. False when nothing more will come.
fn drain(pipe: &OwnedFd, output: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    // A program that prints without end has its turn again after a look at the clock.
    for _ in 0..16 {
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => return false,
            Ok(length) => output.extend_from_slice(&bytes[..length]),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => break,
            Err(_) => return false,
        }
        let over = output.len().saturating_sub(check::TEXT_MAX);
        output.drain(..over);
    }
    true
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// A server that gives this answer once.
    fn server(answer: &'static [u8]) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 1000];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
            asked.truncate(length);
            asked
        });
        (address, thread)
    }

    fn asked(answer: &'static [u8]) -> Result<String, String> {
        let (address, thread) = server(answer);
        let found = ask((&address.to_string(), "localhost", "/x"), soon());
        let request = String::from_utf8(thread.join().unwrap()).unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\nHost: localhost\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        found.map(text).map_err(text)
    }

    #[test]
    fn answers_of_http_are_told_from_others() {
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap(), "HTTP/1.1 200 OK");
        assert_eq!(asked(b"HTTP/1.0 302 Found\n\n").unwrap(), "HTTP/1.0 302 Found");
        assert_eq!(asked(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap_err(), "HTTP/1.1 503 Busy");
        assert_eq!(asked(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_err(), "HTTP/1.1 100 Continue");
        for answer in [&b"HTTP/1.1 20 OK\r\n"[..], b"HTTP/2 200 OK\r\n", b"220 mail\r\n", b""] {
            assert!(asked(answer).unwrap_err().starts_with("no answer of HTTP"));
        }
    }

    #[test]
    fn a_server_that_says_nothing_has_its_time_and_one_that_is_not_there_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let until = Instant::now() + Duration::from_millis(100);
        let silent = ask((&address, "localhost", "/"), until).unwrap_err();
        assert!(silent.ends_with(b"no answer in time"), "{}", String::from_utf8_lossy(&silent));
        assert!(Instant::now() >= until);
        assert!(connect(&address, soon()).is_ok());
        drop(listener);
        assert!(connect(&address, soon()).unwrap_err().ends_with(b"connection refused"));
    }
}
