//! Archives that are imported before the jail is asked to end: what else happens to the jail, and to the worker, meanwhile.

use jailsupd::control::wire::JailState;
use qemu_tests::Vm;

use super::{
    REFUSED, RUNS_ON, SOON, guest, put_from_archive, told, unit, why, write_archive,
    write_large_archive,
};

const ARCHIVE: &str = "/data/images/app.tar";
const STAYS: &str = "it runs on with its former image";
const TURN: &str = "its new image is imported when its turn comes";

/// A shell's list of jailsupd's workers that import: they have a file open where new images are made.
fn workers(vm: &mut Vm) -> String {
    let pid = vm.agent().jailsupd().unwrap();
    format!(
        "$(for p in $(cat /proc/{pid}/task/{pid}/children); do \
         ls -l /proc/$p/fd 2>/dev/null | grep -q '/[.]store/new/' && echo $p; done)"
    )
}

/// Waits until so many imports are under way; their processes.
fn importing(vm: &mut Vm, count: usize) -> String {
    let workers = workers(vm);
    let condition = format!("[ $(echo {workers} | wc -w) = {count} ]");
    vm.agent().wait_until(&condition, SOON).unwrap();
    vm.sh(&format!("echo {workers}")).trim().to_owned()
}

/// Waits until jailsupd has no zombie, and nothing is left where new images are made.
fn nothing_left(vm: &mut Vm) {
    let pid = vm.agent().jailsupd().unwrap();
    let condition = format!(
        "[ -z \"$(ls /data/images/.store/new)\" ] && \
         ! grep -l '^State:.Z' $(sed 's,[0-9][0-9]*,/proc/&/status,g' /proc/{pid}/task/{pid}/children)"
    );
    vm.agent().wait_until(&condition, SOON).unwrap();
}

/// Has these processes next to no time of the processor, so that one which is killed is not gone at once, as in a sync.
fn hold_up(vm: &mut Vm, processes: &str) {
    vm.sh(&format!(
        "mkdir /sys/fs/cgroup/slow && echo '1000 1000000' >/sys/fs/cgroup/slow/cpu.max && \
         for p in {processes}; do echo $p >/sys/fs/cgroup/slow/cgroup.procs; done"
    ));
    vm.sh("sh -c 'echo $$ >/sys/fs/cgroup/slow/cgroup.procs; while :; do :; done' \
         </dev/null >/dev/null 2>&1 & echo $! >/run/burner");
}

fn let_go(vm: &mut Vm) {
    vm.sh("kill -KILL $(cat /run/burner); echo max >/sys/fs/cgroup/slow/cpu.max");
    vm.agent().wait_until("rmdir /sys/fs/cgroup/slow", SOON).unwrap();
}

/// A jail that runs on while a large archive is imported.
fn restarting(vm: &mut Vm, name: &str, rest: &str) {
    put_from_archive(vm, name, rest);
    write_large_archive(vm, "second");
    vm.ctl(&["restart", name, "--no-wait"]);
    told(vm, name, RUNS_ON, 1);
}

/// Waits until the jail runs from the archive with this mark.
fn runs_from(vm: &mut Vm, name: &str, mark: &str) {
    let procs = format!("/sys/fs/cgroup/jails/{name}/cgroup.procs");
    let marked = format!("ls $(sed 's,.*,/proc/&/root/{mark},' {procs}) >/dev/null 2>&1");
    vm.agent().wait_until(&marked, SOON * 4).unwrap();
    vm.up(name);
}

fn clear(vm: &mut Vm, jails: &[&str]) {
    for jail in jails.iter().chain(&["model"]) {
        vm.remove(jail);
    }
    vm.sh("rm -r /data/images/*.tar /data/tree");
}

#[test]
fn archive_that_is_not_there_stops_nothing() {
    let mut guest = guest();
    put_from_archive(&mut guest, "robbed", "[restart]\npolicy = \"no\"");
    let first = guest.agent().service("robbed", "nuisance").unwrap().pid;

    guest.sh(&format!("rm {ARCHIVE}"));
    let said = guest.refused(&["restart", "robbed"], REFUSED);
    assert!(said.contains("it runs on as it is") && said.contains(ARCHIVE), "{said}");
    let text = why(&mut guest, "robbed");
    assert!(
        text.contains("It runs on as it is, since its new version cannot be started"),
        "{text}"
    );
    // And so it is where its unit names what is not there.
    let edited = unit(&["stay"], "[restart]\npolicy = \"no\"")
        .replace("erofs:/usr/share/jails/nuisance.erofs", "tar:/data/images/typo.tar");
    guest.put("robbed", &edited);
    told(&mut guest, "robbed", STAYS, 2);
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_until("/usr/bin/jailctl why robbed | grep -q typo.tar", SOON).unwrap();
    assert_eq!(guest.agent().service("robbed", "nuisance").unwrap().pid, first);
    assert!(!guest.ctl(&["events", "robbed"]).contains("stopping"));

    write_archive(&mut guest, "second", true);
    guest.put("robbed", &edited.replace("typo.tar", "app.tar"));
    runs_from(&mut guest, "robbed", "second");
    assert!(!why(&mut guest, "robbed").contains("cannot be started"));
    clear(&mut guest, &["robbed"]);
}

#[test]
fn restart_that_waits_for_an_image_is_answered_when_someone_stops_the_jail() {
    let mut guest = guest();
    put_from_archive(&mut guest, "overtaken", "");
    write_large_archive(&mut guest, "second");

    guest.sh(
        "rm -f /run/code; (/usr/bin/jailctl restart overtaken >/run/said 2>&1; echo $? >/run/code) \
         </dev/null >/dev/null 2>&1 &",
    );
    told(&mut guest, "overtaken", RUNS_ON, 1);
    guest.ctl(&["stop", "overtaken"]);

    guest.agent().wait_until("[ -s /run/code ]", SOON).unwrap();
    let said = guest.sh("cat /run/said /run/code");
    assert!(said.contains("is not up but down") && said.ends_with("\n5\n"), "{said}");
    assert_eq!(guest.agent().listed("overtaken").unwrap().state, JailState::Down);
    clear(&mut guest, &["overtaken"]);
}

#[test]
#[ignore = "half a minute without KVM: make test-long"]
fn start_does_not_fail_for_an_import_that_a_stop_has_ended() {
    let mut guest = guest();
    restarting(&mut guest, "resumed", "[restart]\npolicy = \"no\"");
    let worker = importing(&mut guest, 1);
    hold_up(&mut guest, &worker);

    guest.ctl(&["stop", "resumed"]);
    guest.ctl(&["start", "resumed", "--no-wait"]);
    guest.agent().wait_state("resumed", JailState::Preparing).unwrap();
    let_go(&mut guest);

    runs_from(&mut guest, "resumed", "second");
    let events = guest.ctl(&["events", "resumed"]);
    assert!(!events.contains("process was killed"), "{events}");
    clear(&mut guest, &["resumed"]);
}

#[test]
fn jail_that_goes_while_its_image_is_imported_leaves_nothing() {
    let mut guest = guest();
    restarting(&mut guest, "leaver", "");
    let worker = importing(&mut guest, 1);
    hold_up(&mut guest, &worker);

    guest.remove("leaver");
    let_go(&mut guest);

    nothing_left(&mut guest);
    clear(&mut guest, &[]);
}

#[test]
#[ignore = "half a minute without KVM: make test-long"]
fn import_goes_on_over_the_hook_after_an_end() {
    let mut guest = guest();
    let hook =
        "[restart]\ndelay = \"10ms\"\n[hooks]\npoststop = [\"/bin/nuisance\", \"hook\", \"0\"]";
    restarting(&mut guest, "hooked", hook);
    let worker = importing(&mut guest, 1);
    // It does not end before it is looked at.
    guest.sh(&format!("kill -STOP {worker}"));
    let pid = guest.agent().service("hooked", "nuisance").unwrap().pid;
    guest.sh(&format!("kill -KILL {pid}"));

    guest.agent().wait_state("hooked", JailState::Preparing).unwrap();
    assert_eq!(importing(&mut guest, 1), worker);
    guest.sh(&format!("kill -CONT {worker}"));

    runs_from(&mut guest, "hooked", "second");
    nothing_left(&mut guest);
    clear(&mut guest, &["hooked"]);
}

#[test]
#[ignore = "half a minute without KVM: make test-long"]
fn restart_imports_the_image_of_the_version_on_trial_that_it_puts_in_place() {
    let mut guest = guest();
    put_from_archive(&mut guest, "tried", "strategy = \"start-first\"");
    guest.sh(&format!("mv {ARCHIVE} /data/images/kept.tar"));
    write_large_archive(&mut guest, "second");
    guest.sh(&format!("cd /data/images && mv {ARCHIVE} next.tar && mv kept.tar {ARCHIVE}"));
    let next = unit(&["stay"], "strategy = \"start-first\"")
        .replace("erofs:/usr/share/jails/nuisance.erofs", "tar:/data/images/next.tar");
    guest.put("tried", &next);
    let worker = importing(&mut guest, 1);
    guest.sh(&format!("kill -STOP {worker}"));

    guest.ctl(&["restart", "tried", "--no-wait"]);

    runs_from(&mut guest, "tried", "second");
    let events = guest.ctl(&["events", "tried"]);
    let (before, _) = events.split_once(" stopping").unwrap();
    assert!(before.contains(RUNS_ON), "{events}");
    nothing_left(&mut guest);
    clear(&mut guest, &["tried"]);
}

#[test]
fn crash_is_known_though_jailsupd_dies_while_the_next_start_waits_for_its_image() {
    let mut vm = guest();
    put_from_archive(&mut vm, "crashed", "[restart]\ndelay = \"10ms\"");
    write_large_archive(&mut vm, "second");
    let pid = vm.agent().service("crashed", "nuisance").unwrap().pid;
    vm.sh(&format!("kill -ABRT {pid}"));
    importing(&mut vm, 1);
    vm.agent().kill_jailsupd().unwrap();
    importing(&mut vm, 1);
    let exit = vm.agent().last_exit("crashed").unwrap();
    assert_eq!(exit.signal.as_deref(), Some("SIGABRT"), "{exit:?}");
    runs_from(&mut vm, "crashed", "second");
    let listed = vm.ctl(&["inspect", "crashed", "--json"]);
    assert!(listed.contains("\"restarts\": 1,"), "{listed}");
    clear(&mut vm, &["crashed"]);
}

#[test]
#[ignore = "a minute without KVM: make test-long"]
fn imports_ahead_take_turns_and_one_archive_is_imported_once() {
    let mut guest = guest();
    // Another path is another archive.
    let link = |guest: &mut Vm| {
        for name in ["turn-a", "turn-b", "turn-c"] {
            guest.sh(&format!("ln -f {ARCHIVE} /data/images/{name}.tar"));
        }
    };
    guest.put_up("model", &unit(&["stay"], ""));
    write_archive(&mut guest, "first", true);
    link(&mut guest);
    let jails = ["turn-a", "turn-b", "turn-c", "turn-same"];
    for (jail, archive) in jails.into_iter().zip(["turn-a", "turn-b", "turn-c", "turn-a"]) {
        let source = format!("tar:/data/images/{archive}.tar");
        let text = unit(&["stay"], "").replace("erofs:/usr/share/jails/nuisance.erofs", &source);
        guest.put_up(jail, &text);
    }
    write_large_archive(&mut guest, "second");
    link(&mut guest);

    guest.ctl(&["restart", "turn-a", "turn-b", "--no-wait"]);
    let workers = importing(&mut guest, 2);
    guest.sh(&format!("kill -STOP {workers}"));
    guest.ctl(&["restart", "turn-c", "turn-same", "--no-wait"]);
    for name in ["turn-c", "turn-same"] {
        told(&mut guest, name, TURN, 1);
        let text = why(&mut guest, name);
        assert!(text.contains("is restarted when its new image is imported"), "{text}");
    }
    assert_eq!(importing(&mut guest, 2), workers);
    guest.sh(&format!("kill -CONT {workers}"));

    for name in jails {
        runs_from(&mut guest, name, "second");
    }
    told(&mut guest, "turn-c", RUNS_ON, 1);
    assert!(!guest.ctl(&["events", "turn-same"]).contains(RUNS_ON));
    nothing_left(&mut guest);
    clear(&mut guest, &jails);
}
