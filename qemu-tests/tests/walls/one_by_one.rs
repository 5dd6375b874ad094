//! The attacks against a jailsupd that leaves walls out: what a wall holds gets through without it.

use qemu_tests::{Guest, Image, Machine, Shared};

use super::jails::{Case, Kind};

static WEAK: Shared = Shared::new();

/// Every wall or set of walls that alone stands before an attack. Where it takes several, each of them
/// would do: that is defence in depth, and the set says how deep.
pub(crate) const CASES: &[Case] = &[
    Case {
        walls: &["seccomp"],
        kind: Kind::Bare,
        attacks: &[
            "ptrace",
            "process-vm",
            "io-uring",
            "userfaultfd",
            "perf",
            "bpf",
            "keyctl",
            "add-key",
            "memory-policy",
            "personality",
            "terminal-input",
            "i386-calls",
            "quota",
            "netlink-audit",
        ],
    },
    Case {
        walls: &["seccomp"],
        kind: Kind::Capable,
        attacks: &["fsopen", "open-tree", "setns", "sethostname", "unshare-mount"],
    },
    Case {
        walls: &["seccomp", "landlock"],
        kind: Kind::Capable,
        attacks: &["mount", "umount-mask"],
    },
    Case {
        walls: &["seccomp", "user-namespace-limit"],
        kind: Kind::Bare,
        attacks: &["unshare-user", "clone-user", "clone3-user"],
    },
    Case { walls: &["masks"], kind: Kind::Bare, attacks: &["masked-files"] },
    Case { walls: &["narrow-sys"], kind: Kind::Bare, attacks: &["sys-of-the-host"] },
    Case { walls: &["read-only-paths"], kind: Kind::Bare, attacks: &["proc-sys-write"] },
    Case { walls: &["sys-read-only"], kind: Kind::Linked, attacks: &["sys-write"] },
    Case {
        walls: &["cgroup-read-only", "cgroup-owner"],
        kind: Kind::Bare,
        attacks: &["cgroup-write"],
    },
    Case { walls: &["bounding-set"], kind: Kind::Bare, attacks: &["capabilities"] },
    Case { walls: &["bounding-set", "capabilities"], kind: Kind::Bare, attacks: &["raw-icmp"] },
    // Without no_new_privs the kernel takes filter and Landlock only from CAP_SYS_ADMIN, so they go too.
    Case {
        walls: &["nosuid", "no-new-privs", "seccomp", "landlock"],
        kind: Kind::User,
        attacks: &["setuid-in-image", "setuid-on-volume"],
    },
    Case {
        walls: &["nosuid", "no-new-privs", "seccomp", "landlock", "bounding-set"],
        kind: Kind::User,
        attacks: &["file-capabilities-in-image"],
    },
    Case { walls: &["nodev", "device-filter"], kind: Kind::Bare, attacks: &["device-in-image"] },
    Case { walls: &["close-on-exec", "close-files"], kind: Kind::Bare, attacks: &["leaked-files"] },
    Case {
        walls: &["close-on-exec", "close-files", "working-dir"],
        kind: Kind::Elsewhere,
        attacks: &["working-directory"],
    },
    Case { walls: &["pinned-paths"], kind: Kind::DevLink, attacks: &["mount-elsewhere"] },
    Case { walls: &["resolve-in-root"], kind: Kind::PasswdLink, attacks: &["started-at-all"] },
    Case {
        walls: &["helper-mode"],
        kind: Kind::Bare,
        attacks: &["init-exe-read", "init-memory", "init-files", "init-environment", "init-root"],
    },
    Case {
        walls: &["helper-mode", "helper-seals"],
        kind: Kind::Bare,
        attacks: &["init-exe-unsealed"],
    },
    Case {
        walls: &["helper-mode", "seccomp"],
        kind: Kind::Bare,
        attacks: &["init-ptrace", "init-process-vm", "init-pidfd-getfd"],
    },
];

/// The host's setting refuses ptrace(2) to everybody without CAP_SYS_PTRACE: a wall of its own behind the others.
pub(crate) const NO_YAMA: &str = "echo 0 >/proc/sys/kernel/yama/ptrace_scope";

pub(crate) fn guest() -> Guest<'static> {
    WEAK.guest(|| Machine::new("weak", Image::Debug).jails(super::jails::weak(CASES).unwrap()))
}

#[test]
fn each_attack_succeeds_without_the_walls_that_hold_it() {
    let mut guest = guest();
    guest.weaken().unwrap();
    guest.agent().shell(NO_YAMA).unwrap();
    let mut failed = Vec::new();
    for case in CASES {
        guest.leave_out(case.walls, case.needs_a_new_helper()).unwrap();
        for attempt in super::attack(&mut guest, &case.jail()) {
            println!("{:?}: {attempt:?}", case.walls);
            if !attempt.succeeded {
                failed.push((case.walls, attempt));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The sets of [`CASES`] are no larger than they have to be.
#[test]
#[ignore = "takes long: make test-long"]
fn where_several_walls_hold_an_attack_each_of_them_does() {
    let mut guest = guest();
    guest.weaken().unwrap();
    guest.agent().shell(NO_YAMA).unwrap();
    let mut opened = Vec::new();
    for case in CASES.iter().filter(|case| case.walls.len() > 1) {
        for wall in case.walls {
            let others: Vec<_> = case.walls.iter().copied().filter(|other| other != wall).collect();
            guest.leave_out(&others, case.needs_a_new_helper()).unwrap();
            for attempt in super::attack(&mut guest, &case.jail()) {
                if attempt.succeeded {
                    opened.push((others.clone(), attempt));
                }
            }
        }
    }
    assert!(opened.is_empty(), "{opened:#?}");
}
