//! `jailctl cp`, the jail's side: a stream on standard input or output, messages on standard error, the end
//! over the session. Nothing but the walls around it keeps it in the jail, and nothing else has to.

use jail_init::archive::{self, Links};
use jail_init::{ExitReport, session};
use rustix::net::SendFlags;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;

/// Does it, and says over the session whether all of it was done; the exit status.
pub(crate) fn run(work: fn() -> io::Result<bool>) -> i32 {
    let Ok(socket) = sys::fd::inherit(session::EXEC_FD) else { return 125 };
    // As for any program: a client that hangs up ends it.
    let _ = sys::signal::reset();
    let status = match work() {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            let path = std::env::args_os().nth(1).unwrap_or_default();
            complain(&format!("{}: {error}", Path::new(&path).display()));
            2
        }
    };
    let report = ExitReport { code: CLD_EXITED, status, user_us: 0, system_us: 0, max_rss_kib: 0 };
    let ended = session::Message::Ended(report).encode();
    let _ = rustix::net::send(&socket, &ended, SendFlags::NOSIGNAL);
    status
}

pub(crate) fn pack() -> io::Result<bool> {
    let path = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let mut out = BufWriter::new(io::stdout().lock());
    archive::pack(Path::new(&path), &mut out, &mut |text| complain(&text))
}

pub(crate) fn unpack() -> io::Result<bool> {
    let mut words = std::env::args_os().skip(1);
    let (path, name) = words.next().zip(words.next()).ok_or(io::ErrorKind::InvalidInput)?;
    let mut from = BufReader::new(io::stdin().lock());
    archive::unpack(&mut from, Path::new(&path), &name, Links::All, &mut |text| complain(&text))
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
