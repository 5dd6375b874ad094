//! Seccomp: what the kernel answers to a program in a jail that tries.

use jailsupd::control::wire::{Evidence, JailState, Seccomp};

use crate::{Host, SOON, guest, trier};

/// A profile of the host, as a Docker user has one: everything but what is named.
const DOCKER: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"] }],
    "syscalls": [
        { "names": ["memfd_create"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22 },
        { "names": ["chroot"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_CHROOT"] } },
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 8,
            "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }]
        }
    ]
}"#;

const PROFILE: &str = "/etc/warder/seccomp/docker.json";
const BY_FILE: &str = "[security]\nseccomp = \"/etc/warder/seccomp/docker.json\"\n";

#[test]
fn default_lets_services_work_and_refuses_what_reaches_the_host() {
    let mut guest = guest();

    let tried = guest.tried("tries", &trier(&[], ""));

    for name in [
        "getppid",
        "memfd_create",
        "mknodat",
        "fchownat",
        "splice",
        "socket inet",
        "socket netlink",
    ] {
        assert_eq!(tried.of(name), "ok", "{name}");
    }
    for name in ["mount", "fsopen", "setns", "chroot", "sethostname", "init_module", "mlockall"] {
        assert_eq!(tried.of(name), "EPERM", "{name}");
    }
    for name in ["socket packet", "socket alg", "socket vsock"] {
        assert_eq!(tried.of(name), "EPERM", "{name}");
    }
    assert_eq!(tried.of("socket audit"), "EAFNOSUPPORT");
}

#[test]
fn strict_refuses_what_only_few_services_need() {
    let mut guest = guest();

    let tried = guest.tried("tries", &trier(&[], "[security]\nseccomp = \"strict\"\n"));

    for name in ["getppid", "socket inet"] {
        assert_eq!(tried.of(name), "ok", "{name}");
    }
    for name in ["memfd_create", "mknodat", "fchownat", "splice", "socket netlink", "mount"] {
        assert_eq!(tried.of(name), "EPERM", "{name}");
    }
}

#[test]
fn some_calls_go_with_their_capability() {
    let mut guest = guest();
    guest.policy("[security]\nadd_capability = [\"SYS_CHROOT\", \"IPC_LOCK\", \"NET_RAW\"]\n");

    let rest = "[security]\nadd_capability = [\"SYS_CHROOT\", \"IPC_LOCK\", \"NET_RAW\"]\n\
                [resources]\nmemory_max = \"64M\"\n";
    let tried = guest.tried("tries", &trier(&[], rest));

    for name in ["chroot", "mlockall", "socket packet"] {
        assert_eq!(tried.of(name), "ok", "{name}");
    }
    assert_eq!(tried.of("mount"), "EPERM");
}

#[test]
fn none_needs_the_hosts_policy_and_then_leaves_the_kernels_own_checks() {
    let mut guest = guest();
    guest.put("tries", &trier(&[], "[security]\nseccomp = \"none\"\n"));
    let refused = guest.problem("tries", JailState::Invalid);

    guest.policy("[security]\nseccomp = [\"default\", \"none\"]\n");
    let tried = guest.tried("tries", &trier(&[], "[security]\nseccomp = \"none\"\n"));
    let seccomp = guest.agent().inspect("tries").unwrap().seccomp;

    assert!(refused.contains("security.seccomp: asks for \"none\""), "{refused}");
    assert_eq!(seccomp, Some(Seccomp::Disabled));
    // No filter, but no capability either.
    assert_eq!((tried.of("mount"), tried.of("init_module")), ("EPERM", "EPERM"));
    assert_eq!(tried.of("socket packet"), "EPERM");
}

#[test]
fn profile_of_a_file_counts_and_walls_stay_before_it() {
    let mut guest = guest();
    guest.put_profile(PROFILE, DOCKER);

    let tried = guest.tried("tries", &trier(&[], BY_FILE));

    assert_eq!(tried.of("memfd_create"), "EINVAL");
    assert_eq!(tried.of("socket inet"), "ENOEXEC");
    assert_eq!(tried.of("chroot"), "EPERM");
    // What the file allows, and the default does not: now it is the kernel that wants a capability.
    assert_eq!(tried.of("sethostname"), "EPERM");
    for name in ["mount", "fsopen", "setns", "init_module", "socket alg", "socket vsock"] {
        assert_eq!(tried.of(name), "EPERM", "{name}");
    }
}

#[test]
fn an_edit_of_the_file_restarts_the_jail_and_a_broken_one_leaves_it_as_it_is() {
    let mut guest = guest();
    guest.put_profile(PROFILE, DOCKER);
    guest.put_up("tries", &trier(&[], BY_FILE));
    let first = guest.agent().listed("tries").unwrap().pid;

    guest.put_profile(PROFILE, &DOCKER.replace("SCMP_ACT_ALLOW", "SCMP_ACT_ALOW"));
    let row = guest
        .agent()
        .wait_listed("tries", "refused", |row| row.is_some_and(|row| row.problem.is_some()))
        .unwrap()
        .unwrap();
    guest.put_profile(PROFILE, &DOCKER.replace("\"errnoRet\": 22", "\"errnoRet\": 38"));
    let other = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.pid != first)
    };
    guest.agent().wait_listed("tries", "up anew", other).unwrap();
    let tried = guest.read_tried("tries");

    assert_eq!((row.state, row.pid), (JailState::Up, first));
    let problem = row.problem.unwrap();
    assert!(problem.starts_with("/etc/warder/seccomp/docker.json:"), "{problem}");
    assert!(problem.contains("did you mean \"SCMP_ACT_ALLOW\"?"), "{problem}");
    assert_eq!(tried.of("memfd_create"), "ENOSYS");
}

#[test]
fn a_missing_file_and_one_elsewhere_are_refused() {
    let mut guest = guest();

    guest.put("missing", &trier(&[], BY_FILE));
    guest.put("elsewhere", &trier(&[], "[security]\nseccomp = \"/etc/passwd\"\n"));

    let missing = guest.problem("missing", JailState::Invalid);
    assert!(missing.contains("docker.json: cannot be read: No such file"), "{missing}");
    let elsewhere = guest.problem("elsewhere", JailState::Invalid);
    assert!(elsewhere.contains("more than this host's policy allows"), "{elsewhere}");
}

#[test]
fn a_denied_call_that_is_logged_shows_in_why_by_its_name() {
    let mut guest = guest();

    guest.put_up("quiet", &trier(&[], ""));
    guest.put_up("tries", &trier(&[], "[security]\nseccomp_log = true\n"));
    let tells = "/usr/bin/jailctl why tries --json | grep -q 'filter has denied:.* mount (once, last to trier)'";
    guest.agent().wait_until(tells, SOON).unwrap();
    let log = guest.sh("/usr/bin/jailctl logs tries");
    let quiet = guest.sh("/usr/bin/jailctl why quiet");

    assert!(log.contains("its filter denied mount to trier (process "), "{log}");
    assert!(!quiet.contains("denied"), "{quiet}");
}

#[test]
fn a_call_that_ends_the_program_is_named_when_calls_are_logged_and_why_says_so() {
    let mut guest = guest();
    let kills = "\"action\": \"SCMP_ACT_KILL_PROCESS\"";
    guest.put_profile(
        PROFILE,
        &DOCKER.replacen("\"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 22", kills, 1),
    );
    let never = "[restart]\npolicy = \"no\"\n";

    guest.put("quiet", &trier(&[], &format!("{BY_FILE}{never}")));
    guest.put("tries", &trier(&[], &format!("{BY_FILE}seccomp_log = true\n{never}")));
    for jail in ["quiet", "tries"] {
        guest.agent().wait_state(jail, JailState::Failed).unwrap();
    }
    // The kernel writes that into its log some time after the end; or never, when the jails of another test
    // have used up what it tells in five seconds.
    let tells = "/usr/bin/jailctl why tries | grep -q 'filter has denied' || { /usr/bin/jailctl start tries; false; }";
    let told = guest.agent().wait_until(tells, SOON);
    assert!(told.is_ok(), "{told:?} {}", guest.sh("/usr/bin/jailctl why tries"));
    guest.agent().wait_state("tries", JailState::Failed).unwrap();
    let [quiet, logged] = ["quiet", "tries"].map(|jail| {
        let why: Evidence = guest.agent().ask(&["why", jail]).unwrap();
        assert_eq!(why.last_exit.unwrap().signal.as_deref(), Some("SIGSYS"), "{:?}", why.text);
        why.text.join("\n")
    });

    assert!(quiet.contains("with `security.seccomp_log = true`"), "{quiet}");
    assert!(!quiet.contains("memfd_create"), "{quiet}");
    let denied = logged.split("Its filter has denied: ").nth(1).unwrap_or_default();
    assert!(denied.contains("memfd_create ("), "{logged}");
    assert!(!logged.contains("seccomp_log"), "{logged}");
}
