//! A service with a terminal, and people at it: `process.terminal` and `jailctl console`.

use jailsupd::control::wire::JailState;
use qemu_tests::{Guest, proto::Status};

use super::{SOON, Shell, guest, terminal::drive};

const DETACH: &str = "send:^]^]^]";

/// A program that does what is typed, as a user who is not root.
pub(super) fn unit() -> String {
    "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nuisance.erofs\"\n[network]\nmode = \"none\"\n\
     [process]\nexec = [\"/bin/desk\", \"desk\"]\nuser = 33\nterminal = true\n\
     [restart]\npolicy = \"always\"\n"
        .to_owned()
}

/// All that its terminal has shown.
fn log(guest: &mut Guest<'_>) -> String {
    guest.agent().jailctl(&["logs", "desk"]).unwrap().stdout
}

fn pid(guest: &mut Guest<'_>) -> u32 {
    guest.agent().service("desk", "desk").unwrap().pid
}

/// Someone at a terminal of the host, in the background; what the screen showed is in `/run/NAME`.
fn attend(guest: &mut Guest<'_>, name: &str, steps: &str) {
    let visitor = guest.root("room") + super::VISITOR;
    guest.sh(&format!(
        "rm -f /run/{name}; {{ {visitor} drive 24x80 {steps} -- /usr/bin/jailctl console desk; \
         echo code=$?; }} >/run/{name} 2>&1 </dev/null &"
    ));
}

fn wait_end(guest: &mut Guest<'_>, name: &str) -> String {
    guest.agent().wait_until(&format!("grep -q code= /run/{name}"), SOON).unwrap();
    guest.sh(&format!("cat /run/{name}"))
}

#[test]
fn service_has_a_terminal_of_its_own_jail_and_the_log_has_what_it_shows() {
    let mut guest = guest();

    let log = log(&mut guest);

    assert!(
        log.contains("terminal=true on=/dev/pts owner=33 controlling=true term=xterm"),
        "{log}"
    );
    assert!(log.contains("console=true"), "{log}");
}

#[test]
fn person_at_the_console_types_resizes_and_leaves_the_program_as_it_is() {
    let mut guest = guest();
    let before = pid(&mut guest);
    let steps = [
        "expect:attached to desk; ctrl-],ctrl-],ctrl-] detaches",
        "send:hello^M",
        "expect:said: hello",
        "resize:41x101",
        "send:size^M",
        "expect:size=41x101",
        "send:a^]b^M",
        "expect:said: a\u{1d}b",
        DETACH,
    ];

    let output = drive(&mut guest, "30x90", &steps, &["console", "desk"]);

    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    assert!(output.stdout.contains("detached from desk"), "{output:?}");
    assert!(output.stdout.contains("terminal is as it was"), "{output:?}");
    assert_eq!(pid(&mut guest), before, "the same program");
    let log = log(&mut guest);
    assert!(log.contains("said: hello") && log.contains("size=41x101"), "{log}");
}

#[test]
fn all_who_are_attached_see_what_each_of_them_types() {
    let mut guest = guest();
    guest.sh("rm -f /run/both");
    attend(&mut guest, "first", "\"expect:attached to\" \"expect:said: second\" send:^]^]^]");
    // The first is there when the terminal has its size.
    attend(
        &mut guest,
        "second",
        "await:/run/both send:second^M \"expect:said: second\" send:^]^]^]",
    );
    guest.agent().wait_until("[ $(pidof jailctl | wc -w) = 2 ]", SOON).unwrap();
    guest.sh("touch /run/both");

    let (first, second) = (wait_end(&mut guest, "first"), wait_end(&mut guest, "second"));

    for screen in [first, second] {
        assert!(screen.contains("said: second") && screen.contains("code=0"), "{screen}");
    }
}

#[test]
fn client_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    let mut guest = guest();
    guest.sh("rm -f /run/go");
    attend(
        &mut guest,
        "slow",
        "send:slow^M \"expect:said: slow\" await:/run/go \"expect:were not read in time\" send:^]^]^]",
    );
    guest.agent().wait_until("/usr/bin/jailctl logs desk | grep -q 'said: slow'", SOON).unwrap();
    guest.sh("kill -STOP $(pidof jailctl)");
    let other = ["send:flood 1000^M", DETACH];

    // More than jailsupd keeps for one: the program, jailsupd and the others go on meanwhile.
    drive(&mut guest, "24x80", &other, &["console", "desk"]);
    let over = "/usr/bin/jailctl logs desk | grep -q 'flood is over'";
    guest.agent().wait_until(over, SOON).unwrap();
    let another = ["send:meanwhile^M", "expect:said: meanwhile", DETACH];
    let output = drive(&mut guest, "24x80", &another, &["console", "desk"]);
    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    guest.sh("kill -CONT $(pidof jailctl); touch /run/go");

    let screen = wait_end(&mut guest, "slow");
    let end = &screen[screen.len().saturating_sub(2000)..];
    assert!(screen.contains("bytes were not read in time") && end.contains("code=0"), "{end}");
}

#[test]
fn terminal_and_those_at_it_go_on_when_jailsupd_is_killed() {
    let mut guest = guest();
    guest.sh("rm -f /run/go");
    let before = pid(&mut guest);
    attend(
        &mut guest,
        "stay",
        "send:one^M \"expect:said: one\" await:/run/go send:two^M \"expect:said: two\" send:^]^]^]",
    );
    guest.agent().wait_until("/usr/bin/jailctl logs desk | grep -q 'said: one'", SOON).unwrap();
    let brain = guest.jailsupd();

    guest.sh(&format!("kill -KILL {brain}; touch /run/go"));

    let screen = wait_end(&mut guest, "stay");
    assert!(screen.contains("said: two") && screen.contains("code=0"), "{screen}");
    assert_eq!(pid(&mut guest), before, "the same program");
    assert_ne!(guest.jailsupd(), brain);
    let log = log(&mut guest);
    assert!(log.contains("said: two"), "{log}");
}

#[test]
fn killed_client_leaves_the_program_alone() {
    let mut guest = guest();
    let before = pid(&mut guest);
    attend(&mut guest, "killed", "send:here^M \"expect:said: here\" expect:never");
    guest.agent().wait_until("/usr/bin/jailctl logs desk | grep -q 'said: here'", SOON).unwrap();

    guest.sh("kill -KILL $(pidof jailctl)");
    wait_end(&mut guest, "killed");

    let steps = ["send:still^M", "expect:said: still", DETACH];
    let output = drive(&mut guest, "24x80", &steps, &["console", "desk"]);
    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    assert_eq!(pid(&mut guest), before, "the same program");
}

#[test]
fn end_of_the_program_is_told_and_its_next_life_has_another_terminal() {
    let mut guest = guest();
    let before = pid(&mut guest);
    let steps = ["send:leave 7^M", "expect:the program of desk exited with 7"];

    let output = drive(&mut guest, "24x80", &steps, &["console", "desk"]);
    guest.agent().wait_state("desk", JailState::Up).unwrap();

    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    assert!(output.stdout.contains("terminal is as it was"), "{output:?}");
    assert_ne!(pid(&mut guest), before);
    let steps = ["send:reborn^M", "expect:said: reborn", DETACH];
    let output = drive(&mut guest, "24x80", &steps, &["console", "desk"]);
    assert_eq!(output.status, Status::Exit(0), "{output:?}");
}

#[test]
fn console_that_is_not_there_is_refused_with_the_key_that_gives_one() {
    let mut guest = guest();

    let pipes = guest.agent().jailctl(&["console", "room"]).unwrap();
    let unknown = guest.agent().jailctl(&["console", "nobody"]).unwrap();
    guest.agent().jailctl(&["stop", "desk"]).unwrap();
    let down = guest.agent().jailctl(&["console", "desk"]).unwrap();
    guest.agent().jailctl(&["start", "desk"]).unwrap();

    assert_eq!(pipes.status, Status::Exit(1), "{pipes:?}");
    assert!(pipes.stderr.contains("process.terminal = true"), "{pipes:?}");
    assert_eq!(unknown.status, Status::Exit(3), "{unknown:?}");
    assert_eq!(down.status, Status::Exit(1), "{down:?}");
    assert!(down.stderr.contains("it is down: only what runs has a terminal"), "{down:?}");
}
