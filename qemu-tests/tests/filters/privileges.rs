//! What `jailctl inspect` reads back from the kernel, and settings of a jail's own namespaces.

use jailsupd::control::wire::{JailState, Privileges, Seccomp};

use crate::{Host, guest, trier, unit};

#[test]
fn inspect_tells_what_the_kernel_says_of_service_and_init() {
    let mut guest = guest();
    guest.put_up("plain", &unit(&["stay"], ""));
    let held = "[security]\nadd_capability = [\"CHOWN\", \"KILL\"]\n";
    let user = unit(&["stay"], held).replace("[process]\n", "[process]\nuser = 1000\n");
    guest.put_up("held", &user);

    let plain = guest.agent().inspect("plain").unwrap();
    let held = guest.agent().inspect("held").unwrap();
    let shown = guest.sh("/usr/bin/jailctl inspect held");
    let service = guest.agent().service("held", "nuisance").unwrap();

    let none = Privileges {
        capabilities: Vec::new(),
        bounding: Vec::new(),
        seccomp: Some(Seccomp::Filter),
        no_new_privs: true,
    };
    assert_eq!(plain.init, Some(none));
    assert_eq!((plain.capabilities, plain.bounding), (Some(Vec::new()), Some(Vec::new())));
    assert_eq!((plain.seccomp, plain.no_new_privs), (Some(Seccomp::Filter), Some(true)));
    let both = ["CHOWN", "KILL"].map(str::to_owned).to_vec();
    assert_eq!((held.capabilities, held.bounding), (Some(both.clone()), Some(both.clone())));
    assert_eq!(held.init.unwrap().capabilities, both);
    assert!(shown.contains("Capabilities    CHOWN KILL\n"), "{shown}");
    // The user is not root: they are ambient, so that an exec keeps them.
    assert_eq!(service.field("CapAmb"), "0000000000000021");
}

/// Without a filter and with the capability, Landlock alone is what keeps a jail from changing its mounts.
#[test]
fn landlock_keeps_mounts_as_they_are_when_nothing_else_does() {
    let mut guest = guest();
    guest.policy(
        "[security]\nseccomp = [\"default\", \"none\"]\nadd_capability = [\"SYS_ADMIN\"]\n",
    );

    let rest = "[security]\nseccomp = \"none\"\nadd_capability = [\"SYS_ADMIN\"]\n";
    let open = guest.tried("open", &trier(&[], rest));
    let held = guest.agent().inspect("open").unwrap();
    let usual = guest.tried("usual", &trier(&[], ""));

    assert_eq!(held.landlock, Some(true));
    // What the capability allows shows that it is not the kernel's usual check that refuses the mount.
    assert_eq!((open.of("sethostname"), open.of("fsopen")), ("ok", "ok"));
    assert_eq!(open.of("mount"), "EPERM");
    // Moving files from directory to directory is what a careless ruleset would forbid.
    assert_eq!((open.of("rename"), usual.of("rename")), ("ok", "ok"));
}

#[test]
fn sysctls_are_set_in_the_jails_own_namespaces_only_and_go_with_the_unit() {
    let mut guest = guest();
    let files = [
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/kernel/msgmax",
        "/proc/sys/fs/mqueue/msg_max",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/user/max_user_namespaces",
    ];
    let before = guest.sh(&format!("cat {}", files[..4].join(" ")));

    let sysctl = "[security.sysctl]\n\"net.core.somaxconn\" = \"77\"\n\"kernel.msgmax\" = \"9000\"\n\
                  \"fs.mqueue.msg_max\" = \"5\"\n\"net.ipv4.ip_unprivileged_port_start\" = \"80\"\n";
    let set = guest.tried("tries", &trier(&files, sysctl));
    let after = guest.sh(&format!("cat {}", files[..4].join(" ")));
    let unset = guest.tried("tries", &trier(&files, ""));

    assert_eq!(files.map(|file| set.of(file).to_owned()), ["77", "9000", "5", "80", "0"]);
    assert_eq!(before, after);
    // The network namespace is kept from start to start, but not with the settings of another unit.
    assert_eq!([unset.of(files[0]), unset.of(files[3])], ["4096", "1024"]);
    assert_eq!(unset.of(files[4]), "0");
}

#[test]
fn sysctls_of_the_host_are_refused_and_unknown_ones_fail_the_start() {
    let mut guest = guest();

    guest.put("host", &trier(&[], "[security.sysctl]\n\"kernel.core_pattern\" = \"|/x\"\n"));
    guest.put("more", &trier(&[], "[security.sysctl]\n\"net.ipv4.route.gc_timeout\" = \"1\"\n"));
    guest.put("unknown", &trier(&[], "[security.sysctl]\n\"net.ipv4.tcp_nothing\" = \"1\"\n"));

    let host = guest.problem("host", JailState::Invalid);
    assert!(host.contains("a setting of the whole host"), "{host}");
    let more = guest.problem("more", JailState::Invalid);
    assert!(more.contains("security.sysctl: sets net.ipv4.route.gc_timeout"), "{more}");
    let unknown = guest.problem("unknown", JailState::Failed);
    assert!(unknown.contains("no such setting for a namespace"), "{unknown}");
}
