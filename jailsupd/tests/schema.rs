//! The published JSON Schema of unit files: fresh, and judged by a real validator on the same files that
//! the parser's tests have. `UPDATE=1` writes it anew.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::{Path, PathBuf};
use std::{env, fs};

use jailsupd::unit::schema;
use jsonschema::Validator;

/// Broken units that a schema refuses, too; the others break what only the parser knows: what keys are to
/// each other, what an address or a path may be.
const REFUSED: usize = 30;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator(schema: &str) -> Validator {
    let schema = serde_json::from_str(schema).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// The file as an editor sees it; none when it is no TOML.
fn document(path: &Path) -> Option<serde_json::Value> {
    let table: toml::Table = fs::read_to_string(path).unwrap().parse().ok()?;
    Some(serde_json::to_value(table).unwrap())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "toml"))
        .collect();
    found.sort();
    found
}

fn assert_taken(validator: &Validator, path: &Path) {
    let document = document(path).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{}: {}", path.display(), problems.join("\n"));
}

#[test]
fn the_published_schemas_are_fresh() {
    let schemas = [
        ("unit.schema.json", schema::whole()),
        ("unit-part.schema.json", schema::part()),
        ("network.schema.json", schema::network()),
    ];
    for (name, text) in schemas {
        let path = root().join("docs").join(name);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/{name} is stale: UPDATE=1 cargo test -p jailsupd --test schema"
        );
    }
}

#[test]
fn each_good_unit_is_valid() {
    let whole = validator(&schema::whole());
    let part = validator(&schema::part());
    let mut count = 0;
    for directory in ["examples", "jailsupd/tests/units", "jailsupd/tests/units-parsed"] {
        for path in files(&root().join(directory)) {
            assert_taken(&whole, &path);
            assert_taken(&part, &path);
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} units");
}

#[test]
fn files_of_networks_are_valid_and_broken_ones_refused_where_a_schema_can() {
    let network = validator(&schema::network());
    let taken = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        network.is_valid(&serde_json::to_value(table).unwrap())
    };
    assert!(taken("version = 1"));
    assert!(taken("version = 1\nsubnet = [\"10.88.7.0/24\", \"fd00:1::/64\"]\nmtu = 9000"));
    assert!(taken("version = 1\nipv6 = false"));
    assert!(!taken("subnet = [\"10.88.7.0/24\"]"), "it has no version");
    assert!(!taken("version = 1\nmtu = 10"));
    let unknown = root().join("jailsupd/tests/broken/networks/unknown.toml");
    assert!(!network.is_valid(&document(&unknown).unwrap()));
}

#[test]
fn templates_instances_and_drop_ins_are_valid_parts() {
    let part = validator(&schema::part());
    for case in ["drop-ins", "taken-back", "templates"] {
        for directory in ["lib", "etc", "run"] {
            let directory = root().join("jailsupd/tests/trees").join(case).join(directory);
            if !directory.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
                let inside = if entry.is_dir() { files(&entry) } else { vec![entry] };
                inside.iter().for_each(|path| assert_taken(&part, path));
            }
        }
    }
}

#[test]
fn broken_units_are_refused_where_a_schema_can() {
    let whole = validator(&schema::whole());
    let is_refused = |name: &str| {
        let path = root().join("jailsupd/tests/broken").join(name);
        document(&path).is_none_or(|document| !whole.is_valid(&document))
    };
    for name in [
        "durations.toml",
        "exec-string.toml",
        "image-no-kind.toml",
        "image-unknown-kind.toml",
        "key-in-wrong-table.toml",
        "list-of-tables.toml",
        "missing-everything.toml",
        "missing-keys.toml",
        "network-addresses.toml",
        "network-mac-nonsense.toml",
        "not-yet.toml",
        "root-words.toml",
        "sizes.toml",
        "sizes-units.toml",
        "unknown-key.toml",
        "unknown-table.toml",
        "user-and-environment.toml",
        "version-of-the-future.toml",
        "wrong-types.toml",
    ] {
        assert!(is_refused(name), "{name} is taken");
    }
    let all = files(&root().join("jailsupd/tests/broken"));
    let names = all.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
    let count = names.filter(|name| is_refused(name)).count();
    assert!(count >= REFUSED, "only {count} of {}", all.len());
}
