//! Which keys an input device has, and which one was pressed (`linux/input.h`).
//!
//! rustix and nix have no evdev calls.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// The power button's key code (`linux/input-event-codes.h`).
pub const KEY_POWER: u16 = 116;

const EV_KEY: u16 = 1;
const PRESSED: i32 = 1;
/// One bit for each key up to `KEY_MAX` (0x2ff).
type KeyBits = [u8; 96];
const EVIOCGBIT_KEY: Opcode = opcode::read::<KeyBits>(b'E', 0x20 + 1);
/// `struct input_event` on 64-bit: time (16 bytes), type, code, value.
const EVENT_LEN: usize = 24;

/// Tells whether the open input device can send `key`.
///
/// # Errors
/// `ENOTTY` when the file is not an event device.
pub fn has_key(device: BorrowedFd<'_>, key: u16) -> io::Result<bool> {
    let mut bits: KeyBits = [0; 96];
    // SAFETY: EVIOCGBIT(EV_KEY, 96) takes a pointer to the 96 bytes that its number carries.
    let fill = unsafe { Updater::<EVIOCGBIT_KEY, KeyBits>::new(&mut bits) };
    // SAFETY: the kernel writes at most `size_of::<KeyBits>()` bytes, and any bytes are valid.
    unsafe { ioctl(device, fill) }?;
    Ok(bits.get(usize::from(key / 8)).is_some_and(|byte| byte & (1 << (key % 8)) != 0))
}

/// Reads what is queued on a non-blocking event device and tells whether `key` was pressed.
///
/// # Errors
/// `ENODEV` when the device has gone. An empty queue is `Ok(false)`.
pub fn pressed(device: BorrowedFd<'_>, key: u16) -> io::Result<bool> {
    let mut seen = false;
    let mut buffer = [0u8; EVENT_LEN * 16];
    loop {
        match rustix::io::read(device, &mut buffer) {
            Ok(0) => return Ok(seen),
            Ok(len) => seen |= buffer[..len].chunks_exact(EVENT_LEN).any(|e| is_press(e, key)),
            Err(rustix::io::Errno::AGAIN) => return Ok(seen),
            Err(e) => return Err(e.into()),
        }
    }
}

fn is_press(event: &[u8], key: u16) -> bool {
    event[16..18] == EV_KEY.to_ne_bytes()
        && event[18..20] == key.to_ne_bytes()
        && event[20..24] == PRESSED.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::{EVIOCGBIT_KEY, KEY_POWER, is_press};

    #[test]
    fn number_is_the_kernels() {
        assert_eq!(EVIOCGBIT_KEY, 0x8060_4521);
    }

    #[test]
    fn only_the_press_of_the_key_counts() {
        let mut event = [0u8; 24];
        event[16..24].copy_from_slice(&[1, 0, 116, 0, 1, 0, 0, 0]);
        assert!(is_press(&event, KEY_POWER));
        event[20] = 0;
        assert!(!is_press(&event, KEY_POWER), "a release");
        event[20] = 1;
        event[18] = 30;
        assert!(!is_press(&event, KEY_POWER), "another key");
    }
}
