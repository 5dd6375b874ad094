//! A program that is executed has the walls of the service, as the kernel tells it, and opens none.

use qemu_tests::{Guest, proto::Status};

use super::{NUISANCE, SOON, Shell, VISITOR, guest};

/// Of /proc/PID/status: identity, capabilities, filters.
const FIELDS: [&str; 14] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Cpus_allowed",
    "THP_enabled",
];

/// All else that a process has from its start.
fn rest_of(guest: &mut Guest<'_>, pid: u32) -> String {
    guest.sh(&format!(
        "cd /proc/{pid}; for n in ns/*; do readlink $n; done; cat cgroup uid_map gid_map setgroups limits \
         oom_score_adj mountinfo attr/current 2>&1; readlink root"
    ))
}

/// Starts a program that stays; its process.
fn stay(guest: &mut Guest<'_>, jail: &str) -> u32 {
    guest.sh(&format!(
        "/usr/bin/jailctl exec {jail} {VISITOR} stubborn >/run/{jail}.out 2>&1 </dev/null &"
    ));
    guest.agent().wait_until(&format!("grep -q here /run/{jail}.out"), SOON).unwrap();
    guest.agent().service(jail, "visitor").unwrap().pid
}

fn end(guest: &mut Guest<'_>, pid: u32) {
    guest.sh(&format!("kill -KILL {pid}"));
    guest.agent().wait_until(&format!("[ ! -e /proc/{pid} ]"), SOON).unwrap();
}

#[test]
fn identity_walls_namespaces_and_limits_are_those_of_the_service() {
    let mut guest = guest();
    for jail in ["walled", "room"] {
        let pid = stay(&mut guest, jail);

        let program = guest.agent().service(jail, "visitor").unwrap();
        let service = guest.agent().service(jail, "nuisance").unwrap();

        for field in FIELDS {
            assert_eq!(program.field(field), service.field(field), "{jail} {field}");
        }
        assert_eq!(program.field("Seccomp"), "2");
        assert_eq!(rest_of(&mut guest, program.pid), rest_of(&mut guest, service.pid), "{jail}");
        end(&mut guest, pid);
    }
}

#[test]
fn a_program_has_no_descriptor_of_the_host() {
    let mut guest = guest();
    let pid = stay(&mut guest, "room");
    let helper = guest.agent().service("room", "visitor").unwrap().field("PPid").to_owned();

    let program = guest.sh(&format!("cd /proc/{pid}/fd; for n in *; do readlink $n; done"));
    let helpers = guest.sh(&format!("cd /proc/{}/fd; for n in *; do readlink $n; done", helper));

    let kinds = |text: &str| -> Vec<String> {
        let mut kinds: Vec<String> =
            text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    // The sockets are its own: of the signals that it waits for.
    assert_eq!(kinds(&program), ["/dev/null", "pipe", "pipe", "socket", "socket"], "{program}");
    assert_eq!(kinds(&helpers), ["anon_inode", "socket"], "{helpers}");
    end(&mut guest, pid);
}

#[test]
fn attempts_to_get_out_fail() {
    let mut guest = guest();
    for jail in ["room", "walled"] {
        let said = guest.said(&[jail, VISITOR, "attempts"]);

        assert!(!said.contains(": done"), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains(": ")).count(), 13, "{said}");
        // Its own helper and the jail's init, neither of which it can open.
        assert!(said.contains("helpers: 2\n"), "{said}");
        assert!(said.contains("opened of helpers: []\n"), "{said}");
    }
}

#[test]
fn entry_point_that_is_its_own_executable_finds_the_sealed_helper_and_nothing_to_write() {
    let mut guest = guest();
    let root = guest.root("room");
    let brain = guest.agent().jailsupd().unwrap();
    let hash = format!("sha256sum /usr/lib/warder/jail-init /proc/{brain}/exe");
    let before = guest.sh(&hash);
    guest.sh(&format!("printf '#!/proc/self/exe\\n' > {root}/entry; chmod 755 {root}/entry"));

    let output = guest.exec(&["room", "/entry"]);

    // The helper again, which finds no descriptors.
    assert_eq!(output.status, Status::Exit(125), "{output:?}");
    assert_eq!(guest.sh(&hash), before);
    assert_eq!(guest.exec(&["room", NUISANCE, "exit", "3"]).status, Status::Exit(3));
}

#[test]
fn working_directory_of_another_process_or_descriptor_is_refused() {
    let mut guest = guest();
    let root = guest.root("room");
    guest.sh(&format!("ln -sf /proc/self/fd/5 {root}/leak"));

    let mut directories: Vec<String> = (3..20).map(|n| format!("/proc/self/fd/{n}")).collect();
    directories.extend(["/proc/1/cwd", "/proc/1/root", "/leak"].map(str::to_owned));
    for directory in directories {
        let output = guest.exec(&["-w", &directory, "room", VISITOR, "who"]);
        assert_eq!(output.status, Status::Exit(125), "{directory}: {output:?}");
    }
    // However many dots: its root is where they end.
    let said = guest.said(&["-w", "/../../tmp", "room", VISITOR, "who"]);
    assert!(said.contains(" dir=/tmp "), "{said}");
}
