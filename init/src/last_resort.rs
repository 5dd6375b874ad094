//! What PID 1 does when it cannot go on: the message stays readable, then `panic=` decides.

use std::time::Duration;

use rustix::event::pause;
use rustix::system::{RebootCommand, reboot};

use crate::cmdline::PanicPolicy;

/// Logs what cannot be done and what helps, then follows the policy. Never returns: PID 1's end would be a kernel
/// panic that scrolls the message away.
pub(crate) fn give_up(what: &str, policy: PanicPolicy) -> ! {
    log::error!("cannot go on: {what}");
    match policy {
        PanicPolicy::Stop => log::error!("stopped (panic=0); switch off or reset by hand"),
        PanicPolicy::RebootNow => restart(),
        PanicPolicy::RebootAfter(seconds) => {
            log::error!("rebooting in {seconds} s (panic={seconds})");
            // Not a wait for a state: it is the time a person has to read the lines above.
            std::thread::sleep(Duration::from_secs(seconds.into()));
            restart();
        }
    }
    loop {
        pause();
    }
}

fn restart() {
    rustix::fs::sync();
    if let Err(e) = reboot(RebootCommand::Restart) {
        log::error!("reboot: {e}; stopped");
    }
}
