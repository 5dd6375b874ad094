//! What the host keeps for itself, and what all jails share.

use jailsupd::control::wire::{ExitReason, JailState};
use qemu_tests::Guest;

use super::devices::tried;
use super::{Jailed as _, NEVER_AGAIN, SOON, guest, stay, strain};

fn number(guest: &mut Guest<'_>, path: &str) -> u64 {
    guest.agent().read(path).unwrap().trim().parse().unwrap()
}

#[test]
fn jails_without_a_limit_leave_the_host_what_is_its_own() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    let all = guest.sh("sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo");
    let all = all.trim().parse::<u64>().unwrap() * 1024;
    let (memory, pids) = (
        number(&mut guest, "/sys/fs/cgroup/jails/memory.max"),
        number(&mut guest, "/sys/fs/cgroup/jails/pids.max"),
    );
    let threads = number(&mut guest, "/proc/sys/kernel/threads-max");

    guest.put("endless", &strain(&["memory"], NEVER_AGAIN));
    guest.agent().wait_state("endless", JailState::Failed).unwrap();
    let exit = guest.agent().last_exit("endless").unwrap();
    let text = guest.why("endless").text.join("\n");

    // The kernel counts in pages.
    assert_eq!(memory, (all - (128 << 20)) / 4096 * 4096);
    assert_eq!(pids, threads - 1024);
    assert_eq!(exit.reason, ExitReason::Oom);
    assert!(text.contains("the jail had not reached its limit"), "{text}");
    guest.assert_others_answer();
    guest.remove("endless");
}

#[test]
fn what_cannot_be_promised_is_refused_with_the_numbers_until_it_can() {
    let mut guest = guest();
    guest.put("greedy", &stay("[resources]\nmemory_min = \"64G\""));
    let refused = guest.agent().wait_state("greedy", JailState::Backoff).unwrap();
    guest.put("greedy", &stay("[resources]\nmemory_min = \"16M\""));
    guest.agent().wait_state("greedy", JailState::Up).unwrap();

    // The limits of all jails, too, where the host says so.
    guest
        .agent()
        .write("/etc/warder/host.toml", "version = 1\n[reserve]\nmemory_overcommit = 50\n")
        .unwrap();
    guest.agent().kill_jailsupd().unwrap();
    guest.put("large", &stay("[resources]\nmemory_max = \"900M\""));
    let large = guest.agent().wait_state("large", JailState::Backoff).unwrap();
    guest.sh("rm /etc/warder/host.toml");
    guest.agent().kill_jailsupd().unwrap();
    guest.ctl(&["start", "large"]);

    let problem = refused.problem.unwrap();
    assert!(problem.contains("it asks for 64G, the jails that run have 0B, and "), "{problem}");
    let problem = large.problem.unwrap();
    assert!(problem.contains("it asks for 900M, the jails that run have "), "{problem}");
    for jail in ["greedy", "large"] {
        guest.ctl(&["stop", jail]);
        guest.remove(jail);
    }
}

#[test]
fn kernel_limits_are_for_many_jails_and_one_jail_has_its_part() {
    let mut guest = guest();
    let words = ["inotify:1000", "inotify:1025"];
    let unit =
        strain(&[&["try"], &words[..]].concat(), "[resources]\nulimit = [\"nofile=4096:4096\"]");
    guest.put_up("watcher", &unit);

    assert_eq!(tried(&mut guest, "watcher", words[0]), "ok");
    // EMFILE (errno(3)): of its own limit, not of the host's.
    assert_eq!(tried(&mut guest, "watcher", words[1]), "24");
    assert!(number(&mut guest, "/proc/sys/fs/file-max") >= 64 * 65_536);
    assert!(number(&mut guest, "/proc/sys/fs/inotify/max_user_instances") >= 64 * 1024);
    let neighbours = |guest: &mut Guest<'_>| {
        ["ipv4", "ipv6"].map(|family| {
            number(guest, &format!("/proc/sys/net/{family}/neigh/default/gc_thresh3"))
        })
    };
    assert_eq!(neighbours(&mut guest), [64 * 128; 2]);
    assert_eq!(number(&mut guest, "/proc/sys/kernel/pid_max"), 4_194_304);
    // More of them with more jails.
    guest.sh("for n in $(seq 70); do printf '%s\\n' 'version = 1' 'enabled = false' '[image]' 'source = \"erofs:/usr/share/jails/strain.erofs\"' '[network]' 'mode = \"none\"' '[process]' 'exec = [\"/bin/strain\", \"stay\"]' >/etc/jails.d/many-$n.toml; done");
    guest
        .agent()
        .wait_until("[ $(cat /proc/sys/fs/inotify/max_user_instances) -ge 131072 ]", SOON)
        .unwrap();
    guest.ctl(&["apply"]);
    assert_eq!(neighbours(&mut guest), [128 * 128; 2]);
    guest.sh("rm /etc/jails.d/many-*; /usr/bin/jailctl apply");
    guest.remove("watcher");
}

/// Keys that count for a user of the host, and how many may (`/proc/key-users`, keyrings(7)).
fn keys(guest: &mut Guest<'_>, user: u32) -> (u64, u64) {
    let text = guest.agent().read("/proc/key-users").unwrap();
    let line = text.lines().find_map(|line| {
        let (of, rest) = line.trim().split_once(':')?;
        (of.parse() == Ok(user)).then_some(rest)
    });
    let quota = line.and_then(|line| line.split_whitespace().nth(2)?.split_once('/'));
    assert!(quota.is_some(), "no user {user}: {text}");
    let (count, most) = quota.unwrap();
    (count.parse().unwrap(), most.parse().unwrap())
}

#[test]
fn keyrings_count_for_a_user_of_each_jail_and_go_with_its_life() {
    const JAILS: [&str; 3] = ["ring-0", "ring-1", "ring-2"];
    let mut guest = guest();
    guest.put_up(JAILS[0], &stay(""));
    let host = keys(&mut guest, 0);
    for jail in &JAILS[1..] {
        guest.put_up(jail, &stay(""));
    }
    let users = JAILS.map(|jail| guest.agent().inspect(jail).unwrap().uid_base.unwrap());
    let first = keys(&mut guest, users[0]);

    for _ in 0..5 {
        guest.ctl(&["restart", JAILS[0]]);
    }

    // Each has its own keyring, and room for many more that nobody else takes.
    assert!((1..10).contains(&first.0) && first.1 >= 200, "{first:?}");
    assert_eq!(users.map(|user| keys(&mut guest, user)), [first; 3]);
    assert_eq!(keys(&mut guest, 0), host);
    JAILS.iter().for_each(|jail| guest.remove(jail));
}
