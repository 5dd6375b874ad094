//! The in-jail init: Warder's own code in a process that the service can name. What holds it holds the
//! report of how the service ended, and in the worst case a program of the host (CVE-2019-5736).

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::FileExt as _,
};

use crate::{Attack, Outcome, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    ("init-exe-read", exe_read),
    ("init-exe-write", exe_write),
    ("init-exe-unsealed", exe_unsealed),
    ("init-memory", memory),
    ("init-files", files),
    ("init-root", root),
    ("init-environment", environment),
    ("init-ptrace", ptrace),
    ("init-process-vm", process_vm),
    ("init-pidfd-getfd", pidfd_getfd),
];

fn text(error: &std::io::Error) -> String {
    error.to_string()
}

fn exe_read() -> Outcome {
    let mut magic = [0; 4];
    let mut file = File::open("/proc/1/exe").map_err(|error| text(&error))?;
    file.read_exact(&mut magic).map_err(|error| text(&error))?;
    if magic == *b"\x7fELF" {
        Ok("the helper can be read".into())
    } else {
        Err("not a program".into())
    }
}

/// Directly, and by the descriptor of a program that this process has open.
fn exe_write() -> Outcome {
    let mut obstacles = Vec::new();
    for path in ["/proc/1/exe", "/proc/1/map_files", "/proc/self/fd/3"] {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => {
                file.write_at(b"#", 0).map_err(|error| format!("opened, then: {error}"))?;
                return Ok(format!("{path} can be written"));
            }
            Err(error) => obstacles.push(format!("{path}: {error}")),
        }
    }
    Err(obstacles.join(", "))
}

/// Without its seals, the helper is a file that somebody may yet write.
fn exe_unsealed() -> Outcome {
    let file = File::open("/proc/1/exe").map_err(|error| text(&error))?;
    let fd = raw::number(&file);
    let get_seals = raw::word(libc::F_GET_SEALS);
    let seals =
        raw::call(libc::SYS_fcntl, &[fd, get_seals]).map_err(|errno| format!("seals: {errno}"))?;
    let write = raw::word(libc::F_SEAL_WRITE);
    if seals & write == 0 {
        Ok("the helper is not sealed".into())
    } else {
        Err("the helper is sealed".into())
    }
}

fn memory() -> Outcome {
    OpenOptions::new().read(true).write(true).open("/proc/1/mem").map_err(|error| text(&error))?;
    Ok("the init's memory opens for writing".into())
}

fn files() -> Outcome {
    let entries = fs::read_dir("/proc/1/fd").map_err(|error| text(&error))?;
    let paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    let open = paths.iter().find(|path| OpenOptions::new().write(true).open(path).is_ok());
    open.map(|path| format!("{} opens", path.display())).ok_or_else(|| "none opens".into())
}

fn root() -> Outcome {
    fs::read_dir("/proc/1/root/").map_err(|error| text(&error))?;
    Ok("the init's root opens".into())
}

fn environment() -> Outcome {
    let bytes = fs::read("/proc/1/environ").map_err(|error| text(&error))?;
    Ok(format!("{} bytes of the init's environment", bytes.len()))
}

fn ptrace() -> Outcome {
    let seize = raw::word(libc::PTRACE_SEIZE);
    raw::call(libc::SYS_ptrace, &[seize, 1, 0, 0]).map_err(|errno| format!("ptrace: {errno}"))?;
    Ok("the init is traced".into())
}

fn process_vm() -> Outcome {
    let mut here = [0u8; 16];
    let local = [raw::address_mut(&mut here), here.len()];
    // Where a static program begins.
    let remote = [0x40_0000usize, 16];
    let arguments = [1, raw::address(&local), 1, raw::address(&remote), 1, 0];
    match raw::call(libc::SYS_process_vm_readv, &arguments) {
        Ok(read) => Ok(format!("{read} bytes of the init's memory")),
        // The address is wrong, the permission was there.
        Err(errno) if errno.0 == libc::EFAULT => Ok("the init's memory can be read".into()),
        Err(errno) => Err(format!("process_vm_readv: {errno}")),
    }
}

fn pidfd_getfd() -> Outcome {
    let pidfd =
        raw::call(libc::SYS_pidfd_open, &[1, 0]).map_err(|errno| format!("pidfd_open: {errno}"))?;
    raw::call(libc::SYS_pidfd_getfd, &[pidfd, 1, 0])
        .map_err(|errno| format!("pidfd_getfd: {errno}"))?;
    Ok("a descriptor of the init was taken".into())
}
