//! Units that cannot be in force beside each other.

use jailsupd::control::wire::JailState;

use crate::{PROBLEMS, guest, put_together, remove, stay};

#[test]
fn units_that_go_round_in_a_circle_are_refused_with_their_path_and_the_others_start() {
    let mut guest = guest();
    put_together(
        &mut guest,
        &[
            ("front", stay("requires = [\"middle\"]")),
            ("middle", stay("wants = [\"back\"]")),
            ("back", stay("after = [\"front\"]")),
            ("bystander", stay("")),
        ],
    );
    guest.up("bystander");

    let row = guest.agent().wait_state("front", JailState::Invalid).unwrap();
    let checked = guest.refused(&["check"], PROBLEMS);
    let plan = guest.agent().jailctl(&["plan"]).unwrap().stdout;
    guest.put("back", &stay(""));
    guest.up("front");

    let problem = row.problem.unwrap();
    for edge in [
        "front requires middle (/etc/jails.d/front.toml:9:12)",
        "middle wants back (/etc/jails.d/middle.toml:9:9)",
        "back is after front (/etc/jails.d/back.toml:9:9)",
    ] {
        for text in [&problem, &checked, &plan] {
            assert!(text.contains(edge), "{edge} is not in {text}");
        }
    }
    remove(&mut guest, &["front", "middle", "back", "bystander"]);
}

#[test]
fn edit_that_closes_a_circle_leaves_the_last_good_version_in_force() {
    let mut guest = guest();
    let below = guest.put_up("below", &stay(""));
    guest.put_up("above", &stay("requires = [\"below\"]"));

    guest.put("below", &stay("requires = [\"above\"]"));
    let circle = |row: Option<&jailsupd::control::wire::JailSummary>| {
        row.is_some_and(|row| row.problem.as_ref().is_some_and(|text| text.contains("circle")))
    };
    let row = guest.agent().wait_listed("below", "in a circle", circle).unwrap().unwrap();

    assert_eq!((row.state, row.pid), (JailState::Up, below.pid));
    remove(&mut guest, &["above", "below"]);
}

#[test]
fn misspelt_name_is_told_with_the_one_that_was_meant_and_is_good_once_it_exists() {
    let mut guest = guest();
    guest.put_up("database", &stay(""));

    guest.put("lost", &stay("requires = [\"databse\"]\nwants = [\"nobody\"]\nafter = [\"never\"]"));
    let row = guest.agent().wait_state("lost", JailState::Invalid).unwrap();
    guest.put("databse", &stay(""));
    guest.up("lost");

    let problem = row.problem.unwrap();
    assert!(problem.contains("lost.toml:9:12: dependencies.requires: there is no jail `databse`"));
    assert!(problem.contains("did you mean \"database\"?"), "{problem}");
    remove(&mut guest, &["lost", "databse", "database"]);
}
