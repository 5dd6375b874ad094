//! What tests do in a guest as a person at its shell would: unit files that are dropped and deleted, `jailctl`.
//! What fails is the test's failure: these panic, and name the test's line.
#![allow(clippy::panic, reason = "called by tests, to fail them")]

use jailsupd::control::wire::{JailState, JailSummary};

use crate::{Result, Vm, proto::Status};

/// A unit without network that runs `/bin/PROGRAM` of the image `PROGRAM.erofs` with these words; `rest` goes on in its
/// `[process]`.
#[must_use]
pub fn unit_of(program: &str, words: &[&str], rest: &str) -> String {
    let words: String = words.iter().map(|word| format!(", \"{word}\"")).collect();
    format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/{program}.erofs\"\n\
         [network]\nmode = \"none\"\n[process]\nexec = [\"/bin/{program}\"{words}]\n{rest}\n"
    )
}

#[track_caller]
fn passed<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:?}"),
    }
}

impl Vm {
    /// A script for the guest's shell, which must succeed: its output.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> String {
        passed(self.agent().shell(script))
    }

    /// Drops `/etc/jails.d/NAME.toml`; the jail of an enabled one starts.
    ///
    /// # Panics
    /// It cannot be written.
    #[track_caller]
    pub fn put(&mut self, name: &str, text: &str) {
        passed(self.agent().write(&format!("/etc/jails.d/{name}.toml"), text));
    }

    /// [`Vm::put`], then waits until the jail is up.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    pub fn put_up(&mut self, name: &str, text: &str) -> JailSummary {
        self.put(name, text);
        self.up(name)
    }

    /// Waits until the jail is up.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    pub fn up(&mut self, name: &str) -> JailSummary {
        passed(self.agent().wait_state(name, JailState::Up))
    }

    /// Deletes the unit file and its drop-ins, and waits until the jail is gone.
    ///
    /// # Panics
    /// It stays.
    #[track_caller]
    pub fn remove(&mut self, name: &str) {
        self.sh(&format!("rm -rf /etc/jails.d/{name}.toml /etc/jails.d/{name}.toml.d"));
        passed(self.agent().wait_gone(name));
    }

    /// `jailctl WORDS`, which must succeed: its output.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn ctl(&mut self, words: &[&str]) -> String {
        let output = passed(self.agent().jailctl(words));
        assert_eq!(output.status, Status::Exit(0), "jailctl {words:?}: {output:?}");
        output.stdout
    }

    /// `jailctl WORDS`, which must end like this: all that it says.
    ///
    /// # Panics
    /// It ended otherwise.
    #[track_caller]
    pub fn refused(&mut self, words: &[&str], status: Status) -> String {
        let output = passed(self.agent().jailctl(words));
        assert_eq!(output.status, status, "jailctl {words:?}: {output:?}");
        output.stdout + &output.stderr
    }
}
