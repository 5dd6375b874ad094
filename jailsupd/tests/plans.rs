//! Golden test: `units/NAME.toml` is planned as `units/NAME.plan` says. After a wanted change,
//! `UPDATE=1 cargo test -p jailsupd --test plans` writes the files anew: read the difference.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use jailsupd::plan::Shared;
use jailsupd::plan::{Context, IdRange, plan};
use jailsupd::unit::value::FromText as _;
use jailsupd::unit::{Forward, Joined, Subnet};
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
    let context = Context { ids: &[ids], machine_id, kernel: (6, 12), number: Some(7) };
    let mut unit = unit.unwrap();
    if unit.network.network.is_some() {
        let subnets = ["10.89.0.0/24", "fd00:1:2:3::/64"];
        let subnets = subnets.map(|text| Subnet::from_text(text).unwrap()).to_vec();
        unit.join(Joined { subnets, mtu: Some(9000), forward: Forward::Nat });
    }
    plan(&unit, context, &mut Shared::default()).unwrap().to_string()
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

/// `sys` knows nothing of jailsupd, so the floor under a start that `make bench` measures has tables of its own.
#[test]
fn the_floor_of_the_benchmark_covers_what_a_plan_covers() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(here.join(path)).unwrap();
    let (plan, floor) = (read("tests/units/web.plan"), read("../sys/examples/floor/jail.rs"));
    let paths: Vec<&str> = plan.lines().filter_map(covered).collect();
    assert!(paths.len() > 12, "{paths:?}");
    for path in paths {
        assert!(floor.contains(&format!("c\"{path}\"")), "{path} is open in the floor");
    }
}

/// The path of a step that hides it or makes it read-only.
fn covered(line: &str) -> Option<&str> {
    let read_only = || line.strip_prefix("jail: make ")?.strip_suffix(" read-only");
    line.strip_prefix("jail: mask ").or_else(read_only)
}
