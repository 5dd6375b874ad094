//! `jailctl run`: a jail for one program, and nothing of it afterwards.

use qemu_tests::{
    Guest,
    proto::{Output, Status},
};

use super::many::left;
use super::terminal::drive;
use super::{SOON, Shell, VISITOR, guest};

const IMAGE: &str = "erofs:/usr/share/jails/nuisance.erofs";

fn run(guest: &mut Guest<'_>, words: &[&str]) -> Output {
    guest.agent().jailctl(&[&["run"], words].concat()).unwrap()
}

/// No jail but those of the units, nothing in their places.
fn assert_gone(guest: &mut Guest<'_>) {
    let names: Vec<String> =
        guest.agent().list().unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["desk", "nginx", "room", "walled"]);
    let script = "ls /run/jailsupd/runs /sys/fs/cgroup/jails | grep run-; ls /data/jails /data/log | grep run-; true";
    assert_eq!(guest.sh(script), "");
}

#[test]
fn program_of_an_image_runs_here_and_leaves_nothing() {
    let mut guest = guest();
    // The first one gets what is kept for good: a range of ids.
    run(&mut guest, &[IMAGE, "/bin/nuisance", "exit", "0"]);
    let before = left(&mut guest);

    let seven = run(&mut guest, &["--rm", IMAGE, "/bin/nuisance", "exit", "7"]);
    let fault = run(&mut guest, &["room", "/bin/nuisance", "fault"]);
    let both = run(&mut guest, &["room", VISITOR, "both"]);
    let who =
        run(&mut guest, &["-u", "5:6", "-w", "/tmp", "-e", "MARK=a\"b", "room", VISITOR, "who"]);
    let input = guest.sh("echo x | /usr/bin/jailctl run -i room /bin/visitor cat");

    assert_eq!(seven.status, Status::Exit(7), "{seven:?}");
    assert_eq!(fault.status, Status::Exit(139), "{fault:?}");
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("this is output\n", "this is error\n")
    );
    assert!(who.stdout.starts_with("uid=5 gid=6 groups=[] dir=/tmp home=/ "), "{who:?}");
    assert!(who.stdout.ends_with("mark=a\"b\nopen=0 1 2\n"), "{who:?}");
    assert_eq!(input, "x\n");
    assert_gone(&mut guest);
    assert_eq!(left(&mut guest), before);
}

#[test]
fn terminal_is_raw_has_the_screens_size_and_control_c_ends_the_program() {
    let mut guest = guest();
    let steps = ["expect:size=30x90", "resize:41x101", "expect:size=41x101", "send:^C"];

    let size = drive(&mut guest, "30x90", &steps, &["run", "-it", "room", VISITOR, "size"]);
    let told = drive(&mut guest, "24x80", &[], &["run", "-it", "room", VISITOR, "terminal"]);

    assert_eq!(size.status, Status::Exit(130), "{size:?}");
    assert!(size.stdout.contains("terminal is as it was"), "{size:?}");
    let terminal = "terminal=true on=/dev/pts owner=0 controlling=true term=xterm-test";
    assert!(told.stdout.contains(terminal), "{told:?}");
    assert_gone(&mut guest);
}

#[test]
fn what_no_unit_may_say_is_refused_with_the_key() {
    let mut guest = guest();

    let network = run(&mut guest, &["--network", "telepathy", "room", VISITOR, "both"]);
    let relative = run(&mut guest, &["room", "visitor"]);
    let memory = run(&mut guest, &["--memory", "lots", "room", VISITOR, "both"]);
    let policy = run(&mut guest, &["erofs:/no/image", VISITOR, "both"]);
    let taken = run(&mut guest, &["--name", "walled", "room", VISITOR, "both"]);
    let no_image = run(&mut guest, &["erofs:/srv/no-image", VISITOR, "both"]);
    let no_program = run(&mut guest, &["room", "/bin/missing"]);
    let no_user = run(&mut guest, &["-u", "nobody-here", "room", VISITOR, "both"]);

    for (output, told) in [
        (&network, "telepathy"),
        (&relative, "absolute path"),
        (&memory, "lots"),
        (&policy, "more than this host's policy allows"),
        (&taken, "a jail of that name already"),
        (&no_image, "there is no image /srv/no-image"),
        (&no_user, "no user \"nobody-here\""),
    ] {
        assert_eq!(output.status, Status::Exit(125), "{output:?}");
        assert!(output.stderr.contains(told), "{told}: {output:?}");
    }
    assert_eq!(no_program.status, Status::Exit(127), "{no_program:?}");
    assert_gone(&mut guest);
}

/// Runs a program that stays, in the background; its client is `/run/client`.
fn begin(guest: &mut Guest<'_>) {
    guest.sh(&format!(
        "rm -f /run/out; (/usr/bin/jailctl run --name one room {VISITOR} stubborn </dev/null & echo $! >/run/client; \
         wait $!; echo code=$?) >/run/out 2>&1 &"
    ));
    guest.agent().wait_until("grep -q here /run/out", SOON).unwrap();
    guest.agent().service("one", "visitor").unwrap();
}

#[test]
fn masked_name_is_not_the_one_that_a_run_gets() {
    let mut guest = guest();
    guest.sh("ln -s /dev/null /etc/jails.d/run-1.toml");

    let output = run(&mut guest, &[IMAGE, "/bin/nuisance", "exit", "7"]);

    guest.sh("rm /etc/jails.d/run-1.toml");
    assert_eq!(output.status, Status::Exit(7), "{output:?}");
    assert_gone(&mut guest);
}

#[test]
fn jail_goes_with_its_client() {
    let mut guest = guest();
    begin(&mut guest);

    guest.sh("kill -KILL $(cat /run/client)");

    guest.agent().wait_gone("one").unwrap();
    guest.agent().wait_until("! pidof visitor", SOON).unwrap();
    assert_gone(&mut guest);
}

#[test]
fn jail_goes_on_without_jailsupd_and_goes_afterwards() {
    let mut guest = guest();
    begin(&mut guest);

    guest.agent().kill_jailsupd().unwrap();
    guest.agent().listed("one").unwrap();
    guest.agent().service("one", "visitor").unwrap();
    guest.sh("kill -KILL $(pidof visitor)");

    guest.agent().wait_until("grep -q code=137 /run/out", SOON).unwrap();
    guest.agent().wait_gone("one").unwrap();
    assert_gone(&mut guest);
}

#[test]
fn jail_whose_client_goes_while_jailsupd_is_away_is_gone_too() {
    let mut guest = guest();
    begin(&mut guest);
    let brain = guest.jailsupd();

    guest.sh(&format!("kill -STOP {brain}; kill -KILL $(cat /run/client)"));
    guest.agent().wait_until("! pidof visitor", SOON).unwrap();
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_gone("one").unwrap();
    assert_gone(&mut guest);
}

#[test]
fn stopped_jail_is_gone_and_its_client_ends() {
    let mut guest = guest();
    begin(&mut guest);

    // It does not end by itself, but when its time is over.
    guest.sh("timeout 60 /usr/bin/jailctl kill --no-wait one");

    guest.agent().wait_until("grep -q code=137 /run/out", SOON).unwrap();
    guest.agent().wait_gone("one").unwrap();
    assert_gone(&mut guest);
}
