//! The image that is shipped, booted as it is shipped, and seen from outside only.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, time::Duration};

use qemu_tests::{End, Image, Machine, Result, disk};

const BOOT: Duration = Duration::from_secs(45);

#[test]
fn boots_by_firmware_serves_the_page_and_obeys_the_power_button() {
    let mut vm = Machine::new("production", Image::Production).start().unwrap();
    vm.wait_boot().unwrap();
    let page = vm.wait_page().unwrap();
    assert_eq!(page.status, 200);
    assert!(page.body.contains("nginx jail"), "{page:?}");

    vm.qmp.press_power_button().unwrap();

    vm.console.wait_for("init: unmounted /data", BOOT).unwrap();
    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
    assert!(vm.console.find("init: power off").is_some());
}

#[test]
fn data_of_an_earlier_boot_is_there_after_a_clean_power_off() {
    let image = Machine::new("production-first", Image::Production);
    let mut first = image.start().unwrap();
    first.wait_boot().unwrap();
    first.wait_page().unwrap();
    assert!(first.console.find("is blank, making btrfs").is_some());
    first.qmp.press_power_button().unwrap();
    assert_eq!(first.wait_end().unwrap(), End::PowerOff);

    let again = Machine::new("production-second", Image::Production).own_disk(first.disk());
    let mut second = again.start().unwrap();
    second.wait_boot().unwrap();

    assert!(second.console.find("previous shutdown: clean").is_some());
    assert!(second.console.find("is blank, making btrfs").is_none());
}

#[test]
fn corrupt_root_block_that_boot_reads_is_caught_and_reported() {
    // The superblock of erofs is in block 0.
    let machine = Machine::new("corrupt-early", Image::Production);
    let mut vm = machine.edit_disk(|disk| corrupt(disk, 0)).start().unwrap();

    vm.console.wait_for("data block 0 is corrupted", BOOT).unwrap();

    assert_eq!(vm.wait_end().unwrap(), End::Reset);
    assert!(vm.console.find("root verified").is_none());
    assert!(vm.console.find("init: boot complete").is_none());
}

#[test]
fn corrupt_root_block_that_the_first_jail_reads_is_caught_and_reported() {
    let work = qemu_tests::image::scratch("production-root").unwrap();
    let root = work.join("root.erofs");
    let image = Image::Production.file("warder.raw").unwrap();
    let partition = root_of(&image).unwrap();
    disk::extract(&image, &partition, &root).unwrap();
    let blocks = disk::erofs_blocks(&root, "/usr/lib/warder/jail-init").unwrap();
    std::fs::remove_dir_all(work).unwrap();
    let block = blocks.start.midpoint(blocks.end);
    let machine = Machine::new("corrupt-late", Image::Production);
    let mut vm = machine.edit_disk(move |disk| corrupt(disk, block)).start().unwrap();

    vm.console.wait_for(&format!("data block {block} is corrupted"), BOOT).unwrap();

    assert_eq!(vm.wait_end().unwrap(), End::Reset);
    assert!(vm.console.find("root verified").is_some());
    assert!(vm.wait_page().is_err());
}

fn root_of(disk: &Path) -> Result<disk::Partition> {
    disk::root_partition(disk, &Image::Production.text("roothash")?)
}

/// Changes one bit pattern in the middle of a block of the root.
fn corrupt(disk: &Path, block: u64) -> Result<()> {
    let offset = block * disk::BLOCK + disk::BLOCK / 2;
    disk::flip_byte(disk, root_of(disk)?.start + offset)
}

#[test]
fn no_image_has_a_way_to_leave_a_wall_out() {
    // Where the weak programs look (walls/weak.rs and faults/chosen.rs of jailsupd, flaw/chosen.rs of keeper).
    let selectors = ["/run/warder/weaken", "/run/warder/fault", "/run/warder/flaw"];
    let found = |file: &Path| {
        let program = std::fs::read(file).unwrap();
        let has = |word: &&str| program.windows(word.len()).any(|window| window == word.as_bytes());
        selectors.into_iter().filter(has).collect::<Vec<_>>()
    };
    assert_eq!(found(&qemu_tests::image::weak_jailsupd().unwrap()), selectors[..2]);
    assert_eq!(found(&qemu_tests::image::weak_init().unwrap()), selectors[2..]);

    for image in [Image::Production, Image::Debug] {
        let work = qemu_tests::image::scratch("weak-selector").unwrap();
        let (root, tree) = (work.join("root.erofs"), work.join("root"));
        let disk = image.file("warder.raw").unwrap();
        let partition = disk::root_partition(&disk, &image.text("roothash").unwrap()).unwrap();
        disk::extract(&disk, &partition, &root).unwrap();
        disk::extract_erofs(&root, &tree).unwrap();

        for program in ["jailsupd", "jail-init", "init"] {
            let file = tree.join("usr/lib/warder").join(program);
            assert_eq!(found(&file), [""; 0], "{image:?}: {program}");
        }
        std::fs::remove_dir_all(work).unwrap();
    }
}

#[test]
fn root_has_exactly_the_listed_executables_and_at_most_twelve() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/executables");
    let list = std::fs::read_to_string(list).unwrap();
    let mut listed: Vec<&str> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    listed.sort_unstable();

    let built = Image::Production.text("executables.txt").unwrap();
    let mut found: Vec<&str> = built.lines().collect();
    found.sort_unstable();

    assert_eq!(found, listed);
    assert!(found.len() <= 12, "{found:?}");
}
