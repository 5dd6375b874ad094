//! The kernel's device events: as `KEY=value` lines in sysfs, and as messages that tell when to look again.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The kernel's own multicast group (udev has another one).
const KERNEL_GROUP: u32 = 1;

/// The value of `key` in a sysfs `uevent` file's text.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// A socket on which the kernel announces devices. Open it before the first look, or an event falls between.
pub(crate) struct Events {
    socket: OwnedFd,
}

impl Events {
    /// Starts to listen.
    ///
    /// # Errors
    /// As the kernel's.
    pub(crate) fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self { socket })
    }

    /// Calls `look` now and after each batch of events until it finds something or `timeout` has passed.
    pub(crate) fn wait_for<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            self.next(left);
        }
    }

    /// Waits for an event and empties the queue: what it says does not matter, a look at sysfs follows. An
    /// overflow (`ENOBUFS`) is an event too.
    fn next(&self, timeout: Duration) {
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => log::warn!("waiting for device events: {e}"),
        }
        let mut message = [0u8; 64];
        while recv(&self.socket, &mut message, RecvFlags::TRUNC).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "MAJOR=254\nDEVTYPE=partition\nPARTN=3\nPARTNAME=warder-data\n";
        assert_eq!(value(text, "PARTN"), Some("3"));
        assert_eq!(value(text, "PARTNAME"), Some("warder-data"));
        assert_eq!(value(text, "PART"), None);
        assert_eq!(value("", "PARTN"), None);
    }
}
