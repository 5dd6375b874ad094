//! docs/jailctl.schema.json: made from the interface texts, held by the real outputs.

use std::path::PathBuf;

use jailsupd::control::wire::INTERFACES;
use serde_json::{Map, Value, json};

use super::peer::{asking, jailctl};

/// Each command with arguments for the peer, and what its output is: a method's results, or a type, one a line.
const OUTPUTS: [(&str, &[&str], &str); 44] = [
    ("ls", &["ls"], "List"),
    ("inspect", &["inspect", "web"], "Inspect"),
    ("tree", &["tree"], "Processes"),
    ("top", &["top"], "Stats"),
    ("logs", &["logs", "web"], "LogEntry"),
    ("events", &["events"], "Event"),
    ("why", &["why", "web"], "Why"),
    ("start", &["start", "web"], "Start"),
    ("stop", &["stop", "web"], "Stop"),
    ("restart", &["restart", "web"], "Restart"),
    ("kill", &["kill", "web"], "Kill"),
    ("freeze", &["freeze", "web"], "Freeze"),
    ("thaw", &["thaw", "web"], "Thaw"),
    ("wait", &["wait", "web"], "Wait"),
    ("check", &["check"], "Check"),
    ("plan", &["plan"], "Plan"),
    ("apply", &["apply"], "Apply"),
    ("cat", &["cat", "web"], "Cat"),
    ("edit", &["edit", "web", "--editor", "true"], "Put"),
    ("delete", &["delete", "web"], "Delete"),
    ("explain", &["explain"], "Explain"),
    ("explain --schema", &["explain", "--schema"], "Schema"),
    ("enable", &["enable", "web"], "Enable"),
    ("disable", &["disable", "web"], "Disable"),
    ("mask", &["mask", "web"], "Mask"),
    ("unmask", &["unmask", "web"], "Unmask"),
    ("image import", &["image", "import", "/srv/web", "--name", "web"], "ImportImage"),
    ("image ls", &["image", "ls"], "ListImages"),
    ("image inspect", &["image", "inspect", "web"], "InspectImage"),
    ("image tag", &["image", "tag", "web", "web:2"], "TagImage"),
    ("image rm", &["image", "rm", "web"], "RemoveImage"),
    ("image gc", &["image", "gc"], "CollectImages"),
    ("root ls", &["root", "ls"], "ListRoots"),
    ("root rm", &["root", "rm", "db"], "RemoveRoot"),
    ("volume ls", &["volume", "ls"], "ListVolumes"),
    ("volume inspect", &["volume", "inspect", "db"], "InspectVolume"),
    ("volume rm", &["volume", "rm", "db"], "RemoveVolume"),
    ("net", &["net"], "Show"),
    ("net doctor", &["net", "doctor", "web"], "Doctor"),
    ("host info", &["host", "info"], "Info"),
    ("host poweroff", &["host", "poweroff"], "PowerOff"),
    ("host reboot", &["host", "reboot"], "Reboot"),
    ("host reexec", &["host", "reexec"], "Reexec"),
    ("inspect", &["inspect", "bad"], "Inspect"),
];

/// Every type, and the results of every method, under its name.
fn definitions() -> Map<String, Value> {
    let mut all = Map::new();
    for (_, text) in INTERFACES.iter().filter(|(name, _)| name.starts_with("org.warder")) {
        let mut comment = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(said) = line.strip_prefix('#') {
                comment.push(said.trim());
                continue;
            }
            let mut whole = line.to_owned();
            while whole.matches('(').count() > whole.matches(')').count() {
                whole.push_str(lines.next().unwrap());
            }
            let (head, fields) = whole.rsplit_once('(').unwrap_or((&whole, ""));
            let fields = fields.trim_end_matches(')');
            let mut words = head.split([' ', '(']).filter(|word| !word.is_empty());
            if let (Some("type" | "method"), Some(name)) = (words.next(), words.next()) {
                let mut schema = object(fields);
                schema["description"] = json!(comment.join(" "));
                all.insert(name.to_owned(), schema);
            }
            comment.clear();
        }
    }
    all
}

/// Of `name: type, ...`, or of the words of an enumeration.
fn object(fields: &str) -> Value {
    let fields: Vec<&str> = fields.split(',').map(str::trim).filter(|f| !f.is_empty()).collect();
    if !fields.is_empty() && fields.iter().all(|field| !field.contains(':')) {
        return json!({ "enum": fields });
    }
    let pairs = fields.iter().filter_map(|field| field.split_once(": "));
    let required: Vec<&str> =
        pairs.clone().filter(|(_, kind)| !kind.starts_with('?')).map(|(name, _)| name).collect();
    let properties: Map<String, Value> = pairs
        .map(|(name, kind)| (name.to_owned(), of_kind(kind.trim_start_matches('?'))))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn of_kind(kind: &str) -> Value {
    match kind {
        "string" => json!({ "type": "string" }),
        "bool" => json!({ "type": "boolean" }),
        "int" => json!({ "type": "integer" }),
        kind => match kind.strip_prefix("[]") {
            Some(element) => json!({ "type": "array", "items": of_kind(element) }),
            None => json!({ "$ref": format!("#/$defs/{kind}") }),
        },
    }
}

/// Those with a documented output.
pub(super) fn commands() -> Vec<&'static str> {
    OUTPUTS.iter().map(|(command, ..)| *command).collect()
}

fn schema() -> Value {
    let mut all = definitions();
    for (command, _, name) in OUTPUTS {
        let schema = json!({ "$ref": format!("#/$defs/{name}") });
        all.insert(format!("jailctl {command}"), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What jailctl prints with --json",
        "description": "The output of `jailctl COMMAND --json` is a `#/$defs/jailctl COMMAND`; of logs, events and \
                        the commands that take several names, each line is one. Later versions may add fields.",
        "$defs": all,
    })
}

#[test]
fn the_documented_schema_is_that_of_the_interface_texts() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/jailctl.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(documented == text, "UPDATE=1 cargo test -p jailctl writes docs/jailctl.schema.json");
}

/// As much of JSON Schema as ours uses. Fields that it does not know are wrong here: they are not documented.
fn assert_fits(value: &Value, schema: &Value, all: &Map<String, Value>, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return assert_fits(value, &all[name], all, place);
    }
    if let Some(words) = schema["enum"].as_array() {
        return assert!(words.contains(value), "{place}: {value}");
    }
    match schema["type"].as_str().unwrap() {
        "string" => assert!(value.is_string(), "{place}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{place}: {value}"),
        "integer" => assert!(value.is_u64(), "{place}: {value}"),
        "array" => {
            let elements = value.as_array().unwrap_or_else(|| panic!("{place}: {value}"));
            elements.iter().for_each(|e| assert_fits(e, &schema["items"], all, place));
        }
        _ => {
            let fields = value.as_object().unwrap_or_else(|| panic!("{place}: {value}"));
            for name in schema["required"].as_array().unwrap() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{place}: no {name}");
            }
            for (name, field) in fields {
                let known = schema["properties"].get(name);
                let known = known.unwrap_or_else(|| panic!("{place}: {name} is not documented"));
                assert_fits(field, known, all, &format!("{place}.{name}"));
            }
        }
    }
}

#[test]
fn each_json_output_fits_the_schema() {
    let schema = schema();
    let all = schema["$defs"].as_object().unwrap();
    for (command, arguments, _) in OUTPUTS.iter().filter(|(command, ..)| *command != "host reboot")
    {
        let words: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let printed = asking(&words).1;
        let place = format!("jailctl {command}");
        let values = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let values: Vec<Value> = values.map(Result::unwrap).collect();
        assert!(!values.is_empty(), "{place} printed nothing");
        values.iter().for_each(|value| assert_fits(value, &all[&place], all, &place));
    }
}

#[test]
fn several_names_make_a_line_of_json_each() {
    let printed = jailctl(&["start", "web", "web", "--json"]).unwrap();
    let names = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(names.map(|v| v["jail"]["name"].clone()).collect::<Vec<_>>(), ["web", "web"]);
}
