//! `make bench`: how long the image and changes of units take, how much memory and space, beside the
//! floor. Prints a table and writes `target/bench/results.json`. docs/benchmarks.md says more.

#![forbid(unsafe_code)]

mod boot;
mod contenders;
mod figure;
mod floor;
mod logs;
mod memory;
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

fn measure() -> Result<()> {
    let dir = image::ensure_dir(image::target().join("bench"))?;
    let mut figures = Figures::default();
    match std::env::var("ONLY").as_deref() {
        Ok("starts") => {}
        Ok("logs") => {
            logs::measure(&mut figures)?;
            print!("{}", figures.table());
            return figures.write(&dir.join("logs.json"), &serde_json::Value::Null);
        }
        Ok(other) => {
            return Err(Error::Setting {
                name: "ONLY",
                value: other.into(),
                remedy: "give starts or logs",
            });
        }
        Err(_) => measure_most(&mut figures, &dir)?,
    }
    eprintln!("boot: debug, starts in turns");
    let starts = starts::measure(&mut figures, &dir)?;
    print!("{}{}", figures.table(), starts.text());
    figures.write(&dir.join("results.json"), &starts.json())
}

fn measure_most(figures: &mut Figures, dir: &Path) -> Result<()> {
    let runs = setting("RUNS", RUNS)?;
    for run in 1..=runs {
        eprintln!("boot {run} of {runs}: production, by firmware");
        boot::measure(figures)?;
        eprintln!("boot {run} of {runs}: floor");
        floor::measure(figures, dir)?;
    }
    eprintln!("boot: debug");
    memory::measure(figures)?;
    eprintln!("boot: debug, units dropped, edited, deleted");
    reconcile::measure(figures)?;
    eprintln!("boot: debug, many units");
    units::measure(figures)?;
    eprintln!("boot: debug, logs");
    logs::measure(figures)?;
    size::measure(figures)
}

/// A number of runs from the environment.
fn setting(name: &'static str, otherwise: usize) -> Result<usize> {
    let Ok(value) = std::env::var(name) else { return Ok(otherwise) };
    match value.parse() {
        Ok(runs) if runs > 0 => Ok(runs),
        _ => Err(Error::Setting { name, value, remedy: "give a number of runs" }),
    }
}
