//! The host's policy: read anew at each rescan, held against each unit before it counts, and at each start.

use super::Supervisor;
use super::jail::Jail;
use super::layers;
use super::poller::JailId;
use crate::exec::Error;
use crate::unit::layer::Layer;
use crate::unit::policy::{self, Policy};
use crate::unit::{Problem, Resolved};

/// policy.toml's places, the later winning key by key.
const FILES: [&str; 2] = ["/usr/lib/warder/policy.toml", "/etc/warder/policy.toml"];

/// The directory of the file that can change.
pub(super) const DIRECTORY: &str = "/etc/warder";

/// What units may ask for; with problems, what holds without any file.
pub(super) fn read() -> (Policy, Vec<Problem>) {
    let (texts, mut problems) = layers::read(&FILES);
    let layers: Vec<Layer<'_>> = texts.iter().map(|(file, text)| Layer { file, text }).collect();
    match policy::parse(&layers) {
        Ok(policy) if problems.is_empty() => (policy, problems),
        Ok(_) => (Policy::default(), problems),
        Err(found) => {
            problems.extend(found);
            (Policy::default(), problems)
        }
    }
}

impl Supervisor {
    /// Reads the policy as it is now.
    pub(super) fn renew_policy(&mut self) {
        let (policy, problems) = read();
        if problems != self.policy_problems {
            for problem in &problems {
                log::error!("{}", problem.one_line());
            }
            if !problems.is_empty() {
                log::error!("the policy counts for nothing: its defaults hold until it is mended");
            }
            self.policy_problems = problems;
        }
        if policy != self.policy {
            log::info!("the policy has changed");
            self.policy = policy;
        }
    }

    /// Makes of each unit that asks for too much one with a problem.
    pub(super) fn refuse_by_policy(&self, units: &mut [Resolved]) {
        for resolved in units {
            let Ok(unit) = &resolved.result else { continue };
            let problems = self.policy.check(unit);
            if !problems.is_empty() {
                resolved.result = Err(problems);
            }
        }
    }

    /// Whether the version in force may still be started. One that may not is in force no longer, so that a
    /// change of the policy, like one of the unit, starts it anew.
    pub(super) fn allow_start(&mut self, id: JailId) -> Result<(), Error> {
        let Some(jail) = self.jails.get_mut(id) else { return Ok(()) };
        let refused = refused(&self.policy, jail);
        if refused.is_empty() {
            return Ok(());
        }
        jail.unit_problems = refused;
        jail.loaded = None;
        Err(Error::Policy)
    }

    /// Why the version in force may not be started any more.
    pub(super) fn refusal(&self, jail: &Jail) -> Option<String> {
        refused(&self.policy, jail).first().map(Problem::one_line)
    }
}

fn refused(policy: &Policy, jail: &Jail) -> Vec<Problem> {
    jail.loaded.as_ref().map(|loaded| policy.check(&loaded.unit)).unwrap_or_default()
}
