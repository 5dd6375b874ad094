//! Walks one TOML document along a table of keys, and finds every problem of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Place, Problem, Source};
use super::specifier::Names;
use super::value::{Fault, Field, Kind, Value, plain};

/// One key: everything that the parser, the reference page and the canonical form need to know.
pub(crate) struct Key<D: 'static> {
    /// Its table; empty for the keys above all tables.
    pub(crate) section: &'static str,
    /// As it is written.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) effect: Effect,
    pub(crate) presence: Presence,
    /// A TOML value.
    pub(crate) example: &'static str,
    /// For users, in Markdown; the first sentence says what it is.
    pub(crate) doc: &'static str,
    pub(crate) read: fn(&mut D, &Value<'_>) -> Result<(), Vec<Fault>>,
    /// The canonical TOML value; none when nothing is set.
    pub(crate) show: fn(&D) -> Option<String>,
}

/// What an edit of a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A running jail takes it over.
    Live,
    /// It holds from the next start, so a running jail is restarted. (`host.toml` is read by jailsupd when
    /// that starts.)
    Restart,
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

/// Keys of other formats that there will never be, and why.
pub(crate) struct Never {
    pub(crate) section: &'static str,
    pub(crate) names: &'static [&'static str],
    pub(crate) why: &'static str,
    pub(crate) help: &'static str,
}

/// All that may be said in one kind of file.
pub(crate) struct Grammar<D: 'static> {
    /// "a unit file", for messages.
    pub(crate) what: &'static str,
    pub(crate) sections: &'static [Section],
    pub(crate) keys: &'static [Key<D>],
    pub(crate) not_yet: &'static [NotYet],
    pub(crate) never: &'static [Never],
}

impl<D> Key<D> {
    /// `section.name`.
    pub(crate) fn path(&self) -> String {
        path(self.section, self.name)
    }

    /// The keys of its tables, when it is a list of tables.
    pub(crate) fn fields(&self) -> Option<&'static [Field]> {
        match self.kind {
            Kind::Tables(fields) => Some(fields),
            _ => None,
        }
    }

    /// Where it goes, for messages.
    pub(crate) fn home(&self) -> String {
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
/// Finding the place of a problem takes time too; beyond this many they are only counted.
const MOST_PLACED: usize = 500;

/// What a walk found, beside the values that went into the draft. It goes through one file, or through
/// several of which a later one wins key by key.
pub(crate) struct Walk<'a> {
    /// The file that a thing is missing from.
    home: Arc<str>,
    /// The file that is read.
    source: Source<'a>,
    /// All files so far, in order.
    files: Vec<Arc<str>>,
    /// What specifiers stand for; none in files that have none.
    names: Option<Names<'a>>,
    problems: Vec<Problem>,
    /// Problems that were only counted.
    unplaced: usize,
    places: BTreeMap<String, Place>,
    /// Lines that are no TOML: what was read there means nothing.
    broken_lines: Vec<(Arc<str>, u32)>,
    /// Whether a file could not be read: nothing is missing for sure.
    unread: bool,
    /// Keys and tables that an unknown one seems to stand for: not missing, but misspelt.
    meant: Vec<String>,
}

impl<D> Grammar<D> {
    /// Reads `text` into `draft`. Keys with a fault leave the draft as it was.
    pub(crate) fn walk<'a>(&self, file: &str, text: &'a str, draft: &mut D) -> Walk<'a> {
        let mut walk = Walk::new(file, None);
        self.layer(&mut walk, file, text, draft);
        walk
    }

    /// Goes on with a further file, which wins key by key over those before it.
    pub(crate) fn layer<'a>(&self, walk: &mut Walk<'a>, file: &str, text: &'a str, draft: &mut D) {
        walk.source = Source::new(file, text);
        walk.files.push(Arc::clone(&walk.source.file));
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            if walk.is_full() {
                continue;
            }
            let place = walk.source.place(&error.span().unwrap_or(0..0));
            walk.broken_lines.push((Arc::clone(&place.file), place.line));
            walk.problems.push(syntax_problem(place, error.message()));
        }
        for (name, value) in document.get_ref() {
            self.top(walk, draft, name, value);
        }
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
            if walk.is_full() {
                return;
            }
            let place = walk.source.place(&name.span());
            let (fault, meant) = self.unknown(section, word, value.get_ref());
            walk.meant.extend(meant);
            let key = plain(&path(section, word));
            walk.problems.push(Problem::from_fault(place, key, fault));
            return;
        };
        walk.places.insert(key.path(), walk.source.place(&value.span()));
        let expanded = match walk.names {
            Some(names) if key.kind != Kind::Percent => names.expand(value),
            _ => Ok(None),
        };
        let read = expanded.and_then(|new| (key.read)(draft, new.as_ref().unwrap_or(value)));
        for mut fault in read.err().unwrap_or_default() {
            if walk.is_full() {
                continue;
            }
            fault.help.get_or_insert_with(|| format!("for example {} = {}", key.name, key.example));
            let span = fault.span.clone().unwrap_or(value.span());
            let place = walk.source.place(&span);
            walk.problems.push(Problem::from_fault(place, key.path(), fault));
        }
    }

    /// Adds a problem for each required key that the file lacks.
    pub(crate) fn require(&self, walk: &mut Walk<'_>) {
        for key in self.keys.iter().filter(|k| k.presence == Presence::Required) {
            if walk.lacks(key.section, &key.path()) {
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
            // Means in a file what it means here.
            let escaped = if key.kind == Kind::Percent { text } else { text.replace('%', "%%") };
            (!default).then(|| (key.path(), escaped))
        };
        self.keys.iter().filter_map(said).collect()
    }
}

impl<'a> Walk<'a> {
    /// Of no file yet; what is missing will be missing from `home`.
    pub(crate) fn new(home: &str, names: Option<Names<'a>>) -> Self {
        Self {
            home: home.into(),
            source: Source::new(home, ""),
            files: Vec::new(),
            names,
            problems: Vec::new(),
            unplaced: 0,
            places: BTreeMap::new(),
            broken_lines: Vec::new(),
            unread: false,
            meant: Vec::new(),
        }
    }

    /// A file that cannot be read takes its place among the others.
    pub(crate) fn skip(&mut self, problem: Problem) {
        self.files.push(Arc::clone(&problem.place.file));
        self.unread = true;
        self.problems.push(problem);
    }

    /// The place of a key or section, else the whole file.
    pub(crate) fn at(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or_else(|| Place::whole(&self.home))
    }

    /// Whether a later file than that of `key` says `by`: its writer could not take `key` out.
    pub(crate) fn is_overridden(&self, key: &str, by: &str) -> bool {
        let file = |key: &str| self.places.get(key).map(|place| self.rank(place));
        file(key) < file(by)
    }

    /// Takes a key as not said.
    pub(crate) fn forget(&mut self, key: &str) {
        self.places.remove(key);
    }

    fn rank(&self, place: &Place) -> usize {
        self.files.iter().position(|file| *file == place.file).unwrap_or(0)
    }

    /// Whether the file says this key (well or badly).
    pub(crate) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether the key is truly missing: neither said, nor meant by an unknown key or table, nor in a
    /// table that could not be read. A file that is no TOML may well say it where it was not understood.
    pub(crate) fn lacks(&self, section: &str, key: &str) -> bool {
        let meant = |what: &str| self.meant.iter().any(|m| m == what);
        self.broken_lines.is_empty()
            && !self.unread
            && !self.has(key)
            && !meant(key)
            && !meant(section)
            && self.sound(section)
    }

    /// Whether this key was read without a fault, so that it may be compared with others.
    pub(crate) fn sound(&self, key: &str) -> bool {
        !self.problems.iter().any(|p| p.key == key)
    }

    /// Whether one more problem is only to be counted, which this does.
    fn is_full(&mut self) -> bool {
        let full = self.problems.len() >= MOST_PLACED;
        self.unplaced += usize::from(full);
        full
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
    pub(crate) fn finish(mut self) -> Result<BTreeMap<String, Place>, Vec<Problem>> {
        let mut problems = std::mem::take(&mut self.problems);
        let broken = |at: &Place| {
            self.broken_lines.iter().any(|(file, line)| *line == at.line && *file == at.file)
        };
        // What was understood of a line that is no TOML is not what was meant.
        problems.retain(|p| p.key.is_empty() || !broken(&p.place));
        if problems.is_empty() {
            return Ok(self.places);
        }
        problems.sort_by_cached_key(|p| (self.rank(&p.place), p.place.line, p.place.column));
        let more = problems.len().saturating_sub(MOST) + self.unplaced;
        if more > 0 {
            problems.truncate(MOST);
            problems.push(Problem::of_file(&self.home, format!("{more} further problems")));
        }
        Err(problems)
    }
}

/// The parser's message in a user's words, where it has a common cause.
fn syntax_problem(place: Place, message: &str) -> Problem {
    let said = |text: &str| message.contains(text);
    let (message, help) = match message {
        _ if said("string values must be quoted") => (
            "the value is missing, or a text without quotes".to_owned(),
            "write text in quotes: key = \"value\"",
        ),
        _ if said("duplicate key") => (
            "this is there twice".to_owned(),
            "keep one of them; each table's header stands once, with all its keys below it",
        ),
        _ if said("key with no value") => {
            ("a key without a value".to_owned(), "write key = value; a comment starts with `#`")
        }
        _ if said("basic string") || said("literal string") => (
            "a text that is not closed, or holds what it must not".to_owned(),
            "end it with the quote that it starts with; write a backslash as `\\\\`",
        ),
        _ => (message.trim().replace('\n', ", "), "see https://toml.io for the syntax"),
    };
    Problem::new(place, "", format!("not TOML: {message}")).help(help)
}
