//! A service that tries system calls and what they reach, writes down how each went, and stays. The tests put it into
//! jails: what counts is what the kernel answers, not what a filter is said to hold.

#![forbid(unsafe_code)]

use std::{fmt::Write as _, fs, io};

use rustix::{
    fs::{CWD, FileType, MemfdFlags, Mode},
    io::Errno,
    mm::MlockAllFlags,
    mount::{FsOpenFlags, MountFlags},
    net::{AddressFamily, Protocol, SocketType},
    pipe::{PipeFlags, SpliceFlags},
    thread::LinkNameSpaceType,
};
use signal_hook::{consts::SIGTERM, iterator::Signals};

type Tried = rustix::io::Result<()>;

type Try = (&'static str, fn() -> Tried);

/// Each by name; none leaves anything behind where it succeeds.
const TRIES: &[Try] = &[
    ("getppid", || rustix::process::getppid().map(drop).ok_or(Errno::SRCH)),
    ("mount", || rustix::mount::mount("none", "/tmp", "tmpfs", MountFlags::empty(), None)),
    ("rename", rename),
    ("fsopen", || rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()).map(drop)),
    ("setns", setns),
    ("chroot", || rustix::process::chroot("/")),
    ("sethostname", || rustix::system::sethostname(b"other")),
    ("init_module", || rustix::system::init_module(&[], c"")),
    ("mlockall", || rustix::mm::mlockall(MlockAllFlags::CURRENT)),
    ("memfd_create", || rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC).map(drop)),
    ("mknodat", fifo),
    ("fchownat", || rustix::fs::chown("/tmp", None, None)),
    ("splice", splice),
    ("socket inet", || socket(2, SocketType::STREAM, 0)),
    ("socket netlink", || socket(16, SocketType::RAW, 0)),
    ("socket audit", || socket(16, SocketType::RAW, 9)),
    ("socket packet", || socket(17, SocketType::RAW, 3)),
    ("socket alg", || socket(38, SocketType::SEQPACKET, 0)),
    ("socket vsock", || socket(40, SocketType::STREAM, 0)),
];

fn main() -> io::Result<()> {
    let mut text = String::new();
    for (name, tried) in TRIES {
        let answer = match tried() {
            Ok(()) => "ok".to_owned(),
            Err(errno) => errno_name(errno),
        };
        let _ = writeln!(text, "{name}: {answer}");
    }
    for path in std::env::args().skip(1) {
        let answer = fs::read_to_string(&path).map_err(|error| error.to_string());
        let _ = writeln!(text, "{path}: {}", answer.unwrap_or_else(|e| e).trim());
    }
    // Root of an ephemeral jail; in one step, so that a reader never sees a part.
    fs::write("/tried.new", text)?;
    fs::rename("/tried.new", "/tried")?;
    Signals::new([SIGTERM])?.forever().next();
    Ok(())
}

fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::PERM => "EPERM",
        Errno::NOSYS => "ENOSYS",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT",
        Errno::INVAL => "EINVAL",
        Errno::NOEXEC => "ENOEXEC",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}

fn setns() -> Tried {
    let own = rustix::fs::open("/proc/self/ns/uts", rustix::fs::OFlags::RDONLY, Mode::empty())?;
    let kind = Some(LinkNameSpaceType::HostNameAndNISDomainName);
    rustix::thread::move_into_link_name_space(rustix::fd::AsFd::as_fd(&own), kind)
}

/// From one directory to another.
fn rename() -> Tried {
    rustix::fs::mkdir("/tmp/from", Mode::from_raw_mode(0o755))?;
    rustix::fs::mknodat(CWD, "/tmp/from/x", FileType::RegularFile, Mode::from_raw_mode(0o600), 0)?;
    rustix::fs::rename("/tmp/from/x", "/run/x")
}

fn fifo() -> Tried {
    rustix::fs::mknodat(CWD, "/fifo", FileType::Fifo, Mode::from_raw_mode(0o600), 0)
}

fn splice() -> Tried {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&write, b"x")?;
    let (_other, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::pipe::splice(&read, None, &into, None, 1, SpliceFlags::empty()).map(drop)
}

fn socket(family: u16, kind: SocketType, protocol: u32) -> Tried {
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    rustix::net::socket(AddressFamily::from_raw(family), kind, protocol).map(drop)
}
