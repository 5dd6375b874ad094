//! The JSON Schemas (draft 2020-12) of unit files and of networks, from the tables of keys: editors complete and check by them.
//! It takes every file that the parser takes; what only the parser can tell, it takes as well.

use serde_json::{Map, Value, json};

use super::document::{Grammar, Key, Presence};
use super::keys::UNIT;
use super::named_network::NETWORK;
use super::value::{Field, FieldPresence, Kind};

/// The schema of a file that makes a whole unit, or a template that is complete.
pub fn whole() -> String {
    text(&UNIT, "Warder unit file", OF_UNITS, true)
}

/// The schema of a file that makes a part of one: a drop-in, an instance, a template that is not complete.
pub fn part() -> String {
    text(&UNIT, "Part of a Warder unit file", OF_UNITS, false)
}

/// The schema of the file of a network.
pub fn network() -> String {
    let about = "One of the host's own networks. The same in full: docs/networks-toml.md.";
    text(&NETWORK, "Warder network file", about, true)
}

const OF_UNITS: &str = "One jail. The same in full: docs/units.md.";

fn text<D>(grammar: &Grammar<D>, title: &str, about: &str, is_whole: bool) -> String {
    let mut schema = table(grammar, "", "", is_whole);
    let properties = schema["properties"].as_object_mut();
    let sections = grammar.sections.iter().map(|section| {
        let table = table(grammar, section.name, section.doc, is_whole);
        (section.name.to_owned(), Value::Object(table))
    });
    if let Some(properties) = properties {
        properties.extend(sections);
    }
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(title));
    schema.insert("description".to_owned(), json!(about));
    // The alternate form is indented; the order of a map is that of its keys.
    format!("{:#}\n", sorted(Value::Object(schema)))
}

/// One table of the file.
fn table<D>(grammar: &Grammar<D>, name: &str, doc: &str, is_whole: bool) -> Map<String, Value> {
    let keys = || grammar.keys.iter().filter(|key| key.section == name);
    let properties: Map<String, Value> =
        keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut required: Vec<&str> =
        keys().filter(|key| key.presence == Presence::Required).map(|key| key.name).collect();
    if name.is_empty() {
        let has_required = |section: &str| {
            grammar.keys.iter().any(|k| k.section == section && k.presence == Presence::Required)
        };
        required.extend(grammar.sections.iter().map(|s| s.name).filter(|name| has_required(name)));
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(doc));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if is_whole && !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property<D>(key: &Key<D>) -> Value {
    let mut schema = kind(&key.kind);
    schema["description"] = json!(format!("{} {}", key.doc, key.effect.sentence()));
    schema["examples"] = json!([json_of(key.example)]);
    if let Presence::Default(value) = key.presence {
        schema["default"] = json_of(value);
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer { min, max } if min == max => json!({ "const": min }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Signed { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Text { pattern: None, .. } => json!({ "type": "string" }),
        // With a specifier, only the parser knows what it becomes.
        Kind::Text { pattern: Some(pattern), .. } => {
            json!({ "type": "string", "pattern": format!("{pattern}|%[in%]") })
        }
        Kind::Percent => json!({ "type": "string", "pattern": "^[0-9]+%$" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::NameOrId => {
            json!({ "type": ["string", "integer"], "minimum": 0, "maximum": super::UserSpec::MAX_ID })
        }
        Kind::ExitStatus => {
            json!({ "type": ["string", "integer"], "minimum": 0, "maximum": 255 })
        }
        Kind::List(of) => json!({ "type": "array", "items": self::kind(of) }),
        Kind::Map => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[^=]+$" },
            "additionalProperties": { "type": "string" },
        }),
        Kind::Tables(fields) => json!({ "type": "array", "items": element(fields) }),
    }
}

/// One table of a list of tables.
fn element(fields: &[Field]) -> Value {
    let property = |field: &Field| {
        let mut schema = kind(field.kind);
        schema["description"] = json!(field.doc);
        schema["examples"] = json!([json_of(field.example)]);
        if let FieldPresence::Default(value) = field.presence {
            schema["default"] = json_of(value);
        }
        (field.name.to_owned(), schema)
    };
    let is_required = |field: &&Field| field.presence == FieldPresence::Required;
    let required: Vec<&str> = fields.iter().filter(is_required).map(|field| field.name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": fields.iter().map(property).collect::<Map<String, Value>>(),
        "required": required,
    })
}

/// A TOML value of the table as JSON.
fn json_of(value: &str) -> Value {
    let table = toml::from_str::<Map<String, Value>>(&format!("value = {value}"));
    table.ok().and_then(|mut table| table.remove("value")).unwrap_or(Value::Null)
}

/// The same with all keys in order, whatever order this build of `serde_json` keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
