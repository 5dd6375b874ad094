//! What to say about a key or table that no row of the table of keys has.

use toml::de::DeValue;

use super::document::{Grammar, Never, path};
use super::nearest::nearest;
use super::value::Fault;

impl<D> Grammar<D> {
    /// The fault, and the key or table that was probably meant (which then is not missing as well).
    pub(crate) fn unknown(
        &self,
        section: &str,
        word: &str,
        value: &DeValue<'_>,
    ) -> (Fault, Option<String>) {
        let table = section.is_empty() && (value.is_table() || is_list_of_tables(value));
        let thing = if table { "table" } else { "key" };
        let is_it = |never: &&Never| never.section == section && never.names.contains(&word);
        if let Some(never) = self.never.iter().find(is_it) {
            return (Fault::new(never.why).help(never.help), None);
        }
        if self.is_planned(section, word) {
            let help = format!("this version of Warder cannot do it; take the {thing} out");
            return (Fault::new("is not supported yet").help(help), None);
        }
        let fault = Fault::new(format!("unknown {thing} in {}", self.what));
        match self.meant(section, word, table) {
            Some((help, meant)) => (fault.help(help), Some(meant)),
            None => {
                let holding = self.holding(section, word).filter(|_| !table);
                (fault.help(holding.unwrap_or_else(|| self.allowed(section, table))), None)
            }
        }
    }

    fn is_planned(&self, section: &str, word: &str) -> bool {
        self.not_yet.iter().any(|planned| match planned.name {
            "" => section.is_empty() && planned.section == word,
            name => planned.section == section && name == word,
        })
    }

    fn meant(&self, section: &str, word: &str, table: bool) -> Option<(String, String)> {
        let did_you = |what: String| format!("did you mean {what}?");
        if !table {
            if let Some(name) = nearest(word, self.names(section)) {
                return Some((did_you(format!("`{name}`")), path(section, name)));
            }
        }
        if section.is_empty() {
            let lists = self.keys.iter().filter(|k| k.section.is_empty() && k.fields().is_some());
            let names = self.sections.iter().map(|s| s.name).chain(lists.map(|k| k.name));
            if let Some(name) = nearest(word, names) {
                let is_list = self.sections.iter().all(|s| s.name != name);
                let shown = if is_list { format!("`[[{name}]]`") } else { format!("`[{name}]`") };
                return Some((did_you(shown), name.to_owned()));
            }
        }
        if table {
            return None;
        }
        let name = nearest(word, self.keys.iter().map(|k| k.name))?;
        let key = self.keys.iter().find(|k| k.name == name)?;
        let help = if name == word {
            format!("`{word}` belongs {}", key.home())
        } else {
            did_you(format!("`{name}`, {}", key.home()))
        };
        Some((help, key.path()))
    }

    /// The keys of a long table that hold a word which is none.
    fn holding(&self, section: &str, word: &str) -> Option<String> {
        let names = self.names(section).filter(|name| word.len() > 2 && name.contains(word));
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => None,
            [only] => Some(format!("did you mean {only}?")),
            _ => Some(format!("the keys with that word are {}", names.join(", "))),
        }
    }

    fn allowed(&self, section: &str, table: bool) -> String {
        let lists = self.keys.iter().filter(|k| k.fields().is_some());
        let lists = lists.map(|k| format!("`[[{}]]`", k.path()));
        let tables: Vec<String> =
            self.sections.iter().map(|s| format!("`[{}]`", s.name)).chain(lists).collect();
        let tables = format!("the tables are {}", tables.join(", "));
        let is_list = |name: &&str| {
            self.keys.iter().any(|k| k.path() == path(section, name) && k.fields().is_some())
        };
        let names = self.names(section).filter(|name| !is_list(name));
        let names: Vec<String> = names.map(|n| format!("`{n}`")).collect();
        let names = names.join(", ");
        match section {
            "" if self.sections.is_empty() => format!("it has no tables; the keys are {names}"),
            "" if table => tables,
            "" => format!("the keys above all tables are {names}; {tables}"),
            section => format!("the keys of `[{section}]` are {names}"),
        }
    }

    fn names<'s>(&'s self, section: &'s str) -> impl Iterator<Item = &'static str> + 's {
        self.keys.iter().filter(move |k| k.section == section).map(|k| k.name)
    }
}

fn is_list_of_tables(value: &DeValue<'_>) -> bool {
    let list = value.as_array();
    list.is_some_and(|list| !list.is_empty() && list.iter().all(|v| v.get_ref().is_table()))
}
