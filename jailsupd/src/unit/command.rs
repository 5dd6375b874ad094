//! A program and its arguments: `[process] exec`, and hooks.

use toml::de::DeValue;

use super::value::{Fault, FromToml, Kind, Value, shown};

/// The kernel's MAX_ARG_STRLEN, final NUL not counted.
pub(crate) const LONGEST_ARGUMENT: usize = 131_071;
/// Well below the quarter of the stack that arguments and environment may take.
pub(crate) const LONGEST: usize = 1 << 20;

/// A program of the image, by its absolute path, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(Vec<String>);

impl Command {
    /// Program and arguments; never empty, no NUL.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl FromToml for Command {
    const KIND: Kind = <Vec<String> as FromToml>::KIND;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        read(value).map(Self)
    }

    fn show(&self) -> Option<String> {
        self.0.show()
    }
}

/// Reads a list of words; a single string is told what it would be as one.
pub(crate) fn words(value: &Value<'_>) -> Result<Vec<String>, Vec<Fault>> {
    if let DeValue::String(text) = value.get_ref() {
        let words: Vec<String> = split(text).iter().map(|w| shown(w)).collect();
        let help = format!("no shell splits it; write a list: [{}]", words.join(", "));
        let fault = Fault::new("is a list of program and arguments, not one string");
        return Err(fault.help(help).alone());
    }
    Vec::<String>::from_toml(value)
}

/// Reads the list and checks what can be checked without the image.
pub(crate) fn read(value: &Value<'_>) -> Result<Vec<String>, Vec<Fault>> {
    let words = words(value)?;
    let fault = match words.first() {
        None => Fault::new("is empty").help("give the program's absolute path, then its arguments"),
        Some(program) if !program.starts_with('/') => Fault::new(format!(
            "the program {} is not an absolute path",
            shown(program)
        ))
        .help(
            "there is no search path; write where it is in the image, such as \"/usr/sbin/nginx\"",
        ),
        Some(program) if program.ends_with('/') => {
            Fault::new(format!("{} is a directory, not a program", shown(program)))
                .help("give the path of the program itself")
        }
        Some(_) if words.iter().any(|w| w.len() > LONGEST_ARGUMENT) => {
            Fault::new("an argument is too long")
                .help(format!("at most {LONGEST_ARGUMENT} bytes each"))
        }
        Some(_) if words.iter().map(|w| w.len() + 1).sum::<usize>() > LONGEST => {
            Fault::new("the arguments are too long").help(format!("at most {LONGEST} bytes in all"))
        }
        Some(_) => return Ok(words),
    };
    Err(fault.alone())
}

/// Splits at blanks outside quotes: good enough to offer, never used to run anything.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(q) if q == c => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
