//! Jails for reading what strangers have made, in files or in packets: a process that is nobody on the host, in namespaces
//! of its own, whose root is an empty directory, and without capabilities. What reads files lives for one of them, and has a
//! dozen system calls that do nothing but read, write and allocate.

use crate::exec::child::{attach, drop_bounding_set, make_private, new_mount, set_capabilities};
use crate::exec::namespaces::{self, Namespaces};
use crate::exec::spawn::{become_root, become_user, join};
use crate::exec::worker::{Doing as _, Failure};
use crate::plan::{IdMap, IdRange};
use crate::unit::User;
use rustix::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MoveMountFlags, UnmountFlags, unmount};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, setrlimit};
use std::ffi::CStr;
use std::io::Read as _;
use sys::clone::Request;
use sys::lockdown::{BASIC_CALLS, Instruction, allow_only};

/// Address space, bytes: what the largest allowed tree and the packers' windows need.
const MEMORY_MAX: u64 = 2 << 30;
/// Processor time, seconds.
const TIME_MAX: u64 = 3600;

/// What is believed of the sandbox's last words, in bytes and in characters.
const WORDS_MAX: u64 = 4096;
const SHOWN_MAX: usize = 500;

/// Of what reads files, besides those of any program.
const CALLS: [i64; 6] = [
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
];

/// What a process gives up with [`enter`].
pub(super) struct Confinement<'a> {
    /// An empty directory of the host to attach its root on.
    pub(super) root_point: &'a CStr,
    /// All that it has of this process.
    pub(super) keep: &'a [BorrowedFd<'a>],
    /// The most that it may use.
    pub(super) limits: &'a [(Resource, u64)],
    /// Whom it becomes, where its user namespace is the host's.
    pub(super) user: Option<u32>,
    /// The calls that it may make; none when it sees to that itself.
    pub(super) filter: Option<&'a [Instruction]>,
}

/// What the reader of a file may have.
pub(super) struct Limits<'a> {
    /// Its ids on the host.
    pub(super) ids: IdRange,
    /// An empty directory of the host to attach its root on.
    pub(super) root_point: &'a CStr,
    /// The largest file that it may write, bytes.
    pub(super) file_max: u64,
    /// All that it has of this process.
    pub(super) keep: &'a [BorrowedFd<'a>],
}

/// Does `work` in the sandbox and waits for its end.
///
/// # Errors
/// What `work` says, or that its process was killed.
pub(super) fn run(
    limits: &Limits<'_>,
    work: &mut dyn FnMut() -> Result<String, Failure>,
) -> Result<String, Failure> {
    let making = || "make a jail for it".to_owned();
    let ids = IdMap::new(&[limits.ids], &User::default());
    let namespaces =
        namespaces::create(&ids).map_err(|error| Failure { what: error.chain(), errno: 0 })?;
    let filter = allow_only(&[&BASIC_CALLS[..], &CALLS].concat());
    let (result, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(making)?;
    let request = Request { flags: 0, exit_signal: libc::SIGCHLD, cgroup: None };
    let outer = sys::clone::spawn(&request, &mut || {
        let mut inner = || match enter_reader(limits, &filter, &ours) {
            Ok(()) => tell(&ours, &work()),
            Err(failure) => tell(&ours, &Err(failure)),
        };
        let made = outside(limits, &namespaces, &ours, &mut inner);
        made.unwrap_or_else(|failure| tell(&ours, &Err(failure)))
    });
    let outer = outer.doing(making)?;
    drop(ours);
    let mut said = Vec::new();
    // Closed then: whoever writes more is not waited for.
    let read = std::fs::File::from(result).take(WORDS_MAX).read_to_end(&mut said);
    wait(outer.pid);
    read.doing(|| "hear of its jail".to_owned())?;
    let said = shown(&said);
    match said.split_once(' ') {
        Some(("D", text)) => Ok(text.to_owned()),
        Some(("F", failure)) => {
            let (errno, what) = failure.split_once(' ').unwrap_or(("0", failure));
            Err(Failure { what: what.to_owned(), errno: errno.parse().unwrap_or(0) })
        }
        _ => {
            let what = "read it: it broke a limit of the jail that reads it".to_owned();
            Err(Failure { what, errno: 0 })
        }
    }
}

/// As people may see it: who has fallen to an archive says what the archive wants.
fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect()
}

fn tell(pipe: &OwnedFd, result: &Result<String, Failure>) -> u8 {
    let line = match result {
        Ok(text) => format!("D {text}"),
        Err(failure) => format!("F {} {}", failure.errno, failure.what),
    };
    let _ = rustix::io::write(pipe, line.as_bytes());
    u8::from(result.is_err())
}

/// The process between: it joins the namespaces that must be joined before the others can be made.
fn outside(
    limits: &Limits<'_>,
    namespaces: &Namespaces,
    ours: &OwnedFd,
    inner: &mut dyn FnMut() -> u8,
) -> Result<u8, Failure> {
    let making = || "make a jail for it".to_owned();
    die_with_parent().doing(making)?;
    let mut keep = limits.keep.to_vec();
    keep.extend([ours.as_fd(), namespaces.user.as_fd(), namespaces.net.as_fd()]);
    keep.sort_by_key(AsRawFd::as_raw_fd);
    sys::fd::close_all_except(&keep).doing(making)?;
    join(&namespaces.user, libc::CLONE_NEWUSER).doing(making)?;
    join(&namespaces.net, libc::CLONE_NEWNET).doing(making)?;
    become_root().doing(making)?;
    // A change of users takes it away.
    die_with_parent().doing(making)?;
    let flags = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let flags = u64::from(flags.unsigned_abs());
    let request = Request { flags, exit_signal: libc::SIGCHLD, cgroup: None };
    let child = sys::clone::spawn(&request, inner).doing(making)?;
    wait(child.pid);
    Ok(0)
}

fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

fn wait(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    // What it has to say comes through the pipe.
    let _ = rustix::io::retry_on_intr(wait);
}

fn enter_reader(
    limits: &Limits<'_>,
    filter: &[Instruction],
    ours: &OwnedFd,
) -> Result<(), Failure> {
    let mut keep = limits.keep.to_vec();
    keep.push(ours.as_fd());
    enter(&Confinement {
        root_point: limits.root_point,
        keep: &keep,
        limits: &[
            (Resource::Core, 0),
            (Resource::Nproc, 0),
            (Resource::Nofile, 0),
            (Resource::Cpu, TIME_MAX),
            (Resource::As, MEMORY_MAX),
            (Resource::Fsize, limits.file_max),
        ],
        user: None,
        filter: Some(filter),
    })
}

/// Gives everything up. The process must have been made with a mount namespace of its own.
///
/// # Errors
/// Which step the kernel has refused.
pub(super) fn enter(confinement: &Confinement<'_>) -> Result<(), Failure> {
    let entering = || "enter its jail".to_owned();
    die_with_parent().doing(entering)?;
    make_private().doing(entering)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root =
        new_mount(c"tmpfs", [(c"mode", c"0555"), (c"size", c"4k")], attributes).doing(entering)?;
    attach(&root, CWD, confinement.root_point, MoveMountFlags::empty()).doing(entering)?;
    rustix::process::fchdir(&root).doing(entering)?;
    rustix::process::pivot_root(c".", c".").doing(entering)?;
    unmount(c".", UnmountFlags::DETACH).doing(entering)?;
    rustix::process::chdir(c"/").doing(entering)?;
    let mut keep = confinement.keep.to_vec();
    keep.sort_by_key(AsRawFd::as_raw_fd);
    sys::fd::close_all_except(&keep).doing(entering)?;
    for (resource, most) in confinement.limits {
        let limit = Rlimit { current: Some(*most), maximum: Some(*most) };
        setrlimit(*resource, limit).doing(entering)?;
    }
    drop_bounding_set(0).doing(entering)?;
    if let Some(user) = confinement.user {
        become_user(user).doing(entering)?;
        // A change of users takes it away.
        die_with_parent().doing(entering)?;
    }
    set_capabilities(0).doing(entering)?;
    rustix::thread::set_no_new_privs(true).doing(entering)?;
    let filter = confinement.filter.map(|filter| sys::lockdown::set_seccomp_filter(filter, false));
    filter.unwrap_or(Ok(())).doing(entering)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_short_and_plain() {
        assert_eq!(shown(b"F 5 read it\x1b[2J\nD x"), "F 5 read it [2J D x");
        assert_eq!(shown(&[b'x'; 4096]).len(), SHOWN_MAX);
    }
}
