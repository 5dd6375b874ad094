//! Golden test: `units/NAME.toml` is planned as `units/NAME.plan` says. After a wanted change,
//! `UPDATE=1 cargo test -p jailsupd --test plans` writes the files anew: read the difference.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use jailsupd::plan::{Context, IdRange, plan};
use std::fs;
use std::path::{Path, PathBuf};

fn units() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn planned(path: &Path) -> String {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let unit = jailsupd::unit::parse(stem, "unit.toml", &fs::read_to_string(path).unwrap());
    let ids = IdRange::at(524_288).unwrap();
    let machine_id = "0123456789abcdef0123456789abcdef";
    let context = Context { ids: &[ids], machine_id, kernel: (6, 12) };
    plan(&unit.unwrap(), context).unwrap().to_string()
}

#[test]
fn units_are_planned_as_their_plans_say() {
    assert!(units().len() >= 3);
    for unit in units() {
        let (plan, golden) = (planned(&unit), unit.with_extension("plan"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &plan).unwrap();
        }
        assert_eq!(plan, fs::read_to_string(&golden).unwrap(), "{}", unit.display());
    }
}
