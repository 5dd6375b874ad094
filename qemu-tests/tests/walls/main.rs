//! A service that has been taken over attacks its jail, its neighbours and the host (DESIGN section 4's
//! table, S7). On the debug image's own jailsupd no attack succeeds. The same attacks then run against
//! the weak one with walls left out: those that a wall holds succeed there, so each is known to bite.
#![allow(clippy::unwrap_used, reason = "tests")]

mod hostile_images;
mod jails;
mod one_by_one;
mod races;
mod together;

use std::time::Duration;

use jailsupd::control::wire::{LogEntry, Stream};
use qemu_tests::{Vm, agent::Agent, attack::Attempt, proto::Status};

/// All attacks of one jail, on an idle machine.
const ATTACKS_LIMIT: Duration = Duration::from_secs(30);

/// Once in a boot: the attacker's other side on the host, for attacks to find.
const HOST: &str = "if [ ! -e /run/hostile ]; then mkdir /run/hostile && mount -t tmpfs tmpfs /run/hostile && \
     cp /usr/share/jails/attacker /run/hostile/attacker && chmod 755 /run/hostile/attacker && \
     echo mallory:x:0:0::/:/ >/run/hostile/passwd && mkdir -p /data/shared/pool/sub /data/shared/nested && \
     cp /run/hostile/attacker /data/shared/pool/setuid && chmod 4755 /data/shared/pool/setuid && echo new && \
     { /run/hostile/attacker host </dev/null >/dev/null 2>&1 & }; fi";

/// [`HOST`], and a policy that lets the unit `capable` have its capabilities.
fn set_up_host(agent: &mut Agent) {
    if agent.shell(HOST).unwrap().contains("new") {
        agent.write("/etc/warder/policy.toml", &jails::policy()).unwrap();
        let applied = agent.jailctl(&["apply"]).unwrap();
        assert_eq!(applied.status, Status::Exit(0), "{applied:?}");
    }
}

/// Starts a jail of the attacker and waits until it has tried everything. One that does not start
/// has tried that.
fn attack(vm: &mut Vm, jail: &str) -> Vec<Attempt> {
    let agent = vm.agent();
    set_up_host(agent);
    let before = attempts(agent, jail).1;
    let restarted = agent.jailctl(&["restart", jail]).unwrap();
    if restarted.status != Status::Exit(0) {
        return vec![Attempt { attack: "start".into(), succeeded: false, seen: restarted.stderr }];
    }
    let said = format!("/usr/bin/jailctl logs {jail} | grep -c 'all attacks tried'");
    agent.wait_until(&format!("[ $({said}) -gt {before} ]"), ATTACKS_LIMIT).unwrap();
    attempts(agent, jail).0
}

/// What a jail has tried in its last life, and how many lives of it have tried all.
fn attempts(agent: &mut Agent, jail: &str) -> (Vec<Attempt>, usize) {
    let log = agent.jailctl(&["logs", jail, "--json"]).unwrap().stdout;
    let mut attempts = Vec::new();
    let mut ends = 0;
    let mut fresh = false;
    let entries = log.lines().map(|line| serde_json::from_str::<LogEntry>(line).unwrap());
    for entry in entries.filter(|entry| entry.stream == Stream::Stdout) {
        if entry.text == "all attacks tried" {
            ends += 1;
            fresh = true;
        } else if let Ok(attempt) = serde_json::from_str::<Attempt>(&entry.text) {
            if std::mem::take(&mut fresh) {
                attempts.clear();
            }
            attempts.push(attempt);
        }
    }
    (attempts, ends)
}
