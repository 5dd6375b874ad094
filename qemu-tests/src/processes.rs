//! The guest's processes, as the agent sees them from the host's side.

use std::time::Duration;

use crate::{Error, Result, agent::Agent, time::Deadline};

/// One process: its number on the host and the text of `/proc/PID/status`.
#[derive(Debug, Clone)]
pub struct Process {
    /// On the host.
    pub pid: u32,
    status: String,
}

impl Process {
    /// A field of proc_pid_status(5), without the blanks around it.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        let value = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim()
    }

    /// The program's name, at most 15 characters.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field("Name")
    }
}

impl Agent {
    /// All processes of a jail, of both its versions where there are two at once.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn jail_processes(&mut self, jail: &str) -> Result<Vec<Process>> {
        let list = format!(
            "$(cd /sys/fs/cgroup/jails; find {jail} {jail}.2 -name cgroup.procs -exec cat {{}} + 2>/dev/null)"
        );
        self.processes(&list)
    }

    /// All processes of the guest, jails and kernel threads included.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn all_processes(&mut self) -> Result<Vec<Process>> {
        self.processes("$(cd /proc && echo [0-9]*)")
    }

    /// The one process of a jail with that program name.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn service(&mut self, jail: &str, name: &str) -> Result<Process> {
        let all = self.jail_processes(jail)?;
        let mut found: Vec<_> = all.iter().filter(|process| process.name() == name).collect();
        match (found.pop(), found.is_empty()) {
            (Some(process), true) => Ok(process.clone()),
            _ => Err(Error::Answer {
                peer: "the guest's /proc",
                answer: format!("{name} in {all:?}"),
            }),
        }
    }

    /// Waits until a jail's service has a handler for SIGTERM: before that, the signal kills it.
    ///
    /// # Errors
    /// It has none within `limit` (of an idle machine).
    pub fn wait_heeds(&mut self, jail: &str, name: &str, limit: Duration) -> Result<()> {
        let pid = self.service(jail, name)?.pid;
        // Bit 14 of the mask.
        let caught = format!("grep -q '^SigCgt:.*[4-7c-f]...$' /proc/{pid}/status");
        self.wait_until(&caught, limit)
    }

    /// Looks at the guest until a shell condition holds.
    ///
    /// # Errors
    /// It does not within `limit` (of an idle machine).
    pub fn wait_until(&mut self, condition: &str, limit: Duration) -> Result<()> {
        let deadline = Deadline::after(limit);
        let script = format!("if {condition}; then echo yes; fi 2>&1");
        loop {
            let said = self.shell(&script)?;
            if said.ends_with("yes\n") {
                return Ok(());
            }
            if deadline.left().is_none() {
                let what = format!("guest state \"{condition}\" ({said})");
                return Err(Error::Timeout { what, limit: deadline.limit });
            }
        }
    }

    /// `words` is what the guest's shell expands to process numbers. One that ends meanwhile is
    /// left out.
    fn processes(&mut self, words: &str) -> Result<Vec<Process>> {
        let script =
            format!("for p in {words}; do echo \"@$p\"; cat /proc/$p/status; done 2>&1; true");
        let text = self.shell(&script)?;
        let process = |entry: &str| {
            let (pid, status) = entry.split_once('\n')?;
            let alive = status.starts_with("Name:");
            alive.then(|| Some(Process { pid: pid.parse().ok()?, status: status.into() }))?
        };
        Ok(text.split('@').filter_map(process).collect())
    }
}
