//! The way down leaves a data partition that needs no repair.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use qemu_tests::{End, Error, Image, Jails, Machine, Result, disk, image, unit_of};

const BOOT: Duration = Duration::from_secs(45);
const SOON: Duration = Duration::from_secs(10);
/// docs/control.md
const STOP_DEADLINE: Duration = Duration::from_secs(90);
const LARGER: u64 = 2 << 30;

#[test]
fn power_off_by_jailctl_is_clean() {
    let machine = Machine::new("poweroff", Image::Debug);
    let mut vm = machine.edit_disk(grow).start().unwrap();
    vm.wait_boot().unwrap();
    vm.wait_page().unwrap();
    vm.agent().write("/data/survivor", "the power off").unwrap();

    vm.agent().output(&["/usr/bin/jailctl", "host", "poweroff"]).unwrap();

    vm.console.wait_for("init: unmounted /data", SOON).unwrap();
    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
    let partition = disk::partition(&vm.disk(), "warder-data").unwrap();
    assert!(partition.size > LARGER / 2, "it did not grow with its disk: {partition:?}");
    let data = vm.dir().join("data.btrfs");
    disk::extract(&vm.disk(), &partition, &data).unwrap();
    assert_eq!(log_root(&data), "0");
    btrfs(&["check", "--readonly"], &data);
    let files = vm.dir().join("files");
    restore(&data, &files);
    assert_eq!(fs::read_to_string(files.join("survivor")).unwrap(), "the power off");
    assert!(files.join("warder/clean").exists());
}

#[test]
fn power_button_is_obeyed_while_the_first_jail_starts() {
    let mut vm = Machine::new("poweroff-early", Image::Debug).start().unwrap();
    vm.console.wait_for("init: boot complete", BOOT).unwrap();

    vm.qmp.press_power_button().unwrap();

    vm.console.wait_for("init: going down", SOON).unwrap();
    vm.console.wait_for("init: unmounted /data", SOON).unwrap();
    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
}

#[test]
#[ignore = "takes 90 s by its nature: make test-long"]
fn jail_with_a_longer_stop_timeout_holds_the_host_for_90_seconds_and_no_longer() {
    let machine = Machine::new("poweroff-deaf", Image::Debug).jails(Jails::new().unwrap());
    let mut vm = machine.start().unwrap();
    vm.wait_boot().unwrap();
    vm.put_up("deaf", &unit_of("nuisance", &["ignore"], "[stop]\ntimeout = \"10m\""));

    vm.agent().output(&["/usr/bin/jailctl", "host", "poweroff"]).unwrap();

    let begin = vm.console.wait_for("init: going down", SOON).unwrap().stamp().unwrap();
    let end = vm.console.wait_for("init: unmounted /data", STOP_DEADLINE * 2).unwrap();
    let took = end.stamp().unwrap() - begin;
    assert!((STOP_DEADLINE..STOP_DEADLINE + BOOT).contains(&took), "{took:?}");
    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
}

fn grow(disk: &Path) -> Result<()> {
    let file = File::options().write(true).open(disk);
    file.and_then(|file| file.set_len(LARGER)).map_err(Error::io("make the disk larger"))
}

fn log_root(data: &Path) -> String {
    let text = btrfs(&["inspect-internal", "dump-super"], data);
    let line = text.lines().find_map(|line| line.strip_prefix("log_root\t"));
    line.unwrap_or("missing").trim().into()
}

/// Takes the two files out of the file system without mounting it.
fn restore(data: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let wanted = "^/(|warder(|/clean)|survivor)$";
    let mut command = image::btrfs().unwrap();
    disk::tool(command.args(["restore", "--path-regex", wanted]).arg(data).arg(to)).unwrap();
}

fn btrfs(arguments: &[&str], data: &Path) -> String {
    disk::tool(image::btrfs().unwrap().args(arguments).arg(data)).unwrap()
}
