//! The dependency rules of the workspace (docs: ARCHITECTURE), read off the sources: who may use whom,
//! which rooms are pure, where unsafe code may be.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use jail_init::Stage;
use jailsupd::control::wire::JailState;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 8] =
    ["sys", "keeper", "init", "jail-init", "dhcp-worker", "jailsupd", "jailctl", "qemu-tests"];

/// Where a rule does not hold (part of a path), for what, and why that is right.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("/bin/hostile/", "unsafe", "the tests' attacks and probes are system calls by number"),
    ("/plan/", "sys::lockdown::Instruction", "plain data: what a filter consists of"),
    ("/exec/state.rs", "serde::", "the state that outlives jailsupd in the vault is an edge"),
    ("/exec/state.rs", "Serialize", "as above"),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `path`, with its text.
fn sources(path: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The product's code of one room of jailsupd: `room.rs`, `room/`, without tests.
fn room(name: &str) -> Vec<(PathBuf, String)> {
    let src = workspace().join("jailsupd/src");
    let mut found = sources(&src);
    found.retain(|(path, _)| {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        first == name && !path.ends_with("tests.rs")
    });
    for (_, text) in &mut found {
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        text.truncate(end);
    }
    assert!(!found.is_empty(), "jailsupd has no room {name}");
    found
}

/// The lines of code, numbered, that hold `word`. Comments do not count.
fn lines_with<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = String> + 'a {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(move |(_, line)| line.contains(word)).map(|(n, line)| format!("{}: {line}", n + 1))
}

fn refuse(files: &[(PathBuf, String)], words: &[&str]) {
    for (path, text) in files {
        for word in words {
            let mut found: Vec<String> = lines_with(text, word).collect();
            for (_, what, _) in
                EXCEPTIONS.iter().filter(|(file, ..)| path.display().to_string().contains(file))
            {
                found.retain(|line| !line.contains(what));
            }
            assert!(found.is_empty(), "{} uses {word}:\n{}", path.display(), found.join("\n"));
        }
    }
}

/// The crates of ours that `name` depends on, tests aside.
fn depends(name: &str) -> Vec<&'static str> {
    let text = fs::read_to_string(workspace().join(name).join("Cargo.toml")).unwrap();
    let section = text.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let uses = |krate: &&str| section.lines().any(|line| line.starts_with(&format!("{krate}.")));
    CRATES.into_iter().filter(uses).collect()
}

#[test]
fn crates_depend_only_downwards() {
    assert_eq!(depends("sys"), [""; 0]);
    assert_eq!(depends("keeper"), ["sys"]);
    assert_eq!(depends("dhcp-worker"), ["sys"]);
    assert!(!depends("init").contains(&"jailsupd"), "PID 1 holds no unit parsing");
    assert!(!depends("jailsupd").contains(&"init"));
    for outside in ["jailctl", "qemu-tests"] {
        let ours = depends(outside);
        assert!(!ours.contains(&"keeper") && !ours.contains(&"init"), "{outside}: {ours:?}");
    }
}

#[test]
fn clients_see_only_the_control_wire() {
    for client in ["jailctl", "qemu-tests"] {
        for (path, text) in sources(&workspace().join(client)) {
            for line in lines_with(&text, "jailsupd::") {
                assert!(line.contains("jailsupd::control::wire"), "{}:{line}", path.display());
            }
        }
    }
}

#[test]
fn rooms_use_only_what_is_below_them() {
    let above_unit =
        ["crate::plan", "crate::machine", "crate::exec", "crate::control", "crate::supervisor"];
    refuse(&room("unit"), &above_unit);
    refuse(&room("plan"), &above_unit[1..]);
    refuse(
        &room("machine"),
        &["crate::plan", "crate::exec", "crate::control", "crate::supervisor"],
    );
    for lower in ["exec", "control"] {
        refuse(&room(lower), &["crate::supervisor", "crate::machine"]);
    }
}

#[test]
fn pure_rooms_touch_nothing() {
    let world = [
        "std::fs",
        "std::env",
        "std::process",
        "std::os",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "Instant::now",
        "SystemTime::now",
        "log::",
        "println!",
        "rustix::",
        "nix::",
        "sys::",
    ];
    for pure in ["unit", "plan", "machine"] {
        refuse(&room(pure), &world);
    }
}

#[test]
fn packets_are_parsed_by_the_worker_alone() {
    for name in CRATES.into_iter().filter(|name| *name != "dhcp-worker") {
        refuse(&sources(&workspace().join(name).join("src")), &["smoltcp", "dhcp_worker::packet"]);
    }
    refuse(&sources(&workspace().join("dhcp-worker/src")), &["unsafe {"]);
}

#[test]
fn serialised_types_are_only_on_the_edges() {
    for inner in ["plan", "machine", "exec"] {
        refuse(&room(inner), &["serde::", "Serialize", "Deserialize"]);
    }
}

#[test]
fn unsafe_code_is_only_in_sys() {
    for name in CRATES.into_iter().filter(|name| *name != "sys") {
        refuse(&sources(&workspace().join(name).join("src")), &["allow(unsafe_code)", "unsafe {"]);
    }
}

/// The points at which a test build can be made to fail, by the file that has them.
fn fault_points() -> Vec<String> {
    let mut found = Vec::new();
    for (_, text) in room("exec").into_iter().chain(room("supervisor")) {
        for call in ["faults::reach(\"", "faults::pass(\""] {
            let after = text.split(call).skip(1);
            found.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    let weak = fs::read_to_string(workspace().join("jailsupd/src/exec/faults/chosen.rs")).unwrap();
    let steps = weak.split("\"step-").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0));
    found.extend(steps.map(|step| format!("step-{step}")));
    // A unit that is invalid has no machine.
    let states = JailState::ALL.iter().filter(|state| **state != JailState::Invalid);
    found.extend(states.map(|state| format!("came-to-{state}")));
    found.extend(
        Stage::ALL
            .iter()
            .filter(|stage| !NOT_INJECTED.contains(stage))
            .map(|stage| format!("{stage:?}")),
    );
    found
}

/// Stages that no fault is injected at: one of them is the end of jailsupd itself, one would be struck when the jail
/// exists already; at the others the process executes something else, or is no part of a start.
const NOT_INJECTED: [Stage; 8] = [
    Stage::Go,
    Stage::HandOver,
    Stage::Clone,
    Stage::Init,
    Stage::StartContainer,
    Stage::Exec,
    Stage::JoinJail,
    Stage::Terminal,
];

#[test]
fn every_point_of_a_fault_is_gone_through_by_the_vm_tests() {
    let tests = workspace().join("qemu-tests/tests/survival/points.rs");
    let tests = fs::read_to_string(tests).unwrap();
    let points = fault_points();
    assert!(points.len() > 20, "{points:?}");
    let missing: Vec<&String> =
        points.iter().filter(|point| !tests.contains(&format!("\"{point}\""))).collect();
    assert!(missing.is_empty(), "not in qemu-tests/tests/survival/points.rs: {missing:?}");
}
