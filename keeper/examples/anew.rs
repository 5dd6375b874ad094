//! A brain that has the keeper executed anew, for the test of the `keeper` program. It stays the same
//! process over it, with the same connection. Usage: `anew REPORT`, the file to which it appends what it
//! sees, a line a fact.

use keeper::{Client, Shutdown, Slot};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::Write as _;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: anew REPORT")?;
    let mut report = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    let mut keeper = Client::inherit()?;
    let parent = rustix::process::getppid().ok_or("no parent")?.as_raw_nonzero().get();
    let (stays, go) = sibling(7)?;
    let (ends, end) = sibling(9)?;
    keeper.put("stays", &[(Slot::Process, stays.as_fd()), (Slot::State, go.as_fd())])?;
    keeper.put("ends", &[(Slot::Process, ends.as_fd()), (Slot::Stdout, end.as_fd())])?;
    let before = told(&mut keeper, &mut report, "before")?;
    // Its record is made before the exec, and read after it.
    rustix::io::write(&end, b"x")?;
    let ended = exit_of(&mut keeper, "ends", &ends)?;

    writeln!(report, "answer {}", reexec(&mut keeper)?)?;

    let name = format!("/proc/{parent}/cmdline");
    let called_to = std::fs::read_to_string(name)?.contains("--restore");
    writeln!(report, "another program {called_to}")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    writeln!(report, "same keeper {}", now == Some(parent))?;
    let after = told(&mut keeper, &mut report, "after")?;
    writeln!(report, "same files {}", before == after)?;
    writeln!(report, "same record {}", keeper.exit("ends")? == Some(ended))?;
    rustix::io::write(&go, b"x")?;
    let exit = exit_of(&mut keeper, "stays", &stays)?;
    writeln!(report, "exit code {} status {}", exit.code, exit.status)?;
    writeln!(report, "again {}", reexec(&mut keeper)?)?;
    writeln!(report, "same record {}", keeper.exit("stays")? == Some(exit))?;
    for jail in ["stays", "ends"] {
        let inode = keeper.exit(jail)?.ok_or("no record")?.inode;
        keeper.acknowledge(jail, inode)?;
        keeper.remove(jail, &Slot::ALL)?;
    }
    writeln!(report, "held {}", keeper.held()?.len())?;
    keeper.shut_down(Shutdown::PowerOff)?;
    while keeper.notice()?.is_none() {
        let mut poll = [rustix::event::PollFd::new(&keeper, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None)?;
    }
    Ok(())
}

/// A process of the keeper's that waits for a byte and then exits with `status`.
fn sibling(status: u8) -> Result<(OwnedFd, OwnedFd)> {
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = u64::from((libc::CLONE_PARENT | libc::CLONE_PIDFD).unsigned_abs());
    let request = sys::clone::Request { flags, ..Default::default() };
    let child = sys::clone::spawn(&request, &mut || {
        let _ = sys::fd::close_all_except(&[wait.as_fd()]);
        let _ = rustix::io::read(&wait, &mut [0u8; 1]);
        status
    })?;
    Ok((child.pidfd.ok_or("no pidfd")?, go))
}

/// What came of it, in the keeper's words.
fn reexec(keeper: &mut Client) -> Result<String> {
    let (report, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    keeper.reexec(theirs.as_fd())?;
    drop(theirs);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(report), &mut said)?;
    Ok(said)
}

/// The record of a process that ends.
fn exit_of(keeper: &mut Client, jail: &str, pidfd: &OwnedFd) -> Result<keeper::ExitRecord> {
    let mut poll = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None)?;
    Ok(keeper.exit(jail)?.ok_or("no exit record")?)
}

/// Which files are held for whom, by their inodes.
fn told(
    keeper: &mut Client,
    report: &mut std::fs::File,
    when: &str,
) -> Result<Vec<(String, Slot, u64)>> {
    let mut files = Vec::new();
    for held in keeper.held()? {
        for (slot, fd) in &held.fds {
            files.push((held.jail.clone(), *slot, rustix::fs::fstat(fd)?.st_ino));
        }
    }
    writeln!(report, "{when} {}", files.len())?;
    Ok(files)
}
