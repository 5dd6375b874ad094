//! What becomes of a program when its client, jailsupd or its jail ends.

use qemu_tests::proto::Status;

use super::{SOON, Shell, VISITOR, guest};

#[test]
fn program_and_client_go_on_when_jailsupd_is_killed() {
    let mut guest = guest();
    guest.sh("rm -f /run/go /run/came /run/code");
    guest.sh("{ (echo one; until [ -e /run/go ]; do sleep 0.1; done; echo two) | \
         (/usr/bin/jailctl exec -i room /bin/visitor cat >/run/came 2>&1; echo $? >/run/code); } \
         </dev/null >/dev/null 2>&1 &");
    guest.agent().wait_until("grep -q one /run/came", SOON).unwrap();
    let jails = guest.agent().list().unwrap();

    guest.agent().kill_jailsupd().unwrap();
    let adopted = guest.agent().list().unwrap();
    let helped = guest.agent().service("room", "visitor").is_ok();
    guest.sh("touch /run/go");
    guest.agent().wait_until("[ -s /run/code ]", SOON).unwrap();

    assert!(helped, "the program is there while no jailsupd knows of it");
    assert_eq!(guest.sh("cat /run/came /run/code"), "one\ntwo\n0\n");
    let lives = |rows: &[jailsupd::control::wire::JailSummary]| -> Vec<_> {
        rows.iter().map(|row| (row.name.clone(), row.state, row.pid, row.restarts)).collect()
    };
    assert_eq!(lives(&adopted), lives(&jails), "a program is not taken for a jail");
    // An adopted jail is as good as another.
    assert_eq!(guest.exec(&["room", "/bin/nuisance", "exit", "4"]).status, Status::Exit(4));
    let said = guest.said(&["walled", VISITOR, "who"]);
    assert!(said.starts_with("uid=33 gid=44 groups=[] dir=/ home=/ "), "{said}");
}

#[test]
fn killed_client_takes_its_program_along_even_one_that_does_not_want_to() {
    let mut guest = guest();
    guest.sh(&format!(
        "/usr/bin/jailctl exec room {VISITOR} stubborn >/run/out 2>&1 </dev/null & echo $! >/run/client"
    ));
    guest.agent().wait_until("grep -q here /run/out", SOON).unwrap();

    guest.sh("kill -KILL $(cat /run/client)");

    guest.agent().wait_until("! pidof visitor", SOON).unwrap();
    let left = guest.agent().jail_processes("room").unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn signals_for_the_client_are_the_programs() {
    let mut guest = guest();
    guest.sh(
        "(/usr/bin/jailctl exec room /bin/nuisance stay </dev/null; echo code=$?) >/run/out 2>&1 & ",
    );
    guest
        .agent()
        .wait_until("[ $(cat /sys/fs/cgroup/jails/room/pids.current) = 4 ]", SOON)
        .unwrap();
    guest.agent().wait_until("pidof nuisance | grep -q '.* .* '", SOON).unwrap();

    // `stay` ends by itself on SIGTERM once it handles it; before that it is killed by it.
    guest.sh("kill -TERM $(pidof jailctl)");
    guest.agent().wait_until("grep -q code= /run/out", SOON).unwrap();

    let code = guest.sh("cat /run/out");
    assert!(code == "code=0\n" || code == "code=143\n", "{code}");
}

#[test]
fn end_of_the_jail_is_the_programs_and_the_client_says_so() {
    let mut guest = guest();
    guest.sh(&format!(
        "(/usr/bin/jailctl exec walled {VISITOR} stubborn </dev/null; echo code=$?) >/run/out 2>&1 &"
    ));
    guest.agent().wait_until("grep -q here /run/out", SOON).unwrap();

    guest.agent().jailctl(&["restart", "walled"]).unwrap();

    guest.agent().wait_until("grep -q code= /run/out", SOON).unwrap();
    let said = guest.sh("cat /run/out");
    assert!(said.contains("was killed from outside"), "{said}");
    assert!(said.ends_with("code=137\n"), "{said}");
}
