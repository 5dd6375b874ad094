//! A brain as small as one can be, for the test of the `keeper` program: its first life makes a
//! process for the jail `demo`, has the keeper hold it and is killed; its second life finds the process
//! and its end. Usage: `brain REPORT`, the file to which it appends what it sees, a line a fact.

use keeper::{Client, Shutdown, Slot};
use rustix::fd::AsFd as _;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::io::Write as _;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: brain REPORT")?;
    let mut report = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    let mut keeper = Client::inherit()?;
    let held = keeper.held()?;
    let Some(demo) = held.iter().find(|held| held.jail == "demo") else {
        return first_life(&mut keeper, &mut report);
    };
    writeln!(report, "slots {:?}", demo.fds.iter().map(|(slot, _)| *slot).collect::<Vec<_>>())?;
    second_life(&mut keeper, &mut report, demo)
}

/// Makes the process as a sibling, so that its parent is the keeper, then dies without a word.
fn first_life(keeper: &mut Client, report: &mut std::fs::File) -> Result<()> {
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = u64::from((libc::CLONE_PARENT | libc::CLONE_PIDFD).unsigned_abs());
    let request = sys::clone::Request { flags, ..Default::default() };
    let child = sys::clone::spawn(&request, &mut || {
        let _ = sys::fd::close_all_except(&[wait.as_fd()]);
        // The vault holds the other end over the brain's death, so this waits for the second life.
        let _ = rustix::io::read(&wait, &mut [0u8; 1]);
        7
    })?;
    let pidfd = child.pidfd.ok_or("no pidfd")?;
    keeper.put("demo", &[(Slot::Process, pidfd.as_fd()), (Slot::State, go.as_fd())])?;
    let ppid = std::fs::read_to_string(format!("/proc/{}/stat", child.pid))?;
    let ppid = ppid.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    let ours = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    writeln!(report, "sibling {}", ppid.map(str::to_owned) == ours)?;
    orphans(200)?;
    sys::signal::send(i32::try_from(std::process::id())?, libc::SIGKILL)?;
    Err("outlived SIGKILL".into())
}

/// Leaves processes behind whose parents have ended: the keeper's to reap.
fn orphans(count: u32) -> Result<()> {
    for _ in 0..count {
        let parent = sys::clone::fork(&mut || sys::clone::fork(&mut || 0).map_or(1, |_| 0))?;
        waitpid(Pid::from_raw(parent), WaitOptions::empty())?;
    }
    Ok(())
}

fn second_life(
    keeper: &mut Client,
    report: &mut std::fs::File,
    demo: &keeper::client::Held,
) -> Result<()> {
    writeln!(report, "exit before {:?}", demo.exit.is_some())?;
    let (_, pidfd) = demo.fds.iter().find(|(slot, _)| *slot == Slot::Process).ok_or("no pidfd")?;
    let ours = demo.fds.iter().find(|(slot, _)| *slot == Slot::State).ok_or("no pipe")?;
    // The copy that came out of the vault is the same pipe: the process reads this and ends.
    rustix::io::write(&ours.1, b"x")?;
    let mut poll = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None)?;
    let exit = keeper.exit("demo")?.ok_or("no exit record")?;
    let inode = rustix::fs::fstat(pidfd)?.st_ino;
    writeln!(report, "exit code {} status {}", exit.code, exit.status)?;
    writeln!(report, "same process {}", exit.inode == inode)?;
    keeper.acknowledge("demo", exit.inode)?;
    writeln!(report, "acknowledged {}", keeper.exit("demo")?.is_none())?;
    keeper.remove("demo", &[Slot::Process, Slot::State])?;
    writeln!(report, "held {}", keeper.held()?.len())?;
    writeln!(report, "children of the keeper {}", children_of_parent()?)?;
    keeper.shut_down(Shutdown::PowerOff)?;
    while keeper.notice()?.is_none() {
        let mut poll = [rustix::event::PollFd::new(&*keeper, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None)?;
    }
    writeln!(report, "going down")?;
    Ok(())
}

/// How many children the keeper has, zombies included. This process is one of them.
fn children_of_parent() -> Result<usize> {
    let parent = rustix::process::getppid().ok_or("no parent")?.as_raw_nonzero();
    let path = format!("/proc/{parent}/task/{parent}/children");
    Ok(std::fs::read_to_string(path)?.split_whitespace().count())
}
