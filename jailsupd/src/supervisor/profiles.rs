//! Seccomp profiles that units name by path: read with the units, so that a change of one counts as a change of every
//! unit that names it.

use super::Supervisor;
use crate::exec::units;
use crate::plan::seccomp::{Request, compile};
use crate::unit::seccomp::{self, Seccomp};
use crate::unit::{Problem, Resolved, Unit, text};
use sha2::{Digest as _, Sha256};
use std::path::Path;

impl Supervisor {
    /// Reads the file of each unit that names one. A unit whose file is no good is one with that problem.
    pub(super) fn read_profiles(&self, units: &mut [Resolved]) {
        for resolved in units {
            let Ok(unit) = &mut resolved.result else { continue };
            if let Err(problem) = self.read_profile(unit) {
                resolved.result = Err(vec![problem]);
            }
        }
    }

    /// Gives a version of a unit that was remembered what other files say: its profile as it is now, its network as it was.
    pub(super) fn read_what_it_names(&self, unit: &mut Unit) -> Result<(), Problem> {
        self.read_profile(unit)?;
        self.join_again(unit)
    }

    /// Gives a unit what the file says that it names.
    pub(super) fn read_profile(&self, unit: &mut Unit) -> Result<(), Problem> {
        let Seccomp::File(path) = unit.security.seccomp.clone() else { return Ok(()) };
        // Before the reading, so that what changes after it is noticed.
        self.watch.add_file(path.as_path());
        let (profile, hash) = read(path.as_path()).map_err(|problem| match problem.place.line {
            // What is wrong is the path in the unit, rather than something in the file.
            0 => unit.problem(
                "security.seccomp",
                format!("{path}: {}", problem.message),
                problem.help.unwrap_or_default(),
            ),
            _ => problem,
        })?;
        unit.set_profile(profile, &hash);
        let request = Request::of(unit, self.kernel_version);
        compile(request).map(drop).map_err(|error| {
            unit.problem("security.seccomp", error.to_string(), "mend the profile, or name another")
        })
    }
}

fn read(path: &Path) -> Result<(seccomp::Profile, String), Problem> {
    let bytes =
        units::read_file(path, "put a profile in OCI's JSON format there, or name another")?;
    let file = path.to_string_lossy();
    let profile = seccomp::read(&file, text(&file, &bytes)?)?;
    let hash = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok((profile, hash))
}
