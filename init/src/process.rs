//! PID 1's own process: its terminal, and its protection from the out-of-memory killer.

use std::fs::{self, File};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::system::{RebootCommand, reboot};

use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::stage::Outcome;

/// Opens the console of this root as standard streams (children inherit them), and makes ctrl-alt-del a signal to
/// PID 1 instead of an immediate reset.
pub(crate) fn open_console(_: &mut Boot) -> Result<Outcome, Error> {
    reboot(RebootCommand::CadOff).doing(|| "take ctrl-alt-del over".to_owned())?;
    let console = File::options()
        .read(true)
        .write(true)
        .open("/dev/console")
        .doing(|| "open /dev/console".to_owned())?;
    dup2_stdin(&console)
        .and_then(|()| dup2_stdout(&console))
        .and_then(|()| dup2_stderr(&console))
        .doing(|| "use /dev/console".to_owned())?;
    Ok(Outcome::Done)
}

/// Children inherit the exemption: the keeper's services keep it, jails must set their own.
pub(crate) fn protect(_: &mut Boot) -> Result<Outcome, Error> {
    fs::write("/proc/self/oom_score_adj", "-1000").doing(|| "set oom_score_adj".to_owned())?;
    Ok(Outcome::Done)
}
