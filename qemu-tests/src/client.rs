//! Client programs of the build machine, put to work on jails through forwarded ports.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::{Error, Result, agent::Agent, disk::tool, time::stretched};
use jailsupd::control::wire::{Exit, JailState};
use std::time::Duration;

/// For a service to answer at all, from the moment it is first asked (idle machine).
const LIMIT: Duration = Duration::from_secs(60);
/// The name that the examples' certificates are for.
pub const NAME: &str = "example.test";

/// curl, which waits until the service is there; an answer that is no success is an error.
#[must_use]
pub fn curl(url: &str) -> Command {
    let limit = stretched(LIMIT).as_secs().to_string();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--retry", "1000", "--retry-all-errors"]);
    command.args(["--retry-delay", "1", "--retry-max-time", &limit, "--max-time", &limit]);
    command.arg(url);
    command
}

/// [`curl`] by TLS: the certificate must be for [`NAME`] and signed by that of `authority`.
#[must_use]
pub fn curl_tls(address: SocketAddr, path: &str, authority: &Path) -> Command {
    let port = address.port();
    let mut command = curl(&format!("https://{NAME}:{port}{path}"));
    command.args(["--resolve", &format!("{NAME}:{port}:{}", address.ip())]);
    command.arg("--cacert").arg(authority);
    command
}

/// Posts a file many times at once and gives all answers, each in a line: `count` of them to `path`,
/// which may depend on the number.
///
/// # Errors
/// A request failed.
pub fn post_many(address: SocketAddr, path: &str, file: &Path, count: usize) -> Result<String> {
    let mut command = curl(&format!("http://{address}{path}?[1-{count}]"));
    command.args(["--parallel", "--parallel-max", "8", "--data-binary"]);
    tool(command.arg(format!("@{}", file.display())))
}

/// SHA-256 of a file in hexadecimal, by the build machine's own program.
///
/// # Errors
/// It cannot be read.
pub fn sha256(file: &Path) -> Result<String> {
    let text = tool(Command::new("sha256sum").arg(file))?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

impl Agent {
    /// Stops a jail and makes sure that nothing of it is left; how it ended.
    ///
    /// # Errors
    /// Also when it had to be killed, or left something.
    pub fn end(&mut self, jail: &str) -> Result<Exit> {
        self.output(&["/usr/bin/jailctl", "stop", jail])?;
        self.wait_state(jail, JailState::Down)?;
        let cgroup = format!("test ! -e /sys/fs/cgroup/jails/{jail} && echo gone || true");
        let layer = format!("test ! -e /data/jails/{jail}/ephemeral && echo gone || true");
        for left in [cgroup, layer] {
            if self.shell(&left)?.trim() != "gone" {
                return Err(Error::Answer { peer: "the guest", answer: format!("not so: {left}") });
            }
        }
        self.last_exit(jail)
    }
}
