//! The table of keys against the types, canonical form, sets.

mod any;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::document::{Grammar, Key, Presence};
use super::explain::{Explanation, KeyEntry};
use super::host::{self, HOST};
use super::keys::UNIT;
use super::layer::Layer;
use super::named_network::NETWORK;
use super::policy::POLICY;
use super::{Consequence, JailName, Problem, Unit, consequence, diff, explain, parse, set};

const WEB: &str = r#"
version = 1
[image]
source = "erofs:/usr/share/jails/web.erofs"
[process]
exec = ["/usr/sbin/nginx"]
[network]
address = ["192.0.2.10/24"]
"#;

fn web(more: &str) -> Unit {
    parse("web", "web.toml", &format!("{WEB}{more}")).unwrap()
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::one_line).collect()
}

/// What the draft shows for each key of the table that shows anything.
fn shown<D>(grammar: &Grammar<D>, draft: &D) -> BTreeMap<String, String> {
    grammar.keys.iter().filter_map(|k| Some((k.path(), (k.show)(draft)?))).collect()
}

fn assert_defaults<D: Default>(grammar: &Grammar<D>) {
    let shown = shown(grammar, &D::default());
    for key in grammar.keys {
        let found = shown.get(&key.path()).map(String::as_str);
        let wanted = match key.presence {
            Presence::Default(value) => Some(value),
            // `exec` shows as an empty list while it is missing.
            Presence::Required => found,
            Presence::Unset(_) => None,
        };
        assert_eq!(found, wanted, "{}", key.path());
    }
}

fn assert_examples<D: Default>(grammar: &Grammar<D>) {
    for key in grammar.keys {
        let header =
            if key.section.is_empty() { String::new() } else { format!("[{}]\n", key.section) };
        let mut draft = D::default();
        let text = format!("{header}{} = {}\n", key.name, key.example);
        let walk = grammar.walk("example.toml", &text, &mut draft);
        assert_eq!(walk.finish().map_err(|p| lines(&p)).err(), None);
        if let Some(found) = shown(grammar, &draft).get(&key.path()) {
            assert_eq!(found, key.example, "{}: the example is not canonical", key.path());
        }
        assert!(grammar.sections.iter().any(|s| s.name == key.section) || key.section.is_empty());
    }
}

#[test]
fn each_default_of_the_table_is_that_of_the_types() {
    assert_defaults(&UNIT);
    assert_defaults(&HOST);
    assert_defaults(&POLICY);
    assert_defaults(&NETWORK);
}

#[test]
fn each_example_of_the_table_is_taken_and_canonical() {
    assert_examples(&UNIT);
    assert_examples(&HOST);
    assert_examples(&POLICY);
    assert_examples(&NETWORK);
}

#[test]
fn a_unit_with_every_key_is_read_into_its_types() {
    let unit = parse("web", "web.toml", include_str!("../../tests/units-parsed/all-keys.toml"));
    let unit = unit.map_err(|p| lines(&p)).unwrap();
    // A digest goes with no path, one kind of check with no other, and one kind of link neither.
    let apart = [
        "image.digest",
        "network.network",
        "network.ipvlan_mode",
        "network.publish",
        "health.http",
        "health.tcp",
    ];
    for key in UNIT.keys.iter().filter(|key| !apart.contains(&key.path().as_str())) {
        assert!(unit.origin.has(&key.path()), "{} is not in the file", key.path());
    }
    assert_eq!(unit.canonical(), include_str!("../../tests/units-parsed/all-keys.canonical"));
    assert_same_from_canonical(&unit);
    assert_eq!(unit.process.exec, ["/usr/sbin/nginx", "-g", "daemon off;"]);
    assert_eq!(unit.resources.memory_max.unwrap().get(), 256 << 20);
    assert_eq!(unit.resources.cpu_max.unwrap().quota_us(), 150_000);
    assert_eq!(unit.security.add_capability.bits(), 1 << 10 | 1 << 14);
    assert_eq!(unit.stop.signal.number(), 3);
    assert_eq!(unit.network.mac.unwrap().octets(), [2, 0, 0, 0, 0, 10]);
    assert_eq!(
        unit.network.gateway,
        ["192.0.2.1", "fe80::1"].map(|a| a.parse::<IpAddr>().unwrap())
    );
    assert_eq!(unit.origin.at("process.exec").to_string(), "web.toml:18:8");
    // In the order in which they are mounted.
    let paths: Vec<&str> = unit.volumes.iter().map(|volume| volume.path.as_str()).collect();
    assert_eq!(paths, ["/srv/shared", "/var/www", "/var/www/cache"]);
}

#[test]
fn order_comments_spelling_and_said_defaults_do_not_change_a_unit() {
    let other = r#"
        # another hand
        network.address = [ '192.0.2.10/24', ]
        process = { exec = ["/usr/sbin/nginx"], user = 0 }
        version = 0x1
        resources.pids_max = 1_024
        stop.timeout = "10000ms"
        stop.signal = "term"
        [image]
        source = "erofs:/usr/share/jails/web.erofs"
    "#;
    let other = parse("other", "/run/jails.d/other.toml", other).map_err(|p| lines(&p)).unwrap();
    assert_eq!(web("").canonical(), other.canonical());
    assert_eq!(web("").canonical_hash(), other.canonical_hash());
    assert_ne!(web("[stop]\ntimeout = \"11s\"").canonical_hash(), other.canonical_hash());
}

/// The states of running jails hold this hash: a Warder that computes another restarts all jails.
#[test]
fn the_hash_of_a_unit_is_for_ever() {
    assert_eq!(
        web("").canonical(),
        "image.source = \"erofs:/usr/share/jails/web.erofs\"\n\
         network.address = [\"192.0.2.10/24\"]\n\
         process.exec = [\"/usr/sbin/nginx\"]\n"
    );
    assert_eq!(web("").canonical_hash().to_string(), HASH);
    assert_same_from_canonical(&web("[process.environment]\nA = \"50%% 'of' \\\"%%n\\\"\""));
}
const HASH: &str = "edbdda1a535c688f6ba5b362c81477bd3a465a797eb559647d444afa63b57972";

#[test]
fn a_name_is_a_label_of_63_bytes() {
    for good in ["a", "0", "web-1", &"x".repeat(63)] {
        assert!(JailName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "Web", "a/b", "..", ".", "a b", "é", "a\n", "a_b", &"x".repeat(64)] {
        assert!(JailName::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn of_two_units_with_one_address_the_first_keeps_it() {
    let first = web("");
    let second = parse("web2", "web2.toml", &format!("{WEB}mac = \"02:00:00:00:00:01\"")).unwrap();
    let third = parse("web3", "web3.toml", &WEB.replace(".10/", ".11/")).unwrap();
    let clashes = set::check([&first, &second, &third], &["192.0.2.11/24"].map(address));
    let found: Vec<_> = clashes.iter().map(|c| (c.name.as_str(), c.problem.one_line())).collect();
    assert_eq!(
        found,
        [
            ("web2", "web2.toml:8:11: network.address: 192.0.2.10 belongs to jail `web` (web.toml:8:11) (give each its own)".to_owned()),
            ("web3", "web3.toml:8:11: network.address: 192.0.2.11 belongs to the host itself (give each its own)".to_owned()),
        ]
    );
}

#[test]
fn of_two_units_with_one_port_of_the_host_the_first_keeps_it() {
    let unit = |name: &str, port: &str| {
        let keys = format!("mode = \"bridge\"\nnetwork = \"out\"\npublish = [\"{port}\"]");
        let text = WEB.replace("address = [\"192.0.2.10/24\"]", &keys);
        parse(name, &format!("{name}.toml"), &text).unwrap()
    };
    let all = [
        unit("first", "8080:80"),
        unit("second", "192.0.2.1:8080:8080"),
        unit("third", "8080:53/udp"),
        unit("fourth", "192.0.2.1:8081:80"),
        unit("fifth", "192.0.2.2:8081:80"),
    ];
    let clashes = set::check(&all, &[]);
    let found: Vec<_> = clashes.iter().map(|c| c.problem.one_line()).collect();
    assert_eq!(
        found,
        [
            "second.toml:10:11: network.publish: port 192.0.2.1:8080/tcp of the host belongs to jail `first` (first.toml:10:11) (give each its own)"
        ]
    );
}

#[test]
fn one_parent_has_links_of_one_kind() {
    let unit = |name: &str, number: u8, rest: &str| {
        let text = WEB.replace(".10/", &format!(".{number}/"));
        parse(name, &format!("{name}.toml"), &format!("{text}{rest}")).unwrap()
    };
    let units = [
        unit("one", 1, ""),
        unit("other-kind", 2, "mode = \"ipvlan\""),
        unit("other-vlan", 3, "mode = \"ipvlan\"\nvlan = 10"),
        unit("other-mode", 4, "mode = \"ipvlan\"\nvlan = 10\nipvlan_mode = \"l3\""),
        unit("private", 5, "macvlan_mode = \"private\""),
        unit("other-parent", 6, "mode = \"ipvlan\"\nparent = \"eth1\""),
    ];
    let clashes = set::check(&units, &[]);
    let found: Vec<_> = clashes.iter().map(|c| (c.name.as_str(), c.problem.one_line())).collect();
    assert_eq!(
        found,
        [
            ("other-kind", "other-kind.toml:9:8: network.mode: ipvlan cannot be on uplink beside macvlan, which jail `one` (one.toml) has there (use one kind on a parent, or another parent or VLAN)".to_owned()),
            ("other-mode", "other-mode.toml:11:15: network.ipvlan_mode: l3 cannot be on uplink beside l2, which jail `other-vlan` (other-vlan.toml) has there (use one kind on a parent, or another parent or VLAN)".to_owned()),
        ]
    );
}

/// What an edit of `old` into `new` says and leads to.
fn edit(old: &Unit, new: &Unit) -> (Consequence, Vec<String>, String) {
    let changes = diff(old, new);
    let consequence = consequence(Some(old), Some(new));
    let sentence = consequence.sentence(&changes);
    (consequence, changes.iter().map(ToString::to_string).collect(), sentence)
}

#[test]
fn an_edit_of_limits_is_taken_over_by_a_running_jail() {
    let new =
        web("[resources]\nmemory_max = \"1G\"\noom_group = false\n[stop]\ntimeout = \"1m\"\n");
    let (consequence, changes, sentence) = edit(&web(""), &new);
    assert_eq!(consequence, Consequence::Live);
    assert_eq!(
        changes,
        [
            "resources.memory_max: (no limit) -> \"1G\"",
            "resources.oom_group: true -> false",
            "stop.timeout: \"10s\" -> \"1m\"",
        ]
    );
    assert_eq!(
        sentence,
        "goes on, with resources.memory_max, resources.oom_group and stop.timeout taken over"
    );
    assert_eq!(web("").restart_hash(), new.restart_hash());
}

#[test]
fn an_edit_of_what_a_jail_is_made_of_restarts_it() {
    let (consequence, changes, sentence) =
        edit(&web("[stop]\ntimeout = \"1m\"\n"), &web("[root]\nmode = \"read-only\"\n"));
    assert_eq!(consequence, Consequence::Restart);
    assert_eq!(
        changes,
        ["root.mode: \"ephemeral\" -> \"read-only\"", "stop.timeout: \"1m\" -> \"10s\""]
    );
    assert_eq!(sentence, "restarts, for root.mode");
}

#[test]
fn what_is_saved_again_changes_nothing_and_what_comes_and_goes_starts_and_stops() {
    let same = parse("web", "x", &format!("# again\n{WEB}\n[stop]\ntimeout = \"10000ms\"\n"));
    assert_eq!(edit(&web(""), &same.unwrap()).0, Consequence::Nothing);
    assert_eq!(consequence(None, Some(&web(""))), Consequence::Start);
    let disabled = parse("web", "x", &format!("enabled = false\n{WEB}")).unwrap();
    assert_eq!(consequence(None, Some(&disabled)), Consequence::Nothing);
    assert_eq!(consequence(Some(&web("")), None), Consequence::Stop);
    let (consequence, changes, _) = edit(&web(""), &disabled);
    assert_eq!(
        (consequence, changes),
        (Consequence::Live, vec!["enabled: true -> false".to_owned()])
    );
}

#[test]
fn each_key_that_differs_is_one_change() {
    let all = parse("web", "web.toml", include_str!("../../tests/units-parsed/all-keys.toml"));
    let all = all.unwrap();
    let changes = diff(&web(""), &all);
    // Version has one value, the root's mode must be the default there, a digest goes with no path, and one kind of
    // check with no other, nor one kind of link.
    let same = [
        "version",
        "image.digest",
        "root.mode",
        "network.mode",
        "network.network",
        "network.ipvlan_mode",
        "network.publish",
        "health.http",
        "health.tcp",
    ];
    let keys: Vec<String> = UNIT.keys.iter().map(Key::path).collect();
    let missing: Vec<&String> =
        keys.iter().filter(|key| !changes.iter().any(|c| c.key == **key)).collect();
    assert_eq!(missing, same);
    for change in diff(&all, &web("")) {
        assert!(change.old.is_some(), "{change}");
        assert!(change.new.is_some() || !change.unset.is_empty(), "{change}");
    }
}

#[test]
fn a_key_or_a_section_is_explained() {
    assert_eq!(
        explain("restart.delay").unwrap().to_string(),
        "restart.delay\n\n  The wait before the first restart; it doubles with each further one in a row.\n\n  \
         takes    a string (duration)\n  default  \"100ms\"\n  edit     A running jail takes an edit over.\n  \
         example  [restart]\n           delay = \"1s\"\n"
    );
    let stop = explain("[stop]").unwrap().to_string();
    assert_eq!(
        stop,
        "[stop]\nHow the jail is asked to end.\n\n  \
         signal   The signal that asks the program to end, by the names of signal(7).\n  \
         timeout  How long it may take to end.\n"
    );
    assert_eq!(explain("stop").unwrap().to_string(), stop);
    assert_eq!(explain("core_dump").unwrap(), explain("process.core_dump").unwrap());
    let Explanation::Keys(modes) = explain("mode").unwrap() else { panic!() };
    assert_eq!(modes.iter().map(KeyEntry::path).collect::<Vec<_>>(), ["root.mode", "network.mode"]);
    let Explanation::Sections(all) = explain("").unwrap() else { panic!() };
    // A list of tables is one key, and each of its own keys is explained.
    let lists: Vec<usize> = UNIT.keys.iter().filter_map(|k| Some(k.fields()?.len())).collect();
    let keys = UNIT.keys.len() - lists.len() + lists.iter().sum::<usize>();
    assert_eq!(all.iter().map(|s| s.keys.len()).sum::<usize>(), keys);
    let volume = explain("volume").unwrap().to_string();
    assert!(volume.starts_with("[[volume]]\nDirectories of the jail"), "{volume}");
    assert_eq!(explain("[[volume]]").unwrap().to_string(), volume);
    let noexec = explain("volume.noexec").unwrap().to_string();
    assert!(noexec.contains("  example  [[volume]]\n           noexec = true\n"), "{noexec}");
}

#[test]
fn every_explanation_fits_a_terminal() {
    for text in UNIT.keys.iter().map(Key::path).chain([String::new()]) {
        for line in explain(&text).unwrap().to_string().lines() {
            // A digest stays in one piece, so that it can be copied.
            assert!(line.chars().count() <= 80 || line.contains("sha256:"), "{line}");
        }
    }
}

#[test]
fn what_cannot_be_explained_names_the_nearest() {
    let said = |asked: &str| explain(asked).unwrap_err().to_string();
    assert_eq!(
        said("restart.dealy"),
        "there is no key or table \"restart.dealy\" in a unit file; did you mean `restart.delay`?"
    );
    assert_eq!(explain("memroy_max").unwrap_err().nearest.as_deref(), Some("memory_max"));
    assert_eq!(explain("resource").unwrap_err().nearest.as_deref(), Some("resources"));
    let related = |asked: &str| explain(asked).unwrap_err().related;
    let of_oom = ["oom_group", "oom_action", "oom_score_adjust"];
    assert_eq!(related("oom"), of_oom.map(|key| format!("resources.{key}")));
    assert_eq!(related("add-cap"), ["security.add_capability"]);
    assert!(related("reclaimed").contains(&"resources.memory_high".to_owned()));
    assert_eq!(related("nonsense"), [""; 0]);
    assert_eq!(said("\u{1b}[0m"), "there is no key or table \"\\u001B[0m\" in a unit file");
}

fn address(text: &str) -> super::IpPrefix {
    super::value::FromText::from_text(text).unwrap()
}

#[test]
fn a_later_layer_of_the_host_wins_key_by_key() {
    let below = "version = 1\nhostname = \"baked\"\n[uplink]\nmatch = [\"wan*\", \"e??0\"]\n";
    let above = "version = 1\nhostname = \"rack4-12\"\n";
    let layers = [Layer { file: "lib", text: below }, Layer { file: "etc", text: above }];
    let host = host::parse(&layers).unwrap();
    assert_eq!(host.hostname.unwrap().as_str(), "rack4-12");
    assert_eq!(host.origin.at("hostname").to_string(), "etc:2:12");
    assert_eq!(host.origin.at("uplink.match").to_string(), "lib:4:9");
    assert_eq!(host.uplink.choose(&["lo", "eth10", "eth0"]), Some("eth0"));
    assert_eq!(host.uplink.choose(&["lo", "wan2", "wan10", "eth0"]), Some("wan2"));
    assert_eq!(host.uplink.choose(&["lo"]), None);
    assert_eq!(host::Host::default().uplink.choose(&["eth2", "eth10", "lo"]), Some("eth2"));
}

/// The next jailsupd must make the same of what this one leaves it.
fn assert_same_from_canonical(unit: &Unit) {
    let again = Unit::from_canonical(unit.name.as_str(), "x.toml", &unit.canonical());
    assert_eq!(again.map_err(|p| lines(&p)).unwrap().settings(), unit.settings());
}

#[test]
fn an_imported_image_is_named_by_name_digest_or_both() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let read = |image: &str| {
        let text = format!(
            "version = 1\n[image]\n{image}\n[process]\nexec = [\"/x\"]\n[network]\nmode = \"none\"\n"
        );
        parse("web", "web.toml", &text).map(|unit| unit.image.source.to_string())
    };
    assert_eq!(read("source = \"image:web\"").unwrap(), "image:web:latest");
    assert_eq!(read(&format!("digest = \"{digest}\"")).unwrap(), digest);
    let both = format!("source = \"image:web:2\"\ndigest = \"{digest}\"");
    assert_eq!(read(&both).unwrap(), format!("image:web:2 of {digest}"));
    let of_path = read(&format!("source = \"dir:/srv/web\"\ndigest = \"{digest}\"")).unwrap_err();
    assert!(of_path[0].message.contains("only of images that were imported"), "{of_path:?}");
    assert_eq!(read("").unwrap_err().len(), 1);
}
