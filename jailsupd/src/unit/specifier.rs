//! `%i`, `%n` and `%%` in the strings of a unit.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::value::{Fault, Value, plain};

/// What the specifiers of one unit stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// `%n`.
    pub(crate) jail: &'a str,
    /// `%i`; none in a unit that is no instance of a template.
    pub(crate) instance: Option<&'a str>,
}

const KNOWN: &str =
    "the specifiers are `%i` (the instance), `%n` (the jail's name) and `%%` (a percent sign)";

impl Names<'_> {
    /// `value` with the specifiers of its strings replaced; none when it holds no `%`.
    ///
    /// # Errors
    /// Each string with a specifier that is not known, at its own place.
    pub(crate) fn expand<'v>(&self, value: &Value<'v>) -> Result<Option<Value<'v>>, Vec<Fault>> {
        let new = match value.get_ref() {
            DeValue::String(text) if text.contains('%') => {
                let text = self.text(text).map_err(|fault| fault.within(value.span()).alone())?;
                DeValue::String(text.into())
            }
            DeValue::Array(array) => {
                let Some(new) = self.all(array.iter().collect())? else { return Ok(None) };
                DeValue::Array(DeArray::from_iter(new))
            }
            DeValue::Table(table) => {
                let Some(new) = self.all(table.values().collect())? else { return Ok(None) };
                DeValue::Table(table.keys().cloned().zip(new).collect::<DeTable<'_>>())
            }
            _ => return Ok(None),
        };
        Ok(Some(Spanned::new(value.span(), new)))
    }

    /// The elements of a list or table; none when all stay as they are.
    fn all<'v>(&self, values: Vec<&Value<'v>>) -> Result<Option<Vec<Value<'v>>>, Vec<Fault>> {
        let (mut good, mut faults, mut is_affected) = (Vec::new(), Vec::new(), false);
        for value in values {
            match self.expand(value) {
                Ok(new) => {
                    is_affected |= new.is_some();
                    good.push(new.unwrap_or_else(|| value.clone()));
                }
                Err(bad) => faults.extend(bad),
            }
        }
        if faults.is_empty() { Ok(is_affected.then_some(good)) } else { Err(faults) }
    }

    fn text(&self, text: &str) -> Result<String, Fault> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            let mut after = after.chars();
            match (after.next(), self.instance) {
                (Some('%'), _) => out.push('%'),
                (Some('n'), _) => out.push_str(self.jail),
                (Some('i'), Some(instance)) => out.push_str(instance),
                (Some('i'), None) => {
                    return Err(Fault::new("`%i` stands for the instance of a template, and this unit is none")
                        .help("make it a template, NAME@.toml, or write `%n` for the jail's name, `%%i` for `%i` itself"));
                }
                (Some(c), _) => {
                    let c = plain(&c.to_string());
                    return Err(Fault::new(format!("unknown specifier `%{c}`"))
                        .help(format!("{KNOWN}; write `%%{c}` for `%{c}` itself")));
                }
                (None, _) => {
                    return Err(Fault::new("a `%` with nothing behind it")
                        .help(format!("{KNOWN}; write `%%` for `%` itself")));
                }
            }
            rest = after.as_str();
        }
        out.push_str(rest);
        Ok(out)
    }
}
