//! The files of a jail's /etc that the host writes.

use std::os::unix::fs::symlink;
use std::path::Path;

use qemu_tests::{Vm, image::program};

use super::{hosts, unit};

/// With an empty machine-id, as Debian's images have it, a hosts file of its own, and a link for resolv.conf that leads nowhere.
pub(super) fn image(root: &Path) -> std::io::Result<()> {
    let nuisance = program("nuisance").map_err(std::io::Error::other)?;
    std::fs::copy(nuisance, root.join("bin/nuisance"))?;
    std::fs::write(root.join("etc/machine-id"), "")?;
    std::fs::write(root.join("etc/hosts"), "127.0.0.1 build-machine\n")?;
    symlink("../run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf"))
}

fn read(vm: &mut Vm, jail: &str, file: &str) -> String {
    let pid = vm.agent().service(jail, "nuisance").unwrap().pid;
    vm.sh(&format!("cat /proc/{pid}/root/etc/{file}"))
}

#[test]
fn a_jail_has_its_own_machine_id_hosts_and_name_servers() {
    let mut vm = hosts().near;
    let named =
        |number: u8, rest: &str| unit(number, rest).replace("/nuisance.erofs", "/named.erofs");
    vm.put_up("first", &named(61, "dns = [\"fd00:9::53\"]\n"));
    vm.put_up("second", &named(62, "add_host = [\"first:10.9.0.61\"]\n"));
    vm.put_up("bare", &unit(63, ""));

    let id = read(&mut vm, "first", "machine-id");
    assert!(id.trim().len() == 32 && id.trim().chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    assert_ne!(id, read(&mut vm, "second", "machine-id"));
    assert_ne!(id, vm.sh("cat /etc/machine-id"));
    assert_eq!(read(&mut vm, "first", "resolv.conf"), "nameserver fd00:9::53\n");
    let own = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
    assert_eq!(
        read(&mut vm, "second", "hosts"),
        format!("{own}10.9.0.62 second\nfd00:9::62 second\n10.9.0.61 first\n")
    );
    // The resolver's file is the image's where the unit says nothing.
    let pid = vm.agent().service("second", "nuisance").unwrap().pid;
    let link = vm.sh(&format!("readlink /proc/{pid}/root/etc/resolv.conf"));
    assert_eq!(link.trim(), "../run/systemd/resolve/stub-resolv.conf");
    // Nothing is added to an image that has no such file.
    let pid = vm.agent().service("bare", "nuisance").unwrap().pid;
    assert_eq!(vm.sh(&format!("ls -A /proc/{pid}/root/etc")), "");

    // It is the same after a restart, and an edit changes what the jail then has.
    vm.put("second", &named(62, "hostname = \"other.example.org\"\n"));
    vm.ctl(&["restart", "first"]);
    vm.ctl(&["apply"]);
    assert_eq!(read(&mut vm, "first", "machine-id"), id);
    let hosts = read(&mut vm, "second", "hosts");
    assert_eq!(hosts, format!("{own}10.9.0.62 other.example.org\nfd00:9::62 other.example.org\n"));
    for jail in ["first", "second", "bare"] {
        vm.remove(jail);
    }
    let given = vm.sh("ls /run/jailsupd/given");
    assert!(!["first", "second", "bare"].iter().any(|jail| given.contains(jail)), "{given}");
}
