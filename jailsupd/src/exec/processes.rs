//! The processes of a jail, read from its cgroup and from /proc.

use super::cgroup::Cgroup;
use super::kernel_file;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What is read of a process's command line, in bytes. What it shows there is the process's own choice
/// (prctl(2), `PR_SET_MM_MAP`), up to all of its memory.
const COMMAND_MAX: u64 = 1024;

/// One process: proc_pid_status(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// In the host's numbers.
    pub pid: u32,
    /// Its parent, in the host's numbers.
    pub ppid: u32,
    /// In the jail's numbers.
    pub jail_pid: u32,
    /// Its effective user on the host.
    pub host_uid: u32,
    /// Program and arguments, cut where they are long; the name in brackets where there are none.
    pub command: Vec<String>,
}

/// All processes in the cgroup, by pid. One that ends meanwhile is left out.
#[must_use]
pub fn of(cgroup: &Cgroup) -> Vec<Process> {
    let list = kernel_file(&cgroup.path().join("cgroup.procs")).unwrap_or_default();
    let mut processes: Vec<Process> =
        list.lines().filter_map(|line| read(line.parse().ok()?)).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// Of the processes in the cgroup the one that this one, the in-jail init, has made first.
#[must_use]
pub fn first_child(cgroup: &Cgroup, init: u32) -> Option<u32> {
    let list = kernel_file(&cgroup.path().join("cgroup.procs")).unwrap_or_default();
    let others = list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != init);
    let children = others.filter_map(|pid: u32| {
        let status = kernel_file(Path::new(&format!("/proc/{pid}/status"))).ok()?;
        parse(pid, &status, &[]).filter(|process| process.ppid == init)
    });
    children.min_by_key(|process| process.jail_pid).map(|process| process.pid)
}

fn read(pid: u32) -> Option<Process> {
    let status = kernel_file(Path::new(&format!("/proc/{pid}/status"))).ok()?;
    let command = read_command(pid).unwrap_or_default();
    parse(pid, &status, &command)
}

fn read_command(pid: u32) -> io::Result<Vec<u8>> {
    let mut command = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?.take(COMMAND_MAX).read_to_end(&mut command)?;
    Ok(command)
}

fn parse(pid: u32, status: &str, command: &[u8]) -> Option<Process> {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let mut words: Vec<String> = command
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    if words.is_empty() {
        words.push(format!("[{}]", field("Name")?));
    }
    Some(Process {
        pid,
        ppid: field("PPid")?.parse().ok()?,
        // The innermost of the pid namespaces that it is in.
        jail_pid: field("NSpid")?.split_whitespace().next_back()?.parse().ok()?,
        host_uid: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
        command: words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tnginx\nPPid:\t210\nUid:\t524321\t524321\t524321\t524321\nNSpid:\t214\t3\n";

    #[test]
    fn a_process_has_its_numbers_on_both_sides() {
        let process = parse(214, STATUS, b"nginx\0-g\0daemon off;\0").unwrap();
        assert_eq!((process.ppid, process.jail_pid, process.host_uid), (210, 3, 524_321));
        assert_eq!(process.command, ["nginx", "-g", "daemon off;"]);
    }

    #[test]
    fn a_process_without_arguments_shows_its_name() {
        assert_eq!(parse(214, STATUS, b"").unwrap().command, ["[nginx]"]);
    }
    #[test]
    fn a_command_line_is_read_up_to_a_limit() {
        let long = "x".repeat(100_000);
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "echo; read line", "sh", &long])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Its line says that it was executed.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();

        let process = read(child.id()).unwrap();

        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(process.command[..3], ["/bin/sh", "-c", "echo; read line"]);
        let length: usize = process.command.iter().map(|word| word.len() + 1).sum();
        assert!(length <= 1025, "{length} bytes");
    }
}
