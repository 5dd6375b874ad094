//! Spawning a jail: DESIGN's spawn path.
//!
//! ```text
//!  jailsupd ──CLONE_PARENT|INTO_CGROUP──► intermediate ──CLONE_PARENT|NEWPID|..──► jail's PID 1
//!     ▲                                    joins user, net ns         │ closes all but its list
//!     └───────────── pidfd ────────────────────┘ exits                │ waits for one byte: go
//! ```
//!
//! Both are children of jailsupd's parent, the keeper, which reads the jail's real end. Until *go* is
//! sent the jail's process does nothing; if jailsupd dies before that, end of file makes it exit, so no
//! half-started jail is left. After *go* it needs nobody.

mod handover;

use super::Error;
use super::account::Account;
use super::child::{At, Confinement, Jail, Staged};
use super::descriptors::{above_fixed, of_jail};
use super::devices::Pinned;
use super::ends::{Inside, Size};
use super::faults;
use super::namespaces::Namespaces;
use super::notify;
use super::place;
use super::rlimit;
use super::walls::{self, Wall};
use crate::plan::{IdMap, Plan};
use jail_init::session::{self, Message};
use jail_init::{EXIT_REPORT_FD, START_ERROR_FD, Stage, StartError, hook};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send};
use rustix::pipe::PipeFlags;
use std::ffi::CString;
use std::io;
use std::path::Path;
use sys::clone::Request;
use sys::exec::Vector;

/// Bytes that a service may write ahead of a jailsupd that is being replaced.
const LOG_PIPE_SIZE: usize = 1 << 20;

/// What was made for a jail before its processes.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Its root, mounted and attached nowhere.
    pub root: &'a OwnedFd,
    /// Its namespaces.
    pub namespaces: &'a Namespaces,
    /// Its cgroup.
    pub cgroup: OwnedFd,
    /// Its volumes, mounted and attached nowhere.
    pub volumes: &'a [OwnedFd],
    /// The files that the host gives, the same way.
    pub given: &'a [Option<OwnedFd>],
    /// Its device nodes.
    pub devices: &'a [Pinned],
    /// Its user.
    pub account: &'a Account,
    /// Its ids.
    pub ids: &'a IdMap,
    /// What its program gets instead of pipes to the log, when it has a client.
    pub client: Option<&'a Inside>,
}

impl Prepared<'_> {
    /// What is to be mounted, without the root.
    fn mounts(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.volumes.iter().chain(self.given.iter().flatten()).map(|mount| mount.as_fd())
    }
}

/// A jail whose process waits for *go*.
#[derive(Debug)]
pub struct Spawned {
    /// Its PID 1 in the host's numbers.
    pub pid: i32,
    /// The process.
    pub pidfd: OwnedFd,
    /// Read end: a failed start, then end of file when the program is executed.
    pub start_error: OwnedFd,
    /// Read end: how the main process ended.
    pub exit_report: OwnedFd,
    /// Read end of its standard output; none when a client has it.
    pub stdout: Option<OwnedFd>,
    /// Read end of its standard error.
    pub stderr: Option<OwnedFd>,
    /// Where the master of its terminal arrives, when it has one.
    pub terminal: Option<OwnedFd>,
    /// The socket on which it says how it is, when it is to.
    pub notify: Option<OwnedFd>,
    go: OwnedFd,
}

impl Spawned {
    /// Lets the jail build itself and execute.
    ///
    /// # Errors
    /// `EPIPE` when its process has died while it waited.
    pub fn go(&self) -> Result<(), Error> {
        match rustix::io::write(&self.go, b"g") {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::Process { what: "tell it to go", source: errno.into() }),
        }
    }
}

/// The pipes of one start; the names say which end jailsupd keeps.
struct Pipes {
    go: (OwnedFd, OwnedFd),
    start_error: (OwnedFd, OwnedFd),
    exit_report: (OwnedFd, OwnedFd),
    output: Output,
    hand_over: (OwnedFd, OwnedFd),
    null: OwnedFd,
    notify: Option<OwnedFd>,
}

/// Where what the program writes goes.
enum Output {
    /// Standard output and error, to the log.
    Logs([(OwnedFd, OwnedFd); 2]),
    /// A terminal, whose master comes over this socket.
    Terminal((OwnedFd, OwnedFd)),
    /// To a client.
    Client,
}

/// Makes the jail's processes. They wait for [`Spawned::go`].
///
/// # Errors
/// When a pipe or process cannot be made, or a namespace not be joined.
pub fn spawn(
    plan: &Plan,
    prepared: &Prepared<'_>,
    helper: BorrowedFd<'_>,
    root_point: &Path,
) -> Result<Spawned, Error> {
    walls::before_spawn(
        prepared.root,
        &prepared.cgroup,
        prepared.ids.host_user(0).unwrap_or_default(),
    )
    .map_err(|source| Error::Process { what: "leave walls out", source })?;
    let pipes = Pipes::new(plan, prepared)
        .map_err(|source| Error::Process { what: "make its pipes", source })?;
    let argv = argv(plan, prepared.client.is_some());
    let envp = Vector::new(environment(plan, prepared.account));
    let groups: Vec<Gid> = prepared.account.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let root_point = CString::new(root_point.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let jail = Jail {
        steps: &plan.jail,
        host_name: &plan.host_name,
        root: prepared.root.as_fd(),
        root_point: &root_point,
        volumes: prepared.volumes,
        given: prepared.given,
        devices: prepared.devices,
        notify: pipes.notify.as_ref().map(|socket| socket.as_fd()),
        confinement: Confinement {
            account: prepared.account,
            groups: &groups,
            capabilities: plan.capabilities,
            working_dir: &plan.working_dir,
            filter: plan.filter.as_deref(),
        },
    };
    let mut keep = vec![
        pipes.go.0.as_fd(),
        pipes.start_error.1.as_fd(),
        pipes.exit_report.1.as_fd(),
        pipes.null.as_fd(),
        prepared.root.as_fd(),
        helper,
    ];
    keep.extend(prepared.mounts());
    keep.extend(streams(&pipes, prepared.client));
    keep.extend(prepared.devices.iter().map(|device| device.mount.as_fd()).chain(jail.notify));
    let namespaces = prepared.namespaces.near().map_err(Error::Namespaces)?;
    let mut keep_intermediate = keep.clone();
    keep_intermediate.push(pipes.hand_over.1.as_fd());
    keep_intermediate.push(namespaces.user.as_fd());
    keep_intermediate.push(namespaces.net.as_fd());
    keep.sort_by_key(AsRawFd::as_raw_fd);
    keep_intermediate.sort_by_key(AsRawFd::as_raw_fd);
    let program = Program { helper, argv: &argv, envp: &envp };
    let child = Child { jail, pipes: &pipes, client: prepared.client, keep: &keep, program };
    let oom_score = plan.oom_score_adjust.to_string();
    let intermediate = Intermediate {
        namespaces: &namespaces,
        keep: &keep_intermediate,
        oom_score: &oom_score,
        child,
    };
    let intermediate = intermediate.spawn_in(&prepared.cgroup)?;
    let gone_on = faults::reach("cloned");
    let spawned = pipes.into_spawned(&intermediate)?;
    gone_on.map(|()| spawned)
}

/// What becomes the program's standard streams, and a client's session.
fn streams<'a>(pipes: &'a Pipes, client: Option<&'a Inside>) -> Vec<BorrowedFd<'a>> {
    let of_jailsupd: Vec<BorrowedFd<'a>> = match &pipes.output {
        Output::Logs(logs) => logs.iter().map(|(_, write)| write.as_fd()).collect(),
        Output::Terminal((_, theirs)) => vec![theirs.as_fd()],
        Output::Client => Vec::new(),
    };
    let of_client = client.map(|Inside { session, stdin, stdout, stderr, .. }| {
        [session, stdin, stdout, stderr].map(AsFd::as_fd)
    });
    of_jailsupd.into_iter().chain(of_client.into_iter().flatten()).collect()
}

impl Pipes {
    fn new(plan: &Plan, prepared: &Prepared<'_>) -> io::Result<Self> {
        let log = || {
            let (read, write) = pipe()?;
            // More than the kernel allows this user is refused; the default of 64 KiB then stays.
            let _ = rustix::pipe::fcntl_setpipe_size(&write, LOG_PIPE_SIZE);
            rustix::io::ioctl_fionbio(&read, true)?;
            // Without this the service could not open /dev/stdout: a pipe's file has an owner too.
            let owner = prepared.ids.host_user(prepared.account.uid).map(Uid::from_raw);
            let group = prepared.ids.host_group(prepared.account.gid).map(Gid::from_raw);
            rustix::fs::fchown(&write, owner, group)?;
            io::Result::Ok((read, write))
        };
        let sockets = || {
            let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
            rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)
        };
        let hand_over = sockets()?;
        let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let (start_error, exit_report) = (pipe()?, pipe()?);
        let output = match prepared.client {
            Some(client) => {
                client.give_to(prepared.account, prepared.ids)?;
                Output::Client
            }
            None if plan.terminal => {
                let (ours, theirs) = sockets()?;
                Output::Terminal((above_fixed(ours)?, above_fixed(theirs)?))
            }
            None => Output::Logs([log()?, log()?]),
        };
        rustix::io::ioctl_fionbio(&start_error.0, true)?;
        rustix::io::ioctl_fionbio(&exit_report.0, true)?;
        Ok(Self {
            go: pipe()?,
            start_error,
            exit_report,
            output,
            hand_over,
            null: above_fixed(null)?,
            notify: plan.notifies.then(notify::make).transpose()?,
        })
    }

    /// Receives the pidfd and closes the child's ends, in this order: until then the intermediate process
    /// may have this very table.
    fn into_spawned(self, intermediate: &OwnedFd) -> Result<Spawned, Error> {
        let (pid, pidfd) = match handover::receive(&self.hand_over.0, intermediate) {
            Ok(process) => process,
            Err(source) => return Err(start_error(&self.start_error.0, source)),
        };
        let (stdout, stderr, terminal) = match self.output {
            Output::Logs([(stdout, _), (stderr, _)]) => (Some(stdout), Some(stderr), None),
            Output::Terminal((ours, _)) => (None, None, Some(ours)),
            Output::Client => (None, None, None),
        };
        Ok(Spawned {
            pid,
            pidfd: of_jail(pidfd),
            start_error: self.start_error.0,
            exit_report: of_jail(self.exit_report.0),
            stdout: stdout.map(of_jail),
            stderr: stderr.map(of_jail),
            terminal: terminal.map(of_jail),
            notify: self.notify.map(of_jail),
            go: self.go.1,
        })
    }
}

pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_fixed(read)?, above_fixed(write)?))
}

/// The intermediate is gone without a pidfd, or stuck: its own word for it, or what was seen here.
fn start_error(pipe: &OwnedFd, seen: io::Error) -> Error {
    let mut bytes = [0; StartError::LEN];
    match rustix::io::read(pipe, &mut bytes).ok().and_then(|n| StartError::decode(&bytes[..n])) {
        Some(StartError { stage, errno }) => {
            Error::Jail { stage, source: io::Error::from_raw_os_error(errno) }
        }
        None if seen.kind() == io::ErrorKind::TimedOut => {
            Error::Process { what: "get hold of its process (time-out)", source: seen }
        }
        None => Error::Process { what: "get hold of its process", source: seen },
    }
}

/// The helper knows by its own name what to do.
fn argv(plan: &Plan, has_client: bool) -> Vector {
    let string = |text: &str| CString::new(text).unwrap_or_default();
    let hook = plan.hook.as_ref().filter(|_| !has_client);
    let name = match hook {
        _ if has_client => session::RUN,
        Some(_) => hook::INIT,
        None => "jail-init",
    };
    let mut argv = vec![string(name)];
    if let Some(hook) = hook {
        argv.push(hook.state.clone());
        argv.push(string(&hook.timeout.as_millis().to_string()));
        argv.push(string(&hook.argv.len().to_string()));
        argv.extend(hook.argv.iter().cloned());
    }
    argv.extend(plan.argv.iter().cloned());
    Vector::new(argv)
}

fn environment(plan: &Plan, account: &Account) -> Vec<CString> {
    let home = (!plan.environment.contains_key("HOME")).then(|| format!("HOME={}", account.home));
    let given = plan.environment.iter().map(|(name, value)| format!("{name}={value}"));
    given.chain(home).filter_map(|pair| CString::new(pair).ok()).collect()
}

/// What is executed in the end.
struct Program<'a> {
    helper: BorrowedFd<'a>,
    argv: &'a Vector,
    envp: &'a Vector,
}

/// The process that only makes the jail's own.
struct Intermediate<'a> {
    namespaces: &'a Namespaces,
    keep: &'a [BorrowedFd<'a>],
    /// `oom_score_adj` as text.
    oom_score: &'a str,
    child: Child<'a>,
}

impl Intermediate<'_> {
    /// Makes it, in this cgroup. Returns its pidfd.
    fn spawn_in(&self, cgroup: &OwnedFd) -> Result<OwnedFd, Error> {
        let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::CLONE_FILES;
        let flags = u64::from(flags.unsigned_abs());
        let request = Request { flags, exit_signal: 0, cgroup: Some(cgroup.as_fd()) };
        faults::reach("pipes-made")?;
        faults::arm();
        let cloned = sys::clone::spawn(&request, &mut || self.run());
        faults::disarm();
        let failed = |source| Error::Process { what: "clone", source };
        cloned
            .and_then(|child| child.pidfd.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(failed)
    }

    fn run(&self) -> u8 {
        match self.make() {
            Ok(()) => 0,
            Err((stage, errno)) => self.child.report(stage, errno),
        }
    }

    fn make(&self) -> Staged {
        // First of all: until then its descriptors are jailsupd's.
        close_all_except(self.keep).at(Stage::CloseFiles)?;
        walls::leak();
        set_oom_score(self.oom_score).at(Stage::OomScore)?;
        rlimit::make_room(self.child.jail.steps).at(Stage::Limits)?;
        join(&self.namespaces.user, libc::CLONE_NEWUSER).at(Stage::JoinNamespaces)?;
        join(&self.namespaces.net, libc::CLONE_NEWNET).at(Stage::JoinNamespaces)?;
        become_root().at(Stage::BecomeRoot)?;
        let flags = libc::CLONE_PARENT
            | libc::CLONE_PIDFD
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        let flags = u64::from(flags.unsigned_abs());
        let request = Request { flags, exit_signal: 0, cgroup: None };
        let made = sys::clone::spawn(&request, &mut || self.child.run());
        let made = made.map_err(|error| (Stage::Clone, error.raw_os_error().unwrap_or(0)))?;
        let pidfd = made.pidfd.ok_or((Stage::Clone, 0))?;
        handover::send(&self.child.pipes.hand_over.1, made.pid, &pidfd).at(Stage::HandOver)
    }
}

/// The process that becomes the jail's PID 1.
struct Child<'a> {
    jail: Jail<'a>,
    pipes: &'a Pipes,
    client: Option<&'a Inside>,
    keep: &'a [BorrowedFd<'a>],
    program: Program<'a>,
}

impl Child<'_> {
    fn run(&self) -> u8 {
        match self.start() {
            Ok(()) => 0,
            Err((stage, errno)) => self.report(stage, errno),
        }
    }

    /// Returns only on failure.
    fn start(&self) -> Staged {
        close_all_except(self.keep).at(Stage::CloseFiles)?;
        // The in-jail init waits for signals; one that comes early must not be lost.
        sys::signal::reset().and_then(|()| sys::signal::block_all()).at(Stage::CloseFiles)?;
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.pipes.go.0, &mut [0u8; 1])) {
            Ok(1) => {}
            Ok(_) => return Err((Stage::Go, 0)),
            Err(errno) => return Err((Stage::Go, errno.raw_os_error())),
        }
        self.jail.build()?;
        self.place_files()?;
        self.jail.confinement.install_filter()?;
        let Program { helper, argv, envp } = self.program;
        io::Result::<()>::Err(sys::exec::execute_fd(helper, argv, envp)).at(Stage::Init)
    }

    fn place_files(&self) -> Staged {
        match (self.client, &self.pipes.output) {
            (Some(client), _) => {
                place::client(client, session::RUN_FD)?;
                self.place_pipes(session::RUN_FD)
            }
            (None, Output::Logs([(_, stdout), (_, stderr)])) => {
                place::files([self.pipes.null.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
                self.place_pipes(EXIT_REPORT_FD)
            }
            (None, Output::Terminal((_, jailsupd))) => {
                place::terminal(jailsupd.as_fd(), Size::USUAL)?;
                self.place_pipes(EXIT_REPORT_FD)
            }
            (None, Output::Client) => Err((Stage::Files, libc::EBADF)),
        }
    }

    /// Those to jailsupd; everything above `last` is closed.
    fn place_pipes(&self, last: i32) -> Staged {
        let pipes = [
            (&self.pipes.start_error.1, START_ERROR_FD),
            (&self.pipes.exit_report.1, EXIT_REPORT_FD),
        ];
        for (file, number) in pipes {
            sys::fd::place(file.as_fd(), number).at(Stage::Files)?;
        }
        walls::raise(Wall::CloseFiles, || {
            sys::fd::close_from_except(last.unsigned_abs() + 1, self.program.helper)
        })
        .at(Stage::Files)
    }

    fn report(&self, stage: Stage, errno: i32) -> u8 {
        let error = StartError { stage, errno };
        let record = error.encode();
        if let Some(client) = self.client {
            let _ = send(&client.session, &Message::Failed(error).encode(), SendFlags::NOSIGNAL);
        }
        // After the files were placed, the pipe is at its fixed number, and the one above is closed.
        if rustix::io::write(&self.pipes.start_error.1, &record).is_err() {
            if let Ok(pipe) = sys::fd::inherit(START_ERROR_FD) {
                let _ = rustix::io::write(&pipe, &record);
            }
        }
        125
    }
}

fn close_all_except(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    if walls::is_down(Wall::CloseFiles) {
        return sys::fd::unshare();
    }
    sys::fd::close_all_except(keep)
}

/// jailsupd protects itself from the out-of-memory killer; a jail is not to inherit that.
pub(super) fn set_oom_score(score: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(&file, score.as_bytes()).map(drop)
}

pub(super) fn join(namespace: &OwnedFd, kind: i32) -> rustix::io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let kind = match kind {
        libc::CLONE_NEWUSER => LinkNameSpaceType::User,
        _ => LinkNameSpaceType::Network,
    };
    move_into_link_name_space(namespace.as_fd(), Some(kind))
}

pub(super) fn become_root() -> rustix::io::Result<()> {
    become_user(0)
}

/// Becomes the user, and the group, of this number in the user namespace that it is in.
pub(super) fn become_user(id: u32) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)
}
