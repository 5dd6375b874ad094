//! `strategy = "start-first"`: the new version runs beside the former one until it is good, and then takes its place.

use jailsupd::control::wire::JailState;
use qemu_tests::{
    Guest, Vm,
    random::{Random, seed},
};

use super::{GOOD, PROBLEMS, SOON, good, guest, told, unit_of, why};

const FIRST: &str = "[deploy]\nstrategy = \"start-first\"\nmin_healthy_time = \"500ms\"\n";
const BEGINS: &str = "its new version is started beside it";
const TAKEN: &str = "its new version takes its place";
const RUNS_ON: &str = "the former one runs on";

/// Which of the two places for lives of a jail are there.
fn places(vm: &mut Vm, jail: &str) -> String {
    vm.sh(&format!("cd /sys/fs/cgroup/jails; ls -d {jail} {jail}.2 2>/dev/null | tr '\\n' ' '"))
}

/// Waits until one life of the jail is left, in this place.
fn alone(vm: &mut Vm, place: &str) {
    let jail = place.trim_end_matches(".2");
    let condition = format!(
        "[ \"$(cd /sys/fs/cgroup/jails; echo {jail} {jail}.2 | xargs ls -d 2>/dev/null)\" = {place} ]"
    );
    vm.agent().wait_until(&condition, SOON).unwrap();
}

fn pid(vm: &mut Vm, jail: &str) -> u32 {
    vm.up(jail).pid.unwrap()
}

#[test]
fn nginx_serves_its_page_until_the_new_version_does() {
    const PART: &str = "/etc/jails.d/nginx.toml.d/50-new.toml";
    let mut guest = guest();
    guest.sh("mkdir -p /etc/jails.d/nginx.toml.d");
    let health =
        "[health]\nhttp = \"http://127.0.0.1/\"\ninterval = \"200ms\"\nstart_period = \"10s\"\n";
    let part = format!("{FIRST}{health}");
    guest.agent().write("/etc/jails.d/nginx.toml.d/10-first.toml", &part).unwrap();
    guest.ctl(&["apply"]);
    good(&mut guest, "nginx");
    let first = pid(&mut guest, "nginx");
    let edit = |guest: &mut Guest<'_>, arguments: &str| {
        let part = format!(
            "[process]\nexec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"{arguments}]\n"
        );
        guest.agent().write(PART, &part).unwrap();
    };

    // One that does not start touches nothing.
    edit(&mut guest, ", \"-c\", \"/nowhere.conf\"");
    told(&mut guest, "nginx", RUNS_ON, 1);
    alone(&mut guest, "nginx");
    assert_eq!(pid(&mut guest, "nginx"), first);
    assert_eq!(guest.wait_page().unwrap().status, 200);
    let text = why(&mut guest, "nginx");
    assert!(text.contains("this version failed 3 times in a row; last it exited with 1"), "{text}");
    guest.refused(&["check"], PROBLEMS);

    // One that does takes over; and so does the next one.
    edit(&mut guest, ", \"-q\"");
    told(&mut guest, "nginx", TAKEN, 1);
    alone(&mut guest, "nginx.2");
    assert_eq!(guest.wait_page().unwrap().status, 200);
    let second = pid(&mut guest, "nginx");
    assert_ne!(second, first);
    guest.agent().kill_jailsupd().unwrap();
    guest.up("nginx");
    assert_eq!(pid(&mut guest, "nginx"), second);
    assert!(guest.ctl(&["inspect", "nginx"]).contains("jails/nginx.2"));

    guest.sh(&format!("rm {PART}"));
    told(&mut guest, "nginx", TAKEN, 2);
    alone(&mut guest, "nginx");
    assert_eq!(guest.wait_page().unwrap().status, 200);
    assert_ne!(pid(&mut guest, "nginx"), second);
    // Nothing of it was restarted or stopped, as far as anybody has seen.
    let seen = guest.ctl(&["events", "nginx"]);
    assert!(!seen.contains("its unit changed: restart"), "{seen}");
    guest.sh("rm -r /etc/jails.d/nginx.toml.d");
    guest.ctl(&["apply"]);
}

/// Healthy as long as there is this file on its volume; `address` is for the time of its trial.
fn on_wire(jail: &str, file: &str, address: &str) -> String {
    let rest = format!(
        "environment = {{ PATH = \"/sbin:/bin\", VERSION = \"{file}\" }}\n{FIRST}{address}\n\
         [health]\nexec = [\"speaker\", \"exists\", \"/v/{file}\"]\n\
         interval = \"200ms\"\non_failure = \"none\"\n\
         [[volume]]\nname = \"{jail}\"\npath = \"/v\""
    );
    unit_of("speaker", &["stay"], &rest).replace("mode = \"none\"", "address = [\"10.0.9.30/24\"]")
}

fn reaches(vm: &mut Vm, from: u32, address: &str) -> bool {
    let ping = format!("nsenter -t {from} -n /usr/bin/busybox ping -q -c 1 -w 3 {address}");
    vm.sh(&format!("if {ping} >/dev/null; then echo yes; else echo no; fi")).trim() == "yes"
}

#[test]
fn new_version_has_its_own_address_until_it_gets_the_jails() {
    const PARTS: &str = "address = [\"10.0.9.31/24\"]";
    let mut guest = guest();
    let make = |guest: &mut Guest<'_>, file: &str| {
        guest.sh(&format!("touch /data/volumes/wired/data/{file}"))
    };
    let peer = unit_of("speaker", &["stay"], "")
        .replace("mode = \"none\"", "address = [\"10.0.9.40/24\"]");
    let peer = guest.put_up("asker", &peer).pid.unwrap();
    guest.put("wired", &on_wire("wired", "one", PARTS));
    guest.up("wired");
    make(&mut guest, "one");
    good(&mut guest, "wired");
    let first = pid(&mut guest, "wired");

    // With its loopback alone it would be well, and the link that it is to have cannot be made.
    let large = on_wire("wired", "large", "")
        .replace("[\"10.0.9.30/24\"]", "[\"10.0.9.30/24\"]\nmtu = 9000");
    guest.put("wired", &large);
    told(&mut guest, "wired", RUNS_ON, 1);
    let text = why(&mut guest, "wired");
    assert!(text.contains("packets of 9000 bytes are more than"), "{text}");
    assert_eq!(pid(&mut guest, "wired"), first);

    let second = on_wire("wired", "two", PARTS);
    guest.agent().write("/tmp/wired.toml", &second).unwrap();
    let plan = guest.ctl(&["plan", "/tmp/wired.toml"]);
    assert!(
        plan.contains("wired  replace  its unit changed: the new version starts first"),
        "{plan}"
    );
    guest.put("wired", &second);
    told(&mut guest, "wired", "beside it, is up", 1);
    assert_eq!(places(&mut guest, "wired"), "wired wired.2 ");
    let text = why(&mut guest, "wired");
    assert!(text.contains("Its new version is tried beside it, and is up now"), "{text}");
    assert_eq!(pid(&mut guest, "wired"), first);
    assert!(reaches(&mut guest, peer, "10.0.9.30") && reaches(&mut guest, peer, "10.0.9.31"));
    // It is claimed by this jail.
    let other = unit_of("speaker", &["stay"], "").replace("mode = \"none\"", PARTS);
    guest.agent().write("/etc/jails.d/third.toml", &other).unwrap();
    let said = guest.refused(&["check"], PROBLEMS);
    assert!(said.contains("10.0.9.31 belongs to jail"), "{said}");
    guest.sh("rm /etc/jails.d/third.toml");

    // The trial outlives jailsupd, and so do both versions.
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_until("/usr/bin/jailctl why wired | grep -q 'tried beside'", SOON).unwrap();
    assert_eq!(pid(&mut guest, "wired"), first);
    make(&mut guest, "two");
    told(&mut guest, "wired", TAKEN, 1);
    alone(&mut guest, "wired.2");
    assert_ne!(pid(&mut guest, "wired"), first);
    guest
        .agent()
        .wait_until("/usr/bin/jailctl events wired | grep -q 'its link is there'", SOON)
        .unwrap();
    assert!(reaches(&mut guest, peer, "10.0.9.30"));
    let own = pid(&mut guest, "wired");
    let addresses = guest.sh(&format!("nsenter -t {own} -n /usr/bin/busybox ip addr"));
    assert!(addresses.contains("10.0.9.30/") && !addresses.contains("10.0.9.31/"), "{addresses}");
    assert_eq!(guest.ctl(&["events", "wired"]).matches(BEGINS).count(), 2);
    guest.remove("wired");
    guest.remove("asker");
    assert_eq!(places(&mut guest, "wired"), "");
    assert_eq!(guest.sh("ls -d /data/jails/wired*; true"), "");
}

#[test]
fn trial_ends_with_another_edit_a_stop_or_the_unit() {
    let mut guest = guest();
    let unit = |file: &str| on_wire("fickle", file, "").replace(".30/", ".33/");
    guest.put_up("fickle", &unit("one"));
    guest.sh("touch /data/volumes/fickle/data/one");
    good(&mut guest, "fickle");
    let first = pid(&mut guest, "fickle");

    // Back to what runs.
    guest.put("fickle", &unit("two"));
    told(&mut guest, "fickle", "beside it, is up", 1);
    guest.put("fickle", &unit("one"));
    told(&mut guest, "fickle", "not that of its files any more", 1);
    alone(&mut guest, "fickle");
    // A second one, and a third in its place: only that is good.
    guest.put("fickle", &unit("two"));
    told(&mut guest, "fickle", "beside it, is up", 2);
    assert_eq!(pid(&mut guest, "fickle"), first);
    guest.put("fickle", &unit("three"));
    told(&mut guest, "fickle", "beside it, is up", 3);
    guest.sh("touch /data/volumes/fickle/data/three");
    told(&mut guest, "fickle", GOOD, 1);
    alone(&mut guest, "fickle.2");
    assert_ne!(pid(&mut guest, "fickle"), first);

    // By hand it is the jail that is stopped, with all that is beside it.
    guest.put("fickle", &unit("four"));
    told(&mut guest, "fickle", "beside it, is up", 4);
    guest.ctl(&["stop", "fickle"]);
    guest.agent().wait_state("fickle", JailState::Down).unwrap();
    guest.agent().wait_until("! ls -d /sys/fs/cgroup/jails/fickle*", SOON).unwrap();
    // What is started next is what its file says.
    guest.sh("touch /data/volumes/fickle/data/four");
    guest.ctl(&["start", "fickle"]);
    let own = pid(&mut guest, "fickle");
    guest.sh(&format!("tr '\\0' '\\n' </proc/{own}/environ | grep -q ^VERSION=four"));
    guest.remove("fickle");
    assert_eq!(guest.sh("ls -d /data/jails/fickle*; true"), "");
}

#[test]
fn what_two_versions_cannot_have_is_refused() {
    let mut guest = guest();
    let unit = |rest: &str| unit_of("speaker", &["stay"], &format!("{FIRST}{rest}"));
    let both = unit("[root]\nmode = \"persistent\"");
    guest.agent().write("/etc/jails.d/both.toml", &both).unwrap();
    let address = unit("address = [\"10.0.9.31/24\"]");
    guest.agent().write("/etc/jails.d/unwired.toml", &address).unwrap();
    let alone = unit_of("speaker", &["stay"], "[deploy]\naddress = [\"10.0.9.31/24\"]");
    guest.agent().write("/etc/jails.d/in-vain.toml", &alone).unwrap();
    let said = guest.refused(&["check"], PROBLEMS);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("two versions cannot have one persistent root"), "{said}");
    assert!(words.contains("has no effect with `mode = \"none\"`"), "{said}");
    assert!(words.contains("has no effect without `start-first`"), "{said}");
    guest.sh("rm /etc/jails.d/both.toml /etc/jails.d/unwired.toml /etc/jails.d/in-vain.toml");
    guest.ctl(&["apply"]);
}

#[test]
fn new_version_that_cannot_start_or_loses_what_it_needs_goes() {
    let mut guest = guest();
    let unit = |version: &str, rest: &str| {
        let named = format!("environment = {{ VERSION = \"{version}\" }}\n{FIRST}{rest}");
        unit_of("speaker", &["stay"], &named)
    };
    let needs = "[dependencies]\nrequires = [\"base\"]\n";
    let base =
        unit_of("speaker", &["stay"], "").replace("version = 1", "version = 1\nenabled = false");
    guest.put("base", &base);
    guest.put_up("upper", &unit("one", ""));
    good(&mut guest, "upper");
    let first = pid(&mut guest, "upper");

    // It never comes to processes.
    guest.put("upper", &unit("two", "").replace("/speaker.erofs", "/nowhere.erofs"));
    told(&mut guest, "upper", RUNS_ON, 1);
    alone(&mut guest, "upper");
    assert_eq!(pid(&mut guest, "upper"), first);
    let text = why(&mut guest, "upper");
    assert!(text.contains("this version did not start: there is no image"), "{text}");

    // Or has soon done all that it does.
    let done = unit("done", "").replace("\"stay\"", "\"exit\", \"0\"").replace("500ms", "1m");
    guest.put("upper", &done);
    told(&mut guest, "upper", RUNS_ON, 2);
    alone(&mut guest, "upper");
    assert_eq!(pid(&mut guest, "upper"), first);

    // What only the new version needs is started for it, and waited for.
    guest.put("upper", &unit("three", needs));
    told(&mut guest, "upper", TAKEN, 1);
    assert!(guest.ctl(&["events", "upper"]).contains("its new version waits for base"));
    guest.up("base");
    alone(&mut guest, "upper.2");

    // What both need goes: both go first, and the new one comes in the other's place.
    let never =
        "[health]\nexec = [\"/bin/speaker\", \"exists\", \"/never\"]\non_failure = \"none\"\n";
    guest.put("upper", &unit("four", &format!("{needs}{never}")));
    told(&mut guest, "upper", "beside it, is up", 2);
    guest.ctl(&["stop", "base"]);
    assert_eq!(places(&mut guest, "upper"), "");
    guest.agent().wait_state("upper", JailState::Waiting).unwrap();
    guest.ctl(&["start", "base"]);
    let own = pid(&mut guest, "upper");
    guest.sh(&format!("tr '\\0' '\\n' </proc/{own}/environ | grep -q ^VERSION=four"));
    guest.remove("upper");
    guest.remove("base");
}

/// Waits until the version that runs alone is this one.
fn runs(vm: &mut Vm, jail: &str, version: &str) {
    let condition = format!(
        "set -- $(cd /sys/fs/cgroup/jails; find {jail} {jail}.2 -name cgroup.procs -exec cat {{}} + 2>/dev/null); \
         [ $# = 2 ] && tr '\\0' '\\n' </proc/$2/environ | grep -q ^VERSION={version}$"
    );
    let reached = vm.agent().wait_until(&condition, SOON);
    assert!(reached.is_ok(), "{reached:?} {}", vm.ctl(&["events", jail]));
}

fn versioned(version: usize, words: &[&str], process: &str) -> String {
    let rest = format!("environment = {{ VERSION = \"{version}\" }}\n{process}{FIRST}");
    unit_of("nuisance", words, &rest)
}

/// Puts two versions up, one after the other, until the second alone runs; `process` are more keys of `[process]`.
fn replaced(vm: &mut Vm, jail: &str, process: &str, words: [&[&str]; 2]) {
    vm.put(jail, &versioned(0, words[0], process));
    good(vm, jail);
    vm.put(jail, &versioned(1, words[1], process));
    told(vm, jail, TAKEN, 1);
    runs(vm, jail, "1");
}

#[test]
fn one_version_is_left_though_jailsupd_dies_at_any_moment_of_a_deployment() {
    let mut guest = guest();
    let seed = seed();
    let mut random = Random::new(seed);
    guest.put("mortal", &versioned(0, &["stay"], ""));
    good(&mut guest, "mortal");
    for version in 1..=12 {
        guest.put("mortal", &versioned(version, &["stay"], ""));
        // The moment is chance: from before the file is read to after the handover.
        guest.sh(&format!("usleep {}", random.index(1_200_000)));
        guest.agent().kill_jailsupd().unwrap();
        eprintln!("SEED={seed} version {version}");
        runs(&mut guest, "mortal", &version.to_string());
    }
    guest.remove("mortal");
    assert_eq!(places(&mut guest, "mortal"), "");
    assert_eq!(
        guest.sh("ls -d /data/jails/mortal*; ls /run/jailsupd/units | grep mortal; true"),
        ""
    );
}

#[test]
fn both_versions_write_to_one_log_line_by_line() {
    let mut guest = guest();
    replaced(&mut guest, "spoken", "", [&["mutter", "half a line"], &["say", "a whole line"]]);

    let log = guest.ctl(&["logs", "spoken"]);

    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" stdout ")).collect();
    assert!(lines.len() == 2, "{log}");
    assert!(lines[0].ends_with("stdout half a line"), "{log}");
    assert!(lines[1].ends_with("stdout a whole line"), "{log}");
    guest.remove("spoken");
}

#[test]
fn terminal_goes_with_its_version_and_jailsupd_has_nothing_to_do_then() {
    let mut guest = guest();
    replaced(&mut guest, "screen", "terminal = true\n", [&["say", "first"], &["say", "second"]]);

    let pid = guest.up("screen").pid.unwrap();
    guest.sh(&format!("kill -USR1 $(cat /proc/{pid}/task/{pid}/children)"));
    guest.agent().wait_until("/usr/bin/jailctl logs screen | grep -q again", SOON).unwrap();
    let jailsupd = guest.agent().jailsupd().unwrap();
    let sleeps = format!(
        "(for i in 1 2 3 4 5 6 7 8; do grep -q '^State:.S' /proc/{jailsupd}/status || exit 1; done)"
    );
    guest.agent().wait_until(&sleeps, SOON).unwrap();
    guest.remove("screen");
}

#[test]
fn new_version_that_there_is_no_room_for_leaves_the_running_one_alone() {
    let mut guest = guest();
    let total: u64 = guest.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo").trim().parse().unwrap();
    // One of them fits, and two do not.
    let unit = |version| {
        let text = versioned(version, &["stay"], "");
        format!("{text}\n[resources]\nmemory_min = \"{}K\"\n", total / 2)
    };
    guest.put("roomy", &unit(0));
    good(&mut guest, "roomy");
    let first = pid(&mut guest, "roomy");

    guest.put("roomy", &unit(1));
    told(&mut guest, "roomy", RUNS_ON, 1);

    let text = why(&mut guest, "roomy");
    assert!(text.contains("did not start: the host cannot promise it what it asks for"), "{text}");
    assert_eq!(pid(&mut guest, "roomy"), first);
    guest.remove("roomy");
}
