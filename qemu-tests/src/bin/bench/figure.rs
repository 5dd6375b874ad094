//! Figures by name, in the order in which they were first measured.

use std::{fmt::Write, fs, path::Path};

use qemu_tests::{Error, Result};
use serde_json::{Value, json};

/// All that was measured.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

struct Figure {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    /// What it is to be at most.
    limit: Option<f64>,
}

impl Figures {
    /// Adds the value of one run.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => {
                let values = vec![value];
                self.0.push(Figure { name: name.into(), unit, values, limit: None });
            }
        }
    }

    /// As [`Self::add`], of what is to be at most `limit`.
    pub(crate) fn add_limited(&mut self, name: &str, unit: &'static str, value: f64, limit: f64) {
        self.add(name, unit, value);
        let figure = self.0.iter_mut().find(|figure| figure.name == name);
        figure.into_iter().for_each(|figure| figure.limit = Some(limit));
    }

    /// The median of what was added under this name.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let figure = self.0.iter().find(|figure| figure.name == name)?;
        Some(figure.spread().1)
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table =
            format!("{:<52} {:>10} {:>10} {:>10}\n", "figure", "median", "least", "most");
        for figure in &self.0 {
            let (least, median, most) = figure.spread();
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "{:<52} {median:>10.1} {least:>10.1} {most:>10.1} {}{}",
                figure.name,
                figure.unit,
                figure.limit.map(|limit| format!(" (at most {limit:.1})")).unwrap_or_default()
            );
        }
        table
    }

    /// For programs.
    pub(crate) fn write(&self, path: &Path, starts: &Value) -> Result<()> {
        let row = |figure: &Figure| {
            let (least, median, most) = figure.spread();
            json!({ "name": figure.name, "unit": figure.unit, "median": median, "least": least,
                    "most": most, "limit": figure.limit, "runs": figure.values })
        };
        let figures: Vec<_> = self.0.iter().map(row).collect();
        let text = format!(
            "{:#}\n",
            json!({ "accel": qemu_tests::accel()?, "figures": figures, "starts": starts })
        );
        fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))?;
        println!("written to {}", path.display());
        Ok(())
    }
}

impl Figure {
    fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        (sorted[0], f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]), sorted[last])
    }
}
