//! Golden test: the files below `trees/NAME/{lib,etc,run}` make the jails, problems and masks of
//! `trees/NAME.expected`. `UPDATE=1 cargo test` writes those anew; each change of them is read like prose.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use jailsupd::unit::tree::{self, RawFile, RawKind, Tree};

fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    found.sort();
    found
}

fn is_null(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

fn bytes(path: &Path) -> Vec<u8> {
    if is_null(path) { Vec::new() } else { fs::read(path).unwrap() }
}

/// The files of one case, as `exec::units` would hand them over.
fn gather(case: &Path) -> Vec<RawFile> {
    let mut files = Vec::new();
    for (directory, place) in ["lib", "etc", "run"].into_iter().enumerate() {
        let mut add = |path: String, kind| files.push(RawFile { path, directory, kind });
        for (name, path) in entries(&case.join(place)) {
            if let Some(stem) = tree::drop_in_stem(&name).map(str::to_owned) {
                for (file_name, part) in entries(&path) {
                    let content = Ok(bytes(&part));
                    let shown = format!("{place}/{name}/{file_name}");
                    add(shown, RawKind::DropIn { stem: stem.clone(), file_name, content });
                }
            } else if let Some(stem) = tree::unit_stem(&name).map(str::to_owned) {
                let kind = match is_null(&path) {
                    true => RawKind::Mask { stem },
                    false => RawKind::Unit { stem, content: Ok(bytes(&path)) },
                };
                add(format!("{place}/{name}"), kind);
            }
        }
    }
    files
}

fn report(tree: &Tree) -> String {
    let mut out = String::new();
    for unit in &tree.units {
        let _ = writeln!(out, "== {} < {}", unit.name, unit.files.join(" < "));
        match &unit.result {
            Ok(unit) => out.push_str(&unit.canonical()),
            Err(problems) => problems.iter().for_each(|problem| out.push_str(&problem.to_string())),
        }
    }
    for template in &tree.templates {
        let _ = writeln!(out, "== template {} < {}", template.name, template.files.join(" < "));
    }
    for masked in &tree.masked {
        let _ = writeln!(out, "== masked {} by {}", masked.name, masked.file);
    }
    out
}

#[test]
fn each_tree_makes_the_jails_and_problems_that_are_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees");
    let mut wrong = Vec::new();
    let cases = entries(&root).into_iter().filter(|(_, path)| path.is_dir());
    for (_, case) in cases {
        let mut files = gather(&case);
        let found = report(&tree::resolve(&files));
        files.reverse();
        assert_eq!(found, report(&tree::resolve(&files)), "the order of the files matters");
        let golden = case.with_extension("expected");
        if env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if wanted != found {
            wrong.push(format!("{}: expected\n{wanted}\nfound\n{found}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 accepts what was found)", wrong.join("\n"));
}
