//! What a program gets, and what comes back from it.

use jailsupd::control::wire::JailState;
use qemu_tests::proto::Status;

use super::{NUISANCE, SOON, Shell, VISITOR, guest};

#[test]
fn exit_codes_and_signals_are_passed_on() {
    let mut guest = guest();

    for code in [0, 7, 255] {
        let output = guest.exec(&["room", NUISANCE, "exit", &code.to_string()]);
        assert_eq!(output.status, Status::Exit(code), "{output:?}");
    }
    // SIGSEGV.
    assert_eq!(guest.exec(&["room", NUISANCE, "fault"]).status, Status::Exit(128 + 11));
}

#[test]
fn what_cannot_be_executed_has_the_exit_codes_of_a_shell_and_a_reason() {
    let mut guest = guest();

    let missing = guest.exec(&["room", "nothing-like-it"]);
    let directory = guest.exec(&["room", "/etc"]);
    let nowhere = guest.exec(&["-w", "/no/where", "room", NUISANCE, "exit", "0"]);
    let nobody = guest.exec(&["-u", "nobody-here", "room", NUISANCE, "exit", "0"]);
    let no_jail = guest.exec(&["no-jail", NUISANCE]);

    assert_eq!(missing.status, Status::Exit(127));
    assert!(missing.stderr.contains("cannot execute `nothing-like-it`"), "{missing:?}");
    assert_eq!(directory.status, Status::Exit(126), "{directory:?}");
    assert_eq!(nowhere.status, Status::Exit(125));
    assert!(nowhere.stderr.contains("working directory"), "{nowhere:?}");
    assert_eq!(nobody.status, Status::Exit(125));
    assert!(nobody.stderr.contains("no user \"nobody-here\""), "{nobody:?}");
    assert_eq!(no_jail.status, Status::Exit(125));
    assert!(no_jail.stderr.contains("there is no jail `no-jail`"), "{no_jail:?}");
}

#[test]
fn output_and_error_stay_apart() {
    let output = guest().exec(&["room", VISITOR, "both"]);

    assert_eq!(output.stdout, "this is output\n");
    assert_eq!(output.stderr, "this is error\n");
}

#[test]
fn a_program_has_the_services_user_environment_and_directory_and_three_descriptors() {
    let mut guest = guest();

    let said = guest.said(&["walled", VISITOR, "who"]);

    let path = "path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(said, format!("uid=33 gid=44 groups=[] dir=/ home=/ {path} mark=\nopen=0 1 2\n"));
}

#[test]
fn user_environment_and_directory_can_be_others() {
    let mut guest = guest();
    let root = guest.root("room");
    guest.sh(&format!("echo 'www:x:7:8::/var/www:/no' > {root}/etc/passwd"));
    guest.sh(&format!("echo 'web:x:9:www' > {root}/etc/group"));

    let named =
        guest.said(&["-u", "www", "-e", "MARK=x=y", "-w", "/tmp", "room", "visitor", "who"]);
    let number = guest.said(&["-u", "5:6", "-e", "HOME=/home", "room", VISITOR, "who"]);

    assert!(named.starts_with("uid=7 gid=8 groups=[9] dir=/tmp home=/var/www "), "{named}");
    assert!(named.contains("mark=x=y\n"), "{named}");
    assert!(number.starts_with("uid=5 gid=6 groups=[] dir=/ home=/home "), "{number}");
}

#[test]
fn users_are_looked_for_on_the_jails_root_alone() {
    let mut guest = guest();
    let root = guest.root("room");
    // As the jail's root could do it: reading the kernel's messages would take them away.
    guest.sh(&format!("rm -f {root}/etc/passwd; ln -s /proc/kmsg {root}/etc/passwd"));

    let output = guest.exec(&["-u", "www", "room", NUISANCE, "exit", "0"]);
    guest.sh(&format!("rm {root}/etc/passwd"));

    assert_eq!(output.status, Status::Exit(125));
    assert!(output.stderr.contains("cannot read /etc/passwd"), "{output:?}");
}

#[test]
fn ten_megabytes_come_through_both_ways_as_they_are() {
    let mut guest = guest();
    guest.sh("head -c 10485760 /dev/urandom > /run/sent");

    guest.sh("/usr/bin/jailctl exec -i room /bin/visitor cat < /run/sent > /run/came");

    assert_eq!(
        guest.sh("cmp /run/sent /run/came && echo same; wc -c < /run/came"),
        "same\n10485760\n"
    );
    guest.sh("rm /run/sent /run/came");
}

#[test]
fn input_is_passed_on_only_when_asked_for() {
    let mut guest = guest();

    assert_eq!(guest.sh("echo x | /usr/bin/jailctl exec -i room /bin/visitor cat"), "x\n");
    assert_eq!(guest.sh("echo x | /usr/bin/jailctl exec room /bin/visitor cat"), "");
}

#[test]
fn a_reader_that_has_enough_ends_the_program() {
    let said = guest().sh("/usr/bin/jailctl exec room /bin/visitor zeros | head -c 3 | wc -c");

    assert_eq!(said.trim(), "3");
}

#[test]
fn what_a_program_leaves_behind_holds_nobody_up() {
    let mut guest = guest();

    // It holds the pipes that were its parent's.
    let output = guest.exec(&["walled", VISITOR, "leave-behind"]);

    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    let left = guest.agent().jail_processes("walled").unwrap();
    let parents: Vec<&str> =
        left.iter().filter(|p| p.name() == "nuisance").map(|p| p.field("PPid")).collect();
    let init = left.iter().find(|p| p.field("NSpid").ends_with("\t1")).unwrap().pid.to_string();
    assert_eq!(parents, [init.as_str(), init.as_str()], "the jail's init has taken it over");
    guest.agent().jailctl(&["restart", "walled"]).unwrap();
    assert_eq!(guest.agent().jail_processes("walled").unwrap().len(), 2);
}

#[test]
fn a_jail_that_is_frozen_or_down_is_refused_with_the_reason() {
    let mut guest = guest();
    guest.agent().jailctl(&["freeze", "walled"]).unwrap();
    let frozen = guest.exec(&["walled", NUISANCE, "exit", "0"]);
    guest.agent().jailctl(&["stop", "walled"]).unwrap();
    let down = guest.exec(&["walled", NUISANCE, "exit", "0"]);
    guest.agent().jailctl(&["start", "walled"]).unwrap();
    guest.agent().wait_state("walled", JailState::Up).unwrap();

    assert_eq!(frozen.status, Status::Exit(125));
    assert!(frozen.stderr.contains("`walled`: it is frozen"), "{frozen:?}");
    assert_eq!(down.status, Status::Exit(125));
    assert!(down.stderr.contains("`walled`: it is down"), "{down:?}");
}

#[test]
fn a_jail_with_all_its_processes_takes_no_more() {
    let mut guest = guest();
    guest.sh("echo 2 > /sys/fs/cgroup/jails/walled/pids.max");

    let output = guest.exec(&["walled", NUISANCE, "exit", "0"]);
    guest.sh("echo 40 > /sys/fs/cgroup/jails/walled/pids.max");

    assert_eq!(output.status, Status::Exit(125));
    assert!(output.stderr.contains("first process in the jail"), "{output:?}");
    guest
        .agent()
        .wait_until("[ $(cat /sys/fs/cgroup/jails/walled/pids.current) = 2 ]", SOON)
        .unwrap();
}
