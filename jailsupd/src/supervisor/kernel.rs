//! The kernel's log, kept beside the jails' logs: what the kernel says, and what init and jailsupd say there.

use super::poller::Source;
use super::syncing::Of;
use super::{Supervisor, clock};
use crate::control::wire;
use crate::exec::Layout;
use crate::exec::kernel_log::{KernelLog, Record, Victim};
use crate::exec::logs::{Line, Log, Stream};
use crate::machine::Moment;
use std::path::Path;
use std::time::Duration;

/// The file; no jail's name starts like this.
const FILE: &str = "_kernel.log";
/// The most that is kept.
const SIZE_MAX: u64 = 4 << 20;
/// How often it is tried whether a full disk has room again.
const PAUSE: Duration = Duration::from_secs(1);

/// The kernel's log, where it is read and where it is kept.
#[derive(Debug)]
pub(super) struct Kernel {
    source: Option<KernelLog>,
    pub(super) log: Log,
    /// The number of the first record that was not read.
    next: u64,
    /// That of the first one that is neither kept nor told as missing.
    kept: u64,
    /// When it is told where nothing else comes.
    tell_at: Option<Moment>,
    /// When this jailsupd began, in microseconds since the boot: denials before that were told, or their jails have ended.
    began_us: u64,
}

impl Kernel {
    pub(super) fn new(layout: &Layout) -> Self {
        let log = Log::in_file(layout.logs().join(FILE), SIZE_MAX);
        let began_us = clock::microseconds(clock::now());
        Self { source: None, log, next: 0, kept: 0, tell_at: None, began_us }
    }

    /// When records that are missing are to be told.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.tell_at
    }

    /// Keeps records, and before them how many are missing: the kernel's numbers tell. False when there is no room.
    fn keep(&mut self, records: &[&Record], now: Moment) -> bool {
        let next = records.first().map_or(self.next, |record| record.number);
        let missing = next.saturating_sub(self.kept);
        let told = (missing > 0).then(|| (next, missing_line(missing)));
        let kept = records.iter().map(|record| (record.number + 1, line(record)));
        let lines: Vec<(u64, Line)> = told.into_iter().chain(kept).collect();
        // Said once, where jails' lines are lost: each word about it here would be one more to be stored.
        let is_kept = self.log.append_numbered(&lines).is_ok();
        if is_kept {
            self.kept = lines.last().map_or(self.kept, |(number, _)| *number);
        }
        self.tell_at = (!is_kept).then_some(now + PAUSE);
        is_kept
    }
}

impl Supervisor {
    /// Begins to read. When an earlier jailsupd of this boot has done so, after what it has kept.
    pub(super) fn open_kernel_log(&mut self, is_first: bool) {
        // Positions of this log are the kernel's numbers and one: 0 is nothing.
        self.kernel.next = if is_first { 0 } else { self.kernel.log.position() };
        self.kernel.kept = self.kernel.next;
        let opened = KernelLog::open().and_then(|log| {
            self.poller.watch(&log, Source::KernelLog)?;
            Ok(log)
        });
        match opened {
            Ok(log) => self.kernel.source = Some(log),
            Err(error) => log::error!("the kernel's log is not read: {error}"),
        }
    }

    pub(super) fn on_kernel_log(&mut self) {
        let records = self.kernel.source.as_ref().map(KernelLog::read).unwrap_or_default();
        let (next, began_us) = (self.kernel.next, self.kernel.began_us);
        let new: Vec<&Record> = records.iter().filter(|record| record.number >= next).collect();
        let Some(last) = new.last() else { return };
        self.kernel.next = last.number + 1;
        if self.kernel.keep(&new, clock::now()) {
            self.grown_log(Of::Kernel);
        }
        for record in new.iter().filter(|record| record.time_us >= began_us) {
            record.denial().into_iter().for_each(|denial| self.on_denial(denial));
            record.victim().into_iter().for_each(|victim| self.on_victim(victim));
        }
    }

    /// Tells how many records are missing, when its time has come.
    pub(super) fn tell_unstored_kernel_log(&mut self, now: Moment) {
        if self.kernel.tell_at.is_some_and(|at| at <= now) && self.kernel.keep(&[], now) {
            self.grown_log(Of::Kernel);
        }
    }
}

fn missing_line(count: u64) -> Line {
    let text = format!(
        "jailsupd: {count} of the kernel's records before this were not stored: no room on the data partition, or \
         overwritten before they were read"
    );
    Line { time: clock::wall_ms(), stream: Stream::Kernel, text }
}

impl Supervisor {
    /// The kernel has chosen whom to kill for want of memory.
    fn on_victim(&mut self, Victim { cgroup, pid, program }: Victim) {
        for id in self.jails.all_ids() {
            let Some(jail) = self.jails.get_mut(id) else { continue };
            if is_of(jail.cgroup.path(), &cgroup) {
                if let Some(life) = &mut jail.life {
                    life.stored.victim = Some(wire::Victim { pid, program: program.clone() });
                }
                self.store_life(id);
            }
        }
    }
}

/// Where the kernel's paths of cgroups begin.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Whether it is the jail's cgroup, or below it.
fn is_of(jail: &Path, cgroup: &str) -> bool {
    let path = Path::new(CGROUP_ROOT).join(cgroup.trim_start_matches('/'));
    path.starts_with(jail)
}

fn line(record: &Record) -> Line {
    let time = clock::wall_ms_of(Duration::from_micros(record.time_us));
    Line { time, stream: Stream::Kernel, text: record.text.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::kernel_log;

    fn keep(kernel: &mut Kernel, numbers: &[u64]) -> bool {
        let records = numbers.iter().map(|n| kernel_log::parse(&format!("6,{n},1,-;record {n}")));
        let records: Vec<Record> = records.map(Option::unwrap).collect();
        kernel.next = numbers.last().map_or(kernel.next, |last| last + 1);
        kernel.keep(&records.iter().collect::<Vec<_>>(), Moment::ZERO)
    }

    fn texts(kernel: &Kernel) -> Vec<String> {
        let lines = kernel.log.tail(usize::MAX).unwrap();
        // Of a loss the number is enough.
        let text = |line: &Line| line.text.split(" of the kernel's").next().unwrap().to_owned();
        lines.iter().map(text).collect()
    }

    #[test]
    fn records_that_are_missing_are_told_before_the_next_and_when_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("log");
        let log = Log::in_file(place.join(FILE), SIZE_MAX);
        let mut kernel = Kernel { source: None, log, next: 0, kept: 0, tell_at: None, began_us: 0 };
        assert!(keep(&mut kernel, &[0, 1]));
        // The kernel has overwritten one.
        assert!(keep(&mut kernel, &[3]));
        assert_eq!(texts(&kernel), ["record 0", "record 1", "jailsupd: 1", "record 3"]);
        // A file where the directory should be.
        std::fs::remove_dir_all(&place).unwrap();
        std::fs::write(&place, "").unwrap();
        kernel.log = Log::in_file(place.join(FILE), SIZE_MAX);
        assert!(!keep(&mut kernel, &[4, 5]) && kernel.deadline().is_some());
        assert!(!keep(&mut kernel, &[]));
        std::fs::remove_file(&place).unwrap();
        assert!(keep(&mut kernel, &[]) && kernel.deadline().is_none());
        assert!(keep(&mut kernel, &[6]));
        assert_eq!(texts(&kernel), ["jailsupd: 2", "record 6"]);
        assert_eq!(kernel.log.position(), 7);
    }

    #[test]
    fn a_cgroup_is_of_the_jail_whose_name_is_whole_in_it() {
        let jail = Path::new("/sys/fs/cgroup/jails/web");
        assert!(is_of(jail, "/jails/web") && is_of(jail, "/jails/web/check"));
        assert!(!is_of(jail, "/jails/web2") && !is_of(jail, "/jails") && !is_of(jail, "/"));
    }
}
