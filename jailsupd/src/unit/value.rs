//! How one TOML value becomes one typed value: the trait, the faults, and the plain types.
//!
//! A fault is a problem that does not know its file and key yet; `document` adds both.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

/// A TOML value and where it stands.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// What is wrong with a value, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, without a final stop.
    pub message: String,
    /// What to do, or what is allowed.
    pub help: Option<String>,
    /// Bytes of the text, when narrower than the key's whole value (an element of a list).
    pub span: Option<Range<usize>>,
}

impl Fault {
    /// A fault without help.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, span: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// This fault as the only one.
    pub(crate) fn alone(self) -> Vec<Self> {
        vec![self]
    }

    /// Points at `span`, unless it already points at something narrower.
    pub(crate) fn within(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// `value` is of another TOML type than `kind` asks for.
    pub(crate) fn wrong_type(value: &Value<'_>, kind: &Kind) -> Vec<Self> {
        let found = describe(value.get_ref());
        let mut fault =
            Self::new(format!("expected {}, found {found}", kind.noun())).within(value.span());
        match (kind, value.get_ref()) {
            (Kind::Text { pattern: None, .. }, DeValue::Integer(i)) => {
                fault = fault.help(format!("write it in quotes: \"{}\"", plain(&i.to_string())));
            }
            (Kind::Integer { .. }, DeValue::String(text)) if text.parse::<u64>().is_ok() => {
                fault = fault.help(format!("write it without quotes: {text}"));
            }
            _ => {}
        }
        fault.alone()
    }
}

/// What a key takes: for messages, the reference page and the JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of that range.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A whole number that may be negative.
    Signed {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A string of a certain form.
    Text {
        /// What it is, as a noun: "size".
        what: &'static str,
        /// ECMA regular expression for all that the parser takes; the parser may be stricter.
        pattern: Option<&'static str>,
    },
    /// A whole number of percent. The only string in which `%` is itself and starts no specifier.
    Percent,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A user's name or number.
    NameOrId,
    /// An exit code, or a signal's name.
    ExitStatus,
    /// A list of such values.
    List(&'static Kind),
    /// A table of strings.
    Map,
    /// A list of tables with these keys.
    Tables(&'static [Field]),
}

/// One key of the tables of [`Kind::Tables`].
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub kind: &'static Kind,
    /// What holds without it.
    pub presence: FieldPresence,
    /// A TOML value.
    pub example: &'static str,
    /// For users, in Markdown; the first sentence says what it is.
    pub doc: &'static str,
}

/// Whether a key of such a table must be there, and what holds when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPresence {
    /// It must.
    Required,
    /// Without it, this TOML value holds.
    Default(&'static str),
    /// Without it, nothing is set; the text says what that means.
    Unset(&'static str),
}

impl Kind {
    pub(crate) const fn text(what: &'static str, pattern: &'static str) -> Self {
        Self::Text { what, pattern: Some(pattern) }
    }

    /// With its article, for "expected ...".
    pub fn noun(&self) -> String {
        match self {
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer { min, max } if min == max => format!("the number {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Signed { min, max } => format!("a whole number from {min} to {max}"),
            Self::Text { what, .. } => format!("a string ({what})"),
            Self::Percent => "a string (percent of one processor)".to_owned(),
            Self::Choice(words) => format!("one of {}", choices(words)),
            Self::NameOrId => "a name or a number".to_owned(),
            Self::ExitStatus => "an exit code or the name of a signal".to_owned(),
            Self::List(of) => format!("a list, each element {}", of.noun()),
            Self::Map => "a table of strings".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }
}

/// A type that a key can have.
pub trait FromToml: Sized {
    /// What it takes.
    const KIND: Kind;

    /// Reads the value; all faults of it at once.
    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>>;

    /// The one canonical TOML spelling; none when nothing is set.
    fn show(&self) -> Option<String>;
}

/// A type that is written as a TOML string.
pub trait FromText: Sized + std::fmt::Display {
    /// What it takes.
    const KIND: Kind;

    /// Reads the string.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

impl<T: FromText> FromToml for T {
    const KIND: Kind = T::KIND;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let text = value.get_ref().as_str().ok_or_else(|| Fault::wrong_type(value, &T::KIND))?;
        T::from_text(text).map_err(|fault| fault.within(value.span()).alone())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

/// Free text. What it goes to (exec, environment) ends at a NUL byte, so it holds none.
impl FromText for String {
    const KIND: Kind = Kind::Text { what: "text", pattern: None };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.contains('\0') { Err(holds_nul(text)) } else { Ok(text.to_owned()) }
    }
}

fn holds_nul(text: &str) -> Fault {
    Fault::new(format!("{} holds a NUL byte", shown(text))).help("take the NUL byte out")
}

impl<T: FromToml> FromToml for Option<T> {
    const KIND: Kind = T::KIND;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        T::from_toml(value).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl FromToml for bool {
    const KIND: Kind = Kind::Boolean;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        value.get_ref().as_bool().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number, when it is in range.
    pub const fn new(number: u64) -> Option<Self> {
        if number >= MIN && number <= MAX { Some(Self(number)) } else { None }
    }

    /// The number, or the nearest end of the range.
    pub(crate) const fn clamped(number: u64) -> Self {
        Self(if number < MIN {
            MIN
        } else if number > MAX {
            MAX
        } else {
            number
        })
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> std::fmt::Display for Whole<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN: u64, const MAX: u64> FromToml for Whole<MIN, MAX> {
    const KIND: Kind = Kind::Integer { min: MIN, max: MAX };

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(Fault::wrong_type(value, &Self::KIND));
        };
        number(integer).and_then(Self::new).ok_or_else(|| {
            let what = Self::KIND.noun();
            Fault::new(format!("{integer} is out of range")).help(format!("give {what}")).alone()
        })
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let DeValue::Array(array) = value.get_ref() else {
            let mut faults = Fault::wrong_type(value, &Self::KIND);
            if let (Some(text), [fault]) = (value.get_ref().as_str(), faults.as_mut_slice()) {
                fault.help = Some(format!("write it as a list: [{}]", quoted(text)));
            }
            return Err(faults);
        };
        let mut good = Self::new();
        let mut faults = Vec::new();
        for element in array.iter() {
            match T::from_toml(element) {
                Ok(item) => good.push(item),
                Err(bad) => faults.extend(bad.into_iter().map(|f| f.within(element.span()))),
            }
        }
        if faults.is_empty() { Ok(good) } else { Err(faults) }
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// Environment-like tables: name to text, in the order of names.
impl FromToml for BTreeMap<String, String> {
    const KIND: Kind = Kind::Map;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(Fault::wrong_type(value, &Self::KIND));
        };
        let mut good = Self::new();
        let mut faults = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) if text.contains('\0') => {
                    faults.push(holds_nul(text).within(value.span()));
                }
                DeValue::String(_)
                    if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) =>
                {
                    let message = format!(
                        "{} cannot be the name of a variable",
                        quoted(&plain(name.get_ref()))
                    );
                    let help = "a name is not empty and holds neither `=` nor a NUL byte";
                    faults.push(Fault::new(message).help(help).within(name.span()));
                }
                DeValue::String(text) => {
                    good.insert(name.get_ref().to_string(), text.to_string());
                }
                other => faults.push(
                    Fault::new(format!(
                        "`{}` must be a string, found {}",
                        plain(name.get_ref()),
                        describe(other)
                    ))
                    .help(in_quotes(other))
                    .within(value.span()),
                ),
            }
        }
        if faults.is_empty() { Ok(good) } else { Err(faults) }
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> =
            self.iter().map(|(name, text)| format!("{} = {}", bare(name), quoted(text))).collect();
        Some(if items.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", items.join(", ")) })
    }
}

/// A TOML key, in quotes only when it needs them.
fn bare(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(plain) { name.to_owned() } else { quoted(name) }
}

fn in_quotes(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(i) => format!("write it in quotes: \"{i}\""),
        DeValue::Float(x) => format!("write it in quotes: \"{x}\""),
        DeValue::Boolean(b) => format!("write it in quotes: \"{b}\""),
        _ => "write one string in quotes".to_owned(),
    }
}

/// The integer, when it is not negative and fits.
pub(crate) fn number<N: TryFrom<u64>>(integer: &DeInteger<'_>) -> Option<N> {
    let magnitude = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    N::try_from(magnitude).ok()
}

/// "the string `x`", "an integer", ...: short, whatever the file holds.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", shown(text)),
        DeValue::Integer(i) => format!("the number {}", plain(&i.to_string())),
        DeValue::Float(x) => format!("the number {}", plain(&x.to_string())),
        DeValue::Boolean(b) => format!("`{b}`"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `"a"`, `"b"` or `"c"`.
pub(crate) fn choices(words: &[&str]) -> String {
    let all: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, head)) => format!("{} or {last}", head.join(", ")),
        None => String::new(),
    }
}

/// Text of the file as a message may show it: no control characters and not too long.
pub(crate) fn plain(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// A TOML basic string of text of the file, not too long for a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}...", quoted(&text[..end])),
        None => quoted(text),
    }
}

/// Characters of the file's own text in a message.
const LONGEST_SHOWN: usize = 60;

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
