//! The keeper's loop across an exec: giving everything away, and taking it.

use super::{Config, Keeper, raise_file_limit};
use crate::handover::Handover;
use crate::reexec::{self, Attempt, Report};
use crate::restore::Handed;
use crate::vault::Vault;
use crate::wire::{Shutdown, VERSION};
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Instant;

/// As [`super::run`], with all that the keeper before this one held. `config` is this program's own
/// idea of what to run; a service that runs already is recognised by its name.
#[must_use]
pub fn resume(config: Config, mut handed: Handed) -> Shutdown {
    sys::signal::heed_all();
    raise_file_limit();
    // The kernel names a program that is executed by descriptor after that.
    let name = config.program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let _ = rustix::thread::set_name(&std::ffi::CString::new(name).unwrap_or_default());
    let mut keeper = Keeper::new(config);
    let report = keeper.take_over(&mut handed);
    // What ended during the exec waits, and nothing wakes us for it.
    keeper.reap();
    let services = keeper.services.iter().filter(|running| running.pid.is_some()).count();
    log::info!("executed anew: {} jails and {services} services are kept", keeper.vault.len());
    handed.done(report);
    keeper.run()
}

impl Keeper {
    /// 0 or an errno. What comes of it goes to the descriptor.
    pub(super) fn begin_reexec(&mut self, fds: Vec<OwnedFd>) -> i32 {
        let Ok([report]) = <[OwnedFd; 1]>::try_from(fds) else { return libc::EINVAL };
        if self.attempt.is_some() || self.going_down.is_some() {
            return libc::EBUSY;
        }
        let report = Report(Some(report));
        match Attempt::begin(&self.program, &self.handover(None), report) {
            Ok(attempt) => self.attempt = Some(attempt),
            Err((report, why)) => report.kept(&why),
        }
        0
    }

    /// Executes the program when its self-test has passed.
    pub(super) fn follow_attempt(&mut self) {
        let verdict = self.attempt.as_ref().and_then(|attempt| attempt.verdict(Instant::now()));
        let Some((verdict, attempt)) = verdict.and_then(|v| Some((v, self.attempt.take()?))) else {
            return;
        };
        if let Err(why) = verdict {
            return attempt.give_up(&why);
        }
        log::info!("executing {} anew", self.program.display());
        let handover = self.handover(attempt.report.0.as_ref());
        let program = (self.program.as_path(), attempt.program.as_fd());
        let error = reexec::execute(program, &self.arguments, &handover);
        attempt.report.kept(&format!("cannot execute {}: {error}", self.program.display()));
    }

    /// Everything, descriptors by their numbers.
    fn handover(&self, report: Option<&OwnedFd>) -> Handover {
        let now = Instant::now();
        let number = |fd: &OwnedFd| fd.as_raw_fd();
        Handover {
            wire: VERSION,
            brain: self.brain.as_ref().map(number),
            report: report.map(number),
            triggers: self.triggers.iter().flatten().map(|trigger| number(&trigger.fd)).collect(),
            services: self.services.iter().map(|running| running.state(now)).collect(),
            places: self.vault.places(),
        }
    }

    /// Where to say that it is done.
    fn take_over(&mut self, handed: &mut Handed) -> Report {
        let now = Instant::now();
        let handover = std::mem::take(&mut handed.handover);
        for state in &handover.services {
            match self.services.iter_mut().find(|running| running.service.name == state.name) {
                Some(running) => running.resume(state, now),
                None => log::warn!("service {} is not wanted any more", state.name),
            }
        }
        self.brain = handover.brain.and_then(|fd| handed.take_fd(fd));
        self.vault = Vault::of_places(handover.places, |fd| handed.take_fd(fd));
        Report(handover.report.and_then(|fd| handed.take_fd(fd)))
    }
}
