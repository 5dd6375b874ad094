//! The table of starts: who, how long, what it cost.

use std::fmt::Write as _;

use qemu_tests::starts_job::Run;
use serde_json::{Value, json};

use crate::{figure::Figures, memory::to_float};

/// All who took turns.
pub(crate) struct Table(Vec<Row>);

struct Row {
    name: String,
    /// What a Warder jail has that it has not.
    leaves_out: &'static str,
    /// Microseconds, sorted.
    starts: Vec<u64>,
    cpu: Vec<u64>,
    peaks: Vec<u64>,
    failures: Vec<String>,
    calls: Option<Run>,
}

impl Table {
    pub(crate) fn new(all: impl Iterator<Item = (String, &'static str, Vec<Run>)>) -> Self {
        Self(all.map(|(name, leaves_out, runs)| Row::new(name, leaves_out, &runs)).collect())
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{:<40} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}  leaves out\n",
            "start to exec, ms", "runs", "least", "median", "p99", "CPU", "peak KiB", "calls"
        );
        for row in &self.0 {
            // Writing to a string cannot fail.
            let _ = match row.starts.is_empty() {
                true => writeln!(text, "{:<40} {}", row.name, row.failures.join("; ")),
                false => writeln!(
                    text,
                    "{:<40} {:>5} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9} {:>6}  {}",
                    row.name,
                    row.starts.len(),
                    ms(row.starts[0]),
                    ms(part(&row.starts, 50)),
                    ms(part(&row.starts, 99)),
                    ms(part(&row.cpu, 50)),
                    part(&row.peaks, 50),
                    row.calls.as_ref().map_or(0, |run| run.calls.values().sum::<u64>()),
                    row.leaves_out,
                ),
            };
        }
        for row in &self.0 {
            if let Some(run) = &row.calls {
                let _ = writeln!(text, "system calls of {}: {:?}", row.name, run.calls);
            }
        }
        text
    }

    /// For the table of all figures, and for programs.
    pub(crate) fn add_to(&self, figures: &mut Figures) {
        for row in &self.0 {
            for value in &row.starts {
                figures.add(&format!("start to exec: {}", row.name), "ms", ms(*value));
            }
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({ "name": row.name, "leaves_out": row.leaves_out, "start_us": row.starts, "cpu_us": row.cpu, "peak_kib": row.peaks,
                    "failures": row.failures, "calls": row.calls.as_ref().map(|run| &run.calls) })
        };
        self.0.iter().map(row).collect()
    }
}

impl Row {
    fn new(name: String, leaves_out: &'static str, runs: &[Run]) -> Self {
        let failures = runs.iter().filter_map(|run| run.failure.clone()).collect();
        let calls = runs.iter().filter(|run| run.traced).min_by_key(|run| run.start_us).cloned();
        let good = |run: &&Run| run.failure.is_none() && !run.warm_up && !run.traced;
        let of = |value: fn(&Run) -> u64| {
            let mut values: Vec<u64> = runs.iter().filter(good).map(value).collect();
            values.sort_unstable();
            values
        };
        let (starts, cpu) = (of(|run| run.start_us), of(|run| run.cpu_us));
        Self { name, leaves_out, starts, cpu, peaks: of(|run| run.peak_kib), failures, calls }
    }
}

fn ms(microseconds: u64) -> f64 {
    to_float(microseconds) / 1000.0
}

/// The value below which so many hundredths of them are.
fn part(sorted: &[u64], hundredths: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * hundredths).div_ceil(100)).copied().unwrap_or(0)
}
