//! What Warder does while nothing is to be done and nobody looks: nothing.

use crate::{SOON, guest, stay};

const JAILS: [&str; 4] = ["calm-0", "calm-1", "calm-2", "calm-3"];

#[test]
fn nothing_of_warder_wakes_up_while_nothing_is_due_and_nobody_looks() {
    let mut guest = guest();
    for jail in JAILS {
        guest.put_up(jail, &stay(""));
    }
    // That a version is good is the last thing that follows a start.
    for jail in JAILS {
        guest.agent().wait_until(&format!("[ -e /data/deploys/{jail}.good ]"), SOON).unwrap();
    }
    let inits = JAILS.map(|jail| format!("$(head -n 1 /sys/fs/cgroup/jails/{jail}/cgroup.procs)"));
    let switches = format!(
        "for p in 1 $(pidof jailsupd) {}; do cat /proc/$p/status; done | awk '/ctxt_switches/ {{ n += $2 }} END {{ print n }}'",
        inits.join(" ")
    );
    let wait = "until [ $(cut -d. -f1 /proc/uptime) -ge $end ]; do sleep 1; done";
    let over = |seconds: u32| {
        format!(
            "end=$(( $(cut -d. -f1 /proc/uptime) + {seconds} )); before=$({switches}); {wait}; [ $({switches}) -eq $before ]"
        )
    };
    // What other tests have left is done some time.
    guest.agent().wait_until(&over(2), SOON).unwrap();
    guest.sh(&over(10));
    // And the question is no trick: who asks, wakes.
    let before: u64 = guest.sh(&switches).trim().parse().unwrap();
    guest.ctl(&["ls"]);
    assert!(guest.sh(&switches).trim().parse::<u64>().unwrap() > before);
    for jail in JAILS {
        guest.remove(jail);
    }
}
