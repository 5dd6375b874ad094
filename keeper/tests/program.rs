//! The `keeper` program on this very machine, with a brain that dies (see `examples/brain.rs`).

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo builds examples before tests and puts them beside the binaries.
fn brain() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_keeper")).parent().unwrap().join("examples/brain")
}

#[test]
fn a_jail_and_its_exit_record_survive_the_death_of_the_brain() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report");
    // No delegated cgroup: the keeper then runs its services in its own.
    let cgroup = Path::new("/proc/none");
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_keeper"));
    let status = keeper.arg(cgroup).arg(brain()).arg(&report).status().unwrap();
    assert!(status.success(), "{status}");
    let seen = std::fs::read_to_string(&report).unwrap();
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
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    let output = Command::new(env!("CARGO_BIN_EXE_keeper")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
