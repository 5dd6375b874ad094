//! System calls from the request to the exec of the program, by the kernel's own trace.

use std::{fs, io, path::Path, process};

use qemu_tests::starts_job::{Call, Run};

use crate::contender::Contender;

const TRACING: &str = "/sys/kernel/tracing";

/// One more start, with each system call traced. Its times are not those of an untraced one.
pub(crate) fn calls(contender: &mut Contender) -> io::Result<Vec<Run>> {
    let file = |name: &str| Path::new(TRACING).join(name);
    if !file("trace").exists() {
        return Ok(Vec::new());
    }
    fs::write(file("trace_clock"), "boot")?;
    fs::write(file("buffer_size_kb"), "16384")?;
    fs::write(file("trace"), "")?;
    fs::write(file("events/raw_syscalls/sys_enter/enable"), "1")?;
    let run = contender.run();
    fs::write(file("events/raw_syscalls/sys_enter/enable"), "0")?;
    if run.failure.is_some() {
        return Ok(vec![run]);
    }
    let text = fs::read_to_string(file("trace"))?;
    let mut run = Run { name: contender.name().into(), traced: true, ..run };
    for line in text.lines().filter_map(parse) {
        if line.at_ns >= run.begin_ns && line.at_ns <= run.executed_ns && !is_ours(&line) {
            *run.calls.entry(line.who.clone()).or_insert(0) += 1;
            run.trace.push(line);
        }
    }
    Ok(vec![run])
}

/// Who asks is not measured.
fn is_ours(call: &Call) -> bool {
    call.pid == process::id() || call.who == "warder-agent"
}

/// `   COMM-PID   [CPU] FLAGS SECONDS.MICROSECONDS: sys_enter: NR NUMBER (ARGUMENTS)`
/// (Documentation/trace/ftrace.rst).
fn parse(line: &str) -> Option<Call> {
    let (head, rest) = line.split_once(": sys_enter: NR ")?;
    let (task, at) = (head.split_once(" [")?.0.trim(), head.rsplit_once(' ')?.1);
    let (who, pid) = task.rsplit_once('-')?;
    let (seconds, fraction) = at.split_once('.')?;
    let micros: u64 = seconds.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?;
    Some(Call {
        who: who.into(),
        pid: pid.parse().ok()?,
        at_ns: micros * 1000,
        number: rest.split(' ').next()?.parse().ok()?,
    })
}
