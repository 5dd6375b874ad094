//! jailsupd dies, or a step fails, at each point of a start and of an end: afterwards the jail is where it
//! should be, nothing has happened twice, and nothing is left behind.

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, Vm};

use super::checker::{End, Story};

/// Points of a start, in its order, where jailsupd may die or the step fail (`jailsupd/src/exec/faults.rs`;
/// jailsupd's own tests hold this list to the sources).
const START: &[&str] = &[
    "start-begun",
    "step-create-cgroup",
    "namespaces-made",
    "step-create-namespaces",
    "link-forgotten",
    "vlan-made",
    "step-set-up-network",
    "step-open-image",
    "step-shift-ids",
    "step-overlay",
    "step-find-user",
    "step-open-volume",
    "step-write-files",
    "step-pin-devices",
    "prepared",
    "pipes-made",
    "cloned",
    "handed-over",
    "limits-set",
    "state-made",
    "entrusted",
    "told-to-go",
    "watched",
];

/// Points of a start where it may only die.
const STARTING: &[&str] = &["came-to-preparing", "came-to-starting", "came-to-up"];

/// Points of an end.
const END: &[&str] = &[
    "came-to-stopping",
    "stop-stored",
    "signalled",
    "end-seen",
    "end-read",
    "end-drained",
    "end-noted",
    "came-to-cleaning",
    "before-remove",
    "removed",
    "cgroup-killed",
    "cgroup-removed",
    "root-discarded",
    "layer-discarded",
    "came-to-down",
    "rest-stored",
];

/// Points of the start of a jail with a persistent root and core dumps.
const KEPT: &[&str] = &["step-open-root", "step-open-cores"];

/// Points of the start of a jail in a network of the host's own.
const IN_A_NETWORK: &[&str] =
    &["packet-filter-set", "bridge-made", "step-set-up-network", "link-forgotten"];

/// Points of the start of a jail that waits for another one and says itself when it is ready.
const READY: &[&str] = &["came-to-waiting", "came-to-activating"];

/// The point of a jail that has crashed and waits for its next start.
const CRASHED: &str = "came-to-backoff";

/// The point where a start that has failed is known, but nothing has followed from that.
pub(super) const START_FAILED: &str = "start-error-seen";

/// The point where a jail is to start when it is its turn.
pub(super) const TO_START: &str = "queued-stored";

/// Points where a new version takes the place of the one that it was beside.
const HANDING_OVER: &[&str] =
    &["former-stored", "new-stored", "handed-over-to-new", "former-forgotten"];

/// Stages of the jail's own processes, each of which fails once. Not the hand-over of its pidfd: a fault strikes after
/// the stage, and then the jail has begun.
const STAGES: &[&str] = &[
    "OomScore",
    "CloseFiles",
    "JoinNamespaces",
    "BecomeRoot",
    "Propagation",
    "KernelMounts",
    "Pivot",
    "AttachKernelMounts",
    "NarrowSys",
    "UserNamespaces",
    "Tmpfs",
    "Volume",
    "Given",
    "Devices",
    "Mask",
    "ReadOnly",
    "HostName",
    "Limits",
    "Keyring",
    "BoundingSet",
    "User",
    "Capabilities",
    "Files",
    "Landlock",
    "WorkingDir",
    "Filter",
];

/// The same of a jail with settings of the kernel that says itself when it is ready.
const STAGES_OF_READY: &[&str] = &["Sysctl", "Notify"];

static WEAK: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(20);
pub(super) const SELECTOR: &str = "/run/warder/fault";
const RECORD: &str = "/data/volumes/victim/data/record";
const UNIT: &str = "version = 1
[image]
source = \"erofs:/usr/share/jails/nuisance.erofs\"
[network]
vlan = 10
address = [\"10.9.0.2/24\"]
[process]
exec = [\"/bin/witness\", \"/record\", \"steady\"]
[restart]
policy = \"always\"
delay = \"100ms\"
delay_max = \"500ms\"
[stop]
timeout = \"5m\"
[[volume]]
name = \"victim\"
path = \"/record\"
";

/// The unit of one that waits for another one, has a setting of the kernel and says itself when it is ready.
fn ready() -> String {
    let more = "notify = \"ready\"\n[security]\nsysctl = { \"net.core.somaxconn\" = \"1024\" }\n[dependencies]\nafter = [\"nginx\"]\n[restart]";
    UNIT.replace("[restart]", more)
}

fn guest() -> Guest<'static> {
    WEAK.guest(|| {
        let jails = Jails::new().unwrap().weak_jailsupd().unwrap();
        Machine::new("points", Image::Debug).jails(jails)
    })
}

pub(super) fn guest_with_weak_jailsupd() -> Guest<'static> {
    let mut vm = guest();
    let policy = "version = 1\n[network]\nvlan = [10]\n";
    vm.agent().write("/etc/warder/policy.toml", policy).unwrap();
    vm.weaken().unwrap();
    vm.wait_page().unwrap();
    vm
}

#[test]
fn death_at_each_point_of_start_and_end_leaves_the_jail_as_wanted_and_nothing_behind() {
    let mut vm = guest_with_weak_jailsupd();
    let starts: Vec<&str> = START.iter().chain(STARTING).copied().collect();
    for number in 0..starts.len().max(END.len()) {
        let start = format!("kill {}", starts[number % starts.len()]);
        let end = format!("kill {}", END[number % END.len()]);
        eprintln!("{start}, {end}");
        life(&mut vm, &start, Some(&end));
    }
}

#[test]
#[ignore = "takes minutes without KVM: make test-long"]
fn failure_at_each_point_of_a_start_is_told_and_leaves_nothing_behind() {
    let mut vm = guest_with_weak_jailsupd();
    for point in START {
        life(&mut vm, &format!("fail {point}"), None);
    }
}

#[test]
#[ignore = "takes minutes without KVM: make test-long"]
fn failure_of_each_stage_of_the_jails_own_processes_is_told_and_leaves_nothing_behind() {
    let mut vm = guest_with_weak_jailsupd();
    for stage in STAGES {
        life(&mut vm, &format!("stage {stage}"), None);
    }
    for stage in STAGES_OF_READY {
        life_of(&mut vm, &ready(), &format!("stage {stage}"), None);
    }
}

#[test]
fn death_at_the_points_that_only_a_jail_has_which_waits_or_is_waited_for_leaves_nothing_behind() {
    let mut vm = guest_with_weak_jailsupd();
    for point in READY {
        life_of(&mut vm, &ready(), &format!("kill {point}"), Some("kill came-to-stopping"));
    }
}

#[test]
fn death_when_a_jail_has_crashed_and_waits_for_its_next_start_starts_it_once() {
    let mut vm = guest_with_weak_jailsupd();
    let before = Left::see(&mut vm);
    let lives = story(&mut vm).lives.len();
    vm.put_up("victim", UNIT);
    vm.agent()
        .wait_until(&format!("[ $(grep -c ^start {RECORD}) -eq {} ]", lives + 1), SOON)
        .unwrap();
    let what = format!("kill {CRASHED}");
    vm.agent().write(SELECTOR, &what).unwrap();
    let pid = vm.agent().service("victim", "witness").unwrap().pid;
    vm.sh(&format!("kill -KILL {pid}"));
    has_happened(&mut vm, &what);
    vm.agent()
        .wait_until(&format!("[ $(grep -c ^start {RECORD}) -eq {} ]", lives + 2), SOON)
        .unwrap();
    vm.up("victim");
    assert_eq!(vm.agent().last_exit("victim").unwrap().signal.as_deref(), Some("SIGKILL"));
    vm.ctl(&["stop", "victim"]);
    // The test has taken the first one away.
    let story = story(&mut vm);
    let killed = format!("life {} was taken away without a word", lives + 1);
    assert_eq!((story.lives.len(), story.faults), (lives + 2, vec![killed]));
    vm.remove("victim");
    // Others are to find no such record.
    vm.ctl(&["volume", "rm", "victim"]);
    assert_eq!(Left::see(&mut vm), before);
}

#[test]
fn death_at_the_points_that_only_a_kept_root_has_leaves_nothing_behind() {
    let mut vm = guest_with_weak_jailsupd();
    let unit =
        UNIT.replace("[restart]", "core_dump = \"1M\"\n[root]\nmode = \"persistent\"\n[restart]");
    for point in KEPT {
        life_of(&mut vm, &unit, &format!("kill {point}"), Some("kill root-discarded"));
    }
}

#[test]
fn death_while_a_jail_joins_a_network_leaves_no_bridge_and_no_port_behind() {
    let mut vm = guest_with_weak_jailsupd();
    vm.sh("mkdir -p /etc/jails.d/networks; echo version = 1 > /etc/jails.d/networks/back.toml");
    let unit = UNIT
        .replace("vlan = 10\naddress = [\"10.9.0.2/24\"]", "mode = \"bridge\"\nnetwork = \"back\"");
    for point in IN_A_NETWORK {
        life_of(&mut vm, &unit, &format!("kill {point}"), Some("kill cgroup-removed"));
    }
    vm.sh("rm -r /etc/jails.d/networks");
    vm.ctl(&["apply"]);
}

#[test]
fn the_hook_after_the_end_runs_once_though_jailsupd_dies_before_it_or_as_it_begins() {
    let mut vm = guest_with_weak_jailsupd();
    let unit = qemu_tests::unit_of(
        "nuisance",
        &["stay"],
        "[hooks]\npoststop = [\"/bin/nuisance\", \"hook\", \"0\"]",
    );
    // Of the end, and of the hook's own start.
    let points = [
        "before-remove",
        "removed",
        "prepared",
        "cloned",
        "handed-over",
        "entrusted",
        "told-to-go",
    ];
    for (before, point) in points.into_iter().enumerate() {
        vm.put_up("hooked", &unit);
        let what = format!("kill {point}");
        vm.agent().write(SELECTOR, &what).unwrap();
        vm.sh("jailctl stop hooked >/dev/null 2>&1; true");
        has_happened(&mut vm, &what);
        vm.agent().wait_state("hooked", JailState::Down).unwrap();
        let log = vm.ctl(&["logs", "hooked"]);
        assert_eq!(log.matches("\"status\":\"stopped\"").count(), before + 1, "{what}: {log}");
        vm.remove("hooked");
    }
}

#[test]
fn death_at_each_point_of_a_handover_leaves_the_new_version_alone_with_the_jails_link() {
    let mut vm = guest_with_weak_jailsupd();
    let before = Left::see(&mut vm);
    let unit = |version: usize| {
        let first = "[deploy]\nstrategy = \"start-first\"\nmin_healthy_time = \"300ms\"\n\
                     address = [\"10.9.0.3/24\"]\n";
        let named = format!("environment = {{ VERSION = \"{version}\" }}\n{first}[restart]");
        UNIT.replace("\"/bin/witness\", \"/record\", \"steady\"", "\"/bin/nuisance\", \"stay\"")
            .replace("[restart]", &named)
            .replace("victim", "heir")
            + "[hooks]\npoststop = [\"/bin/nuisance\", \"hook\", \"0\"]\n"
    };
    vm.agent().write("/etc/jails.d/heir.toml", &unit(0)).unwrap();
    vm.agent().wait_until("[ -e /data/deploys/heir.good ]", SOON).unwrap();
    let starts = ["entrusted", "told-to-go", "watched", "came-to-up"];
    let points = starts.iter().chain(HANDING_OVER).chain(&["before-remove", "removed"]);
    for (at, point) in points.enumerate() {
        let what = format!("kill {point}");
        vm.agent().write(SELECTOR, &what).unwrap();
        vm.agent().write("/etc/jails.d/heir.toml", &unit(at + 1)).unwrap();
        has_happened(&mut vm, &what);

        // The former one ends as its own unit says, and its hook runs once.
        let hooks = "/usr/bin/jailctl logs heir | grep -c 'status\":\"stopped'";
        let ended = vm.agent().wait_until(&format!("[ $({hooks}) -ge {} ]", at + 1), SOON);
        assert!(ended.is_ok(), "{what}: {ended:?} {}", vm.ctl(&["logs", "heir"]));
        // Of each two lives one is left, and that is the new one.
        let place = if at % 2 == 0 { "heir.2" } else { "heir" };
        let alone =
            format!("[ \"$(cd /sys/fs/cgroup/jails; ls -d heir heir.2 2>/dev/null)\" = {place} ]");
        let left = vm.agent().wait_until(&alone, SOON);
        assert!(left.is_ok(), "{what}: {left:?} {}", vm.ctl(&["events", "heir"]));
        vm.up("heir");
        assert_eq!(
            vm.sh(hooks).trim(),
            (at + 1).to_string(),
            "{what}: {}",
            vm.ctl(&["logs", "heir"])
        );
        let pid = vm.agent().service("heir", "nuisance").unwrap().pid;
        let version = format!("tr '\\0' '\\n' </proc/{pid}/environ | grep -q ^VERSION={}$", at + 1);
        vm.agent().wait_until(&version, SOON).unwrap();
        let address = format!("nsenter -t {pid} -n /usr/bin/busybox ip addr");
        let linked = format!("{address} | grep -q 10.9.0.2/ && ! {address} | grep -q 10.9.0.3/");
        let linked = vm.agent().wait_until(&linked, SOON);
        assert!(linked.is_ok(), "{what}: {linked:?} {}", vm.ctl(&["events", "heir"]));
    }
    vm.remove("heir");
    vm.sh("jailctl volume rm heir");
    assert_eq!(Left::see(&mut vm), before);
}

#[test]
fn a_jail_for_one_run_is_not_run_again_though_jailsupd_dies_when_it_has_ended() {
    let mut vm = guest_with_weak_jailsupd();
    let unit = UNIT
        .replace("steady", "mortal")
        .replace("\"always\"", "\"no\"")
        .replace("name = \"victim\"", "name = \"once\"");
    let points = ["end-noted", "cgroup-removed", "before-remove", "removed", "came-to-failed"];
    for (before, point) in points.into_iter().enumerate() {
        let what = format!("kill {point}");
        vm.agent().write(SELECTOR, &what).unwrap();
        vm.agent().write("/etc/jails.d/once.toml", &unit).unwrap();
        has_happened(&mut vm, &what);
        vm.agent().wait_state("once", JailState::Failed).unwrap();
        let record = vm.agent().read("/data/volumes/once/data/record").unwrap();
        let story = Story::read(&record);
        assert_eq!((story.lives.len(), story.faults), (before + 1, vec![]), "{what}: {record}");
        vm.remove("once");
    }
}

/// One life of a jail: something happens at its start and, perhaps, at its end.
fn life(vm: &mut Vm, start: &str, end: Option<&str>) {
    life_of(vm, UNIT, start, end);
}

fn life_of(vm: &mut Vm, unit: &str, start: &str, end: Option<&str>) {
    let before = Left::see(vm);
    let lives = story(vm).lives.len();
    vm.agent().write(SELECTOR, start).unwrap();
    vm.agent().write("/etc/jails.d/victim.toml", unit).unwrap();
    has_happened(vm, start);
    come_up(vm, start);
    // It is up when it is executed, and then it writes.
    let written = format!("[ $(grep -c ^start {RECORD}) -gt {lives} ]");
    vm.agent().wait_until(&written, SOON).unwrap();
    let one_more = story(vm);
    assert_eq!(one_more.faults, [""; 0], "{start}");
    assert_eq!(one_more.lives.len(), lives + 1, "{start}: one start");
    vm.agent().service("victim", "witness").unwrap();

    if let Some(end) = end {
        vm.agent().write(SELECTOR, end).unwrap();
        // It may hear nothing any more.
        vm.sh("jailctl stop victim >/dev/null 2>&1; true");
        has_happened(vm, end);
    }
    // Whoever got no answer asks again.
    vm.ctl(&["stop", "victim"]);
    vm.agent().wait_state("victim", JailState::Down).unwrap();
    let ended = story(vm);
    assert_eq!((ended.lives.len(), ended.faults), (lives + 1, vec![]), "{start}, {end:?}");
    assert_eq!(ended.lives.last().and_then(|life| life.end), Some(End::Asked), "{start}, {end:?}");
    assert_eq!(vm.agent().last_exit("victim").unwrap().code, Some(0), "{start}, {end:?}");

    vm.remove("victim");
    if unit.contains("persistent") {
        vm.ctl(&["root", "rm", "victim"]);
    }
    if unit.contains("bridge") {
        // Numbers are taken back when the trash is empty, as ids are.
        vm.agent().wait_until("[ ! -e /data/jails/networks ]", SOON).unwrap();
    }
    let after = Left::see(vm);
    assert_eq!(after, before, "left behind by {start}, {end:?}");
}

/// The point was reached, and jailsupd is there again.
pub(super) fn has_happened(vm: &mut Vm, what: &str) {
    let reached = vm.agent().wait_until(&format!("[ ! -e {SELECTOR} ]"), SOON);
    assert!(reached.is_ok(), "{what} was never reached: {reached:?}");
    vm.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
}

/// By itself; or it has failed for good, and says at which step.
fn come_up(vm: &mut Vm, what: &str) {
    let settled = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| matches!(row.state, JailState::Up | JailState::Failed))
    };
    let row = vm.agent().wait_listed("victim", "up or failed", settled).unwrap();
    let told = vm.ctl(&["events", "victim", "--json"]);
    let reason = match what.split_once(' ') {
        Some(("fail", _)) => "a test has chosen that",
        Some(("stage", _)) => "EIO",
        _ => "",
    };
    assert!(told.contains(reason), "{what}: {told}");
    if row.is_some_and(|row| row.state == JailState::Failed) {
        assert!(!what.starts_with("kill"), "{what}: nobody's fault, and yet failed");
        vm.ctl(&["start", "victim"]);
    }
    vm.up("victim");
}

fn story(vm: &mut Vm) -> Story {
    Story::read(&vm.agent().read(RECORD).unwrap_or_default())
}

/// What a jail that is gone must not leave.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    cgroups: String,
    /// The host's: jailsupd's own go with it.
    mounts: String,
    processes: String,
    /// Of PID 1.
    files: String,
    data: String,
    links: String,
}

impl Left {
    fn see(vm: &mut Vm) -> Self {
        // What is thrown away is removed by a process of its own.
        vm.agent().wait_until("[ -z \"$(ls -A /data/jails/.trash 2>/dev/null)\" ]", SOON).unwrap();
        Self {
            cgroups: vm.sh("cd /sys/fs/cgroup/jails; ls -d */"),
            mounts: vm.sh("cut -d ' ' -f 3- /proc/1/mountinfo"),
            processes: vm
                .sh("for p in $(cat /proc/1/task/1/children); do cat /proc/$p/comm; done | sort"),
            files: vm.sh("ls /proc/1/fd | wc -l"),
            // The table of ids may just be written: that follows each emptying of the trash.
            data: vm.sh("cd /data/jails; ls | grep -v '^ranges[.]new$'; ls /run/jailsupd/units"),
            links: vm.sh("ls /sys/class/net"),
        }
    }
}
