//! Refusals of what is not there, or cannot be: they say what was probably meant.

use super::Supervisor;
use crate::control::wire::WireError;
use crate::exec::{root, volume};
use crate::unit::nearest::nearest;
use crate::unit::value::Fault;

impl Supervisor {
    /// Why there is no such jail.
    pub(super) fn no_such_jail(&self, name: &str) -> WireError {
        let masked = self.read_units(&[]).masked;
        if let Some(masked) = masked.iter().find(|masked| masked.name == name) {
            let reason = format!("it is masked by {}: see `jailctl unmask`", masked.file);
            return WireError::NotPossible { name: name.to_owned(), reason };
        }
        let jails = self.jails.iter().map(|jail| jail.name.as_str());
        let known = jails.chain(masked.iter().map(|masked| masked.name.as_str()));
        let nearest = nearest(name, known).map(str::to_owned);
        WireError::NoSuchJail { name: name.to_owned(), nearest }
    }

    pub(super) fn no_such_image(&self, image: &str) -> WireError {
        let names = self.image_store().all_names().unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(|(name, _)| name.to_string()).collect();
        // `web` is short for `web:latest`.
        let short = names.iter().map(|name| name.strip_suffix(":latest").unwrap_or(name));
        let nearest = nearest(image, short).map(str::to_owned);
        WireError::NoSuchImage { image: image.to_owned(), nearest }
    }

    pub(super) fn no_such_volume(&self, name: &str) -> WireError {
        let all = volume::list(&self.layout).unwrap_or_default();
        let nearest = nearest(name, all.iter().map(|kept| kept.name.as_str())).map(str::to_owned);
        WireError::NoSuchVolume { name: name.to_owned(), nearest }
    }

    pub(super) fn no_such_root(&self, jail: &str) -> WireError {
        let all = root::list(&self.layout).unwrap_or_default();
        let nearest = nearest(jail, all.iter().map(|kept| kept.jail.as_str())).map(str::to_owned);
        WireError::NoSuchRoot { jail: jail.to_owned(), nearest }
    }
}

/// A parameter whose value is wrong as it would be in a unit.
pub(super) fn invalid_value(parameter: &str, fault: Fault) -> WireError {
    let (problem, help) = (fault.message, fault.help);
    WireError::InvalidValue { parameter: parameter.to_owned(), problem, help }
}
