//! What a program in a jail must not be able to do, tried: one line each, "NAME: ERRNO" or "NAME: done".

use std::{fs, io, path::PathBuf};

use rustix::{
    fs::{CWD, Mode},
    mount::{MountFlags, UnmountFlags},
    net::{AddressFamily, SocketFlags, SocketType},
};

pub(crate) fn all() {
    say("mount", rustix::mount::mount("none", "/tmp", "tmpfs", MountFlags::empty(), None).err());
    say("umount", rustix::mount::unmount("/proc", UnmountFlags::DETACH).err());
    say("pivot-root", rustix::process::pivot_root("/tmp", "/tmp").err());
    say("chroot", rustix::process::chroot("/").err());
    say("set-host-name", rustix::system::sethostname(b"x").err());
    let node = rustix::fs::mknodat(
        CWD,
        "/tmp/node",
        rustix::fs::FileType::BlockDevice,
        Mode::RWXU,
        rustix::fs::makedev(8, 0),
    );
    say("make-a-node", node.err());
    // AF_ALG and AF_VSOCK.
    for (name, family) in [("crypto-socket", 38), ("vm-socket", 40)] {
        let family = AddressFamily::from_raw(family);
        let flags = SocketFlags::CLOEXEC;
        let made = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None);
        say(name, made.err());
    }
    said("write-sysctl", fs::write("/proc/sys/kernel/core_pattern", "|/x").err());
    said("write-cgroup", fs::write("/sys/fs/cgroup/pids.max", "max").err());
    said("kernel-log", fs::File::open("/dev/kmsg").err());
    others_programs();
}

/// The programs and descriptors of all other processes, the helper's among them (CVE-2019-5736).
fn others_programs() {
    let me = std::process::id();
    let (mut opened, mut seen) = (Vec::new(), 0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        let Ok(pid) = pid else { continue };
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if pid == me || !command.starts_with("jail-") {
            continue;
        }
        seen += 1;
        for file in ["exe", "mem", "maps", "root", "fd", "environ"] {
            let path: PathBuf = entry.path().join(file);
            let read = fs::File::open(&path).is_ok_and(|file| can_read(&file));
            let write = fs::File::options().write(true).open(&path).is_ok();
            if read || write || (file == "fd" && fs::read_dir(&path).is_ok()) {
                opened.push(format!("{pid}/{file}"));
            }
        }
    }
    println!("helpers: {seen}");
    println!("opened of helpers: [{}]", opened.join(" "));
}

fn can_read(file: &fs::File) -> bool {
    rustix::io::read(file, &mut [0u8; 1]).is_ok()
}

fn say(name: &str, error: Option<rustix::io::Errno>) {
    said(name, error.map(io::Error::from));
}

fn said(name: &str, error: Option<io::Error>) {
    match error {
        None => println!("{name}: done"),
        Some(error) => println!("{name}: {:?}", error.kind()),
    }
}
