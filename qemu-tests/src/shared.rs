//! One boot for many tests of a file. The guest is killed with the test program.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use crate::{Machine, Result, Vm};

/// The guest still answers when a test is done with it.
const ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// A guest that the first test boots, as a `static` of the test file.
#[derive(Default)]
pub struct Shared(OnceLock<Option<Mutex<Vm>>>);

impl Shared {
    /// Nothing booted yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The guest for one test: they take turns, so each may count processes or kill services, and
    /// leaves everything up again.
    ///
    /// # Panics
    /// The guest does not boot; only the first test says why.
    #[allow(clippy::panic, reason = "called by tests, to fail them")]
    pub fn guest(&self, machine: impl FnOnce() -> Machine) -> Guest<'_> {
        let mut failure = None;
        let vm = self.0.get_or_init(|| {
            let booted = boot(machine());
            booted.map_err(|error| failure = Some(error)).ok().map(Mutex::new)
        });
        match (vm, failure) {
            (Some(vm), _) => Guest(vm.lock().unwrap_or_else(PoisonError::into_inner)),
            (None, Some(error)) => panic!("{error:?}"),
            (None, None) => panic!("the guest did not boot, see the first failed test"),
        }
    }
}

fn boot(machine: Machine) -> Result<Vm> {
    let mut vm = machine.start()?;
    match vm.wait_boot() {
        Ok(()) => Ok(vm),
        Err(error) => {
            vm.report();
            Err(error)
        }
    }
}

/// A test's turn with a shared guest, ended by the guest's nonce: a test passes only when the guest
/// outlived it.
pub struct Guest<'a>(MutexGuard<'a, Vm>);

impl Deref for Guest<'_> {
    type Target = Vm;
    fn deref(&self) -> &Vm {
        &self.0
    }
}

impl DerefMut for Guest<'_> {
    fn deref_mut(&mut self) -> &mut Vm {
        &mut self.0
    }
}

impl Drop for Guest<'_> {
    #[allow(clippy::panic, reason = "fails the test that broke the guest")]
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.report();
        } else if let Err(error) = self.0.agent().ping(ALIVE_LIMIT) {
            self.0.report();
            panic!("the guest did not outlive the test: {error:?}");
        }
    }
}
