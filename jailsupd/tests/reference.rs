//! The reference pages of `docs/` are what the tables of keys say. `UPDATE=1` writes them anew.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::Path;
use std::{env, fs};

use jailsupd::unit::reference::{host_page, policy_page, units_page};

fn compare(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{page} is stale: UPDATE=1 cargo test -p jailsupd --test reference"
    );
}

#[test]
fn the_page_of_units_is_fresh() {
    compare("units.md", &units_page());
}

#[test]
fn the_page_of_policy_toml_is_fresh() {
    compare("policy-toml.md", &policy_page());
}

#[test]
fn the_page_of_host_toml_is_fresh() {
    compare("host-toml.md", &host_page());
}
