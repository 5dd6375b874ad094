//! Images that are hostile by what they are: links, FIFOs, devices where jailsupd opens something. It
//! says what is wrong with such a jail and goes on with the others.

use super::together::guest;

/// `jailctl start` of a jail that must not start: what it says.
fn refused(jail: &str) -> String {
    let mut guest = guest();
    super::set_up_host(guest.agent());
    let started = guest.agent().jailctl(&["start", jail]).unwrap();
    assert_ne!(started.status, qemu_tests::proto::Status::Exit(0), "{started:?}");
    guest.wait_page().unwrap();
    started.stderr
}

#[test]
fn jail_whose_dev_proc_or_sys_is_a_link_does_not_start() {
    for jail in ["dev-link", "proc-link", "sys-link"] {
        let said = refused(jail);
        assert!(said.contains("Not a directory"), "{jail}: {said}");
    }
}

#[test]
fn link_to_an_account_of_the_host_leads_nowhere() {
    let said = refused("passwd-link");

    assert!(said.contains("mallory"), "{said}");
}

#[test]
fn accounts_that_are_a_fifo_a_device_a_directory_or_huge_hold_nothing_up() {
    for jail in ["passwd-fifo", "passwd-device", "passwd-directory", "passwd-huge"] {
        let said = refused(jail);
        assert!(said.contains("mallory") || said.contains("/etc/passwd"), "{jail}: {said}");
    }
}

#[test]
fn working_directory_at_a_descriptor_is_refused() {
    let said = refused("elsewhere");

    assert!(said.contains("working directory"), "{said}");
}
