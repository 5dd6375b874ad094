//! A service that has been taken over: root of its jail, and after the host. One subcommand an attack;
//! each names its oracle, what is seen only when the attack has succeeded.
//!
//! ```text
//! attacker all CAPABILITIES [ATTACK...]   each in a process of its own, one line of JSON for each
//! attacker one ATTACK                     exit 0 and the oracle, or exit 1 and what stood in the way
//! attacker list                           the attacks, one a line
//! attacker swap DIRECTORY                 a directory and a link in it take turns, without end
//! attacker lurk                           is after whatever `jailctl exec` brings into the jail, without end
//! attacker kill-all                       SIGKILL to every process that there is a number for
//! attacker host                           on the host: things that no jail may reach; stays
//! ```
//!
//! `CAPABILITIES` is the set that the unit grants, hexadecimal: more than that is a success.

mod calls;
mod files;
mod identity;
mod init;
mod races;
#[path = "../hostile/raw.rs"]
mod raw;
mod sockets;

use std::{
    io::{self, Write as _},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use qemu_tests::attack::Attempt;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// The oracle when it was seen, else what stood in the way.
type Outcome = Result<String, String>;

/// A name and what does it.
type Attack = (&'static str, fn() -> Outcome);

/// An attack that has come to nothing in this time waits for something that does not come.
const LIMIT: Duration = Duration::from_secs(20);

fn attacks() -> impl Iterator<Item = &'static Attack> {
    [sockets::ATTACKS, files::ATTACKS, init::ATTACKS, identity::ATTACKS, calls::ATTACKS]
        .into_iter()
        .flatten()
}

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["all", capabilities, ref chosen @ ..] => all(capabilities, chosen),
        ["one", name] => Ok(one(name)),
        ["list"] => Ok(list()),
        ["swap", directory] => races::swap(directory),
        ["lurk"] => races::lurk(),
        ["kill-all"] => Ok(calls::kill_all()),
        ["host"] => sockets::be_the_host(),
        ["identity"] => Ok(identity::tell()),
        _ => Err(io::Error::other(
            "usage: attacker all CAPABILITIES [ATTACK...] | one ATTACK | list | swap DIRECTORY | lurk | kill-all | host",
        )),
    }
}

fn list() -> ExitCode {
    for (name, _) in attacks() {
        println!("{name}");
    }
    ExitCode::SUCCESS
}

fn all(capabilities: &str, chosen: &[&str]) -> io::Result<ExitCode> {
    for (name, _) in attacks().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)) {
        let attempt = attempt(name, capabilities)?;
        // One write a line, so that a reader never sees half of one.
        let line = serde_json::to_string(&attempt)? + "\n";
        io::stdout().write_all(line.as_bytes())?;
    }
    println!("all attacks tried");
    Ok(ExitCode::SUCCESS)
}

/// In a process of its own, which the attack may kill, cripple or hang.
fn attempt(name: &str, capabilities: &str) -> io::Result<Attempt> {
    let mut child = Command::new("/proc/self/exe")
        .args(["one", name])
        .env("GRANTED", capabilities)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(LIMIT).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))? == 0 {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let mut seen = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.code().is_none() {
        seen = format!("{seen} ({})", output.status);
    }
    Ok(Attempt { attack: name.into(), succeeded: output.status.success(), seen })
}

fn one(name: &str) -> ExitCode {
    let Some((_, attack)) = attacks().find(|(known, _)| *known == name) else {
        println!("there is no attack {name}");
        return ExitCode::from(2);
    };
    match attack() {
        Ok(oracle) => {
            println!("{oracle}");
            ExitCode::SUCCESS
        }
        Err(obstacle) => {
            println!("{obstacle}");
            ExitCode::FAILURE
        }
    }
}
