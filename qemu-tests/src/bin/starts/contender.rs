//! One that starts things: how it is asked, and what a start cost.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use qemu_tests::starts_job::{How, Job, Named, Run};
use rustix::time::{ClockId, clock_gettime};

use crate::{cgroup, cgroup::Meter, warder::Warder};

/// After so many failures it is not asked again.
const FAILURES_MAX: u32 = 3;

pub(crate) struct Contender {
    name: String,
    asked: Asked,
    meter: Meter,
    cgroup: Option<PathBuf>,
    failures: u32,
}

enum Asked {
    Floor { floor: Floor, kind: String },
    Warder(Warder),
    Crash(Warder),
    Command { argv: Vec<String>, after: Vec<String> },
}

impl Contender {
    pub(crate) fn new(named: &Named, job: &Job) -> io::Result<Self> {
        let name = named.name.clone();
        let cgroup = match &named.how {
            How::Jail { .. } | How::Crash { .. } => None,
            How::Floor { .. } | How::Command { .. } => Some(cgroup::make(&named.cgroup)?),
        };
        let asked = match &named.how {
            How::Floor { kind } => {
                let path = cgroup.as_ref().map_or("-".into(), |path| path.display().to_string());
                let argv = job.floor.iter().map(|word| word.replace("CGROUP", &path));
                let argv: Vec<String> =
                    argv.map(|word| word.replace("NAME", &named.cgroup)).collect();
                Asked::Floor { floor: Floor::start(&argv, cgroup.as_deref())?, kind: kind.clone() }
            }
            How::Jail { jail } => Asked::Warder(Warder::new(jail)?),
            How::Crash { jail } => Asked::Crash(Warder::new(jail)?),
            How::Command { argv, after } => {
                Asked::Command { argv: argv.clone(), after: after.clone() }
            }
        };
        let cgroups = match (&cgroup, &named.how) {
            (Some(cgroup), _) => vec![cgroup.clone()],
            (None, _) => job.warder_cgroups.iter().map(PathBuf::from).collect(),
        };
        Ok(Self { name, asked, meter: Meter::new(cgroups)?, cgroup, failures: 0 })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// One start and its end.
    pub(crate) fn run(&mut self) -> Run {
        let mut run = Run { name: self.name.clone(), ..Run::default() };
        match self.start() {
            Ok((begin, executed)) => {
                run.begin_ns = begin;
                run.start_us = executed.saturating_sub(begin).div_ceil(1000);
                run.executed_ns = executed;
                run.peak_kib = self.meter.peak_kib().unwrap_or(0);
            }
            Err(error) => {
                self.failures += 1;
                run.failure = Some(error.to_string());
            }
        }
        run
    }

    /// CPU time since the last start's beginning, in microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        self.meter.cpu_us().unwrap_or(0)
    }

    /// When it was asked and when the program was executed: `CLOCK_BOOTTIME` in nanoseconds.
    fn start(&mut self) -> io::Result<(u64, u64)> {
        if let (Asked::Command { .. }, Some(cgroup)) = (&self.asked, &self.cgroup) {
            cgroup::enter(cgroup)?;
        }
        self.meter.begin()?;
        match &mut self.asked {
            Asked::Floor { floor, kind } => floor.ask(kind),
            Asked::Warder(warder) => warder.start_and_end(),
            Asked::Crash(warder) => warder.crash(),
            Asked::Command { argv, after } => run_command(argv, after),
        }
    }

    pub(crate) fn end(self) -> io::Result<()> {
        match self.asked {
            Asked::Floor { floor, .. } => floor.end(),
            Asked::Warder(_) | Asked::Crash(_) | Asked::Command { .. } => Ok(()),
        }
    }
}

pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// What the program said: `stamp NANOSECONDS` among other lines.
pub(crate) fn stamp(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.trim().strip_prefix("stamp ")?.parse().ok())
}

fn run_command(argv: &[String], after: &[String]) -> io::Result<(u64, u64)> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let begin = now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut said, mut errors) = (String::new(), String::new());
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut said)?;
    }
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut errors)?;
    }
    let status = child.wait()?;
    if let Some((program, arguments)) = after.split_first() {
        Command::new(program).args(arguments).output()?;
    }
    match stamp(&said) {
        Some(executed) if status.success() => Ok((begin, executed)),
        _ => Err(io::Error::other(format!("{status}: {said}{errors}"))),
    }
}

/// The floor program, which makes one start after the other.
struct Floor {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Floor {
    fn start(argv: &[String], cgroup: Option<&Path>) -> io::Result<Self> {
        if let Some(cgroup) = cgroup {
            cgroup::enter(cgroup)?;
        }
        let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("the floor has no pipes");
        let requests = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { child, requests, answers })
    }

    fn ask(&mut self, kind: &str) -> io::Result<(u64, u64)> {
        writeln!(self.requests, "{kind}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let missing = || io::Error::other(format!("the floor said: {line}"));
        let (begin, said) = line.split_once(' ').ok_or_else(missing)?;
        let begin = begin.parse().map_err(|_| missing())?;
        stamp(said).map(|executed| (begin, executed)).ok_or_else(missing)
    }

    fn end(self) -> io::Result<()> {
        let Self { mut child, requests, .. } = self;
        drop(requests);
        match child.wait()?.success() {
            true => Ok(()),
            false => Err(io::Error::other("the floor did not end well")),
        }
    }
}
