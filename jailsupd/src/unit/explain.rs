//! What `jailctl explain` shows: the table of keys, a key or a section at a time.

use std::fmt::{self, Write as _};

use super::document::{Effect, Key, Presence, Section};
use super::keys::{Draft, UNIT};
use super::nearest::nearest;
use super::value::{Field, FieldPresence, shown};

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// A key; several when the name without its section is that of several.
    Keys(Vec<KeyEntry>),
    /// Tables with their keys: the one that was asked for, or all.
    Sections(Vec<SectionEntry>),
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its table; empty for the keys above all tables.
    pub section: String,
    /// Whether there may be several such tables.
    pub is_in_list: bool,
    /// As it is written.
    pub name: &'static str,
    /// What it takes: "a string (size)".
    pub takes: String,
    /// What holds without it.
    pub otherwise: Otherwise,
    /// What an edit of it asks for.
    pub effect: Effect,
    /// For users, in Markdown; the first sentence says what it is.
    pub doc: &'static str,
    /// A TOML value.
    pub example: &'static str,
}

/// What holds without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing: it is required.
    Required,
    /// This TOML value.
    Default(&'static str),
    /// Nothing is set, which means this.
    Unset(&'static str),
}

/// One table of a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// Its name; empty for what is above all tables.
    pub name: String,
    /// Whether there may be several such tables.
    pub is_list: bool,
    /// For users.
    pub doc: &'static str,
    /// Its keys.
    pub keys: Vec<KeyEntry>,
}

/// What is asked for does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was asked for.
    pub asked: String,
    /// The key or table that was probably meant.
    pub nearest: Option<String>,
    /// The keys that hold the word; without any, those whose text speaks of it.
    pub related: Vec<String>,
}

/// Explains `restart.delay`, `delay`, `restart` or `[restart]`; nothing (`""`) is the whole table.
///
/// # Errors
/// There is no such key or section; those that may have been meant.
pub fn explain(asked: &str) -> Result<Explanation, Unknown> {
    let asked = asked.trim();
    let word = asked.trim_start_matches('[').trim_end_matches(']');
    if word.is_empty() {
        let top = Section { name: "", doc: "Above all tables." };
        let all = std::iter::once(&top).chain(UNIT.sections).map(section);
        let all = all.chain(UNIT.keys.iter().filter_map(list));
        return Ok(Explanation::Sections(all.collect()));
    }
    if let Some(found) = UNIT.sections.iter().find(|section| section.name == word) {
        return Ok(Explanation::Sections(vec![section(found)]));
    }
    let is_it = |key: &&Key<Draft>| key.path() == word || key.name == word;
    if let Some(found) = UNIT.keys.iter().filter(is_it).find_map(list) {
        return Ok(Explanation::Sections(vec![found]));
    }
    let fields = UNIT.keys.iter().filter_map(list).flat_map(|section| section.keys);
    let is_asked = |entry: &KeyEntry| entry.path() == word || entry.name == word;
    let keys = UNIT.keys.iter().filter(|key| key.fields().is_none()).map(entry);
    let all: Vec<KeyEntry> = keys.chain(fields).collect();
    let keys: Vec<KeyEntry> = all.iter().filter(|entry| is_asked(entry)).cloned().collect();
    if !keys.is_empty() {
        return Ok(Explanation::Keys(keys));
    }
    let paths: Vec<String> = UNIT.keys.iter().map(Key::path).collect();
    let names = UNIT.keys.iter().map(|key| key.name);
    let sections = UNIT.sections.iter().map(|section| section.name);
    let known = paths.iter().map(String::as_str).chain(names).chain(sections);
    let nearest = nearest(word, known).map(str::to_owned);
    Err(Unknown { asked: asked.to_owned(), nearest, related: related(word, &all) })
}

fn related(word: &str, all: &[KeyEntry]) -> Vec<String> {
    let word = word.to_lowercase().replace('-', "_");
    let paths = |holds: &dyn Fn(&KeyEntry) -> bool| -> Vec<String> {
        all.iter().filter(|entry| holds(entry)).map(KeyEntry::path).collect()
    };
    let by_name = paths(&|entry| entry.path().contains(&word));
    if !by_name.is_empty() {
        return by_name;
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    paths(&|entry| entry.doc.to_lowercase().split(|c| !is_part(c)).any(|found| found == word))
}

fn section(section: &Section) -> SectionEntry {
    let is_in = |key: &&Key<Draft>| key.section == section.name && key.fields().is_none();
    let keys = UNIT.keys.iter().filter(is_in).map(entry);
    SectionEntry {
        name: section.name.to_owned(),
        is_list: false,
        doc: section.doc,
        keys: keys.collect(),
    }
}

/// A key that is a list of tables, as the table that it is for its reader.
fn list(key: &Key<Draft>) -> Option<SectionEntry> {
    let entry = |field: &Field| KeyEntry {
        section: key.path(),
        is_in_list: true,
        name: field.name,
        takes: field.kind.noun(),
        otherwise: match field.presence {
            FieldPresence::Required => Otherwise::Required,
            FieldPresence::Default(value) => Otherwise::Default(value),
            FieldPresence::Unset(meaning) => Otherwise::Unset(meaning),
        },
        effect: key.effect,
        doc: field.doc,
        example: field.example,
    };
    let keys = key.fields()?.iter().map(entry).collect();
    Some(SectionEntry { name: key.path(), is_list: true, doc: key.doc, keys })
}

fn entry(key: &Key<Draft>) -> KeyEntry {
    KeyEntry {
        section: key.section.to_owned(),
        is_in_list: false,
        name: key.name,
        takes: key.kind.noun(),
        otherwise: match key.presence {
            Presence::Required => Otherwise::Required,
            Presence::Default(value) => Otherwise::Default(value),
            Presence::Unset(meaning) => Otherwise::Unset(meaning),
        },
        effect: key.effect,
        doc: key.doc,
        example: key.example,
    }
}

impl KeyEntry {
    /// `section.name`.
    pub fn path(&self) -> String {
        super::document::path(&self.section, self.name)
    }

    /// The first sentence of the text.
    pub fn summary(&self) -> &'static str {
        let end = self.doc.find(". ").map_or(self.doc.len(), |at| at + 1);
        &self.doc[..end]
    }
}

impl Effect {
    /// For people: what becomes of a running jail when such a key is edited.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Live => "A running jail takes an edit over.",
            Self::Restart => "An edit restarts the jail.",
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no key or table {} in a unit file", shown(&self.asked))?;
        self.nearest.iter().try_for_each(|word| write!(f, "; did you mean `{word}`?"))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = match self {
            Self::Keys(keys) => keys.iter().map(ToString::to_string).collect(),
            Self::Sections(sections) => sections.iter().map(ToString::to_string).collect(),
        };
        f.write_str(&parts.join("\n"))
    }
}

impl fmt::Display for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |word: &str, text: &str| wrap(&format!("  {word:<9}"), &" ".repeat(11), text);
        writeln!(f, "{}\n", self.path())?;
        writeln!(f, "{}", wrap("  ", "  ", self.doc))?;
        f.write_str(&line("takes", &self.takes))?;
        f.write_str(&match self.otherwise {
            Otherwise::Required => line("required", ""),
            Otherwise::Default(value) => line("default", value),
            Otherwise::Unset(meaning) => line("without", meaning),
        })?;
        f.write_str(&line("edit", self.effect.sentence()))?;
        // In one piece, so that it can be copied.
        let home = if self.section.is_empty() {
            String::new()
        } else {
            format!("{}\n           ", header(&self.section, self.is_in_list))
        };
        writeln!(f, "  {:<9}{home}{} = {}", "example", self.name, self.example)
    }
}

impl fmt::Display for SectionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            writeln!(f, "{}", header(&self.name, self.is_list))?;
        }
        writeln!(f, "{}", wrap("", "", self.doc))?;
        let width = self.keys.iter().map(|key| key.name.len()).max().unwrap_or(0) + 2;
        for key in &self.keys {
            let indent = " ".repeat(width + 2);
            f.write_str(&wrap(&format!("  {:<width$}", key.name), &indent, key.summary()))?;
        }
        Ok(())
    }
}

/// As it is written above the table's keys.
fn header(name: &str, is_list: bool) -> String {
    if is_list { format!("[[{name}]]") } else { format!("[{name}]") }
}

/// `text` in lines of at most 80 columns, the first behind `first`, the others behind `indent`.
fn wrap(first: &str, indent: &str, text: &str) -> String {
    const WIDTH: usize = 80;
    let mut out = first.to_owned();
    let mut column = first.chars().count();
    let start = column;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > start && column + 1 + width > WIDTH {
            let _ = write!(out, "\n{indent}");
            column = indent.len();
        } else if column > start {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}
