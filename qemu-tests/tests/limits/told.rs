//! What people are told of a jail, by one jailsupd and the next.

use jailsupd::control::wire::{Evidence, JailState};
use qemu_tests::{Guest, unit_of};

use crate::{Jailed as _, NEVER_AGAIN, SOON, guest, strain};

/// What `why` and `ls` say of it, without what goes on.
fn told(guest: &mut Guest<'_>, jail: &str) -> (Evidence, Option<String>) {
    let row = guest.agent().listed(jail).unwrap();
    let mut why = guest.why(jail);
    // The rest is the files': events, and the log.
    (why.events, why.log) = (Vec::new(), Vec::new());
    // By two clocks, which are read one after the other.
    why.jail.since = 0;
    (why, row.problem)
}

#[test]
fn what_was_found_out_about_jails_outlives_jailsupd() {
    const JAILS: [&str; 3] = ["lost", "hog", "tries"];
    let mut guest = guest();
    guest.put("lost", &unit_of("missing", &[], ""));
    let limits = format!("[resources]\nmemory_max = \"48M\"\n{NEVER_AGAIN}");
    guest.put("hog", &strain(&["memory"], &limits));
    guest.put_up("tries", &unit_of("trier", &[], "[security]\nseccomp_log = true\n"));
    for jail in ["lost", "hog"] {
        guest.agent().wait_state(jail, JailState::Failed).unwrap();
    }
    let tells = "/usr/bin/jailctl why tries --json | grep -q 'filter has denied:.* mount (once'";
    guest.agent().wait_until(tells, SOON).unwrap();

    let before = JAILS.map(|jail| told(&mut guest, jail));
    guest.agent().kill_jailsupd().unwrap();
    let after = JAILS.map(|jail| told(&mut guest, jail));

    assert_eq!(before, after);
    let text = |at: usize| after[at].0.text.join("\n");
    assert!(text(0).contains("Its last start failed: /etc/jails.d/lost.toml:"), "{}", text(0));
    assert!(after[0].1.as_ref().unwrap().contains("missing.erofs"), "{:?}", after[0]);
    assert!(text(1).contains("memory.events: max "), "{}", text(1));
    assert!(text(2).contains("Its filter has denied: "), "{}", text(2));
    JAILS.iter().for_each(|jail| guest.remove(jail));
}
