//! The ways in which `jailctl logs` shows lines.

use jailsupd::control::wire::Stream;
use qemu_tests::unit_of;

use crate::{SOON, guest, logs, printer, texts};

#[test]
fn several_logs_are_shown_by_time_with_the_jails_names() {
    let mut guest = guest();
    for name in ["first", "second"] {
        guest.put_up(name, &unit_of("nuisance", &["say", name, "common"], ""));
        let said = format!("/usr/bin/jailctl logs {name} | grep -q common");
        guest.agent().wait_until(&said, SOON).unwrap();
    }

    // By time, and not in the order in which they are named.
    let both = logs(&mut guest, &["second", "first"]);
    let text = guest.ctl(&["logs", "first", "second", "--grep", "common"]);
    let last = logs(&mut guest, &["first", "second", "-n", "2", "--stream", "stdout"]);
    let until = format!("{}ms", 3_600_000);
    let old = guest.ctl(&["logs", "first", "--until", &until, "--json"]);

    assert!(both.is_sorted_by_key(|entry| entry.time), "{both:?}");
    assert_eq!(texts(&both, Stream::Stdout), ["first", "common", "second", "common"]);
    // What happened to it is beside what it said.
    assert!(texts(&both, Stream::Warder).iter().any(|text| text.starts_with("up: ")), "{both:?}");
    assert!(
        text.contains(" first  stdout common") && text.contains(" second stdout common"),
        "{text}"
    );
    assert_eq!(texts(&last, Stream::Stdout), ["second", "common"]);
    assert_eq!(old, "");
    assert!(!guest.ctl(&["logs", "first", "--until", "0s", "--json"]).is_empty());
    guest.remove("first");
    guest.remove("second");
}

#[test]
fn all_logs_have_the_kernels_lines_and_jails_that_come_later() {
    let mut guest = guest();
    let follow = "/usr/bin/jailctl logs -f -n 9 </dev/null >/run/followed 2>&1 & echo $!";
    let follower = guest.sh(follow);
    guest.sh("echo 'a word of the test' >/dev/kmsg");
    let kernel = "grep -q 'kernel a word of the test' /run/followed";
    guest.agent().wait_until(kernel, SOON).unwrap();
    guest.put_up("later", &unit_of("nuisance", &["say", "here"], ""));
    guest.agent().wait_until("grep -q 'later.* stdout here' /run/followed", SOON).unwrap();
    guest.sh(&format!("kill {}; rm /run/followed", follower.trim()));

    let kernel = logs(&mut guest, &["-k", "--grep", "a word of the test"]);
    guest.agent().kill_jailsupd().unwrap();
    let again = logs(&mut guest, &["--grep", "a word of the test"]);

    assert_eq!(kernel.len(), 1, "{kernel:?}");
    assert_eq!((kernel[0].stream, &kernel[0].jail), (Stream::Kernel, &None));
    assert_eq!(again, kernel);
    guest.remove("later");
}

#[test]
fn a_person_with_the_disk_reads_the_log_as_text() {
    let mut guest = guest();
    guest.put_up("talks", &unit_of("nuisance", &["say", "hello disk"], ""));
    guest.agent().wait_until("grep -q 'hello disk$' /data/log/talks.log", SOON).unwrap();

    let line = guest.sh("grep 'hello disk$' /data/log/talks.log");

    let fields: Vec<&str> = line.trim().splitn(4, ' ').collect();
    assert!(fields[0].ends_with('Z') && fields[0].len() == 24, "{line}");
    assert_eq!((fields[1], fields[3]), ("stdout", "hello disk"));
    assert!(fields[2].starts_with("F:"), "{line}");
    guest.remove("talks");
}

#[test]
fn a_following_reader_gets_what_matches() {
    let mut guest = guest();
    // The log of another jail of that name would be there still.
    guest.put_up("followed", &printer(&["count", "400", "5000"], ""));
    let follow = "timeout 60 /usr/bin/jailctl logs -f followed --grep '^(out 39[0-9]|all written)' </dev/null >/run/found 2>&1 &";
    guest.sh(follow);
    guest.agent().wait_until("[ $(wc -l </run/found) -ge 11 ]", SOON).unwrap();

    let found = guest.sh("cat /run/found; kill $(pidof jailctl); rm /run/found");

    assert_eq!(found.lines().count(), 11, "{found}");
    guest.remove("followed");
}

#[test]
fn when_a_crashed_jail_is_tried_again_is_beside_what_it_said() {
    let mut guest = guest();
    guest.put_up("falls", &printer(&["burst", "1"], ""));
    guest.ctl(&["kill", "falls", "-s", "SIGKILL"]);

    let told = "/usr/bin/jailctl logs falls --stream warder | grep -q 'backoff: the next try is in [0-9.]*m*s'";
    guest.agent().wait_until(told, SOON).unwrap();
    guest.remove("falls");
}
