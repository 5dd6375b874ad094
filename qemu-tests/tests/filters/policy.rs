//! `/etc/warder/policy.toml`.

use jailsupd::control::wire::{Checked, HostInfo, JailState, JailSummary};

use crate::{Host, PROBLEMS, REFUSED, SOON, guest, unit};

fn is_refused(row: Option<&JailSummary>) -> bool {
    row.is_some_and(|row| row.problem.is_some())
}

const NET_ADMIN: &str = "[security]\nadd_capability = [\"NET_ADMIN\"]";

#[test]
fn without_a_policy_a_dangerous_capability_is_refused_and_the_default_named() {
    let mut guest = guest();

    guest.put("asks", &unit(&["stay"], NET_ADMIN));
    let row = guest.problem("asks", JailState::Invalid);
    let check = guest.agent().jailctl(&["check"]).unwrap();
    let checked: Checked =
        serde_json::from_str(&guest.agent().jailctl(&["check", "--json"]).unwrap().stdout).unwrap();

    assert!(row.contains("/etc/jails.d/asks.toml:9:18: security.add_capability"), "{row}");
    assert!(row.contains("the built-in default"), "{row}");
    assert_eq!(check.status, PROBLEMS);
    let problem = &checked.problems[0];
    assert_eq!((problem.line, problem.key.as_str()), (9, "security.add_capability"));
    assert!(problem.message.contains("NET_ADMIN"), "{problem:?}");
}

#[test]
fn image_out_of_the_hosts_own_directories_is_refused() {
    let mut guest = guest();

    let text = unit(&["stay"], "").replace("erofs:/usr/share/jails/nuisance.erofs", "dir:/etc");
    guest.put("reader", &text);

    let row = guest.problem("reader", JailState::Invalid);
    assert!(row.contains("image.source"), "{row}");
}

#[test]
fn a_changed_policy_starts_what_it_allows_and_stops_nothing_that_it_refuses() {
    let mut guest = guest();
    guest.put("asks", &unit(&["stay"], NET_ADMIN));
    guest.agent().wait_state("asks", JailState::Invalid).unwrap();

    guest.policy("[security]\nadd_capability = [\"NET_ADMIN\"]\n");
    let first = guest.agent().wait_state("asks", JailState::Up).unwrap();
    guest.policy("[security]\nadd_capability = [\"CHOWN\"]\n");
    let second = guest.agent().wait_listed("asks", "refused", is_refused).unwrap().unwrap();
    let restart = guest.agent().jailctl(&["restart", "asks"]).unwrap();
    let third = guest.agent().listed("asks").unwrap();

    assert_eq!((second.state, second.pid), (JailState::Up, first.pid));
    let problem = second.problem.unwrap();
    assert!(problem.contains("/etc/warder/policy.toml:3:18"), "{problem}");
    assert_eq!(restart.status, REFUSED, "{restart:?}");
    assert!(restart.stderr.contains("policy"), "{restart:?}");
    assert_eq!((third.state, third.pid), (JailState::Up, first.pid));
}

#[test]
fn what_a_policy_refuses_is_not_started_again_when_it_ends() {
    let mut guest = guest();
    guest.policy("[security]\nadd_capability = [\"NET_ADMIN\"]\n");
    guest.put_up("asks", &unit(&["stay"], &format!("{NET_ADMIN}\n[restart]\npolicy = \"always\"")));

    guest.policy("");
    guest.agent().wait_listed("asks", "refused", is_refused).unwrap();
    guest.sh("/usr/bin/jailctl kill --signal SIGKILL asks");
    let ended = guest.agent().wait_state("asks", JailState::Failed).unwrap();
    guest.policy("[security]\nadd_capability = [\"NET_ADMIN\"]\n");
    let again = guest.agent().wait_state("asks", JailState::Up).unwrap();

    assert_eq!(ended.pid, None);
    assert!(ended.problem.unwrap().contains("security.add_capability"));
    assert_eq!(again.problem, None);
}

#[test]
fn ceilings_refuse_what_is_above_and_what_has_no_limit() {
    let mut guest = guest();
    guest.policy("[resources]\nmemory_max = \"64M\"\npids_max = 100\n");

    let limits = |memory: &str, pids: u32| {
        unit(&["stay"], &format!("[resources]\n{memory}\npids_max = {pids}"))
    };
    guest.put("unlimited", &limits("", 100));
    guest.put("greedy", &limits("memory_max = \"65M\"", 101));
    guest.put_up("modest", &limits("memory_max = \"64M\"", 100));

    let unlimited = guest.problem("unlimited", JailState::Invalid);
    assert!(unlimited.contains("resources.memory_max: is not set"), "{unlimited}");
    let greedy = guest.agent().inspect("greedy").unwrap().problems;
    assert_eq!(greedy.len(), 2, "{greedy:?}");
    assert!(greedy[0].contains("/etc/warder/policy.toml:3:14"), "{greedy:?}");
}

#[test]
fn a_broken_policy_is_told_and_the_safe_defaults_hold() {
    let mut guest = guest();
    guest.put_up("plain", &unit(&["stay"], ""));

    guest.policy("[security]\nadd_capability = [\"SYS_ADMIN\", \"NET_ADMN\"]\n");
    guest.put("asks", &unit(&["stay"], "[security]\nadd_capability = [\"SYS_ADMIN\"]"));
    let row = guest.problem("asks", JailState::Invalid);
    let check = guest.agent().jailctl(&["check"]).unwrap();
    let host: HostInfo = guest.agent().ask(&["host", "info"]).unwrap();
    let plain = guest.agent().listed("plain").unwrap();

    assert!(row.contains("the built-in default"), "{row}");
    assert_eq!(check.status, PROBLEMS);
    assert!(check.stdout.contains("/etc/warder/policy.toml:3:32"), "{check:?}");
    assert!(host.problems.iter().any(|text| text.contains("\"NET_ADMIN\"?")), "{host:?}");
    assert_eq!((plain.state, plain.problem), (JailState::Up, None));
    guest.sh("rm /etc/warder/policy.toml");
    guest.agent().wait_until("! jailctl host info | grep -q NET_ADM", SOON).unwrap();
}
