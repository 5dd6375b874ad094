//! A service that has been taken over has its socket, too.

use qemu_tests::proto::Status;

use super::{Shell as _, guest, speaker};

#[test]
fn floods_descriptors_and_nonsense_cost_the_host_nothing() {
    let mut guest = guest();
    guest.up("idle");
    let brain = guest.agent().jailsupd().unwrap();
    let descriptors = format!("ls /proc/{brain}/fd | wc -l");
    let steps = [
        "say",
        "READY=1",
        "wait",
        "/go",
        "long",
        "fds",
        "250",
        "say",
        "=|?=1|READY|=READY=1",
        "flood",
        "1000",
        "STATUS=a flood",
        "barrier",
        "say",
        "STATUS=over",
        "stay",
    ];
    guest.put_up("floods", &speaker(&steps, "notify = \"ready\"", ""));
    let before: u32 = guest.sh(&descriptors).trim().parse().unwrap();
    guest.touch("floods", "/go");
    guest.wait_status("floods", "a flood");

    // Everybody else is answered meanwhile.
    let during: u32 = guest.sh(&descriptors).trim().parse().unwrap();
    guest.ctl(&["exec", "idle", "/bin/speaker", "touch", "/x"]);
    guest.wait_status("floods", "over");

    assert!(during <= before + 2, "{before} descriptors, then {during}");
    let log = guest.ctl(&["logs", "floods"]);
    let time = log.split("flood of 1000 in ").nth(1).and_then(|rest| rest.split(' ').next());
    // Two hundred a second are heard.
    assert!(time.unwrap().parse::<u32>().unwrap() > 2500, "{log}");
    guest.ctl(&["exec", "floods", "/bin/speaker", "exists", "/barrier"]);
    assert_eq!(guest.agent().jailsupd().unwrap(), brain);
    guest.remove("floods");
}

#[test]
fn a_status_moves_no_cursor_and_a_jail_that_is_to_say_nothing_has_no_socket() {
    let mut guest = guest();
    guest.up("idle");
    let steps = ["say", "READY=1|STATUS=a\u{1b}[2Jb\u{202e}c", "stay"];
    // In TOML, as escapes.
    let unit = speaker(&steps, "notify = \"ready\"", "").replace('\u{1b}', "\\u001B");
    guest.put_up("paints", &unit.replace('\u{202e}', "\\u202E"));
    guest.wait_status("paints", "a [2Jb c");

    let none =
        guest.refused(&["exec", "idle", "/bin/speaker", "exists", "/dev/notify"], Status::Exit(1));

    assert!(none.contains("there is no /dev/notify"), "{none}");
    // A program that people execute is not the service.
    let not =
        guest.refused(&["exec", "paints", "/bin/speaker", "say", "STATUS=x"], Status::Exit(1));
    assert!(not.contains("NotPresent"), "{not}");
    guest.remove("paints");
}
