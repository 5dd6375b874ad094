//! One check of a jail's health: made by a helper in the jail, as strict as `jailctl exec`, in a cgroup of its own
//! below the jail's, so that all that it starts can be killed with it.

use super::Error;
use super::cgroup::{self, Cgroup};
use super::ends::Streams;
use super::enter::{self, Entry};
use super::resident;
use crate::plan::Plan;
use crate::unit::Check;
use jail_init::check::{self, Answer};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{RecvFlags, recv};
use std::ffi::CString;
use std::io;
use std::time::Duration;

/// A check on its way. When it is dropped it is killed.
#[derive(Debug)]
pub struct Running {
    session: OwnedFd,
    cgroup: Cgroup,
}

/// The jail that is checked.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its PID 1, in the host's numbers.
    pub pid: i32,
    /// The same.
    pub pidfd: BorrowedFd<'a>,
    /// Its cgroup.
    pub cgroup: &'a Cgroup,
    /// The plan that it was started by.
    pub plan: &'a Plan,
}

/// Starts a check that is to end within `timeout`.
///
/// # Errors
/// When no process can be made (`EAGAIN`: the jail has all that it may have), or what an earlier check has
/// started cannot be killed.
pub fn start(
    subject: &Subject<'_>,
    check: Check<'_>,
    timeout: Duration,
    helper: BorrowedFd<'_>,
) -> Result<Running, Error> {
    let cgroup = of_checks(subject.cgroup);
    if !cgroup.create()? {
        // Of an earlier one; of one that this jailsupd has not begun, too.
        cgroup.kill()?;
        if cgroup::is_populated(&cgroup.events()?) {
            let source = io::Error::from_raw_os_error(libc::EBUSY);
            return Err(Error::Process { what: "get rid of its last check", source });
        }
    }
    let plan = subject.plan;
    let resident = resident::read(subject.pid, subject.pidfd, &plan.ids)?;
    let entry = Entry {
        pidfd: subject.pidfd,
        cgroup: cgroup.open()?,
        plan,
        ids: &plan.ids,
        account: &resident.account,
        helper_name: check::CHECK,
        argv: argv(check, timeout),
        environment: resident.environment,
        working_dir: plan.working_dir.clone(),
        streams: Streams::Nothing,
    };
    let ends = enter::enter(&entry, helper)?;
    Ok(Running { session: ends.session, cgroup })
}

/// Kills what a check of an earlier jailsupd has left in a jail.
pub fn sweep(jail: &Cgroup) {
    // As a rule there is none.
    let _ = of_checks(jail).kill();
}

fn of_checks(jail: &Cgroup) -> Cgroup {
    Cgroup::of(jail.path(), "check")
}

impl Running {
    /// What came of it; `None` while nothing did. One that has ended without an answer was killed.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let mut bytes = [0; check::PACKET_MAX];
        let received =
            rustix::io::retry_on_intr(|| recv(&self.session, &mut bytes, RecvFlags::DONTWAIT));
        match received {
            Err(rustix::io::Errno::AGAIN) => None,
            Ok((length, _)) => bytes.get(..length).and_then(Answer::decode).or_else(gone),
            Err(_) => gone(),
        }
    }
}

fn gone() -> Option<Answer> {
    Some(Answer::Made { healthy: false, text: b"it was killed".to_vec() })
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.session.as_fd()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The jail may be gone, and its cgroup with it.
        let _ = self.cgroup.kill();
    }
}

/// The helper's words.
fn argv(check: Check<'_>, timeout: Duration) -> Vec<CString> {
    let mut words = vec![timeout.as_millis().to_string()];
    match check {
        Check::Exec(command) => {
            words.push(check::EXEC.to_owned());
            words.extend(command.words().iter().cloned());
        }
        Check::Http(url) => words.extend([
            check::HTTP.to_owned(),
            url.address().to_string(),
            url.host().to_owned(),
            url.path().to_owned(),
        ]),
        Check::Tcp(address) => {
            words.extend([check::TCP.to_owned(), address.address().to_string()]);
        }
    }
    // Units hold no NUL.
    words.into_iter().filter_map(|word| CString::new(word).ok()).collect()
}
