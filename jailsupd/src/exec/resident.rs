//! A running jail as its first process shows it: whom it runs as and with what environment. Read from the
//! kernel and not from the unit, so that it holds also for a jail that an earlier jailsupd has started.

use super::Error;
use super::account::{self, Account};
use crate::plan::IdMap;
use crate::unit::UserSpec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::io;

/// Told to the service alone by whoever started it: about its own sockets and its own watchdog.
const OF_THE_SERVICE: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its user, in the jail's numbers.
    pub account: Account,
    /// `NAME=value`.
    pub environment: Vec<CString>,
}

/// Reads it. `pid` is the host's number of the process behind `pidfd`.
///
/// # Errors
/// When the process has ended.
pub fn read(pid: i32, pidfd: impl AsFd, ids: &IdMap) -> Result<Resident, Error> {
    let read = || -> io::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
        is_alive(&pidfd)?;
        let account = account_of(&status, ids).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Resident { account, environment: environment_of(&environment) })
    };
    read().map_err(|source| Error::Process { what: "look at its first process", source })
}

/// Looks a user up in the running jail's own /etc.
///
/// # Errors
/// As [`account::find`]; also when /etc is not on the jail's root: then numbers are to be given.
pub fn find_user(
    pid: i32,
    pidfd: impl AsFd,
    user: &UserSpec,
    group: Option<&UserSpec>,
) -> Result<Account, Error> {
    let open = || -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
        is_alive(&pidfd)?;
        Ok(root)
    };
    let root = open().map_err(|source| Error::Process { what: "look at its root", source })?;
    account::find_running(root, user, group)
}

/// As long as it is, its number is nobody else's: what was read under that number was its own.
///
/// # Errors
/// `ESRCH` when it has ended.
pub fn is_alive(pidfd: impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// proc_pid_status(5): effective ids and groups, in the host's numbers.
fn account_of(status: &str, ids: &IdMap) -> Option<Account> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().filter_map(|word| word.parse::<u32>().ok()))
    };
    Some(Account {
        uid: ids.jail_user(field("Uid")?.nth(1)?)?,
        gid: ids.jail_group(field("Gid")?.nth(1)?)?,
        groups: field("Groups")?.filter_map(|group| ids.jail_group(group)).collect(),
        home: String::new(),
    })
}

fn environment_of(bytes: &[u8]) -> Vec<CString> {
    let pairs = bytes.split(|byte| *byte == 0).filter(|pair| !pair.is_empty());
    let others = pairs.filter(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        !OF_THE_SERVICE.iter().any(|of| of.as_bytes() == name)
    });
    others.filter_map(|pair| CString::new(pair).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::IdRange;
    use crate::unit::User;

    #[test]
    fn a_process_is_whom_the_jail_knows_it_as() {
        let status = "Name:\tjail-init\nUid:\t524321\t524321\t524321\t524321\n\
                      Gid:\t524321\t524321\t524321\t524321\nGroups:\t524398 524400 \n";
        let ids = |base| IdMap::new(&[IdRange::at(base).unwrap()], &User::default());
        let account = account_of(status, &ids(524_288)).unwrap();
        let expected = Account { uid: 33, gid: 33, groups: vec![110, 112], home: String::new() };
        assert_eq!(account, expected);
        assert_eq!(account_of("Name:\tx\n", &ids(524_288)), None);
        assert_eq!(account_of(status, &ids(524_288 + 65536)), None);
    }

    #[test]
    fn what_was_told_to_the_service_alone_is_left_out() {
        let bytes = b"PATH=/bin\0NOTIFY_SOCKET=/run/n\0LISTEN_FDS=2\0A=b=c\0\0";
        let left: Vec<CString> = vec![c"PATH=/bin".into(), c"A=b=c".into()];
        assert_eq!(environment_of(bytes), left);
    }
}
