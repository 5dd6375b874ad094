//! The kernel's log, kept beside the jails' logs: what the kernel says, and what init and jailsupd say there.

use super::poller::Source;
use super::syncing::Of;
use super::{Supervisor, clock};
use crate::exec::Layout;
use crate::exec::kernel_log::{KernelLog, Record};
use crate::exec::logs::{Line, Log, Stream};
use std::time::Duration;

/// The file; no jail's name starts like this.
const FILE: &str = "_kernel.log";
/// The most that is kept.
const SIZE_MAX: u64 = 4 << 20;

/// The kernel's log, where it is read and where it is kept.
#[derive(Debug)]
pub(super) struct Kernel {
    source: Option<KernelLog>,
    pub(super) log: Log,
    /// The number of the first record that is not kept.
    next: u64,
    /// When this jailsupd began, in microseconds since the boot: denials before that were told, or their jails have ended.
    began_us: u64,
}

impl Kernel {
    pub(super) fn new(layout: &Layout) -> Self {
        let log = Log::in_file(layout.logs().join(FILE), SIZE_MAX);
        let began_us = clock::microseconds(clock::now());
        Self { source: None, log, next: 0, began_us }
    }
}

impl Supervisor {
    /// Begins to read. When an earlier jailsupd of this boot has done so, after what it has kept.
    pub(super) fn open_kernel_log(&mut self, is_first: bool) {
        // Positions of this log are the kernel's numbers and one: 0 is nothing.
        self.kernel.next = if is_first { 0 } else { self.kernel.log.position() };
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
        let lines: Vec<(u64, Line)> =
            new.iter().map(|record| (record.number + 1, line(record))).collect();
        // Said once, where jails' lines are lost: each word about it here would be one more to be stored.
        if self.kernel.log.append_numbered(&lines).is_ok() {
            self.grown_log(Of::Kernel);
        }
        let denials = new.iter().filter(|record| record.time_us >= began_us);
        let denials: Vec<_> = denials.filter_map(|record| record.denial()).collect();
        for denial in denials {
            self.on_denial(denial);
        }
    }
}

fn line(record: &Record) -> Line {
    let time = clock::wall_ms_of(Duration::from_micros(record.time_us));
    Line { time, stream: Stream::Kernel, text: record.text.clone() }
}
