//! The control socket, seen by a program that is not ours and by people who are not root.
#![allow(clippy::unwrap_used, reason = "tests")]

use qemu_tests::{Guest, Image, Jails, Machine, Shared, image, proto::Status};

static SHARED: Shared = Shared::new();

const SOCKET: &str = "/run/jailsupd.sock";
/// Group `jails` of the image.
const JAILS: u32 = 990;
/// Somebody.
const NOBODY: u32 = 65_534;

/// The program `caller`, where it can be executed.
const CALLER: &str = "/run/caller/caller";
const SET_UP_CALLER: &str = "[ -e /run/caller/caller ] || { mkdir /run/caller && mount -t tmpfs tmpfs /run/caller && \
     cp /usr/share/jails/caller /run/caller && chmod 755 /run/caller /run/caller/caller; }";

fn guest() -> Guest<'static> {
    SHARED.guest(|| {
        let jails = Jails::new()
            .and_then(|jails| jails.nuisance_unit("stays", &["stay"], ""))
            .and_then(|jails| jails.copy(&image::program("caller")?, "images/caller"));
        Machine::new("control", Image::Debug).jails(jails.unwrap())
    })
}

#[test]
fn debians_varlinkctl_finds_and_understands_our_interfaces() {
    let mut guest = guest();
    guest.wait_jail(0, "stays", "up").unwrap();

    let info = guest.agent().output(&["/usr/bin/varlinkctl", "info", SOCKET]).unwrap();
    assert!(info.contains("org.warder.Jails") && info.contains("org.warder.Host"), "{info}");
    for interface in ["org.warder.Jails", "org.warder.Host"] {
        let ctl = ["/usr/bin/varlinkctl", "introspect", SOCKET, interface];
        let text = guest.agent().output(&ctl).unwrap();
        assert!(text.contains(interface), "{text}");
    }
}

#[test]
fn debians_varlinkctl_calls_a_method_and_gets_its_refusal() {
    let mut guest = guest();
    guest.wait_jail(0, "stays", "up").unwrap();
    let call = |name: &str| format!("{{\"name\": \"{name}\"}}");

    let method = "org.warder.Jails.Inspect";
    let (good, bad) = (call("stays"), call("nobody"));
    let ctl = ["/usr/bin/varlinkctl", "call", "--json=short", SOCKET, method, &good];
    let jail = guest.agent().output(&ctl).unwrap();
    let jail: serde_json::Value = serde_json::from_str(&jail).unwrap();
    assert_eq!(jail["jail"]["state"], "up");

    let refused =
        guest.agent().run(&["/usr/bin/varlinkctl", "call", SOCKET, method, &bad]).unwrap();
    assert_ne!(refused.status, Status::Exit(0));
    assert!(refused.stderr.contains("NoSuchJail"), "{}", refused.stderr);
}

#[test]
fn members_of_the_group_jails_may_look_and_change_nothing() {
    let mut guest = guest();
    guest.wait_jail(0, "stays", "up").unwrap();
    let member = (NOBODY, JAILS);

    let look = guest.agent().run_as(member, &["/usr/bin/jailctl", "ls"]).unwrap();
    assert_eq!(look.status, Status::Exit(0), "{}", look.stderr);
    assert!(look.stdout.contains("stays"), "{}", look.stdout);

    let stop = guest.agent().run_as(member, &["/usr/bin/jailctl", "stop", "stays"]).unwrap();
    assert_eq!(stop.status, Status::Exit(1), "{}", stop.stderr);
    guest.wait_jail(0, "stays", "up").unwrap();
}

#[test]
fn others_cannot_even_connect() {
    let mut guest = guest();

    let look = guest.agent().run_as((NOBODY, NOBODY), &["/usr/bin/jailctl", "ls"]).unwrap();

    assert_eq!(look.status, Status::Exit(4), "{}", look.stderr);
}

/// What `caller` says as a member of the group `jails`.
fn called(guest: &mut Guest<'_>, words: &[&str]) -> String {
    guest.sh(SET_UP_CALLER);
    let output = guest.agent().run_as((NOBODY, JAILS), &[&[CALLER], words].concat()).unwrap();
    assert_eq!(output.status, Status::Exit(0), "{output:?}");
    output.stdout
}

#[test]
fn a_client_that_sends_more_than_it_waits_for_is_cut_off() {
    let mut guest = guest();
    guest.up("stays");
    let brain = guest.agent().jailsupd().unwrap();

    let said = called(&mut guest, &["ahead", "stays"]);

    assert!(said.starts_with("cut off after "), "{said}");
    // The others are answered, by the same jailsupd.
    guest.ctl(&["ls"]);
    assert_eq!(guest.agent().jailsupd().unwrap(), brain);
}

#[test]
fn calls_that_are_sent_at_once_are_all_answered_in_their_order() {
    let mut guest = guest();
    guest.up("stays");

    let said = called(&mut guest, &["many", "600"]);

    assert_eq!(said, "600 of 600 answers\n");
}
