//! The weak jailsupd in the place of the debug image's own: walls can be left out by name.

use std::time::Duration;

use crate::{Result, Vm, time::Deadline};

/// Where jailsupd looks for the walls to leave out (`jailsupd/src/exec/walls/weak.rs`).
const SELECTOR: &str = "/run/warder/weaken";
/// On the disk of [`crate::Jails::attacker`], which is mounted noexec: hence the copy.
const BRING_IN: &str = "if [ ! -e /run/weak ]; then mkdir /run/weak && mount -t tmpfs tmpfs /run/weak && \
     cp /usr/share/jails/jailsupd-weak /run/weak/jailsupd && chmod 755 /run/weak/jailsupd && \
     mount --bind /run/weak/jailsupd /usr/lib/warder/jailsupd; fi";
/// Where PID 1's weak build looks for what is to go wrong (`keeper/src/flaw/chosen.rs`).
const FLAW: &str = "/run/warder/flaw";
/// As [`BRING_IN`], for PID 1.
const BRING_INIT_IN: &str = "mkdir -p /run/weak-init && mount -t tmpfs tmpfs /run/weak-init && \
     cp /usr/share/jails/init-weak /run/weak-init/init && chmod 755 /run/weak-init/init && \
     mount --bind /run/weak-init/init /usr/lib/warder/init";
/// From jailsupd's death to its successor's first answer (idle machine).
const REPLACED_LIMIT: Duration = Duration::from_secs(10);

impl Vm {
    /// Puts the weak PID 1 in the place of the image's own; it is executed when PID 1 is asked to
    /// execute its program anew.
    ///
    /// # Errors
    /// The jails disk does not have it.
    pub fn put_weak_init(&mut self) -> Result<()> {
        self.agent().shell(BRING_INIT_IN).map(drop)
    }

    /// The image's own is executed next. The weak one's file stays, as long as it runs.
    ///
    /// # Errors
    /// It was not in its place.
    pub fn take_weak_init_away(&mut self) -> Result<()> {
        self.agent().shell("umount -l /usr/lib/warder/init").map(drop)
    }

    /// What the weak PID 1 does wrong from now on; nothing when it is empty.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn set_flaw(&mut self, flaw: &str) -> Result<()> {
        self.agent().write(FLAW, flaw)
    }

    /// Replaces jailsupd by the weak one; the keeper starts it, and it adopts the jails.
    ///
    /// # Errors
    /// The jails disk does not have it, or it does not start.
    pub fn weaken(&mut self) -> Result<()> {
        self.agent().shell(BRING_IN)?;
        self.leave_out(&[], true)
    }

    /// Leaves these walls out from the next start of a jail on; with `anew` from jailsupd's own, which
    /// is started anew, on.
    ///
    /// # Errors
    /// It does not come up.
    pub fn leave_out(&mut self, walls: &[&str], anew: bool) -> Result<()> {
        self.agent().write(SELECTOR, &walls.join(" "))?;
        if !anew {
            return Ok(());
        }
        let mark = self.console.lines().len();
        self.agent().shell("kill -KILL $(pidof jailsupd)")?;
        let what = || "the weak jailsupd's word for it".to_owned();
        let limit = Deadline::after(REPLACED_LIMIT);
        self.console.wait(mark, |line| line.contains("weak build: left out:"), what, limit)?;
        self.agent().wait_until("/usr/bin/jailctl ls >/dev/null", REPLACED_LIMIT)
    }
}
