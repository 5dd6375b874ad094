//! The debug image, from inside: tests that only look, on one boot.
#![allow(clippy::unwrap_used, reason = "tests")]

use qemu_tests::{Guest, Image, Jails, Machine, Shared, proto::Status};

static SHARED: Shared = Shared::new();

/// A jail's ids are far above those of people and services.
const FIRST_JAIL_UID: u32 = 65_536;
/// capability.h: CAP_NET_BIND_SERVICE is number 10.
const NET_BIND_SERVICE: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

fn guest() -> Guest<'static> {
    SHARED.guest(|| {
        let jails = Jails::new().and_then(|jails| jails.nuisance_unit("looker", &["look"], ""));
        Machine::new("debug", Image::Debug).jails(jails.unwrap())
    })
}

#[test]
fn every_stage_of_the_boot_is_ok() {
    let mut guest = guest();

    let stages = guest.agent().read("/run/warder/stages").unwrap();

    let bad: Vec<_> = stages.lines().filter(|line| line.split(' ').nth(3) != Some("ok")).collect();
    assert_eq!(bad, Vec::<&str>::new());
    assert!(stages.lines().any(|line| line.starts_with("data ")), "{stages}");
    assert_eq!(guest.agent().read("/run/warder/data").unwrap(), "disk\n");
}

#[test]
fn root_of_the_host_is_read_only() {
    let mut guest = guest();

    let touch = guest.agent().run(&["/usr/bin/busybox", "touch", "/usr/bin/new"]).unwrap();

    assert_eq!(touch.status, Status::Exit(1));
    assert!(touch.stderr.contains("Read-only file system"), "{touch:?}");
}

#[test]
fn schemas_of_unit_files_are_on_the_host() {
    let mut guest = guest();

    let agent = guest.agent();
    let whole = agent.read("/usr/share/warder/unit.schema.json").unwrap();
    let part = agent.read("/usr/share/warder/unit-part.schema.json").unwrap();
    let answer = agent.output(&["/usr/bin/jailctl", "explain", "--schema"]).unwrap();

    assert!(whole == include_str!("../../docs/unit.schema.json"), "{whole}");
    assert!(part == include_str!("../../docs/unit-part.schema.json"), "{part}");
    assert_eq!(answer.trim_end(), whole.trim_end());
}

#[test]
fn page_is_served_from_the_jails_own_address() {
    let mut guest = guest();

    let page = guest.wait_page().unwrap();

    assert_eq!(page.status, 200);
    assert!(page.body.contains("nginx jail"), "{page:?}");
}

#[test]
fn root_of_a_jail_is_an_unprivileged_user_of_the_host() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let seen = seen(&mut guest);
    let service = guest.agent().service("looker", "nuisance").unwrap();

    assert_eq!(line(&seen, "uid"), "0");
    let on_the_host: u32 = service.field("Uid").split('\t').next().unwrap().parse().unwrap();
    assert!(on_the_host >= FIRST_JAIL_UID, "{on_the_host}");
}

#[test]
fn jail_sees_neither_the_hosts_root_nor_its_mounts() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let seen = seen(&mut guest);

    assert_eq!(line(&seen, "host root"), "absent");
    assert_eq!(line(&seen, "root"), "bin dev etc proc run sys tmp");
    assert_eq!(line(&seen, "mounts of the host"), "");
}

#[test]
fn no_mount_of_a_jail_takes_part_in_the_hosts() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();
    guest.wait_page().unwrap();

    let looker = guest.agent().service("looker", "nuisance").unwrap().pid;
    let nginx = guest.agent().jail_processes("nginx").unwrap()[0].pid;
    for pid in [looker, nginx] {
        let mounts = guest.agent().read(&format!("/proc/{pid}/mountinfo")).unwrap();

        assert!(mounts.contains(" /proc "), "{mounts}");
        let linked = |line: &&str| line.contains(" shared:") || line.contains(" master:");
        let linked: Vec<_> = mounts.lines().filter(linked).collect();
        assert_eq!(linked, Vec::<&str>::new());
    }
}

#[test]
fn no_user_namespace_can_be_made_in_a_jail() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let looker = guest.agent().service("looker", "nuisance").unwrap().pid;
    // The kernel shows each reader the limit of its own user namespace.
    let limit = "/usr/bin/busybox cat /proc/sys/user/max_user_namespaces";
    let enter = format!("/usr/bin/busybox nsenter --target {looker} --user {limit}");
    let limit = guest.agent().shell(&enter).unwrap();

    assert_eq!(limit, "0\n");
}

#[test]
fn jail_sees_only_its_own_processes() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let seen = seen(&mut guest);

    assert_eq!(line(&seen, "processes"), "1 2");
}

#[test]
fn jail_without_network_sees_only_its_own_loopback() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let seen = seen(&mut guest);

    assert_eq!(line(&seen, "links"), "lo");
}

#[test]
fn jail_with_a_macvlan_sees_it_and_no_link_of_the_host() {
    let mut guest = guest();
    guest.wait_page().unwrap();

    let nginx = guest.agent().jail_processes("nginx").unwrap()[0].pid;
    let links = guest.agent().read(&format!("/proc/{nginx}/net/dev")).unwrap();

    let mut names: Vec<_> =
        links.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    names.sort_unstable();
    assert_eq!(names, ["eth0", "lo"]);
}

#[test]
fn service_has_no_capability() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let service = guest.agent().service("looker", "nuisance").unwrap();

    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| service.field(set));
    assert_eq!(sets, [NONE; 5]);
}

#[test]
fn service_has_only_the_capability_that_its_unit_declares() {
    let mut guest = guest();
    guest.wait_page().unwrap();

    let jail = guest.agent().jail_processes("nginx").unwrap();
    let service = jail.iter().find(|process| process.name() == "nginx").unwrap();

    let sets = ["CapPrm", "CapEff", "CapBnd"].map(|set| service.field(set));
    assert_eq!(sets, [NET_BIND_SERVICE; 3]);
}

#[test]
fn no_process_of_a_jail_can_gain_privileges() {
    let mut guest = guest();
    guest.wait_page().unwrap();

    let jail = guest.agent().jail_processes("nginx").unwrap();

    // In-jail init, nginx's master and its worker.
    assert_eq!(jail.len(), 3, "{jail:?}");
    let able: Vec<_> = jail.iter().filter(|process| process.field("NoNewPrivs") != "1").collect();
    assert!(able.is_empty(), "{able:?}");
}

#[test]
fn every_process_of_a_jail_has_a_system_call_filter() {
    let mut guest = guest();
    guest.wait_page().unwrap();

    let jail = guest.agent().jail_processes("nginx").unwrap();

    let free: Vec<_> = jail.iter().filter(|process| process.field("Seccomp") != "2").collect();
    assert!(!jail.is_empty() && free.is_empty(), "{free:?}");
}

#[test]
fn service_finds_the_usual_umask() {
    let mut guest = guest();
    guest.wait_jail(0, "looker", "up").unwrap();

    let service = guest.agent().service("looker", "nuisance").unwrap();

    assert_eq!(service.field("Umask"), "0022");
}

#[test]
fn jails_cannot_take_jailsupds_last_memory() {
    let mut guest = guest();

    let protected = guest.agent().read("/sys/fs/cgroup/jailsupd/memory.min").unwrap();

    assert_ne!(protected.trim(), "0");
}

/// What the program `nuisance look` wrote about its surroundings.
fn seen(guest: &mut Guest<'_>) -> String {
    let service = guest.agent().service("looker", "nuisance").unwrap();
    let file = format!("/proc/{}/root/seen", service.pid);
    guest.agent().wait_until(&format!("[ -s {file} ]"), std::time::Duration::from_secs(5)).unwrap();
    guest.agent().read(&file).unwrap()
}

fn line<'a>(seen: &'a str, name: &str) -> &'a str {
    let value = seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or("the line is missing")
}
