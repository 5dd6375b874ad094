//! Device nodes: what a jail has, what it cannot get at, what its unit asks for.

use jailsupd::control::wire::JailState;
use qemu_tests::Guest;

use super::{SOON, guest, stay, strain};

/// errno(3).
const EPERM: &str = "1";
const EACCES: &str = "13";

/// What `strain try` said of each of its words.
pub(crate) fn tried(guest: &mut Guest<'_>, jail: &str, word: &str) -> String {
    let said = format!("/usr/bin/jailctl logs {jail} | grep -q 'tried all'");
    guest.agent().wait_until(&said, SOON).unwrap();
    let log = guest.ctl(&["logs", jail]);
    let line =
        log.lines().find_map(|line| line.split_once(&format!("{word}: ")).map(|(_, rest)| rest));
    line.unwrap_or_default().to_owned()
}

#[test]
fn jail_opens_the_nodes_that_every_jail_has_and_makes_none() {
    let mut guest = guest();
    let words = ["r:/dev/null", "w:/dev/full", "r:/dev/urandom", "r:/dev/ptmx", "make:/tmp/null"];
    guest.put_up("usual", &strain(&[&["try"], &words[..]].concat(), ""));

    for word in &words[..4] {
        assert_eq!(tried(&mut guest, "usual", word), "ok", "{word}");
    }
    // Landlock is asked before the filter of devices, and says it so.
    assert_eq!(tried(&mut guest, "usual", "make:/tmp/null"), EACCES);
    guest.remove("usual");
}

#[test]
fn node_that_an_image_brings_cannot_be_opened_for_its_mount() {
    let mut guest = guest();
    guest.put_up("donor", &stay(""));
    let donor = guest.agent().service("donor", "strain").unwrap().pid;
    let image = "/data/images/smuggler";
    guest
        .agent()
        .shell(&format!(
            "mkdir -p {image}/bin && cd {image} && mkdir -p dev proc sys etc tmp run && \
             cp /proc/{donor}/root/bin/strain bin/ && mknod null c 1 3 && mknod kmsg c 1 11 && \
             chmod 666 null kmsg"
        ))
        .unwrap();
    let unit = strain(&["try", "r:/null", "r:/kmsg", "r:/dev/null"], "");
    guest.put_up(
        "smuggler",
        &unit.replace("erofs:/usr/share/jails/strain.erofs", &format!("dir:{image}")),
    );

    // The filter of devices would let this one pass: it is the mount that does not.
    assert_eq!(tried(&mut guest, "smuggler", "r:/null"), EACCES);
    assert_eq!(tried(&mut guest, "smuggler", "r:/kmsg"), EACCES);
    assert_eq!(tried(&mut guest, "smuggler", "r:/dev/null"), "ok");
    guest.remove("smuggler");
    guest.remove("donor");
    guest.agent().shell(&format!("rm -r {image}")).unwrap();
}

#[test]
fn filter_alone_refuses_devices_even_to_the_hosts_root() {
    let mut guest = guest();
    guest.put_up("filtered", &stay(""));
    // Root of the host, with all capabilities and without a mount in its way, in the jail's cgroup.
    let within = |command: &str| {
        format!(
            "echo $$ >/sys/fs/cgroup/jails/filtered/cgroup.procs; {command}; echo \"status $?\""
        )
    };
    let mut run = |command: &str| guest.agent().shell(&format!("exec 2>&1; {command}")).unwrap();

    let outside = run("head -c 1 /dev/vda >/run/byte; echo \"status $?\"");
    let opened = run(&within("head -c 1 /dev/vda >/run/byte"));
    let made = run(&within("mknod /run/smuggled b 254 0"));
    let null = run(&within("echo x >/dev/null"));

    assert_eq!(outside, "status 0\n");
    assert!(opened.contains("Operation not permitted") && opened.contains("status 1"), "{opened}");
    assert!(made.contains("Operation not permitted") && made.contains("status 1"), "{made}");
    assert_eq!(null, "status 0\n");
    guest.remove("filtered");
}

const ASKS: &str =
    "[security]\nadd_device = [\"/dev/loop0:/dev/loops/zero:r\", \"/dev/loop1:/dev/loops/one\"]";

#[test]
fn device_is_given_only_where_the_hosts_policy_allows_it_and_only_as_asked_for() {
    let mut guest = guest();
    let words =
        ["try", "r:/dev/loops/zero", "w:/dev/loops/zero", "r:/dev/loops/one", "w:/dev/loops/one"];
    guest.put("asks", &strain(&words, ASKS));
    guest.agent().wait_state("asks", JailState::Invalid).unwrap();
    let refused = guest.agent().listed("asks").unwrap().problem.unwrap_or_default();
    assert!(refused.contains("security.add_device") && refused.contains("policy"), "{refused}");

    let policy = "version = 1\n[security]\nadd_device = [\"/dev/loop0\", \"/dev/loop1\"]\n";
    guest.agent().write("/etc/warder/policy.toml", policy).unwrap();
    guest.ctl(&["apply"]);
    guest.agent().wait_state("asks", JailState::Up).unwrap();

    assert_eq!(tried(&mut guest, "asks", "r:/dev/loops/zero"), "ok");
    assert_eq!(tried(&mut guest, "asks", "w:/dev/loops/zero"), EPERM);
    assert_eq!(tried(&mut guest, "asks", "r:/dev/loops/one"), "ok");
    assert_eq!(tried(&mut guest, "asks", "w:/dev/loops/one"), "ok");
    let service = guest.agent().service("asks", "strain").unwrap().pid;
    let node = format!("stat -c '%F %t:%T %a' /proc/{service}/root/dev/loops/one");
    assert_eq!(guest.agent().shell(&node).unwrap(), "block special file 7:1 660\n");
    guest.remove("asks");
    guest.agent().shell("rm /etc/warder/policy.toml").unwrap();
}

#[test]
fn device_that_is_not_there_is_named() {
    let mut guest = guest();
    let policy = "version = 1\n[security]\nadd_device = [\"/dev\"]\n";
    guest.agent().write("/etc/warder/policy.toml", policy).unwrap();
    guest.ctl(&["apply"]);
    for device in ["/dev/nodevice", "/dev/fd"] {
        let rest =
            format!("[security]\nadd_device = [\"{device}:/dev/x\"]\n[restart]\npolicy = \"no\"");
        guest.put("lacks", &stay(&rest));
        guest.agent().wait_state("lacks", JailState::Failed).unwrap();

        let problem = guest.agent().listed("lacks").unwrap().problem.unwrap_or_default();

        assert!(problem.contains("security.add_device") && problem.contains(device), "{problem}");
        guest.remove("lacks");
    }
    guest.agent().shell("rm /etc/warder/policy.toml").unwrap();
}
