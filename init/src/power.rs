//! The power button: every input device that has one, as triggers for the keeper.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use keeper::{Shutdown, Trigger};
use rustix::fs::{Mode, OFlags, open};
use sys::evdev::{KEY_POWER, has_key, pressed};

/// Opens the input devices with a power key. None is no error: not every machine has one.
pub(crate) fn buttons() -> Vec<Trigger> {
    let devices = fs::read_dir("/dev/input").into_iter().flatten().flatten();
    let triggers = devices
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
        .filter_map(|entry| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let device = open(entry.path(), flags, Mode::empty()).ok()?;
            has_key(device.as_fd(), KEY_POWER).unwrap_or(false).then_some(device)
        })
        .map(trigger);
    triggers.collect()
}

/// An opened device with a power key.
pub(crate) fn trigger(fd: OwnedFd) -> Trigger {
    Trigger { fd, read: read_button }
}

fn read_button(device: BorrowedFd<'_>) -> io::Result<Option<Shutdown>> {
    Ok(pressed(device, KEY_POWER)?.then_some(Shutdown::PowerOff))
}
