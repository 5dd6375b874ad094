//! System call filters, compiled when the unit is loaded.
//!
//! A jail has one program. Warder's own profiles allow what is in a list; calls that are known and denied fail with
//! `EPERM`, all others, known and unknown alike, with `ENOSYS`. A profile from a file takes the place of that list. In
//! front of either stand the refusals that are walls of every jail (`walls`). Another architecture's calls kill the
//! process. See seccomp(2) and Documentation/userspace-api/seccomp_filter.rst.

mod answers;
mod assemble;
mod groups;
mod kept;
mod own;
#[cfg(test)]
mod tests;
mod walls;

pub use groups::{name, table};
pub use kept::Filters;

use crate::unit::seccomp::{Profile, Seccomp};
use crate::unit::{Capabilities, Unit};
use answers::Answers;
use sys::lockdown::Instruction;

/// A profile that cannot be a jail's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel takes no program of that many instructions.
    #[error("the profile makes a program of {0} instructions, and the kernel takes at most 4096")]
    TooLong(usize),
    /// It denies what every start needs.
    #[error("the profile does not allow {0}, which every jail needs to start and to end")]
    Start(&'static str),
    /// Its file was not read: a fault of this program.
    #[error("the profile's file was not read")]
    NotRead,
}

/// The program that the kernel runs at each call of the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its instructions.
    pub program: Vec<Instruction>,
    /// Whether what it does not allow is logged.
    pub log: bool,
}

/// What is to be filtered, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As the unit names it.
    pub seccomp: &'a Seccomp,
    /// Of a file: what it says.
    pub profile: Option<&'a Profile>,
    /// Those of the jail: some calls go with a capability.
    pub capabilities: Capabilities,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// Whether what is denied is logged.
    pub log: bool,
}

impl<'a> Request<'a> {
    /// What a unit asks for.
    pub fn of(unit: &'a Unit, kernel: (u32, u32)) -> Self {
        Self {
            seccomp: &unit.security.seccomp,
            profile: unit.profile(),
            capabilities: unit.security.add_capability,
            kernel,
            log: unit.security.seccomp_log,
        }
    }
}

/// The program; none for the profile `none`.
///
/// # Errors
/// When a file's profile is too large, or denies what a start needs.
pub fn compile(request: Request<'_>) -> Result<Option<Filter>, Error> {
    let Some((mut answers, log)) = asked(request)? else { return Ok(None) };
    walls::add(&mut answers, request.capabilities);
    answers.check_start()?;
    let program = assemble::assemble(&answers)?;
    Ok(Some(Filter { program, log: log || request.log }))
}

/// What the profile says, without the walls.
fn asked(request: Request<'_>) -> Result<Option<(Answers, bool)>, Error> {
    let Request { capabilities, kernel, .. } = request;
    Ok(match (request.seccomp, request.profile) {
        (Seccomp::None, _) => None,
        (Seccomp::Default, _) => Some((own::answers(capabilities, false), false)),
        (Seccomp::Strict, _) => Some((own::answers(capabilities, true), false)),
        (Seccomp::File(_), None) => return Err(Error::NotRead),
        (Seccomp::File(_), Some(profile)) => {
            Some((Answers::of(profile, capabilities, kernel), profile.log))
        }
    })
}
