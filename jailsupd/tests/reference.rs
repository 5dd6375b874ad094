//! The reference pages of `docs/` are what the tables of keys say. `UPDATE=1` writes them anew.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::Path;
use std::{env, fs};

use jailsupd::unit::reference::{host_page, networks_page, policy_page, units_page};

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
fn the_page_of_networks_is_fresh() {
    compare("networks-toml.md", &networks_page());
}

#[test]
fn the_page_of_policy_toml_is_fresh() {
    compare("policy-toml.md", &policy_page());
}

#[test]
fn the_table_of_calls_on_the_page_of_security_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("--test reference` -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /calls -->").unwrap();
    let table = jailsupd::plan::seccomp::table();
    let text = format!("{before}--test reference` -->\n{table}<!-- /calls -->{after}");
    compare("security.md", &text);
}

#[test]
fn the_page_of_host_toml_is_fresh() {
    compare("host-toml.md", &host_page());
}
