//! Jails that wait for others.

use jailsupd::control::wire::{JailState, JailSummary, Planned};
use qemu_tests::{client::curl, disk, proto::Status};

use crate::{
    FAILED, NOT_REACHED, SOON, at, events, example, failing, guest, put_together, remove, since,
    stay, tells_of_failure, unit, why,
};

const DATABASE: (&str, &str) = ("10.0.2.22", "10.0.2.32");
const SITE: (&str, &str) = ("10.0.2.20", "10.0.2.30");
const NEEDS_DATABASE: &str = "[dependencies]\nrequires = [\"database\"]";

#[test]
fn web_server_starts_when_its_database_is_ready_and_ends_before_it() {
    let mut guest = guest();
    let begin = events(&mut guest);
    // It is refused until what it needs has a unit.
    guest.put("site", &example("nginx", SITE, NEEDS_DATABASE));
    guest.agent().wait_state("site", JailState::Invalid).unwrap();
    guest.put("database", &example("postgresql", DATABASE, ""));
    guest.up("site");
    let started = since(&mut guest, &begin);
    let page = guest.forward(&format!("{}:80", SITE.1)).unwrap();
    disk::tool(&mut curl(&format!("http://{page}/"))).unwrap();
    let ready = "/usr/bin/jailctl logs database | grep -q 'ready to accept connections'";
    guest.agent().wait_until(ready, SOON).unwrap();

    let before = events(&mut guest);
    guest.ctl(&["stop", "database"]);
    let stopped = since(&mut guest, &before);
    let waiting = guest.agent().listed("site").unwrap();
    let told = why(&mut guest, "site");
    let before = events(&mut guest);
    guest.ctl(&["start", "database"]);
    guest.up("site");
    let again = since(&mut guest, &before);

    assert!(at(&started, "database", JailState::Up) < at(&started, "site", JailState::Preparing));
    assert!(
        at(&stopped, "site", JailState::Waiting) < at(&stopped, "database", JailState::Stopping)
    );
    assert_eq!(
        (waiting.state, waiting.waits_for.as_deref()),
        (JailState::Waiting, Some("database"))
    );
    assert!(told.text[0].contains("It waits for database, which someone stopped"), "{told:?}");
    assert!(at(&again, "database", JailState::Up) < at(&again, "site", JailState::Up));
    disk::tool(&mut curl(&format!("http://{page}/"))).unwrap();
    remove(&mut guest, &["site", "database"]);
}

#[test]
fn jail_whose_requirement_failed_says_so_and_starts_when_that_is_mended() {
    let mut guest = guest();
    put_together(&mut guest, &[("broken", failing()), ("needy", stay("requires = [\"broken\"]"))]);
    let row = guest.agent().wait_listed("needy", "for a failed jail", tells_of_failure);
    let row = row.unwrap().unwrap();

    let evidence = why(&mut guest, "needy");
    let start = guest.agent().jailctl(&["start", "needy"]).unwrap();
    guest.put("broken", &stay(""));
    guest.up("needy");

    assert_eq!((row.state, row.waits_for.as_deref()), (JailState::Waiting, Some("broken")));
    for text in FAILED {
        assert!(evidence.text[0].contains(text), "{evidence:?}");
        assert!(evidence.events.iter().any(|event| event.why.contains(text)), "{evidence:?}");
    }
    assert_eq!(start.status, NOT_REACHED, "{start:?}");
    assert!(start.stderr.contains("waits for broken"), "{start:?}");
    remove(&mut guest, &["needy", "broken"]);
}

#[test]
fn jail_that_only_wants_others_starts_without_them() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[("dud", failing()), ("content", stay("wants = [\"dud\", \"nobody\"]"))],
    );
    let before = guest.up("content");
    guest.agent().wait_state("dud", JailState::Failed).unwrap();

    guest.put_up("dud", &stay(""));
    guest.ctl(&["stop", "dud"]);

    assert_eq!(guest.up("content").pid, before.pid, "it is not stopped with what it wants");
    remove(&mut guest, &["content", "dud"]);
}

#[test]
fn jails_that_appear_together_start_in_their_order() {
    let mut guest = guest();
    let before = events(&mut guest);
    // The order of their names is another one.
    put_together(
        &mut guest,
        &[
            ("a-last", stay("after = [\"m-middle\"]")),
            ("m-middle", stay("after = [\"nobody\"]")),
            ("z-first", stay("before = [\"m-middle\"]")),
        ],
    );
    guest.up("a-last");

    let all = since(&mut guest, &before);
    assert!(at(&all, "z-first", JailState::Up) < at(&all, "m-middle", JailState::Preparing));
    assert!(at(&all, "m-middle", JailState::Up) < at(&all, "a-last", JailState::Preparing));
    remove(&mut guest, &["a-last", "m-middle", "z-first"]);
}

#[test]
fn start_by_hand_starts_what_is_required_although_it_is_disabled() {
    let mut guest = guest();
    let disabled = |rest: &str| format!("enabled = false\n{}", stay(rest));
    put_together(
        &mut guest,
        &[("tool", disabled("requires = [\"engine\"]")), ("engine", disabled(""))],
    );
    guest.agent().wait_state("tool", JailState::Down).unwrap();
    guest.ctl(&["start", "tool"]);
    let engine = guest.agent().listed("engine").unwrap();
    remove(&mut guest, &["tool", "engine"]);

    // As does one that is enabled, and the plan says so.
    guest.put("engine", &disabled(""));
    guest.agent().wait_state("engine", JailState::Down).unwrap();
    guest.agent().write("/run/tool.toml", &stay("requires = [\"engine\"]")).unwrap();
    let plan: Planned = guest.agent().ask(&["plan", "/run/tool.toml"]).unwrap();
    guest.put_up("tool", &stay("requires = [\"engine\"]"));

    assert_eq!(engine.state, JailState::Up);
    let step = plan.steps.iter().find(|step| step.name == "engine").unwrap();
    assert_eq!((step.consequence.word(), step.why.as_str()), ("start", "tool requires it"));
    remove(&mut guest, &["tool", "engine"]);
}

#[test]
fn jail_that_was_stopped_by_hand_is_started_with_what_requires_it_only_by_hand() {
    let mut guest = guest();
    guest.put_up("held", &stay(""));
    guest.ctl(&["stop", "held"]);

    guest.put("user", &stay("requires = [\"held\"]"));
    let stuck = |row: Option<&JailSummary>| {
        row.is_some_and(|row| {
            row.problem.as_deref() == Some("waits for held, which someone stopped")
        })
    };
    guest.agent().wait_listed("user", "stuck", stuck).unwrap();
    guest.ctl(&["start", "user"]);

    guest.up("held");
    guest.up("user");
    remove(&mut guest, &["user", "held"]);
}

#[test]
fn jailsupd_killed_while_a_jail_waits_lets_it_wait_on() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[("absent", failing()), ("patient", stay("requires = [\"absent\"]"))],
    );
    guest.agent().wait_listed("patient", "for a failed jail", tells_of_failure).unwrap();

    guest.agent().kill_jailsupd().unwrap();
    let row = guest.agent().wait_listed("patient", "for a failed jail", tells_of_failure);
    let row = row.unwrap().unwrap();
    guest.put("absent", &stay(""));
    guest.up("patient");

    assert_eq!((row.state, row.waits_for.as_deref()), (JailState::Waiting, Some("absent")));
    remove(&mut guest, &["patient", "absent"]);
}

#[test]
fn jail_that_fails_for_good_starts_those_that_it_names_for_that() {
    let mut guest = guest();
    guest.put("alarm", &format!("enabled = false\n{}", stay("")));
    guest.agent().wait_state("alarm", JailState::Down).unwrap();

    let rest = format!("[dependencies]\non_failure = [\"alarm\"]\n{}", crate::NEVER_AGAIN);
    guest.put("fragile", &unit(&["exit", "7"], &rest));
    guest.up("alarm");

    let told = why(&mut guest, "alarm").events;
    assert!(told.iter().any(|event| event.why.contains("fragile failed")), "{told:?}");
    remove(&mut guest, &["fragile", "alarm"]);
}

#[test]
fn why_follows_a_chain_to_the_jail_that_failed() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("base", failing()),
            ("middle", stay("requires = [\"base\"]")),
            ("top", stay("requires = [\"middle\"]")),
        ],
    );
    guest.agent().wait_state("base", JailState::Failed).unwrap();
    guest.agent().wait_state("top", JailState::Waiting).unwrap();
    let text = why(&mut guest, "top").text.join(" ");
    assert!(text.contains("middle waits for base"), "{text}");
    assert!(crate::FAILED.iter().all(|part| text.contains(part)), "{text}");
    remove(&mut guest, &["top", "middle", "base"]);
}

#[test]
fn jobs_end_is_no_absence() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[("job", unit(&["exit", "0"], "")), ("service", stay("requires = [\"job\"]"))],
    );
    guest.up("service");
    guest.agent().wait_state("job", JailState::Down).unwrap();

    let restarted = guest.agent().jailctl(&["restart", "service"]).unwrap();

    assert_eq!(restarted.status, Status::Exit(0), "{restarted:?}");
    remove(&mut guest, &["service", "job"]);
}
