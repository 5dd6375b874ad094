//! A data partition that does not mount.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, time::Duration};

use qemu_tests::{Image, Machine, Result, disk};

const BOOT: Duration = Duration::from_secs(45);

#[test]
fn data_partition_that_does_not_mount_is_left_alone_and_the_host_serves_without_it() {
    let machine = Machine::new("data-disk", Image::Debug);
    let mut vm = machine.edit_disk(scribble).start().unwrap();
    let before = data_partition(&vm.disk()).unwrap();

    vm.console.wait_for("init: stage data degraded: ", BOOT).unwrap();
    vm.wait_boot().unwrap();
    let page = vm.wait_page().unwrap();
    let state = vm.agent().read("/run/warder/data").unwrap();
    vm.agent().shell("sync").unwrap();

    assert_eq!(page.status, 200);
    assert!(state.starts_with("memory: "), "{state}");
    assert!(state.contains("zero it to start afresh"), "no remedy: {state}");
    vm.kill();
    assert!(data_partition(&vm.disk()).unwrap() == before, "the partition was written to");
}

/// Neither all zeros nor a file system: something that a person may still want.
fn scribble(disk: &Path) -> Result<()> {
    let partition = disk::partition(disk, "warder-data")?;
    disk::write_at(disk, partition.start + (1 << 20), &[0xa5; 65_536])
}

fn data_partition(disk: &Path) -> Result<Vec<u8>> {
    let partition = disk::partition(disk, "warder-data")?;
    disk::read_at(disk, partition.start, usize::try_from(partition.size).unwrap())
}
