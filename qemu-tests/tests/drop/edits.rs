//! One file, from its first version to its end.

use jailsupd::control::wire::{Evidence, JailState, JailSummary};

use crate::{NO_SUCH_JAIL, etc, guest, stay};

const ENVIRONMENT: &str = "environment = { A = \"1\" }";

#[test]
fn dropped_file_starts_a_jail_and_its_deletion_leaves_nothing_of_it() {
    let mut guest = guest();

    let row = guest.put_up("dropped", &stay(""));
    let service = guest.agent().service("dropped", "nuisance").unwrap().pid;
    guest.sh("rm /etc/jails.d/dropped.toml");
    guest.agent().wait_gone("dropped").unwrap();

    assert_eq!((row.unit.as_str(), row.restarts), ("/etc/jails.d/dropped.toml", 0));
    let left = format!("[ -e /proc/{service} ] || [ -e /sys/fs/cgroup/jails/dropped ]");
    assert_eq!(guest.sh(&format!("if {left}; then echo left; fi")), "");
    let inspected = guest.agent().jailctl(&["inspect", "dropped"]).unwrap();
    assert_eq!(inspected.status, NO_SUCH_JAIL);
}

#[test]
fn edit_of_a_restart_key_restarts() {
    let mut guest = guest();
    let before = guest.put_up("edited", &stay(""));

    guest.put("edited", &stay(ENVIRONMENT));
    let other = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.pid != before.pid)
    };
    let after = guest.agent().wait_listed("edited", "up anew", other).unwrap().unwrap();

    assert!(!after.stale && after.problem.is_none(), "{after:?}");
    let service = guest.agent().service("edited", "nuisance").unwrap().pid;
    let environment = guest.agent().read(&format!("/proc/{service}/environ")).unwrap();
    assert!(environment.split('\0').any(|variable| variable == "A=1"), "{environment:?}");
    guest.remove("edited");
}

#[test]
fn edit_of_a_live_key_changes_the_running_jail() {
    let mut guest = guest();
    let before = guest.put_up("limited", &stay("[resources]\nmemory_max = \"64M\""));
    let limit = "/sys/fs/cgroup/jails/limited/memory.max";
    let first = guest.agent().read(limit).unwrap();

    guest.put("limited", &stay("[resources]\nmemory_max = \"96M\"\npids_max = 77"));
    let changed = format!("[ \"$(cat {limit})\" = {} ]", 96 << 20);
    guest.agent().wait_until(&changed, crate::SOON).unwrap();
    guest.put("limited", &stay("[restart]\npolicy = \"no\""));
    guest.agent().wait_until(&format!("[ \"$(cat {limit})\" = max ]"), crate::SOON).unwrap();

    assert_eq!(first, format!("{}\n", 64 << 20));
    assert_eq!(guest.up("limited").pid, before.pid);
    // The new policy counts, too.
    guest.ctl(&["kill", "limited"]);
    guest.agent().wait_state("limited", JailState::Failed).unwrap();
    guest.remove("limited");
}

#[test]
fn same_content_saved_touched_or_written_otherwise_changes_nothing() {
    let mut guest = guest();
    let resources = "[resources]\nmemory_max = \"64M\"\npids_max = 100";
    let before = guest.put_up("same", &stay(resources));
    let events = guest.ctl(&["events", "same", "--json"]);

    guest.put("same", &stay(resources));
    guest.ctl(&["apply"]);
    guest.sh("touch /etc/jails.d/same.toml");
    guest.ctl(&["apply"]);
    let other = "[resources]\npids_max=100 # a remark\n\nmemory_max = \"65536K\"";
    guest.put("same", &stay(other));
    guest.ctl(&["apply"]);

    assert_eq!(guest.up("same").pid, before.pid);
    assert_eq!(guest.ctl(&["events", "same", "--json"]), events);
    guest.remove("same");
}

#[test]
fn older_file_counts_as_a_change() {
    let mut guest = guest();
    let before = guest.put_up("older", &stay(""));
    guest.agent().write("/etc/jails.d/older.bak", &stay(ENVIRONMENT)).unwrap();

    guest.sh("cd /etc/jails.d && touch -t 200001010000 older.bak && mv older.bak older.toml");
    let other = |row: Option<&JailSummary>| {
        row.is_some_and(|row| row.state == JailState::Up && row.pid != before.pid)
    };
    guest.agent().wait_listed("older", "up anew", other).unwrap();

    assert!(guest.sh("stat -c %Y /etc/jails.d/older.toml").starts_with("9466"));
    guest.remove("older");
}

#[test]
fn editors_ways_of_saving_are_one_edit_and_their_own_files_no_units() {
    let mut guest = guest();
    let before = guest.put_up("vim", &stay(""));

    // vim: swap file, backup by renaming, new file, backup gone; others write beside and rename over.
    guest.agent().write("/etc/jails.d/next", &stay("[resources]\npids_max = 90")).unwrap();
    guest.sh(
        "cd /etc/jails.d && cp next .vim.toml.swp && mv vim.toml vim.toml~ && cp next vim.toml \
         && rm .vim.toml.swp && cp next .vim.toml.tmp && mv .vim.toml.tmp vim.toml \
         && cp next '#vim.toml#' && cp next 4913",
    );
    guest.ctl(&["apply"]);
    let names: Vec<_> = guest.agent().list().unwrap().into_iter().map(|row| row.name).collect();

    assert_eq!(guest.up("vim").pid, before.pid);
    assert_eq!(guest.agent().read("/sys/fs/cgroup/jails/vim/pids.max").unwrap(), "90\n");
    assert_eq!(names, ["nginx", "shipped", "vim"]);
    guest.sh("cd /etc/jails.d && rm next vim.toml~ '#vim.toml#' 4913");
    guest.remove("vim");
}

#[test]
fn renamed_file_is_another_jail() {
    let mut guest = guest();
    guest.put_up("old-name", &stay(""));

    guest.sh("mv /etc/jails.d/old-name.toml /etc/jails.d/new-name.toml");
    guest.agent().wait_gone("old-name").unwrap();

    guest.up("new-name");
    guest.remove("new-name");
}

#[test]
fn broken_edit_leaves_the_last_good_version_in_force_and_is_shown() {
    let mut guest = guest();
    let before = guest.put_up("broken", &stay(""));
    let place = format!("{}:9:1", etc("broken"));

    guest.put("broken", &stay("[resources]\nmemroy_max = \"64M\""));
    let told = |row: Option<&JailSummary>| row.is_some_and(|row| row.problem.is_some());
    let row = guest.agent().wait_listed("broken", "with a problem", told).unwrap().unwrap();
    let why: Evidence = guest.agent().ask(&["why", "broken"]).unwrap();
    guest.put("broken", &stay("[resources]\nmemory_max = \"64M\""));
    let well = |row: Option<&JailSummary>| row.is_some_and(|row| row.problem.is_none());
    let healed = guest.agent().wait_listed("broken", "without", well).unwrap().unwrap();

    assert_eq!((row.state, row.pid), (JailState::Up, before.pid));
    let problem = row.problem.unwrap();
    assert!(problem.contains(&place) && problem.contains("memory_max"), "{problem}");
    assert!(why.problems[0].contains(&place), "{why:?}");
    assert!(why.text.iter().any(|line| line.contains("last good version")), "{:?}", why.text);
    assert_eq!((healed.state, healed.pid), (JailState::Up, before.pid));
    guest.remove("broken");
}

#[test]
fn broken_first_version_starts_when_it_is_mended() {
    let mut guest = guest();

    guest.put("mended", "version = ");
    guest.agent().wait_state("mended", JailState::Invalid).unwrap();
    guest.put_up("mended", &stay(""));

    guest.remove("mended");
}
