//! Edited units and images that turn out to be no good: the last good version comes back by itself. The tests take turns
//! on one boot of the debug image; the last one has two of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ahead;
mod beside;

use std::time::Duration;

use jailsupd::control::wire::{ExitReason, ImageImported, JailState, JailSummary};
use qemu_tests::{End, Guest, Image, Jails, Machine, Shared, Vm, image, proto::Status, unit_of};

static SHARED: Shared = Shared::new();

const SOON: Duration = Duration::from_secs(30);
const PROBLEMS: Status = Status::Exit(6);
const REFUSED: Status = Status::Exit(1);
const QUICK: &str = "[deploy]\nmin_healthy_time = \"1500ms\"\n";

fn jails() -> Jails {
    let programs = ["strain", "speaker"];
    let jails = programs
        .into_iter()
        .try_fold(Jails::new().unwrap(), |jails, name| jails.image(name, &image::program(name)?));
    jails.unwrap()
}

fn guest() -> Guest<'static> {
    let mut guest = SHARED.guest(|| Machine::new("deploy", Image::Debug).jails(jails()));
    guest.sh("rm -rf /etc/jails.d/*; /usr/bin/jailctl apply");
    guest
}

/// A unit that is soon good.
fn unit(words: &[&str], rest: &str) -> String {
    unit_of("nuisance", words, &format!("{QUICK}{rest}"))
}

/// Waits until so many events of the jail have this text.
fn told(vm: &mut Vm, jail: &str, text: &str, count: usize) {
    let condition = format!("[ $(/usr/bin/jailctl events {jail} | grep -c '{text}') -ge {count} ]");
    vm.agent().wait_until(&condition, SOON).unwrap();
}

const BACK: &str = "the last good one comes back";
const GOOD: &str = "its new version is good";
const RUNS_ON: &str = "it runs on until its new image is imported";

/// Waits until the version in force has proved itself.
fn good(vm: &mut Vm, jail: &str) {
    vm.agent().wait_until(&format!("[ -e /data/deploys/{jail}.good ]"), SOON).unwrap();
}

/// Waits until an edit has made a version that has yet to prove itself.
fn wait_new(vm: &mut Vm, jail: &str) {
    let is_new = format!("/usr/bin/jailctl why {jail} | grep -q 'Its version is new'");
    vm.agent().wait_until(&is_new, SOON).unwrap();
}

fn why(vm: &mut Vm, jail: &str) -> String {
    vm.ctl(&["why", jail]).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn nginx_with_a_configuration_that_is_not_there_goes_back_to_what_served_the_page() {
    const PART: &str = "/etc/jails.d/nginx.toml.d/50-new.toml";
    let mut guest = guest();
    guest.sh("mkdir -p /etc/jails.d/nginx.toml.d");
    // What is up for as long as nginx takes to find out that it has no configuration is not healthy yet, and not unhealthy either.
    let health =
        "[health]\nhttp = \"http://127.0.0.1/\"\ninterval = \"200ms\"\nstart_period = \"10s\"\n";
    let part = format!("{QUICK}{health}");
    guest.agent().write("/etc/jails.d/nginx.toml.d/10-quick.toml", &part).unwrap();
    guest.ctl(&["apply"]);
    good(&mut guest, "nginx");

    let edit = "[process]\nexec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\", \"-c\", \"/nowhere.conf\"]\n";
    guest.agent().write(PART, edit).unwrap();
    told(&mut guest, "nginx", BACK, 1);
    guest.up("nginx");
    assert_eq!(guest.wait_page().unwrap().status, 200);
    let text = why(&mut guest, "nginx");
    assert!(text.contains("the last good version stays in force"), "{text}");
    assert!(text.contains("this version failed 3 times in a row; last it exited with 1"), "{text}");
    let problems = guest.refused(&["check"], PROBLEMS);
    assert!(problems.contains("`touch` the file to have it tried again"), "{problems}");

    // Not by itself, and not by a restart by hand; only where someone says so.
    guest.ctl(&["restart", "nginx"]);
    let problems = guest.refused(&["apply"], PROBLEMS);
    assert!(problems.contains(PART), "{problems}");
    assert_eq!(guest.wait_page().unwrap().status, 200);
    guest.sh(&format!("touch {PART}"));
    // Each is an event and a change of state.
    told(&mut guest, "nginx", BACK, 3);
    guest.up("nginx");

    // Mended, it is a good version like any other.
    let mended =
        "[process]\nexec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off; master_process on;\"]\n";
    guest.agent().write(PART, mended).unwrap();
    told(&mut guest, "nginx", GOOD, 1);
    assert_eq!(guest.wait_page().unwrap().status, 200);
    guest.ctl(&["check"]);
    guest.sh("rm -r /etc/jails.d/nginx.toml.d");
    guest.ctl(&["apply"]);
}

#[test]
fn image_comes_back_by_its_digest_though_its_name_has_moved_on() {
    let mut guest = guest();
    let import = |guest: &mut Guest<'_>, program: &str| {
        let file = format!("/usr/share/jails/{program}.erofs");
        let words = ["image", "import", &file, "--name", "app"];
        guest.agent().ask::<ImageImported>(&words).unwrap().image.unwrap().digest
    };
    let unit = |variable: &str| {
        unit(&["stay"], &format!("[restart]\npolicy = \"no\"\n{variable}"))
            .replace("erofs:/usr/share/jails/nuisance.erofs", "image:app")
    };
    let first = import(&mut guest, "nuisance");
    guest.put_up("app", &unit(""));
    good(&mut guest, "app");

    // The name means an image without the program, and the unit is edited, too.
    let second = import(&mut guest, "strain");
    assert_ne!(first, second);
    guest.put("app", &unit("[stop]\nsignal = \"SIGINT\"\n[root]\nmode = \"read-only\""));
    told(&mut guest, "app", BACK, 1);
    guest.up("app");
    let running = guest.ctl(&["inspect", "app", "--json"]);
    assert!(running.contains(&first), "{running}");
    guest.ctl(&["image", "gc"]);
    guest.ctl(&["restart", "app"]);
    guest.up("app");

    // With the image that it had, the edited unit is good.
    guest.ctl(&["image", "tag", &first, "app"]);
    guest.ctl(&["apply"]);
    told(&mut guest, "app", GOOD, 1);
    assert!(!why(&mut guest, "app").contains("has a problem"));
    guest.remove("app");
    guest.ctl(&["image", "rm", "app"]);
    guest.ctl(&["image", "gc"]);
}

/// Healthy as long as there is `/good`.
fn checked(steps: &[&str], deadline: &str) -> String {
    let rest = format!(
        "environment = {{ PATH = \"/sbin:/bin\" }}\n{QUICK}healthy_deadline = \"{deadline}\"\n\
         [health]\nexec = [\"speaker\", \"exists\", \"/good\"]\ninterval = \"200ms\"\non_failure = \"none\""
    );
    unit_of("speaker", steps, &rest)
}

#[test]
fn version_that_does_not_become_healthy_goes_back_though_jailsupd_dies_meanwhile() {
    let mut guest = guest();
    guest.put_up("checked", &checked(&["touch", "/good", "stay"], "5s"));
    good(&mut guest, "checked");

    guest.put("checked", &checked(&["stay"], "5s"));
    wait_new(&mut guest, "checked");
    guest.agent().kill_jailsupd().unwrap();
    told(&mut guest, "checked", BACK, 1);

    guest.up("checked");
    let text = why(&mut guest, "checked");
    assert!(text.contains("this version was not healthy within 5s"), "{text}");
    // And so it is for the next jailsupd.
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_until("/usr/bin/jailctl ls >/dev/null", SOON).unwrap();
    let text = why(&mut guest, "checked");
    assert!(text.contains("this version was not healthy within 5s"), "{text}");
    guest.remove("checked");
}

#[test]
fn version_that_crashes_has_its_time_once_though_jailsupd_dies_again_and_again() {
    let mut guest = guest();
    let crashing = |steps: &[&str]| {
        let patient = "[restart]\ndelay = \"100ms\"\ndelay_max = \"100ms\"";
        unit(steps, patient)
            .replace("[deploy]", "[deploy]\nattempts = 1000\nhealthy_deadline = \"10s\"")
    };
    guest.put_up("again", &crashing(&["stay"]));
    good(&mut guest, "again");

    guest.put("again", &crashing(&["exit", "3"]));
    wait_new(&mut guest, "again");
    // Each of them dies long before the time is over, and none sees the version's first life.
    let came_back = (0..60).any(|_| {
        guest.agent().kill_jailsupd().unwrap();
        let restarts = |guest: &mut Vm| guest.agent().listed("again").map_or(0, |row| row.restarts);
        let before = restarts(&mut guest);
        let more = |row: Option<&JailSummary>| {
            row.is_some_and(|row| row.restarts > before || row.problem.is_some())
        };
        guest.agent().wait_listed("again", "started again", more).unwrap();
        guest.ctl(&["events", "again"]).contains(BACK)
    });
    assert!(came_back, "{}", guest.ctl(&["events", "again"]));
    let text = why(&mut guest, "again");
    assert!(text.contains("this version was not healthy within 10s"), "{text}");
    guest.up("again");
    guest.remove("again");
}

#[test]
fn version_that_fails_stays_where_nothing_is_to_come_back() {
    let mut guest = guest();
    let never = "[restart]\npolicy = \"no\"";
    // The first one.
    guest.put("alone", &unit(&["exit", "3"], never));
    guest.agent().wait_state("alone", JailState::Failed).unwrap();
    guest.put_up("alone", &unit(&["stay"], never));
    good(&mut guest, "alone");

    let no_way_back = unit(&["exit", "4"], never).replace("[deploy]", "[deploy]\nrollback = false");
    guest.put("alone", &no_way_back);
    guest.agent().wait_state("alone", JailState::Failed).unwrap();
    let exit = guest.agent().last_exit("alone").unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(4)));
    assert!(!guest.ctl(&["events", "alone"]).contains(BACK));
    // Its unit may still change its mind.
    guest.put("alone", &unit(&["exit", "5"], never));
    told(&mut guest, "alone", BACK, 1);
    guest.up("alone");
    guest.remove("alone");
    assert_eq!(guest.sh("ls /data/deploys | grep alone; true"), "");
}

#[test]
fn good_version_runs_after_a_reboot_too() {
    let mut first = Machine::new("deploy-before", Image::Debug).jails(jails()).start().unwrap();
    first.wait_boot().unwrap();
    first.put_up("kept", &unit(&["stay"], "[restart]\npolicy = \"no\""));
    good(&mut first, "kept");
    first.put("kept", &unit(&["exit", "3"], "[restart]\npolicy = \"no\""));
    told(&mut first, "kept", BACK, 1);
    first.up("kept");
    first.ctl(&["host", "reboot"]);
    assert_eq!(first.wait_end().unwrap(), End::Reset);

    let again = Machine::new("deploy-again", Image::Debug).jails(jails());
    let mut second = again.own_disk(first.disk()).start().unwrap();
    second.wait_boot().unwrap();
    second.up("kept");

    let text = why(&mut second, "kept");
    assert!(text.contains("this version exited with 3"), "{text}");
}

/// Writes an archive with the program of a jail that runs, and one more file; or with the file alone.
fn write_archive(vm: &mut Vm, file: &str, has_program: bool) {
    let pid = vm.agent().service("model", "nuisance").unwrap().pid;
    let program =
        if has_program { format!("cp /proc/{pid}/root/bin/nuisance bin") } else { ":".into() };
    vm.sh(&format!(
        "rm -rf /data/tree && mkdir -p /data/tree/bin /data/images && cd /data/tree && : >{file} && {program} && \
         tar -cf ../new.tar . && mv ../new.tar /data/images/app.tar"
    ));
}

/// The same with so much in it that whatever is done next is over long before it is imported.
fn write_large_archive(vm: &mut Vm, mark: &str) {
    // Other tests have left theirs.
    vm.ctl(&["image", "gc"]);
    write_archive(vm, mark, true);
    vm.sh("cd /data/tree && dd if=/dev/urandom of=much bs=1M count=24 2>/dev/null && \
         tar -cf ../new.tar . && mv ../new.tar /data/images/app.tar");
}

/// A good jail from the archive, and the one whose program is in there.
fn put_from_archive(vm: &mut Vm, name: &str, rest: &str) {
    vm.put_up("model", &unit(&["stay"], ""));
    write_archive(vm, "first", true);
    let text = unit(&["stay"], rest);
    let archive = "tar:/data/images/app.tar";
    vm.put_up(name, &text.replace("erofs:/usr/share/jails/nuisance.erofs", archive));
    good(vm, name);
}

#[test]
fn archive_that_was_overwritten_comes_back_as_it_was() {
    let mut guest = guest();
    put_from_archive(&mut guest, "packed", "[restart]\npolicy = \"no\"");

    write_archive(&mut guest, "second", false);
    guest.ctl(&["restart", "packed"]);
    told(&mut guest, "packed", BACK, 1);
    guest.up("packed");
    let pid = guest.agent().service("packed", "nuisance").unwrap().pid;
    guest.sh(&format!("[ -e /proc/{pid}/root/first ] && ! [ -e /proc/{pid}/root/second ]"));
    // The event, and the change of state that it leads to: once, and not for ever.
    assert!(guest.ctl(&["events", "packed"]).matches(BACK).count() <= 2);
    guest.remove("packed");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn image_file_that_is_overwritten_in_place_harms_nobody_and_comes_back_as_it_was() {
    const FILE: &str = "/data/images/app.erofs";
    let mut guest = guest();
    guest.sh(&format!("mkdir -p /data/images && cat /usr/share/jails/nuisance.erofs >{FILE}"));
    let text = unit(&["stay"], "[restart]\npolicy = \"no\"\n");
    let text = text.replace("/usr/share/jails/nuisance.erofs", FILE);
    guest.put_up("file", &text);
    good(&mut guest, "file");
    let image = "sed -n 's/^image //p' /data/deploys/file.good";
    let first = guest.sh(image).trim().to_owned();
    assert!(first.starts_with("sha256:"), "{first}");
    let sum_of = |guest: &mut Guest<'_>| {
        let pid = guest.agent().service("file", "nuisance").unwrap().pid;
        guest.sh(&format!("sha256sum </proc/{pid}/root/bin/nuisance"))
    };
    let program = sum_of(&mut guest);

    // What is no image any more: the jail runs on, from what it was started from.
    guest.sh(&format!("echo nonsense >{FILE}; echo 3 >/proc/sys/vm/drop_caches"));
    let said = guest.refused(&["restart", "file"], REFUSED);
    assert!(said.contains("is not an erofs file system") && said.contains("it runs on"), "{said}");
    assert_eq!(sum_of(&mut guest), program);

    // An image that lacks the program.
    guest.sh(&format!(
        "cat /usr/share/jails/strain.erofs >{FILE}; echo 3 >/proc/sys/vm/drop_caches"
    ));
    assert_eq!(sum_of(&mut guest), program);
    guest.ctl(&["restart", "file"]);
    told(&mut guest, "file", BACK, 1);
    guest.up("file");
    assert_eq!(sum_of(&mut guest), program);
    let text = why(&mut guest, "file");
    assert!(text.contains("this version did not start"), "{text}");

    // One that has it is another version, which proves itself.
    guest.sh(&format!("cat /usr/share/jails/nuisance.erofs >{FILE} && printf x >>{FILE}"));
    guest.ctl(&["apply"]);
    told(&mut guest, "file", GOOD, 1);
    assert_ne!(guest.sh(image).trim(), first);
    guest.remove("file");
    let collected = guest.ctl(&["image", "gc"]);
    assert!(collected.contains(&first), "{collected}");
    guest.sh("rm -r /data/images");
}

#[test]
fn archive_is_imported_before_the_jail_is_asked_to_end_and_one_that_cannot_be_stops_nothing() {
    let mut guest = guest();
    put_from_archive(&mut guest, "ahead", "[restart]\npolicy = \"no\"");
    let first = guest.agent().service("ahead", "nuisance").unwrap().pid;

    guest.sh("echo nonsense >/data/images/new && mv /data/images/new /data/images/app.tar");
    let said = guest.refused(&["restart", "ahead"], REFUSED);
    assert!(said.contains("it runs on as it is"), "{said}");
    assert_eq!(guest.agent().service("ahead", "nuisance").unwrap().pid, first);
    let text = why(&mut guest, "ahead");
    assert!(
        text.contains("It runs on as it is, since its new version cannot be started"),
        "{text}"
    );
    assert!(!guest.ctl(&["events", "ahead"]).contains("stopping"));

    write_archive(&mut guest, "second", true);
    guest.ctl(&["restart", "ahead"]);
    guest.up("ahead");
    let second = guest.agent().service("ahead", "nuisance").unwrap().pid;
    guest.sh(&format!("[ -e /proc/{second}/root/second ]"));
    assert!(!why(&mut guest, "ahead").contains("cannot be started"));
    // It was asked to end when there was something to start.
    let events = guest.ctl(&["events", "ahead"]);
    let imports = events.rfind("it runs on until its new image is imported").unwrap();
    assert!(events.rfind("stopping").is_some_and(|stopping| imports < stopping), "{events}");
    guest.remove("ahead");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn archive_that_a_jail_waits_for_is_taken_by_its_next_start_when_it_crashes_meanwhile() {
    let mut guest = guest();
    put_from_archive(&mut guest, "hasty", "[restart]\ndelay = \"10ms\"");
    write_large_archive(&mut guest, "second");
    let pid = guest.agent().service("hasty", "nuisance").unwrap().pid;
    guest.ctl(&["restart", "hasty", "--no-wait"]);
    assert_eq!(guest.agent().service("hasty", "nuisance").unwrap().pid, pid);
    guest.sh(&format!("kill -KILL {pid}"));
    let procs = "/sys/fs/cgroup/jails/hasty/cgroup.procs";
    let new = format!("ls $(sed 's,.*,/proc/&/root/much,' {procs}) >/dev/null 2>&1");
    guest.agent().wait_until(&new, SOON * 4).unwrap();
    guest.up("hasty");
    guest.remove("hasty");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn archive_is_imported_before_the_jail_ends_though_jailsupd_dies_meanwhile() {
    let mut guest = guest();
    put_from_archive(&mut guest, "calm", "");
    write_large_archive(&mut guest, "second");
    guest.ctl(&["restart", "calm", "--no-wait"]);
    guest.agent().kill_jailsupd().unwrap();

    told(&mut guest, "calm", RUNS_ON, 2);
    let second = "ls $(sed 's,.*,/proc/&/root/second,' /sys/fs/cgroup/jails/calm/cgroup.procs) \
                  >/dev/null 2>&1";
    guest.agent().wait_until(second, SOON * 4).unwrap();
    guest.up("calm");
    let events = guest.ctl(&["events", "calm"]);
    let (before, _) = events.split_once(" stopping").unwrap();
    assert_eq!(before.matches(RUNS_ON).count(), 2, "{events}");
    guest.remove("calm");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
#[ignore = "half a minute without KVM: make test-long"]
fn stop_does_not_wait_for_an_image_that_is_imported_ahead() {
    let mut guest = guest();
    put_from_archive(&mut guest, "base", "");
    let bound = "[dependencies]\nbinds_to = [\"base\"]";
    let leaf = guest.put_up("leaf", &unit(&["stay"], bound));
    write_large_archive(&mut guest, "second");
    let images = |guest: &mut Guest<'_>| guest.ctl(&["image", "ls"]).lines().count();
    let before = images(&mut guest);

    guest.ctl(&["restart", "base", "--no-wait"]);
    told(&mut guest, "base", RUNS_ON, 1);
    // What binds to it goes on with it.
    let meanwhile = guest.agent().listed("leaf").unwrap();
    assert_eq!((meanwhile.state, meanwhile.pid), (JailState::Up, leaf.pid));
    guest.ctl(&["stop", "base"]);

    assert_eq!(guest.agent().listed("base").unwrap().state, JailState::Down);
    assert_eq!(images(&mut guest), before);
    // The next start has it imported.
    guest.remove("leaf");
    guest.ctl(&["start", "base"]);
    assert_eq!(images(&mut guest), before + 1);
    guest.remove("base");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn newer_archive_takes_the_place_of_one_that_is_imported_ahead() {
    let mut guest = guest();
    put_from_archive(&mut guest, "newer", "");
    write_large_archive(&mut guest, "second");
    let images = |guest: &mut Guest<'_>| guest.ctl(&["image", "ls"]).lines().count();
    let before = images(&mut guest);

    guest.ctl(&["restart", "newer", "--no-wait"]);
    told(&mut guest, "newer", RUNS_ON, 1);
    write_archive(&mut guest, "third", true);
    guest.ctl(&["restart", "newer"]);

    let pid = guest.agent().service("newer", "nuisance").unwrap().pid;
    guest.sh(&format!("[ -e /proc/{pid}/root/third ]"));
    assert_eq!(images(&mut guest), before + 1);
    assert!(!why(&mut guest, "newer").contains("cannot be started"));
    guest.remove("newer");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn mended_image_does_not_pay_for_the_failures_of_the_one_before() {
    let mut guest = guest();
    put_from_archive(&mut guest, "mended", "[restart]\ndelay = \"2s\"\njitter = 0");
    // As many failures in a row as a new version may not have.
    for _ in 0..3 {
        guest.up("mended");
        let pid = guest.agent().service("mended", "nuisance").unwrap().pid;
        guest.sh(&format!("kill -KILL {pid}"));
        guest.agent().wait_state("mended", JailState::Backoff).unwrap();
    }
    write_archive(&mut guest, "second", true);

    told(&mut guest, "mended", GOOD, 1);

    guest.up("mended");
    let pid = guest.agent().service("mended", "nuisance").unwrap().pid;
    guest.sh(&format!("[ -e /proc/{pid}/root/second ]"));
    assert!(!guest.ctl(&["events", "mended"]).contains(BACK));
    guest.remove("mended");
    guest.remove("model");
    guest.sh("rm -r /data/images/app.tar /data/tree");
}

#[test]
fn what_came_back_keeps_its_address() {
    let mut guest = guest();
    let at = |number: u8, words: &[&str]| {
        unit(words, "[restart]\npolicy = \"no\"")
            .replace("mode = \"none\"", &format!("address = [\"10.0.9.{number}/24\"]"))
    };
    guest.put_up("moved", &at(5, &["stay"]));
    good(&mut guest, "moved");
    guest.put("moved", &at(6, &["exit", "3"]));
    told(&mut guest, "moved", BACK, 1);
    guest.up("moved");

    guest.agent().write("/etc/jails.d/other.toml", &at(5, &["stay"])).unwrap();
    let said = guest.refused(&["apply"], PROBLEMS);

    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("10.0.9.5 belongs to jail `moved`"), "{said}");
    guest.sh("rm /etc/jails.d/other.toml");
    guest.remove("moved");
}
