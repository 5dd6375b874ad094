//! Walks one TOML document along a table of keys, and finds every problem of it at once.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{Place, Problem, Source};
use super::value::{Fault, Kind, Value, plain};

/// One key: everything that the parser, the reference page and the canonical form need to know.
pub(crate) struct Key<D: 'static> {
    /// Its table; empty for the keys above all tables.
    pub(crate) section: &'static str,
    /// As it is written.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// A TOML value.
    pub(crate) example: &'static str,
    /// For users, in Markdown; the first sentence says what it is.
    pub(crate) doc: &'static str,
    pub(crate) read: fn(&mut D, &Value<'_>) -> Result<(), Vec<Fault>>,
    /// The canonical TOML value; none when nothing is set.
    pub(crate) show: fn(&D) -> Option<String>,
}

/// Whether a key must be there, and what holds when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    /// Without it, this TOML value holds (a test compares it with the type's own default).
    Default(&'static str),
    /// Without it, nothing is set; the text says what that means.
    Unset(&'static str),
}

/// One table of the file.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
}

/// What the design has and this version lacks, so that it is not taken for a slip of the pen.
pub(crate) struct NotYet {
    pub(crate) section: &'static str,
    /// Empty for the whole section.
    pub(crate) name: &'static str,
}

/// All that may be said in one kind of file.
pub(crate) struct Grammar<D: 'static> {
    /// "unit file", for messages.
    pub(crate) what: &'static str,
    pub(crate) sections: &'static [Section],
    pub(crate) keys: &'static [Key<D>],
    pub(crate) not_yet: &'static [NotYet],
}

impl<D> Key<D> {
    /// `section.name`.
    pub(crate) fn path(&self) -> String {
        path(self.section, self.name)
    }

    /// Where it goes, for messages.
    fn home(&self) -> String {
        match self.section {
            "" => "above all tables".to_owned(),
            section => format!("in `[{section}]`"),
        }
    }
}

pub(crate) fn path(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// More problems than anybody reads: a hostile file must not make a hostile report.
const MOST: usize = 64;

/// What a walk found, beside the values that went into the draft.
pub(crate) struct Walk<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
    broken_syntax: bool,
}

impl<D> Grammar<D> {
    /// Reads `text` into `draft`. Keys with a fault leave the draft as it was.
    pub(crate) fn walk<'a>(&self, file: &str, text: &'a str, draft: &mut D) -> Walk<'a> {
        let source = Source::new(file, text);
        let mut walk =
            Walk { source, problems: Vec::new(), places: BTreeMap::new(), broken_syntax: false };
        let (document, errors) = DeTable::parse_recoverable(text);
        walk.broken_syntax = !errors.is_empty();
        for error in errors {
            let place = walk.source.place(&error.span().unwrap_or(0..0));
            walk.problems.push(Problem::new(place, "", syntax_message(error.message())));
        }
        for (name, value) in document.get_ref() {
            self.top(&mut walk, draft, name, value);
        }
        walk
    }

    fn top(
        &self,
        walk: &mut Walk<'_>,
        draft: &mut D,
        name: &Spanned<DeString<'_>>,
        value: &Value<'_>,
    ) {
        let Some(section) = self.sections.iter().find(|s| s.name == name.get_ref().as_ref()) else {
            return self.entry(walk, draft, "", name, value);
        };
        let place = walk.source.place(&name.span());
        walk.places.insert(section.name.to_owned(), place.clone());
        match value.get_ref() {
            DeValue::Table(table) => {
                for (name, value) in table {
                    self.entry(walk, draft, section.name, name, value);
                }
            }
            DeValue::Array(_) => walk.problems.push(
                Problem::new(place, section.name, "is one table, not a list")
                    .help(format!("write `[{}]`, once", section.name)),
            ),
            _ => walk.problems.push(
                Problem::new(place, section.name, "is a table, not a value")
                    .help(format!("write `[{}]` and its keys below it", section.name)),
            ),
        }
    }

    fn entry(
        &self,
        walk: &mut Walk<'_>,
        draft: &mut D,
        section: &str,
        name: &Spanned<DeString<'_>>,
        value: &Value<'_>,
    ) {
        let word = name.get_ref().as_ref();
        let found = self.keys.iter().find(|k| k.section == section && k.name == word);
        let Some(key) = found else {
            let place = walk.source.place(&name.span());
            let fault = self.unknown(section, word, value);
            let key = plain(&path(section, word));
            walk.problems.push(Problem::from_fault(place, key, fault));
            return;
        };
        walk.places.insert(key.path(), walk.source.place(&value.span()));
        for fault in (key.read)(draft, value).err().unwrap_or_default() {
            let span = fault.span.clone().unwrap_or(value.span());
            let place = walk.source.place(&span);
            walk.problems.push(Problem::from_fault(place, key.path(), fault));
        }
    }

    /// What to say about a key that is not in the table.
    fn unknown(&self, section: &str, word: &str, value: &Value<'_>) -> Fault {
        let what = self.what;
        let table = value.get_ref().is_table() || is_list_of_tables(value);
        let thing = if section.is_empty() && table { "table" } else { "key" };
        let known_later = self.not_yet.iter().any(|n| {
            n.section == section && n.name == word
                || section.is_empty() && n.name.is_empty() && n.section == word
        });
        if known_later {
            return Fault::new("is not supported yet")
                .help(format!("this version of Warder cannot do it; take the {thing} out"));
        }
        let fault = Fault::new(format!("unknown {thing} in a {what}"));
        if thing == "table" {
            return fault.help(match nearest(word, self.sections.iter().map(|s| s.name)) {
                Some(name) => format!("did you mean `[{name}]`?"),
                None => format!("the tables are {}", self.list_sections()),
            });
        }
        if let Some(name) = nearest(word, self.names(section)) {
            return fault.help(format!("did you mean `{name}`?"));
        }
        if let Some(key) = self.keys.iter().find(|k| k.name == word) {
            return fault.help(format!("`{word}` belongs {}", key.home()));
        }
        if let Some(name) = nearest(word, self.keys.iter().map(|k| k.name)) {
            if let Some(key) = self.keys.iter().find(|k| k.name == name) {
                return fault.help(format!("did you mean `{name}`, {}?", key.home()));
            }
        }
        let names: Vec<String> = self.names(section).map(|n| format!("`{n}`")).collect();
        let names = names.join(", ");
        fault.help(match section {
            "" => format!(
                "the keys above all tables are {names}; the tables are {}",
                self.list_sections()
            ),
            section => format!("the keys of `[{section}]` are {names}"),
        })
    }

    fn names<'s>(&'s self, section: &'s str) -> impl Iterator<Item = &'static str> + 's {
        self.keys.iter().filter(move |k| k.section == section).map(|k| k.name)
    }

    fn list_sections(&self) -> String {
        let all: Vec<String> = self.sections.iter().map(|s| format!("`[{}]`", s.name)).collect();
        all.join(", ")
    }

    /// Adds a problem for each required key that the file lacks.
    pub(crate) fn require(&self, walk: &mut Walk<'_>) {
        // A file that is no TOML may well say it, in the part that was not understood.
        if walk.broken_syntax {
            return;
        }
        for key in self.keys.iter().filter(|k| k.presence == Presence::Required) {
            if !walk.has(&key.path()) {
                let help = format!("add `{} = {}` {}", key.name, key.example, key.home());
                let place = walk.at(key.section);
                walk.problems.push(Problem::new(place, key.path(), "is missing").help(help));
            }
        }
    }

    /// What `draft` says that is not the default, canonically.
    pub(crate) fn settings(&self, draft: &D) -> BTreeMap<String, String> {
        let said = |key: &Key<D>| {
            let text = (key.show)(draft)?;
            let default = matches!(key.presence, Presence::Default(value) if value == text);
            (!default).then(|| (key.path(), text))
        };
        self.keys.iter().filter_map(said).collect()
    }
}

impl Walk<'_> {
    /// The place of a key or section, else the whole file.
    pub(crate) fn at(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or_else(|| Place::whole(&self.source.file))
    }

    /// Whether the file says this key (well or badly).
    pub(crate) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether this key was read without a fault, so that it may be compared with others.
    pub(crate) fn sound(&self, key: &str) -> bool {
        !self.problems.iter().any(|p| p.key == key)
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds a problem at `key`'s place.
    pub(crate) fn refuse(
        &mut self,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::new(self.at(key), key, message).help(help));
    }

    /// The places of the keys, when there is no problem; else all problems in the order of the file.
    pub(crate) fn finish(self) -> Result<BTreeMap<String, Place>, Vec<Problem>> {
        let mut problems = self.problems;
        if problems.is_empty() {
            return Ok(self.places);
        }
        problems.sort_by_key(|p| (p.place.line, p.place.column));
        let more = problems.len().saturating_sub(MOST);
        if more > 0 {
            problems.truncate(MOST);
            problems.push(Problem::of_file(&self.source.file, format!("{more} further problems")));
        }
        Err(problems)
    }
}

fn is_list_of_tables(value: &Value<'_>) -> bool {
    let list = value.get_ref().as_array();
    list.is_some_and(|list| !list.is_empty() && list.iter().all(|v| v.get_ref().is_table()))
}

/// The parser's message on one line.
fn syntax_message(message: &str) -> String {
    format!("this is not TOML: {}", message.trim().replace('\n', ", "))
}
