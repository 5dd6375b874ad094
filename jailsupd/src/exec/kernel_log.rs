//! The kernel's log (/dev/kmsg, Documentation/ABI/testing/dev-kmsg), and the system calls that a filter has denied, which
//! it tells of.
//!
//! A filter that logs makes the kernel write one audit record for each call that it does not allow
//! (`audit_seccomp` of the kernel). Without an audit daemon it goes to the kernel's log, at most ten in five seconds for
//! the whole host.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;

/// The kernel's log, from the oldest record on that the kernel still has.
#[derive(Debug)]
pub struct KernelLog {
    device: OwnedFd,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The kernel's number: each record's is one more than that of the one before it.
    pub number: u64,
    /// Since the boot, in microseconds.
    pub time_us: u64,
    /// What it says.
    pub text: String,
    /// The kernel itself says it.
    is_kernels: bool,
}

/// A call that was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The user, as the host numbers it.
    pub uid: u32,
    /// The process, as the host numbers it.
    pub pid: u32,
    /// The program's name, as the kernel shows it.
    pub program: String,
    /// The call's number.
    pub call: i64,
}

/// A process that the kernel has chosen to kill for want of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its cgroup, from the root of all cgroups.
    pub cgroup: String,
    /// The process, as the host numbers it.
    pub pid: u32,
    /// Its name.
    pub program: String,
}

/// Records that are read in one turn.
const TURN_MAX: usize = 256;
/// The longest record that the kernel hands out (`PRINTK_MESSAGE_MAX`).
const RECORD_MAX: usize = 2048 + 1024;

impl KernelLog {
    /// Opens the log at its beginning.
    ///
    /// # Errors
    /// There is no /dev/kmsg, or it cannot be read.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self { device: rustix::fs::open(c"/dev/kmsg", flags, Mode::empty())? })
    }

    /// What was logged since the last reading, a turn's worth at most.
    #[must_use]
    pub fn read(&self) -> Vec<Record> {
        let mut found = Vec::new();
        let mut buffer = [0; RECORD_MAX];
        for _ in 0..TURN_MAX {
            // One record a read.
            match rustix::io::read(&self.device, &mut buffer) {
                Ok(length) => found.extend(parse(&String::from_utf8_lossy(&buffer[..length]))),
                // Records were overwritten before they were read, or this one is too long.
                Err(Errno::PIPE | Errno::INTR | Errno::INVAL) => {}
                Err(_) => break,
            }
        }
        found
    }
}

impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`, then lines about the device. What a program has written has a priority of 8
/// and more.
pub(crate) fn parse(record: &str) -> Option<Record> {
    let (head, text) = record.lines().next()?.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let number = fields.next()?.parse().ok()?;
    let time_us = fields.next()?.parse().ok()?;
    Some(Record { number, time_us, text: text.to_owned(), is_kernels: priority < 8 })
}

impl Record {
    /// The denied call that it tells of: `audit: type=1326 audit(...): ... uid=1 ... pid=2 comm="x" ... syscall=3 ...`. No
    /// program can make such a record up.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        let fields = self.text.strip_prefix("audit: type=1326 ").filter(|_| self.is_kernels)?;
        let field = |name: &str| {
            fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Denial {
            uid: field("uid")?.parse().ok()?,
            pid: field("pid")?.parse().ok()?,
            // In quotes, or in hexadecimal digits when it holds anything odd.
            program: field("comm")?.trim_matches('"').to_owned(),
            call: field("syscall")?.parse().ok()?,
        })
    }

    /// The process that it says is killed for want of memory (`dump_oom_victim` of the kernel):
    /// `oom-kill:constraint=...,task_memcg=/jails/web,task=x,pid=1,uid=2`. No program can make such a record up, but for
    /// the name.
    #[must_use]
    pub fn victim(&self) -> Option<Victim> {
        let fields = self.text.strip_prefix("oom-kill:").filter(|_| self.is_kernels)?;
        let (_, fields) = fields.split_once(",task_memcg=")?;
        let (cgroup, fields) = fields.split_once(",task=")?;
        // The name may hold anything, so from the end.
        let (fields, _uid) = fields.rsplit_once(",uid=")?;
        let (program, pid) = fields.rsplit_once(",pid=")?;
        let (cgroup, program) = (cgroup.to_owned(), program.to_owned());
        Some(Victim { cgroup, pid: pid.parse().ok()?, program })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "5,1021,14061822,-;audit: type=1326 audit(1763972000.123:4): auid=4294967295 uid=589824 \
        gid=589824 ses=4294967295 subj=unconfined pid=312 comm=\"nuisance\" exe=\"/bin/nuisance\" sig=0 arch=c000003e \
        syscall=165 compat=0 ip=0x7f0001 code=0x50001\n SUBSYSTEM=x\n";

    #[test]
    fn a_record_has_a_number_a_time_and_a_text() {
        let record = parse("6,17,2500000,-;usb 1-1: new device\n SUBSYSTEM=usb\n").unwrap();
        assert_eq!((record.number, record.time_us), (17, 2_500_000));
        assert_eq!(record.text, "usb 1-1: new device");
        assert_eq!(parse(""), None);
    }

    fn denial(record: &str) -> Option<Denial> {
        parse(record).unwrap().denial()
    }

    #[test]
    fn a_record_of_the_kernel_is_a_denial() {
        let wanted = Denial { uid: 589_824, pid: 312, program: "nuisance".to_owned(), call: 165 };
        assert_eq!(denial(RECORD), Some(wanted));
    }

    const OOM: &str = "6,1022,14061822,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,\
        mems_allowed=0,oom_memcg=/jails/web,task_memcg=/jails/web,task=a,pid=7,uid=0,pid=313,uid=589824\n";

    #[test]
    fn a_victim_is_told_with_its_cgroup_whatever_its_name() {
        let victim = |record: &str| parse(record).unwrap().victim();
        let wanted = Victim {
            cgroup: "/jails/web".to_owned(),
            pid: 313,
            program: "a,pid=7,uid=0".to_owned(),
        };
        assert_eq!(victim(OOM), Some(wanted));
        assert_eq!(victim(&OOM.replacen("6,", "14,", 1)), None);
        assert_eq!(victim(RECORD), None);
    }

    #[test]
    fn what_a_program_has_written_is_none() {
        assert_eq!(denial(&RECORD.replacen("5,", "13,", 1)), None);
        assert_eq!(denial(&RECORD.replace("audit: ", "x audit: ")), None);
        assert_eq!(denial("6,1,2,-;usb 1-1: new device"), None);
    }
}
