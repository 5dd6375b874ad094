//! `vm stop`, and what Ctrl-C does: the power button, and what to do when the guest ignores it.

use std::time::Duration;

use qemu_tests::{Error, Result, time};
use serde_json::json;

use crate::state;

/// Jails get ten seconds to end, then their data is unmounted (idle machine).
const LIMIT: Duration = Duration::from_secs(15);

/// Powers the guest of `vm run` off.
pub(crate) fn stop() -> Result<()> {
    let Some(mut qmp) = state::control()? else {
        println!("no guest of make run is running");
        return Ok(());
    };
    println!("powering the guest off");
    qmp.press_power_button()?;
    match qmp.wait_shutdown(LIMIT).as_deref() {
        Some("guest-shutdown") => println!("the guest has powered itself off cleanly"),
        Some(reason) => println!("the guest ended by itself: {reason}"),
        None => {
            let limit = time::stretched(LIMIT);
            println!("the guest did not power off in {limit:?}: killing it");
            // Its answer may be lost with QEMU itself.
            return match qmp.execute("quit", &json!({})) {
                Err(error @ Error::Io { .. }) => Err(error),
                _ => Ok(()),
            };
        }
    }
    Ok(())
}
