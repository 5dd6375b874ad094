//! Limits and pressure as events.

use jailsupd::control::wire::{ExitReason, JailState};
use qemu_tests::Guest;

use super::{Jailed as _, NEVER_AGAIN, SOON, guest, strain};

/// A condition: `jailctl events` tells this of the jail.
fn told(jail: &str, text: &str) -> String {
    format!("/usr/bin/jailctl events {jail} | grep -q '{text}'")
}

/// The pressure files that jailsupd has open: `JAIL/FILE`.
fn watched(guest: &mut Guest<'_>) -> Vec<String> {
    let brain = guest.agent().jailsupd().unwrap();
    let open = guest.sh(&format!("cd /proc/{brain}/fd && for n in *; do readlink $n; done; true"));
    assert!(open.contains("/sys/fs/cgroup/"), "{open}");
    let files = open.lines().filter_map(|file| file.strip_prefix("/sys/fs/cgroup/jails/"));
    files.filter(|file| file.ends_with(".pressure")).map(str::to_owned).collect()
}

#[test]
fn pressure_is_told_where_the_unit_asks_for_it_and_watched_nowhere_else() {
    let mut guest = guest();
    assert_eq!(watched(&mut guest), Vec::<String>::new());

    // Four that want a processor, and a fifth of one.
    let rest = "[resources]\ncpu_max = \"20%\"\ncpu_pressure_threshold = \"100ms\"";
    guest.put_up("pressed", &strain(&["processor", "4"], rest));

    let text = "pressure: its processes waited for a processor for 100ms or more of 2s";
    guest.agent().wait_until(&told("pressed", text), SOON).unwrap();
    assert_eq!(watched(&mut guest), ["pressed/cpu.pressure"]);
    let events = guest.why("pressed").events;
    assert!(events.iter().any(|event| event.why.contains(text)), "{events:?}");
    // An edit ends the watch, without a restart.
    let pid = guest.agent().listed("pressed").unwrap().pid;
    guest.put("pressed", &strain(&["processor", "4"], "[resources]\ncpu_max = \"20%\""));
    guest.ctl(&["apply"]);
    assert_eq!(watched(&mut guest), Vec::<String>::new());
    assert_eq!(guest.agent().listed("pressed").unwrap().pid, pid);
    guest.remove("pressed");
}

#[test]
fn want_of_memory_is_told_before_anything_is_killed() {
    let mut guest = guest();
    let rest = "[resources]\nmemory_high = \"24M\"\nmemory_pressure_threshold = \"50ms\"";
    guest.put_up("wanting", &strain(&["memory"], rest));

    guest.agent().wait_until(&told("wanting", "slowed down at memory_high"), SOON).unwrap();
    guest.agent().wait_until(&told("wanting", "waited for memory"), SOON).unwrap();

    assert_eq!(guest.agent().listed("wanting").unwrap().state, JailState::Up);
    assert_eq!(guest.count("wanting", "memory.events", "oom_kill"), 0);
    guest.ctl(&["stop", "wanting"]);
    guest.remove("wanting");
}

#[test]
fn waiting_for_a_disk_is_told() {
    let mut guest = guest();
    let rest = "[resources]\nmemory_max = \"32M\"\nio_write_bandwidth_max = [\"data 1M\"]\nio_pressure_threshold = \"100ms\"";
    guest.put_up("writes", &strain(&["disk"], rest));

    let text = "pressure: its processes waited for a disk for 100ms or more of 2s";
    guest.agent().wait_until(&told("writes", text), SOON).unwrap();

    assert_eq!(watched(&mut guest), ["writes/io.pressure"]);
    let evidence = guest.why("writes");
    assert_eq!(evidence.jail.state, JailState::Up);
    assert!(evidence.events.iter().any(|event| event.why.contains(text)), "{evidence:?}");
    guest.ctl(&["stop", "writes"]);
    guest.remove("writes");
}

#[test]
fn refused_forks_and_single_kills_are_told() {
    let mut guest = guest();
    guest.put_up(
        "forks",
        &strain(&["processes"], "[resources]\npids_max = 8\n[stop]\ntimeout = \"100ms\""),
    );
    guest.agent().wait_until(&told("forks", "refused at pids_max"), SOON).unwrap();
    guest.ctl(&["stop", "forks"]);
    guest.remove("forks");

    let rest = format!("[resources]\nmemory_max = \"32M\"\noom_group = false\n{NEVER_AGAIN}");
    guest.put_up("single", &strain(&["nurse"], &rest));
    guest
        .agent()
        .wait_until(&told("single", "1 process(es) killed for want of memory"), SOON)
        .unwrap();

    // What it ends by later has nothing to do with that.
    let later = "[ $(cut -d . -f 1 /proc/uptime) -gt $(($(cat /run/then) + 3)) ]";
    guest.sh("cut -d . -f 1 /proc/uptime >/run/then");
    guest.agent().wait_until(later, SOON).unwrap();
    // Nor has what a jailsupd finds that comes then.
    guest.agent().kill_jailsupd().unwrap();
    let pid = guest.agent().service("single", "strain").unwrap().pid;
    guest.sh(&format!("kill -KILL {pid}"));
    guest.agent().wait_state("single", JailState::Failed).unwrap();
    assert_eq!(guest.agent().last_exit("single").unwrap().reason, ExitReason::Signaled);
    guest.remove("single");
}

/// Has the units taken over; a jail that is just being restarted may be at rest then, and is not as its unit says.
fn apply_between_restarts(guest: &mut Guest<'_>) {
    guest.sh("/usr/bin/jailctl apply || [ $? -eq 5 ]");
}

#[test]
fn a_process_killed_for_want_of_memory_restarts_or_stops_the_jail_where_its_unit_says_so() {
    let mut guest = guest();
    let unit = |action: &str| {
        let rest = format!(
            "[resources]\nmemory_max = \"32M\"\noom_group = false\noom_action = \"{action}\"\n{NEVER_AGAIN}"
        );
        strain(&["nurse"], &rest)
    };
    // Its main process lives, and its policy would never start it again.
    guest.put("nursed", &unit("restart"));
    guest.agent().wait_until("/usr/bin/jailctl events nursed | grep -q 'backoff'", SOON).unwrap();
    let exit = guest.agent().last_exit("nursed").unwrap();
    assert_eq!(exit.reason, ExitReason::Oom, "{exit:?}");
    let text = guest.why("nursed").text.join("\n");
    assert!(text.contains("ran out of memory") && text.contains("memory_max 32M"), "{text}");

    // The action is taken over as it is edited.
    guest.put("nursed", &unit("stop"));
    apply_between_restarts(&mut guest);
    guest.agent().wait_state("nursed", JailState::Failed).unwrap();
    assert_eq!(guest.agent().last_exit("nursed").unwrap().reason, ExitReason::Oom);
    guest.remove("nursed");
}

#[test]
fn a_jail_that_was_killed_whole_for_want_of_memory_goes_on_as_its_unit_says_of_that() {
    let mut guest = guest();
    let rest = |more: &str| format!("[resources]\nmemory_max = \"32M\"\n{more}\n");
    let never = rest("oom_action = \"stop\"") + "[restart]\npolicy = \"always\"\n";
    guest.put("greedy", &strain(&["memory"], &never));
    guest.agent().wait_state("greedy", JailState::Failed).unwrap();
    assert_eq!(guest.agent().last_exit("greedy").unwrap().reason, ExitReason::Oom);
    guest.remove("greedy");

    let again = rest("oom_action = \"restart\"") + NEVER_AGAIN;
    guest.put("again", &strain(&["memory"], &again));
    let restarted = "/usr/bin/jailctl events again | grep -q 'backoff'";
    guest.agent().wait_until(restarted, SOON).unwrap();
    guest.remove("again");
}

#[test]
fn pressure_restarts_or_stops_the_jail_where_its_unit_says_so() {
    let mut guest = guest();
    let unit = |action: &str| {
        let rest = format!(
            "[resources]\ncpu_max = \"20%\"\ncpu_pressure_threshold = \"100ms\"\npressure_action = \"{action}\"\n{NEVER_AGAIN}"
        );
        strain(&["processor", "4"], &rest)
    };
    guest.put("crowded", &unit("restart"));
    guest.agent().wait_until("/usr/bin/jailctl events crowded | grep -q 'backoff'", SOON).unwrap();
    let exit = guest.agent().last_exit("crowded").unwrap();
    assert_eq!(exit.reason, ExitReason::Pressure, "{exit:?}");
    let text = guest.why("crowded").text.join("\n");
    assert!(text.contains("was under pressure"), "{text}");

    guest.put("crowded", &unit("stop"));
    apply_between_restarts(&mut guest);
    guest.agent().wait_state("crowded", JailState::Failed).unwrap();
    guest.remove("crowded");
}

/// Failed for this reason, by SIGKILL: nobody has asked it to end.
#[track_caller]
fn was_killed(guest: &mut Guest<'_>, jail: &str, reason: ExitReason) {
    guest.agent().wait_state(jail, JailState::Failed).unwrap();
    let exit = guest.agent().last_exit(jail).unwrap();
    assert_eq!((exit.reason, exit.signal.as_deref()), (reason, Some("SIGKILL")), "{exit:?}");
}

#[test]
fn want_of_memory_and_pressure_kill_the_jail_where_its_unit_says_so() {
    const KILLED: &str = "[stop]\ntimeout = \"10m\"\n[restart]\npolicy = ";
    let mut guest = guest();
    // A process of it was killed, and its main process lives.
    let oom = "[resources]\nmemory_max = \"32M\"\noom_group = false\noom_action = \"kill\"\n";
    // It is held back, and nothing of it was killed.
    let pressure = "[resources]\nmemory_high = \"24M\"\nmemory_pressure_threshold = \"50ms\"\npressure_action = \"kill\"\n";
    for (words, limits, reason) in
        [("nurse", oom, ExitReason::Oom), ("memory", pressure, ExitReason::Pressure)]
    {
        guest.put("victim", &strain(&[words], &format!("{limits}{KILLED}\"no\"\n")));
        was_killed(&mut guest, "victim", reason);
        let text = guest.why("victim").text.join("\n");
        let told =
            if reason == ExitReason::Oom { "ran out of memory" } else { "was under pressure" };
        assert!(text.contains(told), "{text}");
        guest.remove("victim");

        // Its policy decides what follows.
        guest.put("again", &strain(&[words], &format!("{limits}{KILLED}\"on-failure\"\n")));
        let restarted = "[ $(/usr/bin/jailctl events again | grep -c 'backoff') -ge 2 ]";
        guest.agent().wait_until(restarted, SOON).unwrap();
        guest.remove("again");
    }
    guest.assert_others_answer();
}

#[test]
fn next_jailsupd_tells_of_limits_too() {
    let mut guest = guest();
    let rest = "[resources]\ncpu_max = \"20%\"\ncpu_pressure_threshold = \"100ms\"";
    guest.put_up("kept", &strain(&["processor", "4"], rest));
    guest.agent().kill_jailsupd().unwrap();

    // It has adopted the jail before it answers anybody.
    assert_eq!(watched(&mut guest), ["kept/cpu.pressure"]);
    guest.remove("kept");
}
