//! jailsupd's own process in the guest, and its death.

use std::time::Duration;

use crate::{Error, Result, agent::Agent};

/// jailsupd, and not one of its helpers: the keeper's child, and not on its way into a jail.
const WHO: &str = "for p in $(pidof jailsupd); do
    grep -q '^PPid:.1$' /proc/$p/status && ! grep -q :/jails/ /proc/$p/cgroup && echo $p
done 2>/dev/null; true";
/// From jailsupd's death to its successor's first answer (idle machine).
const REPLACED_LIMIT: Duration = Duration::from_secs(30);

impl Agent {
    /// jailsupd's process number.
    ///
    /// # Errors
    /// It does not run.
    pub fn jailsupd(&mut self) -> Result<u32> {
        let text = self.shell(WHO)?;
        text.trim().parse().map_err(|_| Error::Answer { peer: "pidof jailsupd", answer: text })
    }

    /// Kills jailsupd and waits until another answers.
    ///
    /// # Errors
    /// None does.
    pub fn kill_jailsupd(&mut self) -> Result<()> {
        let old = self.jailsupd()?;
        self.shell(&format!("kill -KILL {old}"))?;
        let other = format!(
            "now=$({WHO}) && [ -n \"$now\" ] && [ \"$now\" != {old} ] && /usr/bin/jailctl ls >/dev/null"
        );
        self.wait_until(&other, REPLACED_LIMIT)
    }
}
