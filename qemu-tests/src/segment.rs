//! An Ethernet wire between two machines, without privilege: each QEMU sends its frames to the other's datagram socket.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Result, image};

/// The name of the network card on the wire, for QMP's `device_del`.
pub const CARD: &str = "wire-card";
/// The name of the machine's side of the wire.
const NETDEV: &str = "wire";
/// The PCI Express port that the card is in, which can be taken out and put in again.
const PORT: &str = "wire-port";

/// One end of a wire, for [`crate::Machine::plug`].
#[derive(Debug, Clone)]
pub struct Plug {
    local: PathBuf,
    remote: PathBuf,
    mac: &'static str,
}

/// A new wire. It works as soon as both machines run, in whatever order they start.
///
/// # Errors
/// The temporary directory cannot be written.
pub fn wire() -> Result<[Plug; 2]> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("warder-wire-{}-{number}", std::process::id());
    let dir = image::ensure_dir(std::env::temp_dir().join(name))?;
    let (a, b) = (dir.join("a"), dir.join("b"));
    let plug = |local: &PathBuf, remote: &PathBuf, mac| {
        // Of a process that had the same number and was killed.
        let _ = std::fs::remove_file(local);
        Plug { local: local.clone(), remote: remote.clone(), mac }
    };
    Ok([plug(&a, &b, "52:54:00:00:00:0a"), plug(&b, &a, "52:54:00:00:00:0b")])
}

impl Plug {
    /// QEMU's options, one pair each.
    pub(crate) fn options(&self) -> [(&'static str, String); 3] {
        let (local, remote) = (self.local.display(), self.remote.display());
        let sockets =
            format!("local.type=unix,local.path={local},remote.type=unix,remote.path={remote}");
        let card = self.card().map(|(key, value)| match key {
            "driver" => value,
            _ => format!("{key}={value}"),
        });
        [
            ("-netdev", format!("dgram,id={NETDEV},{sockets}")),
            ("-device", format!("pcie-root-port,id={PORT},chassis=1")),
            ("-device", card.join(",")),
        ]
    }

    /// The card, as QMP's `device_add` takes it.
    #[must_use]
    pub fn card(&self) -> [(&'static str, String); 6] {
        [
            ("driver", "virtio-net-pci".to_owned()),
            ("id", CARD.to_owned()),
            ("netdev", NETDEV.to_owned()),
            ("bus", PORT.to_owned()),
            ("mac", self.mac.to_owned()),
            ("romfile", String::new()),
        ]
    }
}
