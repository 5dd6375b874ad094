//! `jailctl --json` in the guest: the same types as on jailsupd's wire.

use std::time::Duration;

use jailsupd::control::wire::{
    Event, Evidence, Exit, Inspected, Jail, JailState, JailSummary, Listed,
};
use serde::de::DeserializeOwned;

use crate::{Error, Result, agent::Agent, proto::Output, time::Deadline};

const PROGRAM: &str = "/usr/bin/jailctl";
/// For a jail to come to a state (idle machine).
const STATE_LIMIT: Duration = Duration::from_secs(20);

impl Agent {
    /// `jailctl WORDS`; how it ended is no error.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn jailctl(&mut self, words: &[&str]) -> Result<Output> {
        self.run(&[&[PROGRAM], words].concat())
    }

    /// What `jailctl WORDS --json` prints; it must succeed.
    ///
    /// # Errors
    /// It failed, or printed something else than a `T`.
    pub fn ask<T: DeserializeOwned>(&mut self, words: &[&str]) -> Result<T> {
        self.json(&[&[PROGRAM], words, &["--json"]].concat())
    }

    /// All of `jailctl ls`.
    ///
    /// # Errors
    /// It failed.
    pub fn list(&mut self) -> Result<Vec<JailSummary>> {
        self.ask::<Listed>(&["ls"]).map(|listed| listed.jails)
    }

    /// Looks at `jailctl ls` until the jail's line is as wanted; `None` is a jail that is not there.
    ///
    /// # Errors
    /// It never is.
    pub fn wait_listed(
        &mut self,
        jail: &str,
        what: &str,
        wanted: impl Fn(Option<&JailSummary>) -> bool,
    ) -> Result<Option<JailSummary>> {
        let deadline = Deadline::after(STATE_LIMIT);
        loop {
            let row = self.list()?.into_iter().find(|row| row.name == jail);
            if wanted(row.as_ref()) {
                return Ok(row);
            }
            if deadline.left().is_none() {
                let what = format!("\"{jail} {what}\" in jailctl ls ({row:?})");
                return Err(Error::Timeout { what, limit: deadline.limit });
            }
        }
    }

    /// Looks at `jailctl ls` until the jail is in this state.
    ///
    /// # Errors
    /// It never is.
    pub fn wait_state(&mut self, jail: &str, state: JailState) -> Result<JailSummary> {
        let is = |row: Option<&JailSummary>| row.is_some_and(|row| row.state == state);
        let row = self.wait_listed(jail, state.word(), is)?;
        row.ok_or_else(|| Error::Answer { peer: "jailctl ls", answer: format!("no {jail}") })
    }

    /// Looks at `jailctl ls` until the jail is not there.
    ///
    /// # Errors
    /// It stays.
    pub fn wait_gone(&mut self, jail: &str) -> Result<()> {
        self.wait_listed(jail, "gone", |row| row.is_none()).map(drop)
    }

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
    /// `jailctl why` failed, or knows of no end, or its events say another reason.
    pub fn last_exit(&mut self, jail: &str) -> Result<Exit> {
        let Evidence { last_exit, events, .. } = self.ask(&["why", jail])?;
        let wrong = |answer: String| Error::Answer { peer: "jailctl why", answer };
        let exit = last_exit.ok_or_else(|| wrong("no last_exit".into()))?;
        // One that was given up before it was started has not ended.
        let is_end = |event: &&Event| event.to == Some(JailState::Cleaning);
        let end = events.iter().rfind(is_end);
        match end.filter(|event| event.from != Some(JailState::Preparing)) {
            Some(event) if event.reason != Some(exit.reason) => {
                Err(wrong(format!("{exit:?}, but {event:?}")))
            }
            _ => Ok(exit),
        }
    }

    /// One line of `jailctl ls`.
    ///
    /// # Errors
    /// It failed, or there is no such jail.
    pub fn listed(&mut self, jail: &str) -> Result<JailSummary> {
        let all = self.list()?;
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
