//! What a jail sees of the kernel's files, and what its unit hides, shows and makes read-only.

use jailsupd::control::wire::JailState;
use qemu_tests::Guest;

use crate::{Host, guest, unit};

/// The jail's root as the host sees it.
fn root(guest: &mut Guest<'_>, jail: &str) -> String {
    format!("/proc/{}/root", guest.agent().service(jail, "nuisance").unwrap().pid)
}

/// The directories of the host's /sys that tell of it, of those that this kernel has.
const OF_THE_HOST: &str = "block bus/pci/devices class/block class/tty dev/block devices/pci0000:00 \
     devices/virtual/dmi firmware kernel/debug kernel/tracing module power";

/// Those of [`OF_THE_HOST`] that `root` has.
fn seen(guest: &mut Guest<'_>, root: &str) -> String {
    guest.sh(&format!("for d in {OF_THE_HOST}; do [ -e {root}/sys/$d ] && echo $d; done; :"))
}

#[test]
fn jail_sees_of_sys_what_services_read_and_nothing_of_the_host() {
    let mut guest = guest();
    guest.put_up("plain", &unit(&["stay"], ""));
    let jail = root(&mut guest, "plain");

    let there = guest.sh(&format!(
        "cd {jail}/sys && cat devices/system/cpu/online && ls class/net && cat class/net/lo/mtu && \
         cat fs/cgroup/pids.max && cat kernel/mm/transparent_hugepage/enabled >/dev/null && ls"
    ));
    let of_host = (seen(&mut guest, ""), seen(&mut guest, &jail));
    let made = guest.sh(&format!("mkdir {jail}/sys/mine 2>&1; touch {jail}/sys/class/x 2>&1; :"));

    assert_eq!(there, "0\nlo\n65536\n1024\nclass\ndevices\nfs\nkernel\n");
    assert!(of_host.0.lines().count() > 7, "the host has them: {}", of_host.0);
    assert_eq!(of_host.1, "");
    assert_eq!(made.matches("Read-only file system").count(), 2, "{made}");
}

#[test]
fn unit_hides_shows_and_protects_paths_of_its_jail() {
    let mut guest = guest();
    guest.policy("[security]\nunmask = [\"/proc/interrupts\", \"/sys\"]\n");
    let keys = "[security]\nmask = [\"/proc/cpuinfo\", \"/bin/desk\", \"/run\", \"/nothing/there\"]\n\
         unmask = [\"/proc/interrupts\", \"/sys/block\", \"/sys/power/state\"]\n\
         read_only_paths = [\"/etc\", \"/tmp\"]";
    guest.put_up("covered", &unit(&["stay"], keys));
    let jail = root(&mut guest, "covered");

    let hidden = guest.sh(&format!("cat {jail}/proc/cpuinfo {jail}/bin/desk; ls -A {jail}/run; :"));
    let still =
        guest.sh(&format!("head -c 4 {jail}/bin/visitor | tail -c 3; head -c 0 {jail}/proc/keys"));
    let shown = guest.sh(&format!(
        "grep -c CPU0 {jail}/proc/interrupts; ls {jail}/sys/block | head -n 1; cat {jail}/sys/power/state"
    ));
    let host = guest.sh("ls /sys/block | head -n 1; cat /sys/power/state");
    let refused = guest.sh(&format!(
        "touch {jail}/etc/x 2>&1; touch {jail}/tmp/x 2>&1; touch {jail}/run/x 2>&1; touch {jail}/dev/shm/x; :"
    ));
    let rest = seen(&mut guest, &jail);

    assert_eq!(hidden, "", "what is masked is empty");
    assert_eq!(still, "ELF");
    assert_eq!(shown, format!("1\n{host}"));
    assert_eq!(refused.matches("Read-only file system").count(), 3, "{refused}");
    assert_eq!(rest, "block\npower\n", "no more than what was asked for");
}

#[test]
fn whole_of_sys_is_shown_where_the_policy_allows_it_and_still_read_only() {
    let mut guest = guest();
    guest.policy("[security]\nunmask = [\"/sys\"]\n");
    guest.put_up("whole", &unit(&["stay"], "[security]\nunmask = [\"/sys\"]"));
    let jail = root(&mut guest, "whole");

    let (host, own) = (seen(&mut guest, ""), seen(&mut guest, &jail));
    let written = guest.sh(&format!("(echo x >{jail}/sys/power/state) 2>&1; :"));

    assert_eq!(
        own.replace("kernel/debug\n", "").replace("kernel/tracing\n", ""),
        host.replace("kernel/debug\n", "").replace("kernel/tracing\n", "")
    );
    assert!(written.contains("Read-only file system"), "{written}");
}

#[test]
fn what_tells_of_the_host_is_shown_to_nobody_whom_the_policy_does_not_name() {
    let mut guest = guest();

    guest.put("asks", &unit(&["stay"], "[security]\nunmask = [\"/proc/kallsyms\"]"));
    let unnamed = guest.problem("asks", JailState::Invalid);
    guest.policy("[security]\nunmask = [\"/sys/dev\"]\n");
    guest.put("more", &unit(&["stay"], "[security]\nunmask = [\"/sys/devices\"]"));
    let more = guest.problem("more", JailState::Invalid);

    assert!(unnamed.contains("security.unmask") && unnamed.contains("/proc/kallsyms"), "{unnamed}");
    assert!(unnamed.contains("the built-in default"), "{unnamed}");
    assert!(more.contains("/sys/devices"), "{more}");
}
