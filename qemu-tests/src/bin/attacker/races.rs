//! Attackers that never end: they wait for what the host does in, or with, their jail.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::symlink,
    path::Path,
    process::ExitCode,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Where the link leads: on the host to files of the attacker's other side, in a jail nowhere.
const TARGET: &str = "/run/hostile";

/// `sub`, a directory, and a link are exchanged for each other in one step, over and over.
pub(crate) fn swap(directory: &str) -> io::Result<ExitCode> {
    let (sub, link) = (Path::new(directory).join("sub"), Path::new(directory).join("link"));
    for old in [&sub, &link] {
        let _ = fs::remove_file(old).or_else(|_| fs::remove_dir_all(old));
    }
    fs::create_dir(&sub)?;
    fs::write(sub.join("mark"), "mine")?;
    symlink(TARGET, &link)?;
    println!("swapping");
    loop {
        renameat_with(CWD, &sub, CWD, &link, RenameFlags::EXCHANGE)?;
    }
}

/// Reaches for each process of Warder's that comes into the jail, from its first moment on.
pub(crate) fn lurk() -> io::Result<ExitCode> {
    let (mut seen, mut held) = (BTreeSet::new(), BTreeSet::new());
    println!("lurking");
    loop {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "1" || name.parse::<u32>().is_err() {
                continue;
            }
            if !is_warders(&entry.path()) {
                continue;
            }
            if seen.insert(name.clone()) {
                println!("seen {name}");
            }
            let reached = reached(&entry.path());
            // It may have executed the jail's program meanwhile, which is no secret.
            for file in reached.into_iter().filter(|_| is_warders(&entry.path())) {
                if held.insert((name.clone(), file)) {
                    println!("held {name} {file}");
                }
            }
        }
    }
}

/// Before it executes the helper it is a copy of jailsupd.
fn is_warders(process: &Path) -> bool {
    let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
    command.starts_with("jail-") || command.contains("jailsupd")
}

fn reached(process: &Path) -> Vec<&'static str> {
    let read = |file: &str| File::open(process.join(file)).is_ok();
    let write = |file: &str| OpenOptions::new().write(true).open(process.join(file)).is_ok();
    let list = |file: &str| fs::read_dir(process.join(file)).is_ok();
    let all = [
        ("exe", read("exe") || write("exe")),
        ("mem", read("mem") || write("mem")),
        ("fd", list("fd")),
        ("root", list("root/")),
        ("cwd", list("cwd/")),
        ("maps", fs::read_to_string(process.join("maps")).is_ok_and(|text| !text.is_empty())),
    ];
    all.into_iter().filter(|(_, reached)| *reached).map(|(file, _)| file).collect()
}
