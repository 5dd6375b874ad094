//! System calls, tried one by one. Each in a forked child, which a call may kill, cripple or hang.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use crate::{
    Seen,
    raw::{self, Errno},
};

/// One past the newest call of Linux 6.12 (`mseal` is 462).
const CALLS: i64 = 463;
/// A call that is still at it after this long was let through.
const LIMIT: Duration = Duration::from_millis(700);

/// How a child says what a call came to.
const REFUSED: i32 = 1;
const ANSWERED: i32 = 0;

/// Runs `act` in a child: whether it came through. Killed by SIGSYS is refused; by anything else, or
/// hanging, is a call that was made.
fn comes_through(act: impl FnOnce() -> bool) -> bool {
    let child = match raw::fork() {
        Ok(0) => {
            // Whatever hangs up a terminal has none to hang up.
            let _ = raw::call(libc::SYS_setsid, &[]);
            let code = if act() { ANSWERED } else { REFUSED };
            raw::exit_now(code)
        }
        Ok(child) => child,
        Err(_) => return false,
    };
    let start = Instant::now();
    loop {
        match raw::ended(child) {
            Some(status) if libc::WIFEXITED(status) => return libc::WEXITSTATUS(status) != REFUSED,
            Some(status) => return libc::WTERMSIG(status) != libc::SIGSYS,
            None if start.elapsed() > LIMIT => {
                let _ = raw::call(libc::SYS_kill, &[raw::word(child), raw::word(libc::SIGKILL)]);
                raw::wait(child);
                return true;
            }
            None => std::thread::yield_now(),
        }
    }
}

/// The kernel looked at it: what a filter or a missing capability says is not that.
fn answers(result: Result<usize, Errno>) -> bool {
    !matches!(result, Err(errno) if errno.0 == libc::EPERM || errno.0 == libc::ENOSYS)
}

/// Every call, once with zeros and once with ones: no address, no descriptor, no process is good.
pub(crate) fn answered() -> Seen {
    let forks = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone];
    let tried = |number: i64, word: usize| {
        comes_through(|| {
            let result = raw::call(number, &[word; 6]);
            if forks.contains(&number) && matches!(result, Ok(0)) {
                // The child's child.
                raw::exit_now(ANSWERED);
            }
            answers(result)
        })
    };
    let found = (0..CALLS).filter(|number| tried(*number, 0) || tried(*number, usize::MAX));
    found.map(|number| number.to_string()).collect()
}

pub(crate) fn i386() -> Seen {
    let works = comes_through(|| raw::getpid_by_i386() > 0);
    if works { vec!["getpid".into()] } else { Seen::new() }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<usize, Errno> {
    raw::call(libc::SYS_socket, &[family, kind, protocol].map(raw::word))
}

pub(crate) fn socket_families() -> Seen {
    let opens = |family: i32| (1..=6).any(|kind| socket(family, kind, 0).is_ok());
    let found = (0..64).filter(|family| comes_through(|| opens(*family)));
    found.map(|family| family.to_string()).collect()
}

pub(crate) fn netlink_protocols() -> Seen {
    let opens = |protocol: i32| socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol).is_ok();
    let found = (0..32).filter(|protocol| comes_through(|| opens(*protocol)));
    found.map(|protocol| protocol.to_string()).collect()
}

pub(crate) fn raw_sockets() -> Seen {
    let every_protocol = i32::from(3u16.to_be());
    let sockets = [
        ("icmp", libc::AF_INET, libc::IPPROTO_ICMP),
        ("icmpv6", libc::AF_INET6, libc::IPPROTO_ICMPV6),
        ("packet", libc::AF_PACKET, every_protocol),
    ];
    let opens = |(_, family, protocol): &(&str, i32, i32)| {
        comes_through(|| socket(*family, libc::SOCK_RAW, *protocol).is_ok())
    };
    sockets.into_iter().filter(opens).map(|(name, ..)| name.to_owned()).collect()
}

/// Into a terminal of its own, which has to be its controlling one.
pub(crate) fn terminal_input() -> Seen {
    fn types() -> Option<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let open = |path: &str| {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).ok()
        };
        let ioctl = |file: &File, request: u64, argument: usize| {
            raw::call(libc::SYS_ioctl, &[raw::number(file), raw::word(request), argument]).ok()
        };
        let (unlock, mut number) = (0i32, 0u32);
        let master = open("/dev/ptmx")?;
        ioctl(&master, libc::TIOCSPTLCK, raw::address(&unlock))?;
        ioctl(&master, libc::TIOCGPTN, raw::address_mut(&mut number))?;
        let slave = open(&format!("/dev/pts/{number}"))?;
        ioctl(&slave, libc::TIOCSCTTY, 0)?;
        let typed = ioctl(&slave, libc::TIOCSTI, raw::address(b"x"));
        // The end of the terminal would end its session: this process.
        std::mem::forget((master, slave));
        typed.map(drop)
    }
    if comes_through(|| types().is_some()) { vec!["TIOCSTI".into()] } else { Seen::new() }
}

pub(crate) fn nested_namespaces() -> Seen {
    let kinds = [
        ("mnt", libc::CLONE_NEWNS),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("user", libc::CLONE_NEWUSER),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", libc::CLONE_NEWTIME),
    ];
    // In a user namespace of its own, if there can be one, all others can be made.
    let makes = |flag: i32| {
        raw::call(libc::SYS_unshare, &[raw::word(flag)]).is_ok()
            || raw::call(libc::SYS_unshare, &[raw::word(libc::CLONE_NEWUSER | flag)]).is_ok()
    };
    kinds
        .into_iter()
        .filter(|(_, flag)| comes_through(|| makes(*flag)))
        .map(|(name, _)| name.to_owned())
        .collect()
}

pub(crate) fn keyrings() -> Seen {
    let session = raw::word(-3i32);
    let (kind, name) = (raw::address(c"user"), raw::address(c"probe"));
    let add = [kind, name, raw::address(c"x"), 1, session];
    let calls = [
        ("keyctl", libc::SYS_keyctl, [0, session, 1, 0, 0]),
        ("add_key", libc::SYS_add_key, add),
        ("request_key", libc::SYS_request_key, [kind, name, 0, session, 0]),
    ];
    // No such key is an answer.
    let works = |number: i64, arguments: &[usize; 5]| answers(raw::call(number, arguments));
    let found =
        calls.iter().filter(|(_, number, arguments)| comes_through(|| works(*number, arguments)));
    found.map(|(name, ..)| (*name).to_owned()).collect()
}

pub(crate) fn kernel_log() -> Seen {
    fn reads(path: &str) -> bool {
        use std::{io::Read as _, os::unix::fs::OpenOptionsExt as _};
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        file.is_ok_and(|mut file| file.read(&mut [0; 8192]).is_ok_and(|read| read > 0))
    }
    const READ_ALL: usize = 3;
    let mut found = Seen::new();
    for path in ["/dev/kmsg", "/proc/kmsg"] {
        if comes_through(|| reads(path)) {
            found.push(path.into());
        }
    }
    let mut page = [0u8; 4096];
    if comes_through(|| {
        raw::call(libc::SYS_syslog, &[READ_ALL, raw::address_mut(&mut page), 4096]).is_ok()
    }) {
        found.push("syslog".into());
    }
    found
}

/// Large new parts of the kernel, each with a call that really does something.
pub(crate) fn modern() -> Seen {
    let mut parameters = [0u8; 120];
    // A counter of this process' own page faults in user space; a map of one element.
    let mut counter = [0u64; 17];
    (counter[0], counter[1], counter[5]) = (1 | 136 << 32, 2, 1 << 5 | 1 << 6);
    let map = [2u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let all = usize::MAX;
    let calls: [(&str, i64, Vec<usize>); 4] = [
        ("io_uring", libc::SYS_io_uring_setup, vec![8, raw::address_mut(&mut parameters)]),
        ("userfaultfd", libc::SYS_userfaultfd, vec![1]),
        ("bpf", libc::SYS_bpf, vec![0, raw::address(&map), 72]),
        ("perf", libc::SYS_perf_event_open, vec![raw::address(&counter), 0, all, all, 0]),
    ];
    let found = calls
        .iter()
        .filter(|(_, number, arguments)| comes_through(|| raw::call(*number, arguments).is_ok()));
    found.map(|(name, ..)| (*name).to_owned()).collect()
}
