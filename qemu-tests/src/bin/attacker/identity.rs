//! Privileges that a service may get from its image, its binary or its own asking.

use std::{fs, process::Command, process::ExitCode};

use rustix::process::{geteuid, getuid};

use crate::{Attack, Outcome};

pub(crate) const ATTACKS: &[Attack] = &[
    ("capabilities", capabilities),
    ("setuid-in-image", setuid_in_image),
    ("setuid-on-volume", setuid_on_volume),
    ("file-capabilities-in-image", file_capabilities_in_image),
    ("started-at-all", started_at_all),
];

/// The sets of capabilities(7), as numbers.
fn sets() -> Result<Vec<(String, u64)>, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let set = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value = u64::from_str_radix(value.trim(), 16).ok()?;
        name.starts_with("Cap").then(|| (name.to_owned(), value))
    };
    Ok(status.lines().filter_map(set).collect())
}

/// More than the unit grants.
fn capabilities() -> Outcome {
    let granted = std::env::var("GRANTED").unwrap_or_default();
    let granted = u64::from_str_radix(&granted, 16).map_err(|error| format!("GRANTED: {error}"))?;
    let more = sets()?.into_iter().find(|(_, set)| set & !granted != 0);
    more.map(|(name, set)| format!("{name} is {set:x}"))
        .ok_or_else(|| "none but those of the unit".into())
}

/// The image holds this program with the set-user-id bit, owned by root.
fn setuid_in_image() -> Outcome {
    if getuid().is_root() {
        return Err("is root".into());
    }
    let told = told("/hostile/setuid")?;
    if told.starts_with("euid=0 ") { Ok(told) } else { Err(told) }
}

/// Root of another jail has left this program with the set-user-id bit on a volume that both have.
fn setuid_on_volume() -> Outcome {
    if getuid().is_root() {
        return Err("is root".into());
    }
    let told = told("/pool/setuid")?;
    if told.starts_with("euid=0 ") { Ok(told) } else { Err(told) }
}

/// The image holds this program with all capabilities in `security.capability`.
fn file_capabilities_in_image() -> Outcome {
    if getuid().is_root() {
        return Err("is root".into());
    }
    let told = told("/hostile/capable")?;
    if told.ends_with("CapEff=0") { Err(told) } else { Ok(told) }
}

/// For a jail that should not start: its user is nobody that the image knows.
fn started_at_all() -> Outcome {
    match std::fs::read_link("/etc/passwd") {
        Ok(target) => Ok(format!("started as a user of {}", target.display())),
        Err(_) => Err("the image has no such link".into()),
    }
}

fn told(program: &str) -> Outcome {
    let output =
        Command::new(program).arg("identity").output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// What a copy of this program with privileges of its own says it has.
pub(crate) fn tell() -> ExitCode {
    let sets = sets().unwrap_or_default();
    let effective = sets.iter().find(|(name, _)| name == "CapEff").map_or(0, |(_, set)| *set);
    println!("euid={} CapEff={effective:x}", geteuid().as_raw());
    ExitCode::SUCCESS
}
