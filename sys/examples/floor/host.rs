//! What stands before a start, and the host's part of one.

use crate::{jail::Jail, mounts};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::iter;
use std::path::{Path, PathBuf};
use sys::clone::{Child, Request};
use sys::lockdown::Instruction;
use sys::mount::Attributes;

/// The first of the ids on the host; as many as Warder gives a jail.
const FIRST_ID: u32 = 1 << 30;
const IDS: u32 = 65_536;
/// What a unit that says nothing of limits has beyond a new cgroup.
const LIMITS: [(&str, &str); 2] = [("memory.oom.group", "1"), ("pids.max", "1024")];
const PID_AND_MOUNTS: i32 = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A writable layer over the image; the user and network namespace are there.
    Ephemeral,
    /// The same without the layer.
    ReadOnly,
    /// As `Ephemeral`, in a new user and network namespace.
    Fresh,
    /// Nothing: clone3(2) and execve(2).
    Bare,
}

/// All that a start needs and that does not belong to it.
pub(crate) struct Host {
    /// Mounted, its owners not shifted.
    image: OwnedFd,
    user: OwnedFd,
    net: OwnedFd,
    /// The cgroup that jails' are made in; `None` where there are no controllers to limit with.
    cgroup: Option<PathBuf>,
    work: PathBuf,
    filters: Vec<Vec<Instruction>>,
    program: Program,
    /// The one that stays, for `restart`, and what it says.
    running: Option<(Child, File)>,
}

struct Program {
    /// In the image.
    path: CString,
    /// The same file on the host, for `Bare`.
    file: OwnedFd,
}

impl Host {
    pub(crate) fn new(
        image: &str,
        cgroup: &str,
        work: &str,
        filters: Vec<Vec<Instruction>>,
        program: &str,
    ) -> io::Result<Self> {
        sys::mount::own_namespace()?;
        let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
        sys::mount::set_attributes(root.as_fd(), true, private)?;
        let image = match image.strip_prefix("dir:") {
            Some(path) => mounts::copy(CWD, &c_string(path)?, false)?,
            None => {
                let options = [(c"source", &*c_string(image)?), (c"ro", c"")];
                mounts::make(c"erofs", &options, mounts::ROOT | mounts::READ_ONLY)?
            }
        };
        let path = c_string(program)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let in_image = program.trim_start_matches('/');
        let file = rustix::fs::openat(&image, in_image, flags, Mode::empty())?;
        let (user, net) = namespaces()?;
        let work = PathBuf::from(work);
        for name in ["image", "lower", "root"] {
            std::fs::create_dir_all(work.join(name))?;
        }
        // Linux 6.12 copies, and takes for an overlay, only what is attached.
        mounts::attach(&image, &path_string(&work.join("image"))?)?;
        let lower = shifted(&image, &user)?;
        mounts::attach(&lower, &path_string(&work.join("lower"))?)?;
        let cgroup = (cgroup != "-").then(|| PathBuf::from(cgroup));
        let program = Program { path, file };
        Ok(Self { image, user, net, cgroup, work, filters, program, running: None })
    }

    /// One start: when it began, and what the program said.
    pub(crate) fn start(&mut self, kind: Kind) -> io::Result<(u64, String)> {
        let begin = now();
        let (said, says) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = match kind {
            Kind::Bare => self.bare(&says),
            _ => self.jail(kind, &says, &[]),
        }?;
        drop(says);
        let mut text = String::new();
        File::from(said).read_to_string(&mut text)?;
        let status = wait_for(&child)?;
        self.clear(kind)?;
        match status {
            0 if text.starts_with("stamp ") => Ok((begin, text)),
            _ => Err(io::Error::other(format!("the start failed: {status} {text}"))),
        }
    }

    /// Kills the program and starts it again when it has ended and what was its own is cleared away: when it was
    /// killed, and what the next one said.
    pub(crate) fn restart(&mut self) -> io::Result<(u64, String)> {
        if self.running.is_none() {
            self.start_staying()?;
        }
        let begin = now();
        self.end_staying()?;
        let said = self.start_staying()?;
        Ok((begin, said))
    }

    /// An ephemeral jail whose program stays. Returns what it says.
    fn start_staying(&mut self) -> io::Result<String> {
        let (said, says) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = self.jail(Kind::Ephemeral, &says, &[c"stay".into()])?;
        drop(says);
        let mut said = File::from(said);
        let mut line = [0; 64];
        let length = said.read(&mut line)?;
        self.running = Some((child, said));
        let line = String::from_utf8_lossy(&line[..length]).into_owned();
        match line.starts_with("stamp ") {
            true => Ok(line),
            false => Err(io::Error::other(format!("the start failed: {line}"))),
        }
    }

    fn end_staying(&mut self) -> io::Result<()> {
        let Some((child, _)) = self.running.take() else { return Ok(()) };
        sys::signal::send(child.pid, libc::SIGKILL)?;
        wait_for(&child)?;
        self.clear(Kind::Ephemeral)
    }

    /// Removes what a jail has left.
    fn clear(&self, kind: Kind) -> io::Result<()> {
        if let Some(cgroup) = self.jail_cgroup().filter(|_| kind != Kind::Bare) {
            std::fs::remove_dir(cgroup)?;
        }
        match kind {
            Kind::Ephemeral | Kind::Fresh => std::fs::remove_dir_all(self.layer()),
            Kind::ReadOnly | Kind::Bare => Ok(()),
        }
    }

    /// Leaves nothing behind.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.end_staying()?;
        for name in ["image", "lower"] {
            let path = path_string(&self.work.join(name))?;
            rustix::mount::unmount(&*path, rustix::mount::UnmountFlags::DETACH)?;
        }
        std::fs::remove_dir_all(&self.work)
    }

    fn bare(&self, says: &OwnedFd) -> io::Result<Child> {
        let argv = sys::exec::Vector::new(vec![self.program.path.clone()]);
        let envp = sys::exec::Vector::new(Vec::new());
        let request = Request {
            flags: u64::from(libc::CLONE_PIDFD.unsigned_abs()),
            exit_signal: libc::SIGCHLD,
            cgroup: None,
        };
        sys::clone::spawn(&request, &mut || {
            let _ = sys::fd::place(says.as_fd(), 1);
            let _ = sys::exec::execute_fd(self.program.file.as_fd(), &argv, &envp);
            99
        })
    }

    fn jail(&self, kind: Kind, says: &OwnedFd, arguments: &[CString]) -> io::Result<Child> {
        let cgroup = self.make_cgroup()?;
        let fresh = match kind {
            Kind::Fresh => Some(namespaces()?),
            _ => None,
        };
        let (user, net) = fresh.as_ref().map_or((&self.user, &self.net), |(user, net)| (user, net));
        let root = match kind {
            Kind::ReadOnly => shifted(&self.image, user)?,
            _ => self.overlay()?,
        };
        let argv = iter::once(&self.program.path).chain(arguments).cloned().collect();
        let argv = sys::exec::Vector::new(argv);
        let envp = sys::exec::Vector::new(Vec::new());
        let jail = Jail {
            root: root.as_fd(),
            point: &path_string(&self.work.join("root"))?,
            says: says.as_fd(),
            filters: &self.filters,
            program: &self.program.path,
            argv: &argv,
            envp: &envp,
        };
        // The intermediate process joins the namespaces, since who has joined a user namespace cannot
        // come back; the jail's is its sibling.
        let (get, put) = pipe_with(PipeFlags::CLOEXEC)?;
        let outer = Request { cgroup: cgroup.as_ref().map(AsFd::as_fd), ..request(0) };
        let inner = Request { exit_signal: 0, ..request(PID_AND_MOUNTS | libc::CLONE_PARENT) };
        let intermediate = sys::clone::spawn(&outer, &mut || {
            let join = |fd: &OwnedFd, kind| move_into_link_name_space(fd.as_fd(), Some(kind));
            let joined = join(user, LinkNameSpaceType::User)
                .and_then(|()| join(net, LinkNameSpaceType::Network))
                .and_then(|()| crate::jail::become_root());
            if joined.is_err() {
                return 98;
            }
            let Ok(child) = sys::clone::spawn(&inner, &mut || jail.run()) else { return 97 };
            let sent = rustix::io::write(&put, &child.pid.to_ne_bytes());
            u8::from(sent.is_err())
        })?;
        drop(put);
        let mut pid = [0; 4];
        File::from(get).read_exact(&mut pid)?;
        let pid = i32::from_ne_bytes(pid);
        let number = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())?;
        wait_for_pid(intermediate.pid)?;
        Ok(Child { pid, pidfd: Some(pidfd) })
    }

    fn jail_cgroup(&self) -> Option<PathBuf> {
        self.cgroup.as_ref().map(|parent| parent.join("floor"))
    }

    fn make_cgroup(&self) -> io::Result<Option<OwnedFd>> {
        let Some(path) = self.jail_cgroup() else { return Ok(None) };
        std::fs::create_dir(&path)?;
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let cgroup = rustix::fs::open(&path, flags, Mode::empty())?;
        for (file, value) in LIMITS {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&cgroup, file, flags, Mode::empty())?;
            rustix::io::write(file, value.as_bytes())?;
        }
        Ok(Some(cgroup))
    }

    fn layer(&self) -> PathBuf {
        self.work.join("layer")
    }

    fn overlay(&self) -> io::Result<OwnedFd> {
        let layer = self.layer();
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        for path in [&layer, &upper, &work] {
            std::fs::create_dir(path)?;
        }
        let owner = Some(rustix::fs::Uid::from_raw(FIRST_ID));
        rustix::fs::chown(&upper, owner, Some(rustix::fs::Gid::from_raw(FIRST_ID)))?;
        let options = [
            (c"lowerdir+", &*path_string(&self.work.join("lower"))?),
            (c"upperdir", &*path_string(&upper)?),
            (c"workdir", &*path_string(&work)?),
            (c"metacopy", c"on"),
            (c"volatile", c""),
        ];
        Ok(mounts::make(c"overlay", &options, mounts::ROOT)?)
    }
}

fn request(flags: i32) -> Request<'static> {
    let flags = u64::from(flags.unsigned_abs());
    Request { flags, exit_signal: libc::SIGCHLD, cgroup: None }
}

/// A user and a network namespace with their loopback down, as a jail without network has them.
fn namespaces() -> io::Result<(OwnedFd, OwnedFd)> {
    let (wait, hold) = pipe_with(PipeFlags::CLOEXEC)?;
    let request = request(libc::CLONE_NEWUSER | libc::CLONE_NEWNET);
    let child = sys::clone::spawn(&request, &mut || {
        let _ = sys::fd::close_all_except(&[wait.as_fd()]);
        let _ = rustix::io::read(&wait, &mut [0u8; 1]);
        0
    })?;
    let process = format!("/proc/{}", child.pid);
    let map = format!("0 {FIRST_ID} {IDS}\n");
    std::fs::write(format!("{process}/uid_map"), &map)?;
    std::fs::write(format!("{process}/gid_map"), &map)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = |kind| rustix::fs::open(format!("{process}/ns/{kind}"), flags, Mode::empty());
    let namespaces = (open("user")?, open("net")?);
    drop(hold);
    wait_for_pid(child.pid)?;
    Ok(namespaces)
}

fn wait_for_pid(pid: i32) -> io::Result<()> {
    match rustix::process::Pid::from_raw(pid) {
        Some(pid) => Ok(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).map(drop)?),
        None => Ok(()),
    }
}

/// Its exit status. waitid(2) of rustix does not see a child whose parent its own maker is.
fn wait_for(child: &Child) -> io::Result<i32> {
    if let Some(pidfd) = &child.pidfd {
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None)?;
    }
    while let Some(exit) = sys::wait::reap_any()? {
        if exit.pid == child.pid {
            return Ok(exit.status);
        }
    }
    Err(io::Error::other("the jail has ended and cannot be reaped"))
}

/// A copy of the image's mount whose owners go through `user`.
fn shifted(image: &OwnedFd, user: &OwnedFd) -> io::Result<OwnedFd> {
    let copy = mounts::copy(image, c"", false)?;
    let attributes = Attributes {
        id_map: Some(user.as_fd()),
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    sys::mount::set_attributes(copy.as_fd(), false, attributes)?;
    Ok(copy)
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

fn path_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::other)
}
