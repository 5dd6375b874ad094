//! Limits that are hit.

use jailsupd::control::wire::{ExitReason, JailState, ProcessTable};

use super::{Jailed as _, LATER, NEVER_AGAIN, SOON, guest, strain};

#[test]
fn jail_that_takes_all_memory_is_killed_and_says_so() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    guest.put(
        "hog",
        &strain(&["memory"], &format!("[resources]\nmemory_max = \"48M\"\n{NEVER_AGAIN}")),
    );
    guest.agent().wait_state("hog", JailState::Failed).unwrap();

    let exit = guest.agent().last_exit("hog").unwrap();
    let why = guest.why("hog");

    assert_eq!((exit.reason, exit.signal.as_deref()), (ExitReason::Oom, Some("SIGKILL")));
    let text = why.text.join("\n");
    assert!(text.contains("ran out of memory"), "{text}");
    // Its main process is the one that took it.
    let victim = exit.victim.unwrap();
    assert_eq!((victim.program.as_str(), Some(victim.pid)), ("strain", exit.pid));
    assert!(
        text.contains(&format!("The kernel killed strain (process {}): ", victim.pid)),
        "{text}"
    );
    assert!(text.contains("Its program was /bin/strain, process "), "{text}");
    // What the cgroup has counted is gone with it, and told here.
    assert!(text.contains("it reached its memory limit"), "{text}");
    assert!(text.contains("memory_max 48M") && text.contains("oom 1, oom_kill "), "{text}");
    guest.assert_others_answer();
    guest.remove("hog");
}

#[test]
fn without_oom_group_only_the_process_is_killed_that_takes_the_memory() {
    let mut guest = guest();
    let rest = format!("[resources]\nmemory_max = \"48M\"\noom_group = false\n{NEVER_AGAIN}");
    guest.put_up("nurse", &strain(&["nurse"], &rest));
    let nurse = guest.agent().listed("nurse").unwrap().pid.unwrap();

    let file = format!("/proc/{nurse}/root/child");
    guest.agent().wait_until(&format!("[ -s {file} ]"), SOON).unwrap();

    assert!(guest.agent().read(&file).unwrap().contains("signal: 9"));
    assert!(guest.count("nurse", "memory.events", "oom_kill") > 0);
    assert_eq!(guest.count("nurse", "memory.events", "oom_group_kill"), 0);
    let row = guest.agent().listed("nurse").unwrap();
    assert_eq!((row.state, row.pid), (JailState::Up, Some(nurse)));
    guest.remove("nurse");
}

#[test]
fn fork_bomb_ends_at_its_limit() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    guest.put(
        "bomb",
        &strain(&["processes"], &format!("[resources]\npids_max = 64\n{NEVER_AGAIN}")),
    );
    let refused = "grep -qv 'max 0' /sys/fs/cgroup/jails/bomb/pids.events";
    guest.agent().wait_until(refused, SOON).unwrap();

    let most: u32 = guest.cgroup("bomb", "pids.peak").parse().unwrap();

    assert_eq!(most, 64);
    guest.assert_others_answer();
    // The bomb is still there, and is defused by the same means as any jail.
    assert!(guest.cgroup("bomb", "pids.current").parse::<u32>().unwrap() > 32);
    guest.ctl(&["stop", "bomb"]);
    guest.remove("bomb");
}

#[test]
fn fork_bomb_without_a_limit_of_its_unit_ends_at_the_one_that_each_jail_has() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    let brain = guest.agent().jailsupd().unwrap();
    guest.put("bomber", &strain(&["processes"], NEVER_AGAIN));
    let refused = "grep -qv 'max 0' /sys/fs/cgroup/jails/bomber/pids.events";
    guest.agent().wait_until(refused, SOON * 3).unwrap();

    let most: u32 = guest.cgroup("bomber", "pids.peak").parse().unwrap();
    guest.assert_others_answer();
    // Others start meanwhile.
    guest.put_up("newcomer", &strain(&["stay"], ""));
    let now = guest.agent().jailsupd().unwrap();

    assert_eq!((most, now), (1024, brain));
    guest.ctl(&["stop", "bomber"]);
    guest.remove("newcomer");
    guest.remove("bomber");
}

#[test]
fn long_command_line_is_shown_by_its_beginning() {
    let mut guest = guest();
    guest.put_up("boaster", &strain(&["boast"], ""));
    guest.agent().wait_until("cat /proc/*/cmdline | grep -q 'x\\{100\\}'", SOON).unwrap();

    let table: ProcessTable = guest.agent().ask(&["tree", "boaster"]).unwrap();

    let boast = table.jails[0].processes.iter().find(|process| process.command[1] == "stay");
    let length: usize = boast.unwrap().command.iter().map(String::len).sum();
    assert!((500..=1024).contains(&length), "{length} bytes");
    guest.remove("boaster");
}

#[test]
fn processor_time_is_kept_to_its_share() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    guest.put_up("burner", &strain(&["processor", "4"], "[resources]\ncpu_max = \"10%\""));
    // A guest that gets little of the build machine does not use up its quota in each period.
    let stopped = "[ $(sed -n 's/nr_throttled //p' /sys/fs/cgroup/jails/burner/cpu.stat) -ge 20 ]";
    guest.agent().wait_until(stopped, SOON * 3).unwrap();
    guest.assert_others_answer();

    let stat = guest.cgroup("burner", "cpu.stat");
    let value = |key: &str| -> f64 {
        let value = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    };
    let share = value("usage_usec") / (value("nr_periods") * 100_000.0);

    // It asked for all of the processor, was stopped again and again, and used a tenth.
    assert!(share < 0.2, "{share}: {stat}");
    guest.remove("burner");
}

#[test]
fn writer_gets_no_more_of_the_disk_than_its_limit() {
    let mut guest = guest();
    guest.wait_page().unwrap();
    // Little memory, so that what is written has to reach the disk.
    let unit =
        |limit: &str| strain(&["disk"], &format!("[resources]\nmemory_max = \"32M\"\n{limit}"));
    guest.put_up("writer", &unit("io_write_bandwidth_max = [\"data 2M\"]"));
    let (bytes, time) = written(&mut guest, "writer");
    guest.agent().wait_until(&beyond("writer", bytes + (8 << 20)), SOON * 3).unwrap();
    let (more, later) = written(&mut guest, "writer");
    guest.assert_others_answer();
    // The same process, now without the limit.
    guest.put("writer", &unit(""));
    guest.agent().wait_until("! grep -q . /sys/fs/cgroup/jails/writer/io.max", SOON).unwrap();
    let (free, free_time) = written(&mut guest, "writer");
    guest.agent().wait_until(&beyond("writer", free + (32 << 20)), SOON * 3).unwrap();
    let (free_more, free_later) = written(&mut guest, "writer");

    let limited = (more - bytes) as f64 / (later - time);
    let unlimited = (free_more - free) as f64 / (free_later - free_time);
    assert!(limited < 1.5 * f64::from(2 << 20), "{limited} bytes per second");
    assert!(unlimited > 1.5 * limited, "{unlimited} to {limited} bytes per second");
    guest.ctl(&["stop", "writer"]);
    guest.remove("writer");
}

/// What a jail has written, and the guest's time in seconds.
fn written(guest: &mut qemu_tests::Guest<'_>, jail: &str) -> (u64, f64) {
    let script = format!("cat /sys/fs/cgroup/jails/{jail}/io.stat /proc/uptime");
    let text = guest.agent().shell(&script).unwrap();
    let bytes = text.split_whitespace().filter_map(|word| word.strip_prefix("wbytes="));
    let bytes = bytes.map(|bytes| bytes.parse::<u64>().unwrap()).sum();
    let uptime = text.lines().last().unwrap().split(' ').next().unwrap();
    (bytes, uptime.parse().unwrap())
}

fn beyond(jail: &str, bytes: u64) -> String {
    format!(
        "[ $(tr ' ' '\\n' </sys/fs/cgroup/jails/{jail}/io.stat | sed -n 's/wbytes=//p' | sort -n | tail -1) -gt {bytes} ]"
    )
}

#[test]
fn busy_disk_is_shared_by_weight() {
    let mut guest = guest();
    let unit = |weight: u32| {
        let limits =
            format!("[resources]\nmemory_max = \"32M\"\nio_weight = {weight}\n{NEVER_AGAIN}");
        strain(&["disk"], &limits)
    };
    guest.put_up("heavy", &unit(800));
    guest.put_up("light", &unit(100));
    // Whatever the build machine has for a disk: to the guest it is one of 2 MB a second, and busy.
    guest.sh(
        "cd /sys/fs/cgroup; disk=$(grep -o '^[0-9:]* enable=1' io.cost.qos | cut -d' ' -f1); \
         echo \"$disk ctrl=user model=linear rbps=2000000 rseqiops=500 rrandiops=500 wbps=2000000 wseqiops=500 wrandiops=500\" >io.cost.model; \
         echo \"$disk enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100\" >io.cost.qos",
    );
    // What they had written before is on the disk when both have written more.
    for jail in ["heavy", "light"] {
        let (bytes, _) = written(&mut guest, jail);
        guest.agent().wait_until(&beyond(jail, bytes + (2 << 20)), SOON * 6).unwrap();
    }
    let (heavy, _) = written(&mut guest, "heavy");
    let (light, _) = written(&mut guest, "light");
    guest.agent().wait_until(&beyond("heavy", heavy + (12 << 20)), SOON * 6).unwrap();
    let (heavy_more, _) = written(&mut guest, "heavy");
    let (light_more, _) = written(&mut guest, "light");
    guest.assert_others_answer();
    guest
        .sh("cd /sys/fs/cgroup; disk=$(grep -o '^[0-9:]* enable=1' io.cost.qos | cut -d' ' -f1); \
         echo \"$disk ctrl=auto\" >io.cost.model; echo \"$disk enable=1 ctrl=auto\" >io.cost.qos");

    let share = (heavy_more - heavy) as f64 / (light_more - light).max(1) as f64;
    // Without a weight it is 1; the full 8 only where both always have something to write.
    assert!(share > 1.6, "with eight times the weight it wrote {share} times as much");
    for jail in ["heavy", "light"] {
        guest.ctl(&["stop", jail]);
        guest.remove(jail);
    }
}

#[test]
fn jail_that_is_started_later_has_its_limits_before_its_first_instruction() {
    let mut guest = guest();
    let rest = format!("[resources]\npids_max = 3\n{NEVER_AGAIN}");
    guest.put("narrow", &format!("{LATER}{}", strain(&["processor", "4"], &rest)));
    guest.agent().wait_state("narrow", JailState::Down).unwrap();

    guest.agent().jailctl(&["start", "narrow"]).unwrap();
    guest.agent().wait_state("narrow", JailState::Failed).unwrap();

    // Init, program and one thread are three; the next is refused.
    let exit = guest.agent().last_exit("narrow").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(101)));
    guest.remove("narrow");
}
