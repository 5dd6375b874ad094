//! Core dumps.

use jailsupd::control::wire::JailState;

use super::{Jailed as _, NEVER_AGAIN, SOON, guest, strain};

/// All core dumps on the host, whatever they are called.
const FIND: &str = "find /data /run /tmp /dev -name 'core.*' -type f";

fn allowed(words: &[&str], size: &str) -> String {
    let unit = strain(words, NEVER_AGAIN);
    unit.replace("[process]", &format!("[process]\ncore_dump = \"{size}\""))
}

#[test]
fn jail_that_faults_leaves_no_core_where_its_unit_allows_none() {
    let mut guest = guest();
    guest.put("faults", &strain(&["fault", "1"], NEVER_AGAIN));
    guest.agent().wait_state("faults", JailState::Failed).unwrap();

    let exit = guest.agent().last_exit("faults").unwrap();

    assert_eq!((exit.signal.as_deref(), exit.core), (Some("SIGSEGV"), false));
    assert_eq!(guest.agent().shell(FIND).unwrap(), "");
    guest.remove("faults");
}

#[test]
fn core_lands_in_the_jails_store_no_larger_than_its_unit_allows() {
    let mut guest = guest();
    // Of a user who is not root, and of more memory than the dump may have.
    let unit = allowed(&["fault", "48"], "8M").replace("[process]", "[process]\nuser = 1000");
    guest.put("dumps", &unit);
    guest.agent().wait_state("dumps", JailState::Failed).unwrap();
    let exit = guest.agent().last_exit("dumps").unwrap();
    let dumps = guest.agent().shell(FIND).unwrap();
    let dump = dumps.trim().to_owned();

    assert!(exit.core, "{exit:?}");
    assert!(dump.starts_with("/data/jails/dumps/cores/core.strain."), "{dumps}");
    // The kernel does not count holes, and they take no room.
    let size = guest.agent().shell(&format!("stat -c '%b 512' {dump}")).unwrap();
    let size: u64 = size.split_whitespace().map(|n| n.parse::<u64>().unwrap()).product();
    assert!(size > 4 << 20 && size <= 8 << 20, "{size}");
    let magic = guest.agent().shell(&format!("head -c 4 {dump} | tail -c 3")).unwrap();
    assert_eq!(magic, "ELF");
    let why = guest.why("dumps").text.join(" ");
    assert!(why.contains("dumped core") && why.contains(&dump), "{why}");

    // The next start keeps it beside a new store; the one after that keeps only the newer one.
    for _ in 0..2 {
        guest.agent().jailctl(&["start", "dumps"]).unwrap();
        guest.agent().wait_state("dumps", JailState::Failed).unwrap();
    }
    let dumps = guest.agent().shell("ls -d /data/jails/dumps/*/core.*").unwrap();
    assert_eq!(dumps.lines().count(), 2, "{dumps}");
    // They go with the unit.
    guest.remove("dumps");
    guest.agent().wait_until(&format!("[ -z \"$({FIND})\" ]"), SOON).unwrap();
}

#[test]
fn jail_cannot_fill_the_disk_by_its_store() {
    let mut guest = guest();
    guest.put("fills", &allowed(&["fill", "/dev/cores/junk"], "4M"));
    guest.agent().wait_state("fills", JailState::Up).unwrap();
    let filled = "/usr/bin/jailctl logs fills | grep -q 'filled: 122'";

    // EDQUOT.
    guest.agent().wait_until(filled, SOON).unwrap();

    let size = guest.agent().shell("du -sk /data/jails/fills/cores | cut -f1").unwrap();
    assert!(size.trim().parse::<u64>().unwrap() <= 6 << 10, "{size}");
    guest.remove("fills");
}
