//! Measures starts in the guest, for `make bench`: the floor, Warder and other programs take turns, so
//! that whatever disturbs the machine disturbs them alike. docs/benchmarks.md says what the figures are.
//!
//! `starts JOB RESULTS`: a JSON [`starts_job::Job`], and where one JSON [`starts_job::Run`] a line goes.

#![forbid(unsafe_code)]

mod cgroup;
mod contender;
mod trace;
mod warder;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    process::ExitCode,
    thread,
    time::Duration,
};

use contender::Contender;
use qemu_tests::starts_job::{Job, Run};

/// Between two starts, so that what the one leaves behind to be done is done before the next.
const REST: Duration = Duration::from_millis(30);

/// Traced starts of each: the quickest tells most.
const TRACED: usize = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [job, results] = &words[..] else {
        eprintln!("usage: starts JOB RESULTS");
        return ExitCode::from(2);
    };
    match measure(job, results) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(job: &str, results: &str) -> io::Result<()> {
    let job: Job = serde_json::from_str(&fs::read_to_string(job)?)?;
    let mut results = File::create(results)?;
    let mut contenders = job
        .contenders
        .iter()
        .map(|one| Contender::new(one, &job))
        .collect::<io::Result<Vec<_>>>()?;
    // The first start of each finds its files on the disk and makes what it then keeps.
    for round in 0..=job.rounds {
        for contender in contenders.iter_mut().filter(|contender| !contender.gave_up()) {
            let mut run = contender.run();
            thread::sleep(REST);
            if run.failure.is_none() {
                run.cpu_us = contender.cpu_us();
            }
            run.warm_up = round == 0;
            write(&mut results, &run)?;
        }
        if round % 10 == 0 {
            let _ = fs::write("/dev/kmsg", format!("starts: round {round} of {}\n", job.rounds));
        }
    }
    for contender in contenders.iter_mut().filter(|contender| !contender.gave_up()) {
        for _ in 0..TRACED {
            for run in trace::calls(contender)? {
                write(&mut results, &run)?;
            }
        }
    }
    contenders.into_iter().try_for_each(Contender::end)
}

fn write(results: &mut File, run: &Run) -> io::Result<()> {
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    results.write_all(&line)
}
