//! The `keeper` program on this very machine, with a brain that dies (see `examples/brain.rs`).

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo builds examples before tests and puts them beside the binaries.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_keeper")).parent().unwrap().join("examples").join(name)
}

/// What a brain has seen.
fn seen_by(brain: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report");
    // No delegated cgroup: the keeper then runs its services in its own.
    let cgroup = Path::new("/proc/none");
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_keeper"));
    let status = keeper.arg(cgroup).arg(example(brain)).arg(&report).status().unwrap();
    assert!(status.success(), "{status}");
    std::fs::read_to_string(&report).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_jail_and_its_exit_record_survive_the_death_of_the_brain() {
    let expected = [
        "sibling true",
        "slots [Process, State]",
        "exit before false",
        "exit code 1 status 7",
        "same process true",
        "acknowledged true",
        "held 0",
        "children of the keeper 1",
        "going down",
    ];
    assert_eq!(seen_by("brain"), expected);
}

#[test]
fn an_exec_of_the_keeper_keeps_jails_records_and_the_connection() {
    let expected = [
        "before 4",
        "answer ok",
        "another program true",
        "same keeper true",
        "after 4",
        "same files true",
        "same record true",
        "exit code 1 status 7",
        "again ok",
        "same record true",
        "held 0",
    ];
    assert_eq!(seen_by("anew"), expected);
}

#[test]
fn a_self_test_says_what_it_cannot_read() {
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_keeper"));
    let output =
        keeper.arg("--self-test").stdin(std::fs::File::open("/dev/null").unwrap()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"this is not the state of a keeper\n");
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    let output = Command::new(env!("CARGO_BIN_EXE_keeper")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
