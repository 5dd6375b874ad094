//! The ids of jails on the host.

use jailsupd::control::wire::{JailState, ProcessTable};

use super::{SOON, guest, stay, strain};

const RANGES: &str = "/data/jails/ranges";

#[test]
fn range_is_free_again_only_when_nothing_is_left_of_its_jail() {
    let mut guest = guest();
    guest.put_up("passing", &stay(""));
    guest.put_up("heir", &stay(""));
    let base = guest.agent().inspect("passing").unwrap().uid_base.unwrap();
    let own = format!("passing {base}\n");
    assert!(guest.agent().read(RANGES).unwrap().contains(&own));
    // Something that only a person can have put there: it stays, and so does the range.
    guest
        .agent()
        .shell(&format!("echo x >/data/jails/passing/kept; chown {base} /data/jails/passing/kept"))
        .unwrap();

    guest.remove("passing");
    guest.remove("heir");
    guest.agent().wait_until(&format!("! grep -q '^heir ' {RANGES}"), SOON).unwrap();
    let ranges = guest.agent().read(RANGES).unwrap();
    assert!(ranges.contains(&own), "{ranges}");
    guest.put_up("another", &stay(""));
    assert_ne!(guest.agent().inspect("another").unwrap().uid_base, Some(base));

    // Now nothing is left, and after the next emptying of the trash the range is another jail's.
    guest.agent().shell("rm -r /data/jails/passing").unwrap();
    guest.remove("another");
    guest.agent().wait_until(&format!("! grep -q '^passing ' {RANGES}"), SOON).unwrap();
    let owned = format!(
        "find /data -exec stat -c %u {{}} + | awk '$1 >= {base} && $1 < {base} + 65536' | wc -l"
    );
    assert_eq!(guest.agent().shell(&owned).unwrap().trim(), "0");
    guest.put_up("next", &stay(""));
    assert!(guest.agent().inspect("next").unwrap().uid_base.unwrap() <= base);
    guest.remove("next");
}

const MAPS: &str = "
[user]
size = 131072
uid_map = [\"1000:1500:1\"]
";

#[test]
fn ids_of_the_host_are_mapped_only_where_its_policy_allows_it() {
    let mut guest = guest();
    let unit = |rest: &str| {
        let unit = strain(&["try", "w:/dev/stdout", "w:/dev/stderr"], rest);
        unit.replace("[process]", "[process]\nuser = 1000\ngroup = 1000")
    };
    guest.put("mapped", &unit(MAPS));
    guest.agent().wait_state("mapped", JailState::Invalid).unwrap();
    let refused = guest.agent().listed("mapped").unwrap().problem.unwrap_or_default();
    assert!(refused.contains("user.uid_map") && refused.contains("policy"), "{refused}");

    let policy = "version = 1\n[user]\nuid_map = [\"1500-1600\"]\n";
    guest.agent().write("/etc/warder/policy.toml", policy).unwrap();
    guest.ctl(&["apply"]);
    guest.agent().wait_state("mapped", JailState::Up).unwrap();
    let base = guest.agent().inspect("mapped").unwrap().uid_base.unwrap();
    let service = guest.agent().service("mapped", "strain").unwrap();
    let map = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let users = map(&guest.agent().read(&format!("/proc/{}/uid_map", service.pid)).unwrap());
    let groups = map(&guest.agent().read(&format!("/proc/{}/gid_map", service.pid)).unwrap());

    assert_eq!(users.len(), 4, "{users:?}");
    assert_eq!(
        users[..3],
        [format!("0 {base} 1000"), "1000 1500 1".into(), format!("1001 {} 64535", base + 1001)]
    );
    assert!(users[3].starts_with("65536 ") && users[3].ends_with(" 65536"), "{users:?}");
    assert_eq!(groups[0], format!("0 {base} 65536"));
    assert!(service.field("Uid").starts_with("1500\t"), "{}", service.field("Uid"));
    let table: ProcessTable = guest.agent().ask(&["tree", "mapped"]).unwrap();
    let users: Vec<u32> = table.jails[0].processes.iter().map(|process| process.user).collect();
    assert!(!users.is_empty() && users.iter().all(|user| *user == 1000), "{users:?}");
    // The pipes of its output are its own there, too.
    for word in ["w:/dev/stdout", "w:/dev/stderr"] {
        assert_eq!(super::devices::tried(&mut guest, "mapped", word), "ok", "{word}");
    }

    // Another map is another namespace.
    guest.put("mapped", &unit(""));
    guest.ctl(&["apply"]);
    guest.agent().wait_state("mapped", JailState::Up).unwrap();
    let service = guest.agent().service("mapped", "strain").unwrap();
    let users = map(&guest.agent().read(&format!("/proc/{}/uid_map", service.pid)).unwrap());
    assert_eq!(users, [format!("0 {base} 65536")]);
    guest.remove("mapped");
    guest.agent().shell("rm /etc/warder/policy.toml").unwrap();
}
