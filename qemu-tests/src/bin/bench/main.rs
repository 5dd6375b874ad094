//! `make bench`: how long the image and changes of units take, how much memory and space, beside the
//! floor. Prints a table and writes `target/bench/results.json`. docs/benchmarks.md says more.

#![forbid(unsafe_code)]

mod boot;
mod figure;
mod floor;
mod memory;
mod reconcile;
mod size;
mod units;

use std::process::ExitCode;

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
    let runs = runs()?;
    let dir = image::ensure_dir(image::target().join("bench"))?;
    let mut figures = Figures::default();
    for run in 1..=runs {
        eprintln!("boot {run} of {runs}: production, by firmware");
        boot::measure(&mut figures)?;
        eprintln!("boot {run} of {runs}: floor");
        floor::measure(&mut figures, &dir)?;
    }
    eprintln!("boot: debug");
    memory::measure(&mut figures)?;
    eprintln!("boot: debug, units dropped, edited, deleted");
    reconcile::measure(&mut figures)?;
    eprintln!("boot: debug, many units");
    units::measure(&mut figures)?;
    size::measure(&mut figures)?;
    print!("{}", figures.table());
    figures.write(&dir.join("results.json"))
}

fn runs() -> Result<usize> {
    let Ok(value) = std::env::var("RUNS") else { return Ok(RUNS) };
    match value.parse() {
        Ok(runs) if runs > 0 => Ok(runs),
        _ => Err(Error::Setting { name: "RUNS", value, remedy: "give a number of boots" }),
    }
}
