//! The host's own configuration.

use super::layers;
use crate::unit::Problem;
use crate::unit::host::{self, Host};
use crate::unit::layer::Layer;

/// host.toml's places, the later winning key by key.
const HOST_FILES: [&str; 2] = ["/usr/lib/warder/host.toml", "/etc/warder/host.toml"];

/// The host's configuration; with problems, what holds without any file.
pub(super) fn read_host() -> (Host, Vec<Problem>) {
    let (texts, mut problems) = layers::read(&HOST_FILES);
    let layers: Vec<Layer<'_>> = texts.iter().map(|(file, text)| Layer { file, text }).collect();
    match host::parse(&layers) {
        Ok(host) => (host, problems),
        Err(found) => {
            problems.extend(found);
            (Host::default(), problems)
        }
    }
}
