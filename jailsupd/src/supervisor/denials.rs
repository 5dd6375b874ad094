//! System calls that jails' filters have denied, for units with `seccomp_log`.

use super::Supervisor;
use super::jail::Jail;
use super::poller::JailId;
use crate::exec::kernel_log::Denial;
use crate::plan::seccomp::name;
use std::collections::BTreeMap;

/// Different calls that are remembered of one life of a jail: a program may try any number.
const CALLS_MAX: usize = 64;

/// What was denied to one life of a jail: how often, and to which program last.
pub(super) type Denied = BTreeMap<i64, (u64, String)>;

impl Supervisor {
    /// A filter has denied a call.
    pub(super) fn on_denial(&mut self, denial: Denial) {
        // Two versions of a jail have the same ids: it is told of the jail.
        let found = self.jails.ids().into_iter().find(|id| {
            self.jails.get(*id).is_some_and(|jail| {
                let beside = self.jails.beside(jail);
                is_of(jail, &denial) || beside.is_some_and(|beside| is_of(beside, &denial))
            })
        });
        if let Some(id) = found {
            self.denied(id, denial);
        }
    }

    /// The first denial of each call is a line of the jail's log.
    fn denied(&mut self, id: JailId, denial: Denial) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        if jail.denied.len() >= CALLS_MAX && !jail.denied.contains_key(&denial.call) {
            return;
        }
        let (count, program) = jail.denied.entry(denial.call).or_default();
        *count += 1;
        program.clone_from(&denial.program);
        if *count == 1 {
            let (name, Denial { program, pid, .. }) = (call(denial.call), denial);
            self.note(id, &format!("its filter denied {name} to {program} (process {pid})"));
        }
        // Not often: the kernel tells of ten in five seconds at most.
        self.store_life(id);
    }
}

/// Whether the uid is one of the jail's: its process may be gone already.
fn is_of(jail: &Jail, denial: &Denial) -> bool {
    jail.loaded.as_ref().is_some_and(|loaded| {
        loaded.unit.security.seccomp_log && loaded.plan.ids.jail_user(denial.uid).is_some()
    })
}

fn call(number: i64) -> String {
    name(number).map_or_else(|| format!("system call {number}"), str::to_owned)
}

/// A sentence for people; none when nothing was denied.
pub(super) fn sentence(denied: &Denied) -> Option<String> {
    let one = |(number, (count, program)): (&i64, &(u64, String))| {
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        format!("{} ({times}, last to {program})", call(*number))
    };
    let calls: Vec<String> = denied.iter().map(one).collect();
    (!calls.is_empty()).then(|| format!("Its filter has denied: {}.", calls.join(", ")))
}

/// What would tell more of an end by SIGSYS, which is what a filter kills by: it says nothing of the call.
pub(super) fn hint(jail: &Jail) -> Option<String> {
    let unit = &jail.loaded.as_ref()?.unit;
    let ended_so = jail.last_exit.as_ref()?.signal.as_deref() == Some("SIGSYS");
    let more = ended_so.then(|| unnamed(unit.security.seccomp_log, &jail.denied))??;
    let what = "SIGSYS is what a system call ends by that the filter does not let through";
    Some(format!("{what}: {more}"))
}

/// Where the name of the call that a filter has killed for is to be had.
fn unnamed(is_logged: bool, denied: &Denied) -> Option<&'static str> {
    if !is_logged {
        Some("with `security.seccomp_log = true` in its unit, the call is named here.")
    } else if denied.is_empty() {
        Some(
            "which one, the kernel has not told yet. It tells of ten in five seconds, of all jails together: if it stays \
             away, `jailctl start` tries again.",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_to_know_the_call_is_told_how_until_it_is_known() {
        assert!(unnamed(false, &Denied::new()).unwrap().contains("seccomp_log"));
        assert!(unnamed(true, &Denied::new()).unwrap().contains("jailctl start"));
        assert_eq!(unnamed(true, &Denied::from([(165, (1, "sh".to_owned()))])), None);
    }

    #[test]
    fn what_was_denied_is_told_by_name() {
        assert_eq!(sentence(&Denied::new()), None);
        let denied = Denied::from([(165, (3, "sh".to_owned())), (9999, (1, "x".to_owned()))]);
        assert_eq!(
            sentence(&denied).unwrap(),
            "Its filter has denied: mount (3 times, last to sh), system call 9999 (once, last to x)."
        );
    }
}
