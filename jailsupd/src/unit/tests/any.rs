//! Whatever is written into the files has an answer.

use super::{WEB, assert_same_from_canonical};
use crate::unit::document::Walk;
use crate::unit::host;
use crate::unit::keys::{Draft, UNIT};
use crate::unit::layer::Layer;
use crate::unit::specifier::Names;
use crate::unit::{Problem, RawFile, RawKind, parse, policy, schema, text, tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let problem = text("web.toml", b"version = 1\n# caf\xe9\n").unwrap_err();
    assert_eq!(problem.one_line(), "web.toml:2:6: the file is not UTF-8 text (save it as UTF-8)");
    assert!(text("web.toml", &vec![b'#'; crate::unit::MAX_FILE + 1]).is_err());
}

#[test]
fn a_thousand_mistakes_make_a_readable_report() {
    let text: String = (0..1000).map(|n| format!("key{n} = 1\n")).collect();
    let problems = parse("web", "web.toml", &text).unwrap_err();
    assert_eq!(problems.len(), 65);
    assert_eq!(problems[64].message, "940 further problems");
}

#[test]
fn the_worst_files_of_full_size_have_an_answer_soon() {
    let fill = |part: &str| part.repeat(crate::unit::MAX_FILE / part.len());
    let keys: String = (0..30_000).map(|n| format!("k{n}=1,")).collect();
    let addresses: String = (0..15_000).map(|n| format!("'10.0.{}.1/8',", n % 256)).collect();
    for text in [
        fill("="),
        fill("\"\n"),
        fill("["),
        fill("a.b."),
        fill("[[x]]\n"),
        fill("\u{1b}"),
        format!("image = {{ {keys} }}"),
        format!("[process]\nexec = [{}]", fill("1,")),
        format!("[process]\nexec = ['/a', '{}']", fill("%n")),
        format!("[process]\nexec = [{}]", fill("'%x',")),
        format!("[network]\naddress = [{addresses}]"),
        format!("[network]\naddress = ['10.0.0.2/8']\ngateway = [{}]", fill("'10.0.0.1',")),
    ] {
        answer("web", &text);
    }
}

/// Whatever the text is, there is an answer, and it can be shown.
fn answer(name: &str, text: &str) {
    match parse(name, "x.toml", text) {
        Ok(unit) => assert_same_from_canonical(&unit),
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(show);
        }
    }
    let _ = host::parse(&[Layer { file: "x", text }]);
    let _ = policy::parse(&[Layer { file: "x", text }]);
}

fn show(problem: &Problem) {
    let shown = problem.to_string() + &problem.one_line();
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
}

/// What the lines say, as far as they are good.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut draft = Draft::default();
    let mut walk = Walk::new("x", Some(Names { jail: "web-1", instance: Some("1") }));
    UNIT.layer(&mut walk, "x", text, &mut draft);
    UNIT.settings(&draft)
}

/// A file of any kind, its name and what it holds nearly right.
fn raw_file() -> impl Strategy<Value = RawFile> {
    let stem =
        prop_oneof!["[ab]", "[ab]@", "[ab]@[ab1]", "[ab]-[ab1]", "\\PC{0,8}", "[a-zA-Z@-]{0,70}"];
    let text = prop_oneof![
        Just(String::new()),
        near_miss(),
        near_miss().prop_map(|more| format!("{WEB}hostname = \"%n-%i\"\n{more}")),
        Just(WEB.to_owned()),
    ];
    (stem, text, 0..3_usize, 0..8, "[ab]\\.toml").prop_map(
        |(stem, text, directory, kind, file_name)| {
            let path = format!("{directory}/{stem}.toml");
            let unread = Err(Problem::of_file(&path, "cannot be read"));
            let content = Ok(text.into_bytes());
            let kind = match kind {
                0..3 => RawKind::Unit { stem, content },
                3..6 => RawKind::DropIn { stem, file_name, content },
                6 => RawKind::Unit { stem, content: unread },
                _ => RawKind::Mask { stem },
            };
            RawFile { path, directory, kind }
        },
    )
}

thread_local! {
    static PART: jsonschema::Validator = {
        let schema = serde_json::from_str(&schema::part()).unwrap();
        jsonschema::draft202012::new(&schema).unwrap()
    };
}

/// One key with a value that is often a good one.
fn one_line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "(true|false|[0-9]{1,5})",
        "\"[+0-9]{1,4}([KMGT]|[KMGT]iB|B|us|ms|s|m|h|d|%)?\"",
        "\"(sig|SIG|)(int|HUP|rtmin|RTMIN\\+3)\"",
        "\"[a-zA-Z_.-]{1,8}\"",
        "\"(erofs:|dir:|)/[a-z. ]{0,5}(/[a-z%]{1,3})?\"",
        "\\[\"[0-9]{1,2}\\.0\\.2\\.[0-9]{1,2}(/[0-9]{1,2})?\"\\]",
        "\\[\"(CAP_|cap_|)(net_raw|CHOWN|sys_Nice)\"\\]",
        "\"(0[0246]:){5}[0-9a-fA-F]{2}\"",
        "\\{( [a-zA-Z_]{1,4} = \"[ -!#-\\[\\]-~]{0,4}\")?\\}",
    ];
    let keys = UNIT.keys;
    (0..keys.len(), value).prop_map(move |(at, value)| format!("{} = {value}\n", keys[at].path()))
}

/// Lines that look like a unit's, with any value.
fn near_miss() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[ -~]{0,12}",
        "\"[^\"\\\\\n]{0,20}\"",
        "\"[a-z/:.-]{0,6}%[a-z%]?[a-z/.-]{0,6}\"",
        "\\[(\"[a-z0-9:./%-]{0,12}\",? ?){0,3}\\]",
        "-?[0-9]{1,25}(\\.[0-9]{1,3})?",
        "\"[0-9]{0,25}[a-zA-Z%]{0,3}\"",
    ];
    let keys = UNIT.keys;
    let line = (0..keys.len(), value, any::<bool>()).prop_map(move |(at, value, header)| {
        let key = &keys[at];
        match header {
            true => format!("[{}]\n{} = {value}\n", key.section, key.name),
            false => format!("{} = {value}\n", key.path()),
        }
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(name in "\\PC{0,70}", text in "(?s).{0,400}") {
        answer(&name, &text);
    }

    #[test]
    fn any_near_miss_has_an_answer(text in near_miss()) {
        answer("web", &text);
    }

    #[test]
    fn a_unit_with_a_bite_taken_out_has_an_answer(start in 0..1500_usize, length in 1..30_usize, put in "\\PC{0,6}") {
        let whole = include_str!("../../../tests/units-parsed/all-keys.toml");
        let keep = |(at, _): &(usize, char)| *at < start || *at >= start + length;
        let mut bitten: String = whole.char_indices().filter(keep).map(|(_, c)| c).collect();
        bitten.insert_str(start.min(bitten.len()), &put);
        answer("web", &bitten);
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same(text in near_miss()) {
        let first = settings(&text);
        let again: String = first.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        // An empty `exec` cannot be written.
        prop_assert_eq!(&first, &settings(&again));
    }

    #[test]
    fn what_the_parser_takes_the_schema_takes(text in one_line()) {
        let mut draft = Draft::default();
        let walk = UNIT.walk("x", &text, &mut draft);
        if walk.finish().is_ok() {
            let document: serde_json::Value = toml::from_str(&text).unwrap();
            PART.with(|part| assert!(part.is_valid(&document), "{text}"));
        }
    }

    #[test]
    fn any_files_make_a_tree(files in prop::collection::vec(raw_file(), 0..12)) {
        let tree = tree::resolve(&files);
        prop_assert!(tree.units.is_sorted_by(|a, b| a.name < b.name));
        prop_assert!(tree.units.len() <= files.len());
        for unit in &tree.units {
            prop_assert!(!unit.files.is_empty());
            match &unit.result {
                Ok(found) => prop_assert_eq!(found.name.as_str(), &unit.name),
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    problems.iter().for_each(show);
                }
            }
        }
    }
}
