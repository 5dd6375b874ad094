//! One more program in a running jail, as strict as the jail's start.
//!
//! ```text
//!  jailsupd ──CLONE_PARENT|INTO_CGROUP──► intermediate ──CLONE_PARENT──► helper ──fork──► program
//!                                     joins all namespaces │               ▲
//!                                     by the jail's pidfd  │ exits         │ session socket
//!                                                                        client
//! ```
//!
//! The intermediate and the helper are children of the keeper, which reaps them; nobody needs to know them.
//! How the program ends the helper tells the client itself, over the session ([`jail_init::session`]), so
//! jailsupd has nothing to wait for, and its end disturbs nothing. jailsupd has no copy of any of its
//! streams.

use super::Error;
use super::account::Account;
use super::child::{At, Confinement, Staged};
use super::ends::{self, Ends, Inside, Streams};
use super::place;
use super::rlimit;
use super::spawn::{become_root, set_oom_score};
use crate::plan::{IdMap, Plan};
use jail_init::session::{self, Message};
use jail_init::{Stage, StartError};
use rustix::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::Gid;
use rustix::net::SendFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType;
use std::ffi::CString;
use std::io;
use sys::clone::Request;
use sys::exec::Vector;

/// What is to be executed, where.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The jail's PID 1.
    pub pidfd: BorrowedFd<'a>,
    /// The jail's cgroup.
    pub cgroup: OwnedFd,
    /// The plan that the jail was started by.
    pub plan: &'a Plan,
    /// The jail's ids.
    pub ids: &'a IdMap,
    /// Whom the program runs as.
    pub account: &'a Account,
    /// The helper's own name, by which it knows what to do.
    pub helper_name: &'static str,
    /// Program and arguments.
    pub argv: Vec<CString>,
    /// `NAME=value`.
    pub environment: Vec<CString>,
    /// Where the program starts.
    pub working_dir: CString,
    /// What its standard streams are.
    pub streams: Streams,
}

/// Has the processes made; what becomes of them is said over the session.
///
/// # Errors
/// When a pipe, or the first process, cannot be made: `EAGAIN` when the jail has all the processes that it
/// may have.
pub fn enter(entry: &Entry<'_>, helper: BorrowedFd<'_>) -> Result<Ends, Error> {
    let wrong = |what| move |source| Error::Process { what, source };
    let made = ends::make(entry.streams).and_then(|(ends, inside)| {
        inside.give_to(entry.account, entry.ids)?;
        Ok((ends, inside))
    });
    let (ends, inside) = made.map_err(wrong("make its pipes"))?;
    let mut argv = vec![CString::new(entry.helper_name).unwrap_or_default()];
    argv.extend(entry.argv.iter().cloned());
    let (argv, envp) = (Vector::new(argv), Vector::new(entry.environment.clone()));
    let groups: Vec<Gid> = entry.account.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let mut keep: Vec<BorrowedFd<'_>> =
        [&inside.session, &inside.stdin, &inside.stdout, &inside.stderr]
            .map(|fd| fd.as_fd())
            .into();
    keep.push(helper);
    let mut keep_intermediate = keep.clone();
    keep_intermediate.push(entry.pidfd);
    for list in [&mut keep, &mut keep_intermediate] {
        list.sort_by_key(AsRawFd::as_raw_fd);
    }
    let confinement = Confinement {
        account: entry.account,
        groups: &groups,
        capabilities: entry.plan.capabilities,
        working_dir: &entry.working_dir,
        filter: entry.plan.filter.as_deref(),
    };
    let child = Child {
        entry,
        confinement,
        inside: &inside,
        keep: &keep,
        helper,
        argv: &argv,
        envp: &envp,
    };
    let oom_score = entry.plan.oom_score_adjust.to_string();
    let intermediate = Intermediate { keep: &keep_intermediate, oom_score: &oom_score, child };
    let flags = u64::from(libc::CLONE_PARENT.unsigned_abs());
    let request = Request { flags, exit_signal: 0, cgroup: Some(entry.cgroup.as_fd()) };
    sys::clone::spawn(&request, &mut || intermediate.run())
        .map_err(wrong("make its first process in the jail"))?;
    Ok(ends)
}

/// The process that joins the jail's namespaces and makes the one that is inside them all.
struct Intermediate<'a> {
    keep: &'a [BorrowedFd<'a>],
    /// `oom_score_adj` as text.
    oom_score: &'a str,
    child: Child<'a>,
}

impl Intermediate<'_> {
    fn run(&self) -> u8 {
        match self.make() {
            Ok(()) => 0,
            Err((stage, errno)) => self.child.report(stage, errno),
        }
    }

    fn make(&self) -> Staged {
        // The jail's root has no say over these processes, which are copies of jailsupd until they execute.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .at(Stage::CloseFiles)?;
        set_oom_score(self.oom_score).at(Stage::OomScore)?;
        rlimit::make_room(&self.child.entry.plan.jail).at(Stage::Limits)?;
        sys::fd::close_all_except(self.keep).at(Stage::CloseFiles)?;
        let all = ThreadNameSpaceType::USER
            | ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::PROCESS_ID
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::CONTROL_GROUP;
        rustix::thread::move_into_thread_name_spaces(self.child.entry.pidfd, all)
            .at(Stage::JoinJail)?;
        become_root().at(Stage::BecomeRoot)?;
        let flags = u64::from(libc::CLONE_PARENT.unsigned_abs());
        let request = Request { flags, exit_signal: 0, cgroup: None };
        sys::clone::spawn(&request, &mut || self.child.run()).at(Stage::Clone)
    }
}

/// The process that becomes the helper.
struct Child<'a> {
    entry: &'a Entry<'a>,
    confinement: Confinement<'a>,
    inside: &'a Inside,
    keep: &'a [BorrowedFd<'a>],
    helper: BorrowedFd<'a>,
    argv: &'a Vector,
    envp: &'a Vector,
}

impl Child<'_> {
    fn run(&self) -> u8 {
        match self.execute() {
            Ok(()) => 0,
            Err((stage, errno)) => self.report(stage, errno),
        }
    }

    /// Returns only on failure.
    fn execute(&self) -> Staged {
        sys::fd::close_all_except(self.keep).at(Stage::CloseFiles)?;
        // The helper waits for signals; one that comes early must not be lost.
        sys::signal::reset().and_then(|()| sys::signal::block_all()).at(Stage::CloseFiles)?;
        rustix::process::setsid().at(Stage::CloseFiles)?;
        self.confinement.join(&self.entry.plan.jail)?;
        place::client(self.inside, session::EXEC_FD)?;
        sys::fd::close_from_except(session::EXEC_FD.unsigned_abs() + 1, self.helper)
            .at(Stage::Files)?;
        self.confinement.install_filter()?;
        io::Result::<()>::Err(sys::exec::execute_fd(self.helper, self.argv, self.envp))
            .at(Stage::Init)
    }

    fn report(&self, stage: Stage, errno: i32) -> u8 {
        let record = Message::Failed(StartError { stage, errno }).encode();
        let send = |socket: &OwnedFd| rustix::net::send(socket, &record, SendFlags::NOSIGNAL);
        // After the files were placed, it is at its fixed number, and the one above is closed.
        if send(&self.inside.session).is_err() {
            if let Ok(socket) = sys::fd::inherit(session::EXEC_FD) {
                let _ = send(&socket);
            }
        }
        125
    }
}
