//! Broken unit files and what their writer gets to read. `UPDATE=1 cargo test` writes the
//! `.expected` files anew; each change of them is read like prose.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::{Path, PathBuf};
use std::{env, fs};

use jailsupd::unit::host;
use jailsupd::unit::layer::Layer;
use jailsupd::unit::named_network;
use jailsupd::unit::policy::{self, Policy};
use jailsupd::unit::{self, Problem};

fn files(directory: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    found.sort();
    found
}

fn report(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn compare(path: &Path, report: &str) -> Result<(), String> {
    let expected = path.with_extension("expected");
    if env::var_os("UPDATE").is_some() {
        fs::write(&expected, report).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    if wanted == report {
        return Ok(());
    }
    Err(format!("{}: expected\n{wanted}\nfound\n{report}", path.display()))
}

fn check(directory: &str, parse: impl Fn(&str, &str) -> Option<Vec<Problem>>) -> usize {
    let files = files(directory);
    let mut wrong = Vec::new();
    for path in &files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        match parse(stem, &text) {
            None => wrong.push(format!("{}: is accepted", path.display())),
            Some(problems) => wrong.extend(compare(path, &report(&problems)).err()),
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 accepts what was found)", wrong.join("\n"));
    files.len()
}

#[test]
fn each_broken_unit_is_refused_with_its_message() {
    let count = check("broken", |stem, text| {
        unit::parse(stem, &format!("/etc/jails.d/{stem}.toml"), text).err()
    });
    assert!(count >= 40, "only {count} kinds");
}

#[test]
fn each_broken_host_file_is_refused_with_its_message() {
    check("broken/host", |_, text| {
        host::parse(&[Layer { file: "/etc/warder/host.toml", text }]).err()
    });
}

#[test]
fn each_broken_network_file_is_refused_with_its_message() {
    check("broken/networks", |stem, text| {
        let file = format!("/etc/jails.d/networks/{stem}.toml");
        named_network::parse(stem, &file, text).err()
    });
}

#[test]
fn each_broken_policy_is_refused_with_its_message() {
    check("broken/policy", |_, text| {
        policy::parse(&[Layer { file: "/etc/warder/policy.toml", text }]).err()
    });
}

/// The units of `policy/` are good ones; beside some lies the policy that they are held against.
#[test]
fn each_unit_that_asks_for_too_much_is_refused_with_the_rule() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy");
    let count = check("policy", |stem, text| {
        let policy = match fs::read_to_string(directory.join(format!("{stem}.policy"))) {
            Ok(text) => {
                policy::parse(&[Layer { file: "/etc/warder/policy.toml", text: &text }]).unwrap()
            }
            Err(_) => Policy::default(),
        };
        let unit = unit::parse(stem, &format!("/etc/jails.d/{stem}.toml"), text).unwrap();
        Some(policy.check(&unit)).filter(|problems| !problems.is_empty())
    });
    assert!(count >= 3, "only {count} kinds");
}

#[test]
fn a_problem_on_one_line_has_place_key_and_remedy() {
    let text = "version = 1\n[image]\nsource = \"dir:/srv/a\"\n[process]\nexec = [\"/bin/true\"]\n\
                [network]\nmode = \"none\"\n[stop]\nsignal = \"SIGTREM\"\n";
    let problems = unit::parse("web", "/etc/jails.d/web.toml", text).unwrap_err();
    assert_eq!(
        problems.iter().map(Problem::one_line).collect::<Vec<_>>(),
        [
            "/etc/jails.d/web.toml:9:10: stop.signal: \"SIGTREM\" is not a signal (did you mean \"SIGTERM\"?)"
        ]
    );
}
