//! What lasts over a reboot: a guest of its own.

use jailsupd::control::wire::JailState;
use qemu_tests::{End, Image, Machine};

use crate::{shipped, stay, unit};

#[test]
fn unit_files_survive_a_reboot_and_decide_what_runs_after_it() {
    let before = Machine::new("drop-before", Image::Debug).jails(shipped());
    let mut first = before.start().unwrap();
    first.wait_boot().unwrap();
    let agent = first.agent();
    // jailsupd makes its directory below /run.
    agent.wait_until("[ -d /run/jails.d ]", crate::SOON).unwrap();
    agent.write("/etc/jails.d/kept.toml", &unit(&["say", "kept"], "")).unwrap();
    agent.write("/etc/jails.d/stopped.toml", &stay("")).unwrap();
    agent.write("/etc/jails.d/disabled.toml", &stay("")).unwrap();
    agent.write("/run/jails.d/passing.toml", &stay("")).unwrap();
    for name in ["kept", "stopped", "disabled", "passing"] {
        agent.wait_state(name, JailState::Up).unwrap();
    }
    for words in [["stop", "stopped"], ["disable", "disabled"], ["mask", "shipped"]] {
        agent.jailctl(&words).unwrap();
    }

    agent.jailctl(&["host", "reboot"]).unwrap();
    // Of this QEMU a reboot is the end.
    assert_eq!(first.wait_end().unwrap(), End::Reset);
    let again = Machine::new("drop-again", Image::Debug).jails(shipped());
    let mut second = again.own_disk(first.disk()).start().unwrap();
    second.wait_boot().unwrap();
    let agent = second.agent();
    agent.wait_state("kept", JailState::Up).unwrap();
    agent.jailctl(&["apply"]).unwrap();

    assert!(second.console.find("previous shutdown: clean").is_some());
    let agent = second.agent();
    let rows = agent.list().unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.state)).collect();
    let (up, down) = (JailState::Up, JailState::Down);
    // To have been stopped by hand is forgotten, to be disabled or masked is not.
    assert_eq!(rows, [("disabled", down), ("kept", up), ("nginx", up), ("stopped", up)]);
    let both = "[ $(/usr/bin/jailctl logs kept | grep -c 'stdout kept') = 2 ]";
    agent.wait_until(both, crate::SOON).unwrap();
}
