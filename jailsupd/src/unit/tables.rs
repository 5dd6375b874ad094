//! Lists of tables in a unit: `[[volume]]`, `[[firewall.ingress]]`.

use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::value::{Fault, Field, Kind, Value, plain};

/// Of one list; far beyond any use.
const MOST: usize = 64;

/// One list: how its tables begin, and their keys.
#[derive(Debug)]
pub(super) struct Tables {
    /// In double brackets: `volume`.
    pub header: &'static str,
    /// What each may hold.
    pub fields: &'static [Field],
}

impl Tables {
    /// Reads each table by `one`; all faults at once, each at its table.
    pub(super) fn read<T>(
        &self,
        value: &Value<'_>,
        mut one: impl FnMut(&DeTable<'_>) -> Result<T, Vec<Fault>>,
    ) -> Result<Vec<T>, Vec<Fault>> {
        let kind = Kind::Tables(self.fields);
        let DeValue::Array(array) = value.get_ref() else {
            let help = format!("write `[[{}]]`", self.header);
            let faults = Fault::wrong_type(value, &kind);
            return Err(faults.into_iter().map(|fault| fault.help(&*help)).collect());
        };
        let (mut good, mut faults) = (Vec::new(), Vec::new());
        for element in array.iter() {
            let DeValue::Table(table) = element.get_ref() else {
                faults.extend(Fault::wrong_type(element, &kind));
                continue;
            };
            match one(table) {
                Ok(read) => good.push(read),
                Err(bad) => faults.extend(bad.into_iter().map(|f| f.within(element.span()))),
            }
        }
        if good.len() > MOST {
            let fault = Fault::new("has too many tables");
            faults.push(fault.help(format!("at most {MOST} are possible")));
        }
        if faults.is_empty() { Ok(good) } else { Err(faults) }
    }

    /// Reads the keys of one table; `set` gets those that there are.
    pub(super) fn keys(
        &self,
        table: &DeTable<'_>,
        mut set: impl FnMut(&str, &Value<'_>) -> Result<(), Vec<Fault>>,
    ) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        for (name, value) in table {
            let word = name.get_ref().as_ref();
            let read = match self.fields.iter().any(|field| field.name == word) {
                true => set(word, value),
                false => Err(self.unknown(word).within(name.span()).alone()),
            };
            let said = |mut fault: Fault| {
                fault.message = format!("`{}`: {}", plain(word), fault.message);
                fault.within(value.span())
            };
            faults.extend(read.err().unwrap_or_default().into_iter().map(said));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn unknown(&self, word: &str) -> Fault {
        let header = self.header;
        let names = || self.fields.iter().map(|field| field.name);
        let fault = Fault::new(format!("unknown key in `[[{header}]]`"));
        match nearest(word, names()) {
            Some(name) => fault.help(format!("did you mean `{name}`?")),
            None => {
                let names: Vec<String> = names().map(|name| format!("`{name}`")).collect();
                fault.help(format!("the keys of `[[{header}]]` are {}", names.join(", ")))
            }
        }
    }
}
