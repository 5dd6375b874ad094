//! Mistakes at the keyboard: each message names what was meant, and nothing happens.

use jailsupd::control::wire::{Event, JailState};
use qemu_tests::proto::Status;

use crate::{NO_SUCH_JAIL, REFUSED, etc, guest, stay};

/// Wrong usage of jailctl.
const USAGE: Status = Status::Exit(2);

#[test]
fn a_slip_in_a_name_is_told_with_the_name_that_was_meant() {
    let mut guest = guest();
    guest.put_up("orchard", &stay(""));

    for words in [
        &["inspect", "orchrad"][..],
        &["tree", "orchrad"],
        &["logs", "orchrad"],
        &["events", "orchrad"],
        &["why", "orchrad"],
        &["start", "orchrad"],
        &["stop", "orchrad"],
        &["restart", "orchrad"],
        &["kill", "orchrad"],
        &["freeze", "orchrad"],
        &["thaw", "orchrad"],
        &["wait", "orchrad"],
        &["cp", "orchrad:/x", "/run"],
        &["cat", "orchrad"],
        &["delete", "orchrad"],
        &["enable", "orchrad"],
        &["disable", "orchrad"],
    ] {
        let output = guest.agent().jailctl(words).unwrap();
        assert_eq!(output.status, NO_SUCH_JAIL, "{words:?}: {output:?}");
        let meant = "there is no jail `orchrad`\n  help: did you mean `orchard`?";
        assert!(output.stderr.contains(meant), "{words:?}: {output:?}");
    }
    let exec = guest.agent().jailctl(&["exec", "Orchard", "ls"]).unwrap();
    let run = guest.agent().jailctl(&["run", "orchad", "/bin/nuisance"]).unwrap();

    assert!(exec.stderr.contains("did you mean `orchard`?"), "{exec:?}");
    assert!(run.stderr.contains("neither a jail nor an image `orchad`"), "{run:?}");
    assert!(run.stderr.contains("did you mean `orchard`?"), "{run:?}");
    assert_eq!(guest.agent().listed("orchard").unwrap().state, JailState::Up);
    guest.remove("orchard");
}

#[test]
fn a_wrong_value_is_named_and_what_is_allowed_is_told() {
    let mut guest = guest();
    guest.put_up("plain", &stay(""));

    for (words, problem, help) in [
        (&["kill", "plain", "-s", "FOO"][..], "\"FOO\" is not a signal", "signal(7)"),
        (&["kill", "plain", "-s", "TREM"], "\"TREM\" is not a signal", "did you mean \"SIGTERM\"?"),
        (&["kill", "plain", "-s", "9"], "\"9\" is not a signal", "did you mean \"SIGKILL\"?"),
        (&["exec", "-e", "A", "plain", "x"], "\"A\" is not an environment variable", "NAME=VALUE"),
        (
            &["exec", "-w", "tmp", "plain", "x"],
            "\"tmp\" is not an absolute path",
            "begins with `/`",
        ),
        (&["exec", "-u", "70000", "plain", "x"], "70000", "0 to 65535"),
        (&["cp", "plain:etc/x", "/run"], "\"etc/x\" is not an absolute path", "begins with `/`"),
        (&["image", "import", "/etc", "--name", "A b"], "\"A b\" is not the name", "NAME:TAG"),
    ] {
        let output = guest.agent().jailctl(words).unwrap();
        assert_eq!(output.status, USAGE, "{words:?}: {output:?}");
        let (first, rest) = output.stderr.split_once('\n').unwrap();
        assert!(first.contains(problem), "{words:?}: {output:?}");
        assert!(rest.contains("help: ") && rest.contains(help), "{words:?}: {output:?}");
    }
    guest.remove("plain");
}

#[test]
fn units_that_cannot_be_deleted_or_written_over_say_why() {
    let mut guest = guest();

    let shipped = guest.agent().jailctl(&["delete", "shipped"]).unwrap();
    guest.ctl(&["mask", "shipped"]);
    guest.agent().write("/run/unit.toml", &stay("")).unwrap();
    let masked = guest.agent().jailctl(&["edit", "shipped", "--file", "/run/unit.toml"]).unwrap();
    let mask = guest.sh(&format!("readlink {}", etc("shipped")));
    let looked = guest.agent().jailctl(&["inspect", "shipped"]).unwrap();
    guest.ctl(&["unmask", "shipped"]);

    assert_eq!(shipped.status, REFUSED, "{shipped:?}");
    assert!(shipped.stderr.contains("/usr/lib/jails.d/shipped.toml"), "{shipped:?}");
    assert!(shipped.stderr.contains("jailctl mask"), "{shipped:?}");
    assert_eq!(masked.status, REFUSED, "{masked:?}");
    assert!(masked.stderr.contains("jailctl unmask"), "{masked:?}");
    assert_eq!(mask.trim(), "/dev/null");
    assert!(looked.stderr.contains("it is masked by /etc/jails.d/shipped.toml"), "{looked:?}");
    guest.up("shipped");
}

#[test]
fn a_word_that_is_no_key_is_explained_by_the_keys_that_hold_it() {
    let mut guest = guest();

    let memory = guest.agent().jailctl(&["explain", "memory"]).unwrap();
    let volumes = guest.agent().jailctl(&["explain", "volumes"]).unwrap();

    assert_eq!(memory.status, REFUSED, "{memory:?}");
    for key in ["resources.memory_max", "resources.memory_high", "resources.allowed_memory_nodes"] {
        assert!(memory.stderr.contains(&format!("`{key}`")), "{memory:?}");
    }
    assert!(volumes.stderr.contains("did you mean `volume`?"), "{volumes:?}");
}

#[test]
fn the_last_events_are_those_that_were_asked_for() {
    let mut guest = guest();
    guest.put_up("busy", &stay(""));
    guest.ctl(&["stop", "busy"]);

    let parse = |text: &str| -> Vec<Event> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = parse(&guest.ctl(&["events", "busy", "--json"]));
    let last = parse(&guest.ctl(&["events", "busy", "-n", "2", "--json"]));
    let of_all = parse(&guest.ctl(&["events", "-n", "1", "--json"]));

    assert!(all.len() > 2, "{all:?}");
    assert_eq!(last, all[all.len() - 2..]);
    assert_eq!(of_all.len(), 1, "{of_all:?}");
    guest.remove("busy");
}

#[test]
fn whoever_may_not_ask_or_finds_nothing_is_told_so() {
    let mut guest = guest();

    let stranger = guest.agent().run_as((1000, 1000), &["/usr/bin/jailctl", "ls"]).unwrap();
    let late = ["logs", "shipped", "--since", "2100-01-01T00:00:00Z"];
    let nothing = guest.agent().jailctl(&late).unwrap();

    assert_eq!(stranger.status, Status::Exit(4), "{stranger:?}");
    assert!(
        stranger.stderr.contains("as root; to look only, be in the group `jails`"),
        "{stranger:?}"
    );
    assert_eq!((nothing.status, nothing.stdout.as_str()), (Status::Exit(0), ""));
    assert_eq!(nothing.stderr, "jailctl: nothing is in the log of `shipped` since then\n");
}
