//! `make bench`: how long the image and changes of units take, how much memory and space, beside the
//! floor. Prints a table and writes `target/bench/results.json`. docs/benchmarks.md says more.

#![forbid(unsafe_code)]

mod boot;
mod contenders;
mod figure;
mod floor;
mod jails;
mod logs;
mod memory;
mod ports;
mod reconcile;
mod size;
mod start_table;
mod starts;
mod units;

use std::{path::Path, process::ExitCode};

use figure::Figures;
use qemu_tests::{Error, Result, image};

/// Boots of each kind, when `RUNS` is not set.
const RUNS: usize = 5;

fn main() -> ExitCode {
    let result = if rustix::process::getpid().is_init() {
        floor::live().map_err(Error::io("be a floor"))
    } else {
        measure()
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Adds the figures of one part; the path is where files may be left.
type Part = fn(&mut Figures, &Path) -> Result<()>;

/// What can be measured alone, by `ONLY`; the order is that of a run of all.
const PARTS: [(&str, Part); 8] = [
    ("boot", measure_boots),
    ("memory", |figures, _| memory::measure(figures)),
    ("changes", |figures, _| reconcile::measure(figures)),
    ("units", |figures, _| units::measure(figures)),
    ("ports", |figures, _| ports::measure(figures)),
    ("jails", |figures, _| jails::measure(figures)),
    ("logs", |figures, _| logs::measure(figures)),
    ("size", |figures, _| size::measure(figures)),
];
/// This part has a table of its own.
const STARTS: &str = "starts";

fn measure() -> Result<()> {
    let dir = image::ensure_dir(image::target().join("bench"))?;
    let mut figures = Figures::default();
    let only = std::env::var("ONLY").ok();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if let Some(other) = only.as_ref().filter(|only| !is_part(only)) {
        let remedy = "give boot, memory, changes, units, ports, jails, logs, size or starts";
        return Err(Error::Setting { name: "ONLY", value: other.clone(), remedy });
    }
    for (name, measure) in PARTS.iter().filter(|(name, _)| is_wanted(name)) {
        eprintln!("part: {name}");
        measure(&mut figures, &dir)?;
    }
    let file = dir.join(format!("{}.json", only.as_deref().unwrap_or("results")));
    if !is_wanted(STARTS) {
        print!("{}", figures.table());
        return figures.write(&file, &serde_json::Value::Null);
    }
    eprintln!("part: {STARTS}");
    let starts = starts::measure(&mut figures, &dir)?;
    print!("{}{}", figures.table(), starts.text());
    figures.write(&file, &starts.json())
}

fn is_part(name: &str) -> bool {
    name == STARTS || PARTS.iter().any(|(part, _)| *part == name)
}

fn measure_boots(figures: &mut Figures, dir: &Path) -> Result<()> {
    let runs = setting("RUNS", RUNS)?;
    for run in 1..=runs {
        eprintln!("boot {run} of {runs}: production, by firmware");
        boot::measure(figures)?;
        eprintln!("boot {run} of {runs}: floor");
        floor::measure(figures, dir)?;
    }
    Ok(())
}

/// A number of runs from the environment.
fn setting(name: &'static str, otherwise: usize) -> Result<usize> {
    let Ok(value) = std::env::var(name) else { return Ok(otherwise) };
    match value.parse() {
        Ok(runs) if runs > 0 => Ok(runs),
        _ => Err(Error::Setting { name, value, remedy: "give a number of runs" }),
    }
}
