//! A program on a terminal, and a person at one.

use qemu_tests::{
    Guest,
    proto::{Output, Status},
};

use super::{SOON, Shell, VISITOR, guest};

/// `jailctl WORDS` at a terminal of the host of this size, used by these steps.
pub(super) fn drive(guest: &mut Guest<'_>, size: &str, steps: &[&str], words: &[&str]) -> Output {
    // A program for the host is only in the jail's image.
    let visitor = guest.root("room") + VISITOR;
    let command: &[&str] = &["--", "/usr/bin/jailctl"];
    guest
        .agent()
        .run(&[&[visitor.as_str(), "drive", size], steps, command, words].concat())
        .unwrap()
}

#[test]
fn terminal_is_the_jails_own_and_the_users() {
    let mut guest = guest();

    let root = drive(&mut guest, "24x80", &[], &["exec", "-it", "room", VISITOR, "terminal"]);
    let other =
        drive(&mut guest, "24x80", &[], &["exec", "-t", "-u", "5", "room", VISITOR, "terminal"]);
    let own = guest.exec(&["-t", "-e", "TERM=dumb", "walled", VISITOR, "terminal"]);

    let told = "terminal=true on=/dev/pts owner=0 controlling=true term=xterm-test";
    assert_eq!(root.status, Status::Exit(0), "{root:?}");
    assert!(root.stdout.contains(told), "{root:?}");
    assert!(other.stdout.contains("owner=5 controlling=true"), "{other:?}");
    assert!(own.stdout.contains("owner=33 controlling=true term=dumb"), "{own:?}");
}

#[test]
fn size_is_the_screens_and_follows_it_and_control_c_ends_the_program_alone() {
    let mut guest = guest();
    let steps = ["expect:size=30x90", "resize:41x101", "expect:size=41x101", "send:^C"];

    let output = drive(&mut guest, "30x90", &steps, &["exec", "-it", "room", VISITOR, "size"]);

    assert_eq!(output.status, Status::Exit(130), "{output:?}");
    assert!(output.stdout.contains("terminal is as it was"), "{output:?}");
    guest.agent().wait_until("! pidof visitor", SOON).unwrap();
}

#[test]
fn keys_go_to_the_program_and_its_output_to_the_screen() {
    let mut guest = guest();
    // Once as the terminal's echo, once from the program.
    let steps = ["send:hello^M", "expect:hello", "expect:hello", "send:^D"];

    let output = drive(&mut guest, "24x80", &steps, &["exec", "-it", "room", VISITOR, "cat"]);

    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    assert!(output.stdout.contains("terminal is as it was"), "{output:?}");
}

#[test]
fn terminal_is_restored_also_when_the_jail_ends() {
    let mut guest = guest();
    let visitor = guest.root("room") + VISITOR;
    guest.sh(&format!(
        "{{ {visitor} drive 24x80 expect:here expect:killed -- /usr/bin/jailctl exec -it walled {VISITOR} stubborn; \
         echo code=$?; }} >/run/screen 2>&1 </dev/null &"
    ));
    guest.agent().wait_until("pidof visitor | grep -q ' '", SOON).unwrap();
    guest.agent().service("walled", "visitor").unwrap();

    guest.agent().jailctl(&["restart", "walled"]).unwrap();

    guest.agent().wait_until("grep -q code= /run/screen", SOON).unwrap();
    let screen = guest.sh("cat /run/screen");
    assert!(screen.contains("was killed from outside"), "{screen}");
    assert!(screen.contains("terminal is as it was\ncode=137\n"), "{screen}");
}

#[test]
fn a_terminal_that_hangs_up_ends_the_program() {
    let mut guest = guest();
    let steps = ["expect:size=24x80", "hangup"];

    drive(&mut guest, "24x80", &steps, &["exec", "-it", "room", VISITOR, "size"]);

    guest.agent().wait_until("! pidof visitor && ! pidof jailctl", SOON).unwrap();
}
