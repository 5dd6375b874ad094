//! System calls that reach further into the kernel than a service needs. The oracle is that the kernel
//! does the thing or looks at it: a filter's answer is always `EPERM` or `ENOSYS`.

use std::{ffi::CStr, fs::File, process::ExitCode};

use crate::{Attack, Outcome, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    ("unshare-user", || unshare(libc::CLONE_NEWUSER)),
    ("unshare-mount", || unshare(libc::CLONE_NEWNS)),
    ("clone-user", clone_user),
    ("clone3-user", clone3_user),
    ("setns", setns),
    ("mount", mount),
    ("umount-mask", umount_mask),
    ("fsopen", || opens(libc::SYS_fsopen, &[raw::address(c"tmpfs"), 0])),
    ("open-tree", open_tree),
    ("chroot", || does(libc::SYS_chroot, &[raw::address(c"/tmp")])),
    ("pivot-root", pivot_root),
    ("handle", handle),
    ("ptrace", || does(libc::SYS_ptrace, &[0, 0, 0, 0])),
    ("process-vm", process_vm),
    ("io-uring", io_uring),
    ("userfaultfd", || opens(libc::SYS_userfaultfd, &[USER_MODE_ONLY])),
    ("perf", perf),
    ("bpf", || looks(libc::SYS_bpf, &[9999, 0, 0])),
    ("keyctl", || does(libc::SYS_keyctl, &[0, raw::word(SESSION_KEYRING), 0])),
    ("add-key", add_key),
    ("kexec", || looks(libc::SYS_kexec_load, &[0, 0, 0, usize::MAX])),
    ("load-module", || looks(libc::SYS_init_module, &[0, 0, 0])),
    ("load-module-file", load_module_file),
    ("unload-module", || looks(libc::SYS_delete_module, &[raw::address(c"loop"), 0])),
    ("reboot", || looks(libc::SYS_reboot, &[0, 0, 0, 0])),
    ("swapon", || looks(libc::SYS_swapon, &[0, 0])),
    ("set-clock", || looks(libc::SYS_clock_settime, &[0, 0])),
    ("adjust-clock", adjust_clock),
    ("sethostname", || does(libc::SYS_sethostname, &[raw::address(c"taken"), 5])),
    ("io-ports", || does(libc::SYS_iopl, &[3])),
    ("accounting", || looks(libc::SYS_acct, &[0])),
    ("quota", || looks(libc::SYS_quotactl, &[0, 0, 0, 0])),
    ("fanotify", || opens(libc::SYS_fanotify_init, &[0, 0])),
    ("memory-policy", || does(libc::SYS_set_mempolicy, &[0, 0, 0])),
    ("personality", personality),
    ("terminal-input", terminal_input),
    ("i386-calls", i386_calls),
    ("x32-calls", || does(libc::SYS_getpid | X32, &[])),
];

const USER_MODE_ONLY: usize = 1;
const SESSION_KEYRING: i32 = -3;
const X32: i64 = 0x4000_0000;

/// Succeeds when the call does.
fn does(number: i64, arguments: &[usize]) -> Outcome {
    let result = raw::call(number, arguments).map_err(|errno| errno.to_string())?;
    Ok(format!("the kernel does it: {result}"))
}

/// Succeeds when the call gives a descriptor.
fn opens(number: i64, arguments: &[usize]) -> Outcome {
    let fd = raw::call(number, arguments).map_err(|errno| errno.to_string())?;
    Ok(format!("a descriptor: {fd}"))
}

/// Succeeds when the kernel looks at the arguments, which are wrong so that nothing happens.
fn looks(number: i64, arguments: &[usize]) -> Outcome {
    match raw::call(number, arguments) {
        Err(errno) if errno.0 == libc::EPERM || errno.0 == libc::ENOSYS => Err(errno.to_string()),
        Err(errno) => Ok(format!("the kernel looks at it: {errno}")),
        Ok(result) => Ok(format!("the kernel does it: {result}")),
    }
}

fn unshare(flag: i32) -> Outcome {
    does(libc::SYS_unshare, &[raw::word(flag)])
}

fn clone_user() -> Outcome {
    let flags = raw::word(libc::CLONE_NEWUSER | libc::SIGCHLD);
    match raw::call(libc::SYS_clone, &[flags, 0, 0, 0, 0]) {
        Ok(0) => raw::exit_now(0),
        Ok(pid) => Ok(format!("a process in a user namespace of its own: {pid}")),
        Err(errno) => Err(errno.to_string()),
    }
}

fn clone3_user() -> Outcome {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let mut arguments = [0u64; 8];
    arguments[0] = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    arguments[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    match raw::call(libc::SYS_clone3, &[raw::address(&arguments), 64]) {
        Ok(0) => raw::exit_now(0),
        Ok(pid) => Ok(format!("a process in a user namespace of its own: {pid}")),
        Err(errno) => Err(errno.to_string()),
    }
}

fn setns() -> Outcome {
    let uts = File::open("/proc/self/ns/uts").map_err(|error| error.to_string())?;
    let fd = raw::number(&uts);
    does(libc::SYS_setns, &[fd, raw::word(libc::CLONE_NEWUTS)])
}

fn mount() -> Outcome {
    let tmpfs = raw::address(c"tmpfs");
    raw::call(libc::SYS_mount, &[tmpfs, raw::address(c"/tmp"), tmpfs, 0, 0])
        .map_err(|errno| format!("mount: {errno}"))?;
    let mounts =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let last = mounts.lines().last().unwrap_or_default().to_owned();
    if last.contains(" /tmp ") { Ok(last) } else { Err(format!("not visible: {last}")) }
}

/// A mask is a mount, and what has mounts can take them away.
fn umount_mask() -> Outcome {
    for mask in [c"/proc/kallsyms", c"/proc/keys", c"/sys/firmware", c"/proc/sys"] {
        match raw::call(libc::SYS_umount2, &[raw::address(mask), raw::word(libc::MNT_DETACH)]) {
            Ok(_) => return Ok(format!("{} is no longer covered", name(mask))),
            Err(errno) if errno.0 == libc::EINVAL => {}
            Err(errno) => return Err(errno.to_string()),
        }
    }
    Err("none of them is a mount".into())
}

fn name(path: &CStr) -> String {
    path.to_string_lossy().into_owned()
}

fn open_tree() -> Outcome {
    const CLONE: usize = 1;
    let here = raw::word(libc::AT_FDCWD);
    opens(libc::SYS_open_tree, &[here, raw::address(c"/"), CLONE])
}

fn pivot_root() -> Outcome {
    // With the same directory twice the kernel would do it, were it a mount point: EINVAL says that it looked.
    looks(libc::SYS_pivot_root, &[raw::address(c"/tmp"), raw::address(c"/tmp")])
}

/// File handles lead past the root to every file of a file system (CVE-2014-3519's way).
fn handle() -> Outcome {
    let mut handle = [0u8; 136];
    handle[0] = 128;
    let mut mount = 0i32;
    let here = raw::word(libc::AT_FDCWD);
    let arguments =
        [here, raw::address(c"/"), raw::address_mut(&mut handle), raw::address_mut(&mut mount), 0];
    raw::call(libc::SYS_name_to_handle_at, &arguments)
        .map_err(|errno| format!("name_to_handle_at: {errno}"))?;
    let root = File::open("/").map_err(|error| error.to_string())?;
    let fd = raw::number(&root);
    opens(libc::SYS_open_by_handle_at, &[fd, raw::address_mut(&mut handle), 0])
}

fn process_vm() -> Outcome {
    let (from, mut to) = ([7u8; 8], [0u8; 8]);
    let local = [raw::address_mut(&mut to), to.len()];
    let remote = [raw::address(&from), from.len()];
    let me = std::process::id() as usize;
    let arguments = [me, raw::address(&local), 1, raw::address(&remote), 1, 0];
    does(libc::SYS_process_vm_readv, &arguments)
}

fn io_uring() -> Outcome {
    let mut parameters = [0u8; 120];
    opens(libc::SYS_io_uring_setup, &[8, raw::address_mut(&mut parameters)])
}

/// Counting this process' own page faults, in user space alone: the least that there is to ask for.
fn perf() -> Outcome {
    // struct perf_event_attr: type, size, config, ..., flags at byte 40.
    let mut attributes = [0u64; 17];
    attributes[0] = 1 | 136 << 32;
    attributes[1] = 2;
    attributes[5] = 1 << 5 | 1 << 6;
    let minus_one = usize::MAX;
    let arguments = [raw::address(&attributes), 0, minus_one, minus_one, 0];
    match raw::call(libc::SYS_perf_event_open, &arguments) {
        Ok(fd) => Ok(format!("a counter: {fd}")),
        // Debian's kernel.perf_event_paranoid=3, after the filter.
        Err(errno) if errno.0 == libc::EACCES => Ok("the kernel looks at it: EACCES".into()),
        Err(errno) => Err(errno.to_string()),
    }
}

fn add_key() -> Outcome {
    let (kind, description) = (raw::address(c"user"), raw::address(c"taken"));
    does(libc::SYS_add_key, &[kind, description, raw::address(c"x"), 1, raw::word(SESSION_KEYRING)])
}

fn load_module_file() -> Outcome {
    let me = File::open("/proc/self/exe").map_err(|error| error.to_string())?;
    let fd = raw::number(&me);
    looks(libc::SYS_finit_module, &[fd, raw::address(c""), 0])
}

/// The frequency of the clock, set to what it is: the kernel asks for CAP_SYS_TIME first.
fn adjust_clock() -> Outcome {
    const SET_FREQUENCY: u32 = 2;
    let mut timex = [0u8; 208];
    timex[..4].copy_from_slice(&SET_FREQUENCY.to_ne_bytes());
    looks(libc::SYS_adjtimex, &[raw::address_mut(&mut timex)])
}

/// Without address space randomisation, exploits are easier.
fn personality() -> Outcome {
    const ADDR_NO_RANDOMIZE: usize = 0x004_0000;
    does(libc::SYS_personality, &[ADDR_NO_RANDOMIZE])
}

/// Types into a terminal that somebody else reads: here one of its own.
fn terminal_input() -> Outcome {
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = |path: &str| {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)
    };
    let master = open("/dev/ptmx").map_err(|error| format!("/dev/ptmx: {error}"))?;
    let mut number = 0u32;
    let unlock = 0i32;
    raw::call(
        libc::SYS_ioctl,
        &[raw::number(&master), raw::word(libc::TIOCSPTLCK), raw::address(&unlock)],
    )
    .map_err(|errno| format!("unlock: {errno}"))?;
    raw::call(
        libc::SYS_ioctl,
        &[raw::number(&master), raw::word(libc::TIOCGPTN), raw::address_mut(&mut number)],
    )
    .map_err(|errno| format!("number: {errno}"))?;
    let slave = open(&format!("/dev/pts/{number}")).map_err(|error| format!("slave: {error}"))?;
    raw::call(libc::SYS_setsid, &[]).map_err(|errno| format!("setsid: {errno}"))?;
    let numbers = [&master, &slave].map(raw::number);
    // The end of the terminal would end its session: this process.
    std::mem::forget((master, slave));
    raw::call(libc::SYS_ioctl, &[numbers[1], raw::word(libc::TIOCSCTTY), 0])
        .map_err(|errno| format!("controlling terminal: {errno}"))?;
    match raw::call(libc::SYS_ioctl, &[numbers[1], raw::word(libc::TIOCSTI), raw::address(b"x")]) {
        Ok(_) => Ok("a character was typed".into()),
        // dev.tty.legacy_tiocsti=0, after the filter.
        Err(errno) if errno.0 == libc::EIO => Ok("the kernel looks at it: EIO".into()),
        Err(errno) => Err(format!("TIOCSTI: {errno}")),
    }
}

/// A filter that knows 64-bit numbers alone lets 32-bit calls pass. Ours kills.
fn i386_calls() -> Outcome {
    let result = raw::getpid_by_i386();
    if result > 0 {
        Ok(format!("getpid answers {result}"))
    } else {
        Err(format!("getpid: {result}"))
    }
}

/// All but this process and its init.
pub(crate) fn kill_all() -> ExitCode {
    let me = std::process::id() as usize;
    for pid in (2..65536).filter(|pid| *pid != me) {
        let _ = raw::call(libc::SYS_kill, &[pid, raw::word(libc::SIGKILL)]);
    }
    println!("all killed");
    ExitCode::SUCCESS
}
