//! The host's own configuration.

use crate::unit::Problem;
use crate::unit::host::{self, Host, Layer};

/// host.toml's places, the later winning key by key.
const HOST_FILES: [&str; 2] = ["/usr/lib/warder/host.toml", "/etc/warder/host.toml"];

/// The host's configuration; with problems, what holds without any file.
pub(super) fn read_host() -> (Host, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for file in HOST_FILES {
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((file, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::of_file(file, format!("cannot be read: {error}"))),
        }
    }
    let layers: Vec<Layer<'_>> = texts.iter().map(|(file, text)| Layer { file, text }).collect();
    match host::parse(&layers) {
        Ok(host) => (host, problems),
        Err(found) => {
            problems.extend(found);
            (Host::default(), problems)
        }
    }
}
