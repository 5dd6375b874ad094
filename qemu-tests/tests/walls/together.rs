//! All attacks on jails as the product makes them.

use qemu_tests::{Guest, Image, Machine, Shared, attack::Attempt, proto::Status};

use super::ATTACKS_LIMIT;

static REAL: Shared = Shared::new();

pub(crate) fn guest() -> Guest<'static> {
    REAL.guest(|| Machine::new("walls", Image::Debug).jails(super::jails::all().unwrap()))
}

/// What all attacks of a jail came to; their number is that of the program's own list.
fn tried(jail: &str) -> Vec<Attempt> {
    let mut guest = guest();
    let attempts = super::attack(&mut guest, jail);
    let known = guest.agent().output(&["/run/hostile/attacker", "list"]).unwrap();
    assert_eq!(attempts.len(), known.lines().count(), "{attempts:?}");
    attempts
}

fn succeeded(attempts: &[Attempt]) -> Vec<&Attempt> {
    attempts.iter().filter(|attempt| attempt.succeeded).collect()
}

#[test]
fn root_of_a_default_jail_succeeds_with_no_attack() {
    assert_eq!(succeeded(&tried("bare")), Vec::<&Attempt>::new());
}

#[test]
fn root_of_a_jail_with_a_link_succeeds_with_no_attack() {
    assert_eq!(succeeded(&tried("linked")), Vec::<&Attempt>::new());
}

#[test]
fn user_of_a_default_jail_succeeds_with_no_attack() {
    assert_eq!(succeeded(&tried("user")), Vec::<&Attempt>::new());
}

/// What a capability gives by its own meaning is no escape: NET_RAW opens raw and packet sockets, SYS_CHROOT and
/// SYS_PTRACE let their calls pass the filter (docs/security.md).
#[test]
fn root_with_many_capabilities_gets_what_they_mean_and_nothing_else() {
    const MEANT: [&str; 5] = ["af-packet", "raw-icmp", "chroot", "ptrace", "process-vm"];
    let attempts = tried("capable");

    let names: Vec<_> =
        succeeded(&attempts).iter().map(|attempt| attempt.attack.as_str()).collect();
    assert_eq!(names, MEANT, "{attempts:?}");
}

/// What no wall can be left out of, since the kernel itself makes no jail without it, is there to be
/// found all the same: root of the host finds it.
#[test]
fn attacks_on_what_cannot_be_left_out_succeed_on_the_host() {
    const ATTACKS: [&str; 12] = [
        "host-abstract-socket",
        "host-shared-memory",
        "host-root",
        "cgroup-path",
        "kernel-log",
        "consoles",
        "proc-write",
        "mknod",
        "handle",
        "kexec",
        "load-module-file",
        "oom-score",
    ];
    let mut guest = guest();
    super::set_up_host(guest.agent());

    let all = [&["/run/hostile/attacker", "all", "0"], &ATTACKS[..]].concat();
    let said = guest.agent().output(&all).unwrap();

    let attempts: Vec<Attempt> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed: Vec<_> = attempts.iter().filter(|attempt| !attempt.succeeded).collect();
    assert_eq!((attempts.len(), failed), (ATTACKS.len(), Vec::new()));
}

#[test]
fn jail_that_kills_all_it_can_name_kills_nobody_outside() {
    let mut guest = guest();
    let witness = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
    let witness = guest.agent().shell(witness).unwrap().trim().to_owned();

    guest.agent().jailctl(&["start", "killer"]).unwrap();
    let done = "/usr/bin/jailctl logs killer | grep -q 'all killed'";
    guest.agent().wait_until(done, ATTACKS_LIMIT).unwrap();

    let alive = guest.agent().run(&["/usr/bin/busybox", "kill", &witness]).unwrap();
    assert_eq!(alive.status, Status::Exit(0), "{alive:?}");
    guest.wait_page().unwrap();
}
