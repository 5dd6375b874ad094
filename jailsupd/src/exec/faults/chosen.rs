//! The weak build: one line in a file says what happens where, once.
//!
//! `kill POINT`: jailsupd gets SIGKILL there. `fail POINT`: the step is an error there. `stage NAME`: a
//! jail's own process fails after that stage. The file is gone when it has happened.

use super::super::Error;
use crate::plan::HostStep;
use jail_init::Stage;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Written by a test.
const SELECTOR: &str = "/run/warder/fault";

/// The number of the stage that is to fail; 0 is none's.
static STAGE: AtomicU32 = AtomicU32::new(0);

/// What is to happen at this point, which then counts as done.
fn take(wanted: impl Fn(&str, &str) -> bool) -> Option<String> {
    let text = std::fs::read_to_string(SELECTOR).ok()?;
    let (kind, point) = text.trim().split_once(' ')?;
    if !wanted(kind, point) {
        return None;
    }
    std::fs::remove_file(SELECTOR).ok()?;
    log::warn!("weak build: {kind} {point}");
    Some(kind.to_owned())
}

/// A point where the step may fail, or jailsupd die.
///
/// # Errors
/// EIO, if that is chosen.
pub fn reach(point: &str) -> Result<(), Error> {
    match take(|kind, chosen| chosen == point && matches!(kind, "kill" | "fail")).as_deref() {
        Some("kill") => die(),
        Some(_) => {
            let source = io::Error::from_raw_os_error(libc::EIO);
            Err(Error::Process { what: "go on (a test has chosen that)", source })
        }
        None => Ok(()),
    }
}

/// A step of a start is done.
///
/// # Errors
/// EIO, if that is chosen.
pub fn step(step: &HostStep) -> Result<(), Error> {
    reach(match step {
        HostStep::CreateCgroup => "step-create-cgroup",
        HostStep::CreateNamespaces { .. } => "step-create-namespaces",
        HostStep::SetUpNetwork(_) => "step-set-up-network",
        HostStep::OpenImage(_) => "step-open-image",
        HostStep::ShiftIds => "step-shift-ids",
        HostStep::Overlay { .. } => "step-overlay",
        HostStep::OpenRoot { .. } => "step-open-root",
        HostStep::FindUser { .. } => "step-find-user",
        HostStep::OpenVolume(_) => "step-open-volume",
        HostStep::WriteFiles(_) => "step-write-files",
        HostStep::PinDevices(_) => "step-pin-devices",
        HostStep::OpenCores(_) => "step-open-cores",
        // Done later: `limits-set`.
        HostStep::SetLimit(_) | HostStep::LimitDisks(_) => return Ok(()),
    })
}

/// A jail has come to a state.
pub fn came_to(state: &str) {
    pass(&format!("came-to-{state}"));
}

/// A point where jailsupd may only die.
pub fn pass(point: &str) {
    if take(|kind, chosen| chosen == point && kind == "kill").is_some() {
        die();
    }
}

/// As from outside: nothing is done any more.
fn die() -> ! {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let _ = sys::signal::send(own, libc::SIGKILL);
    loop {
        rustix::event::pause();
    }
}

/// Before a jail's processes are made.
pub fn arm() {
    let chosen = Stage::ALL.iter().copied().find(|stage| {
        let name = format!("{stage:?}");
        take(|kind, chosen| kind == "stage" && chosen == name).is_some()
    });
    STAGE.store(chosen.map_or(0, |stage| stage as u32), Ordering::Relaxed);
}

/// They are made, with a copy of what was chosen.
pub fn disarm() {
    STAGE.store(0, Ordering::Relaxed);
}

/// A stage is done. Neither allocates nor locks: it is asked between clone and exec.
///
/// # Errors
/// EIO, if that is chosen.
pub fn stage(stage: Stage) -> Result<(), (Stage, i32)> {
    match STAGE.load(Ordering::Relaxed) {
        chosen if chosen == stage as u32 => Err((stage, libc::EIO)),
        _ => Ok(()),
    }
}
