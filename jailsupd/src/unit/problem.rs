//! A problem of a file as its reader needs it: where, what, and what to do.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use super::value::Fault;

/// A place in a file, with enough of the file's text to show it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path, for messages.
    pub file: Arc<str>,
    /// From 1; 0 when the whole file is meant.
    pub line: u32,
    /// From 1, in characters; 0 when the whole file is meant.
    pub column: u32,
    /// The text of the line and the number of characters to underline from `column` on.
    shown: Option<Box<Shown>>,
}

/// The cut of a source line that is printed above the caret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    text: String,
    indent: usize,
    width: usize,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key concerned as `section.key`; empty when none is.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do, or what is allowed.
    pub help: Option<String>,
}

impl Place {
    /// The whole file.
    pub fn whole(file: &str) -> Self {
        Self { file: file.into(), line: 0, column: 0, shown: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file);
        match self.line {
            0 => f.write_str(&file),
            line => write!(f, "{file}:{line}:{}", self.column),
        }
    }
}

impl Problem {
    /// A problem at a known place.
    pub fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place, key: key.into(), message: message.into(), help: None }
    }

    /// A problem of the file as a whole: it cannot be read, for example.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self::new(Place::whole(file), "", message)
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn from_fault(place: Place, key: impl Into<String>, fault: Fault) -> Self {
        Self { place, key: key.into(), message: fault.message, help: fault.help }
    }

    /// Everything in one line, for the console and for tables:
    /// `/etc/jails.d/web.toml:7:14: stop.signal: "SIGTREM" is not a signal (did you mean "SIGTERM"?)`.
    pub fn one_line(&self) -> String {
        let mut line = format!("{}: ", self.place);
        if !self.key.is_empty() {
            let _ = write!(line, "{}: ", printable(&self.key));
        }
        line.push_str(&printable(&self.message));
        if let Some(help) = &self.help {
            let _ = write!(line, " ({})", printable(help));
        }
        line
    }
}

/// In rustc's manner, over several lines, ending with a line feed.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = if self.key.is_empty() { "error" } else { "error in" };
        match self.key.as_str() {
            "" => writeln!(f, "{title}: {}", printable(&self.message))?,
            key => writeln!(f, "{title} `{}`: {}", printable(key), printable(&self.message))?,
        }
        let margin = " ".repeat(self.place.line.to_string().len());
        writeln!(f, "{margin}--> {}", self.place)?;
        if let Some(shown) = &self.place.shown {
            writeln!(f, "{margin} |")?;
            writeln!(f, "{} | {}", self.place.line, shown.text)?;
            let caret = "^".repeat(shown.width);
            writeln!(f, "{margin} | {}{caret}", " ".repeat(shown.indent))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {}", printable(help))?;
        }
        Ok(())
    }
}

/// Control characters must not reach a terminal: a file's text is not ours.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A file's text, to turn byte spans into places.
pub(crate) struct Source<'a> {
    pub(crate) file: Arc<str>,
    pub(crate) text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &str, text: &'a str) -> Self {
        Self { file: file.into(), text }
    }

    /// The place of a span of bytes; any span is taken, also one that is out of the text.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let start = floor(self.text, span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let count = before.matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count();
        let end = floor(self.text, span.end).clamp(start, line_end.max(start));
        let width = self.text[start..end].trim_end().chars().count();
        Place {
            file: Arc::clone(&self.file),
            line: u32::try_from(count).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            shown: Some(Box::new(cut(line, column, width))),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// At most 90 characters of the line, around the column; tabs become four blanks.
fn cut(line: &str, column: usize, width: usize) -> Shown {
    const LONGEST: usize = 90;
    let skip = if column + 20 > LONGEST { column - 20 } else { 0 };
    let mut text = String::new();
    let mut indent = 0;
    let mut marked = 0;
    for (at, c) in line.chars().enumerate().skip(skip).take(LONGEST) {
        let before = text.chars().count();
        match c {
            '\t' => text.push_str("    "),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
        let wide = text.chars().count() - before;
        if at < column {
            indent += wide;
        } else if at < column + width {
            marked += wide;
        }
    }
    let text = text.trim_end().to_owned();
    Shown { text, indent, width: marked.max(1) }
}
