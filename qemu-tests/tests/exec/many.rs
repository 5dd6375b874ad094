//! Many at once, many in a row, and nothing left of them.

use std::collections::BTreeMap;

use qemu_tests::Guest;

use super::{SOON, Shell, guest};

/// Everything that could be left behind, counted.
pub(super) fn left(guest: &mut Guest<'_>) -> BTreeMap<&'static str, String> {
    // What jails have left is removed by a process of its own, which jailsupd holds as long as it is there.
    let tidy =
        "[ -z \"$(ls -A /data/jails/.trash 2>/dev/null)\" ] && [ $(pidof jailsupd | wc -w) = 1 ]";
    guest.agent().wait_until(tidy, SOON).unwrap();
    let brain = guest.jailsupd();
    let mut count = |script: &str| guest.sh(script).trim().to_owned();
    BTreeMap::from([
        ("descriptors of jailsupd", count(&format!("ls /proc/{brain}/fd | wc -l"))),
        ("descriptors of PID 1", count("ls /proc/1/fd | wc -l")),
        ("mounts of jailsupd", count(&format!("wc -l < /proc/{brain}/mountinfo"))),
        ("mounts of PID 1", count("wc -l < /proc/1/mountinfo")),
        (
            "mounts of the jail",
            count("wc -l < $(echo /proc/$(pidof nuisance | cut -d' ' -f1))/mountinfo"),
        ),
        ("cgroups", count("find /sys/fs/cgroup -type d | wc -l")),
        ("processes in jails", count("cat /sys/fs/cgroup/jails/*/cgroup.procs | wc -l")),
        ("children of PID 1", count("grep -l '^PPid:.1$' /proc/[0-9]*/status 2>/dev/null | wc -l")),
        ("files in /run", count("find /run | grep -v '^/run/jailsupd.sock' | wc -l")),
        ("jails", count("/usr/bin/jailctl ls | wc -l")),
    ])
}

#[test]
fn sixteen_at_once_end_as_they_should() {
    let mut guest = guest();

    let codes = guest.sh(
        "for n in $(seq 16); do /usr/bin/jailctl exec room /bin/nuisance exit $n </dev/null & pids=\"$pids $!\"; done; \
         for p in $pids; do wait $p; echo $?; done",
    );

    let expected: Vec<String> = (1..=16).map(|code| code.to_string()).collect();
    assert_eq!(codes.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn sixty_in_a_row_leave_nothing_behind() {
    in_a_row(&mut guest(), 60);
}

#[test]
#[ignore = "some minutes: make test-long"]
fn thousand_in_a_row_leave_nothing_behind() {
    in_a_row(&mut guest(), 1000);
}

fn in_a_row(guest: &mut Guest<'_>, count: usize) {
    // The first one may make what stays: a page of the table of descriptors, say.
    guest.said(&["room", "/bin/nuisance", "exit", "0"]);
    let before = left(guest);

    for some in (0..count).step_by(20) {
        let last = (some + 20).min(count) - some;
        // Every other one on a terminal.
        let done = guest.sh(&format!(
            "for n in $(seq {last}); do \
             if [ $((n % 2)) = 0 ]; then t=-t; else t=; fi; \
             /usr/bin/jailctl exec $t room /bin/visitor both >/dev/null 2>&1 </dev/null && echo done; done"
        ));
        assert_eq!(done.lines().count(), last, "{done}");
    }

    assert_eq!(left(guest), before);
}
