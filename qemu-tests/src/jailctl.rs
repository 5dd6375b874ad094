//! `jailctl --json` in the guest: the same types as on jailsupd's wire.

use jailsupd::control::wire::{Exit, Inspected, Jail, JailSummary, Listed};
use serde::de::DeserializeOwned;

use crate::{Error, Result, agent::Agent};

const PROGRAM: &str = "/usr/bin/jailctl";

impl Agent {
    /// `jailctl inspect NAME`.
    ///
    /// # Errors
    /// It failed.
    pub fn inspect(&mut self, jail: &str) -> Result<Jail> {
        self.json::<Inspected>(&[PROGRAM, "inspect", jail, "--json"]).map(|answer| answer.jail)
    }

    /// How a jail ended last.
    ///
    /// # Errors
    /// `jailctl inspect` failed, or knows of no end.
    pub fn last_exit(&mut self, jail: &str) -> Result<Exit> {
        let answer = self.inspect(jail)?;
        let missing = || Error::Answer { peer: "jailctl inspect", answer: "no last_exit".into() };
        answer.last_exit.ok_or_else(missing)
    }

    /// One line of `jailctl ls`.
    ///
    /// # Errors
    /// It failed, or there is no such jail.
    pub fn listed(&mut self, jail: &str) -> Result<JailSummary> {
        let all = self.json::<Listed>(&[PROGRAM, "ls", "--json"])?.jails;
        let names: Vec<_> = all.iter().map(|row| row.name.clone()).collect();
        let missing = || Error::Answer { peer: "jailctl ls", answer: format!("only {names:?}") };
        all.into_iter().find(|row| row.name == jail).ok_or_else(missing)
    }

    fn json<T: DeserializeOwned>(&mut self, argv: &[&str]) -> Result<T> {
        let text = self.output(argv)?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Answer { peer: "jailctl", answer: format!("{error}: {text}") })
    }
}
