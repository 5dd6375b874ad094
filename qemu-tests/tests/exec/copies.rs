//! `jailctl cp`, both ways, and what a jail may have prepared for it.

use qemu_tests::{
    Guest,
    proto::{Output, Status},
};

use super::{Shell, guest};

fn cp(guest: &mut Guest<'_>, words: &[&str]) -> Output {
    guest.agent().jailctl(&[&["cp"], words].concat()).unwrap()
}

fn copied(guest: &mut Guest<'_>, words: &[&str]) {
    let output = cp(guest, words);
    assert_eq!(output.status, Status::Exit(0), "{words:?}: {output:?}");
}

#[test]
fn directory_goes_into_the_jail_and_comes_back_as_it_was() {
    let mut guest = guest();
    guest.sh(
        "rm -rf /run/tree /run/back; mkdir -p /run/tree/a/b && cd /run/tree && \
         head -c 3000000 /dev/urandom >a/big && echo text >a/b/small && ln -s ../big a/b/link && chmod 640 a/big && \
         chmod 6755 a/b/small && chmod 711 a",
    );

    copied(&mut guest, &["/run/tree", "room:/srv"]);
    copied(&mut guest, &["room:/srv", "/run/back"]);

    let list = "find . ! -type l | sort | while read f; do stat -c '%n %f %s %Y' $f; done; cat a/big a/b/small | sha256sum";
    let tree = guest.sh(&format!("cd /run/tree; chmod 755 a/b/small; {list}"));
    let back = guest.sh(&format!("cd /run/back; {list}"));
    // The top's own time may be another: its mode and time are copied, too, but not its name.
    assert_eq!(back, tree);
    let root = guest.root("room");
    let base = guest.agent().inspect("room").unwrap().uid_base.unwrap();
    let owners = guest.sh(&format!("find {root}/srv -exec stat -c %u {{}} + | sort -u"));
    assert_eq!(owners.trim(), base.to_string(), "what is written belongs to the jail's root");
    guest.sh(&format!("rm -rf {root}/srv /run/tree /run/back"));
}

#[test]
fn user_of_a_copy_is_the_services_or_another_and_has_no_more_rights() {
    let mut guest = guest();
    let root = guest.root("walled");
    guest.sh(&format!("chmod 1777 {root}/tmp; echo x >/run/one; echo secret >{root}/tmp/secret; chmod 600 {root}/tmp/secret"));

    let denied = cp(&mut guest, &["/run/one", "walled:/etc/one"]);
    let secret = cp(&mut guest, &["walled:/tmp/secret", "/run/secret"]);
    copied(&mut guest, &["/run/one", "walled:/tmp/one"]);
    copied(&mut guest, &["-u", "55:66", "/run/one", "walled:/tmp/other"]);

    assert_eq!(denied.status, Status::Exit(1));
    assert!(denied.stderr.contains("ermission denied"), "{denied:?}");
    assert_eq!(secret.status, Status::Exit(1));
    assert!(secret.stderr.contains("ermission denied"), "{secret:?}");
    assert_eq!(guest.sh("ls /run/secret 2>/dev/null | wc -l").trim(), "0");
    let base = guest.agent().inspect("walled").unwrap().uid_base.unwrap();
    let owners = guest.sh(&format!("stat -c %u:%g {root}/tmp/one {root}/tmp/other"));
    assert_eq!(owners, format!("{}:{}\n{}:{}\n", base + 33, base + 44, base + 55, base + 66));
    guest.sh(&format!("rm -f {root}/tmp/* /run/one"));
}

#[test]
fn links_of_a_jail_lead_to_nothing_of_the_host() {
    let mut guest = guest();
    let root = guest.root("room");
    guest.sh(&format!(
        "rm -rf /run/canary; mkdir -p /run/canary; echo host >/run/canary/file; echo new >/run/new; \
         ln -s /run/canary/file {root}/to-file; ln -s /run/canary {root}/to-directory; ln -s /proc/1/root {root}/to-root; \
         ln -s /../../../../run/canary/file {root}/dots"
    ));

    // Read through a link: the jail has no such file.
    for link in ["to-file", "to-directory/file", "dots", "to-root/run/canary/file"] {
        let output = cp(&mut guest, &[&format!("room:/{link}"), "/run/stolen"]);
        assert_eq!(output.status, Status::Exit(1), "{link}: {output:?}");
    }
    assert_eq!(guest.sh("ls /run/stolen 2>/dev/null | wc -l").trim(), "0");
    // Written in a link's place, or to where it would lead to in the jail.
    copied(&mut guest, &["/run/new", "room:/to-file"]);
    cp(&mut guest, &["/run/new", "room:/to-directory/file"]);
    cp(&mut guest, &["/run/new", "room:/to-root/run/canary/file"]);

    assert_eq!(guest.sh("cat /run/canary/file; ls /run/canary"), "host\nfile\n");
    assert_eq!(
        guest.sh(&format!("cat {root}/to-file; readlink {root}/to-file || echo file")),
        "new\nfile\n"
    );
    guest.sh(&format!("rm -rf {root}/to-* {root}/dots /run/canary /run/new"));
}

#[test]
fn links_out_of_the_copy_are_left_out_and_told() {
    let mut guest = guest();
    let root = guest.root("room");
    guest.sh(&format!(
        "mkdir -p {root}/tree/in; ln -s /etc/shadow {root}/tree/absolute; ln -s ../../x {root}/tree/in/up; \
         ln -s in {root}/tree/good; mkfifo {root}/tree/pipe; echo y >{root}/tree/in/file"
    ));

    let output = cp(&mut guest, &["room:/tree", "/run/"]);

    assert_eq!(output.status, Status::Exit(1), "{output:?}");
    for told in [
        "tree/absolute: it links to /etc/shadow",
        "tree/in/up: it links",
        "/tree/pipe: neither a file",
    ] {
        assert!(output.stderr.contains(told), "{told}: {output:?}");
    }
    assert_eq!(
        guest.sh("cd /run/tree; find . | sort; cat good/file"),
        ".\n./good\n./in\n./in/file\ny\n"
    );
    guest.sh(&format!("rm -rf {root}/tree /run/tree"));
}

#[test]
fn mistakes_are_told() {
    let mut guest = guest();

    let both = cp(&mut guest, &["room:/a", "room:/b"]);
    let missing = cp(&mut guest, &["/run/not-there", "room:/b"]);
    let relative = cp(&mut guest, &["room:etc", "/run/x"]);
    let no_jail = cp(&mut guest, &["nobody:/etc", "/run/x"]);

    assert_eq!(both.status, Status::Exit(2));
    assert!(missing.stderr.contains("cannot read /run/not-there"), "{missing:?}");
    assert!(relative.stderr.contains("NAME:/PATH"), "{relative:?}");
    assert_eq!(no_jail.status, Status::Exit(3), "{no_jail:?}");
}
